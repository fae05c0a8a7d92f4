"""The whole stack for browser tests, in a process of its own: Playwright's synchronous driver and Trio share no thread.

    python -m tests.browser.stack_process FOLDER

prints one line of JSON with the addresses, and ends when its input does.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import trio

from web.agents import example
from web.stack import open_stack


async def main(folder: Path) -> None:
    async with open_stack(example(), folder) as stack:
        where = {"service": stack.service.url, "twilio": stack.twilio.url, "sounds": str(stack.sounds)}
        print(json.dumps(where), flush=True)
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
