"""A worker without calls, for tests of the parent: `python -m tests.web.small_worker FOLDER NUMBER HABIT`.

It writes a line into FOLDER/NUMBER for all that happens to it. Habits: `good`, `dies` (once it is ready), `deaf` (takes
no order), `never` (is never ready: ends with status 3).
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path


def main() -> None:
    folder, number, habit = sys.argv[1:]

    def note(what: str) -> None:
        with (Path(folder) / number).open("a", encoding="utf-8") as diary:
            diary.write(f"{what} {time.monotonic()} {os.getpid()}\n")

    def drain(signum: int, frame: object) -> None:
        note("drain")
        if habit == "good":
            os.write(1, b'{"empty": true}\n')

    signal.signal(signal.SIGTERM, drain)
    note("start")
    if habit == "never":
        raise SystemExit(3)
    os.write(1, b'something printed\n{"ready": true}\n')
    if habit == "dies":
        raise SystemExit(1)
    while said := os.read(0, 100):
        note(said.decode().strip())
    note("dismissed")
    if habit == "deaf":
        time.sleep(60)


if __name__ == "__main__":
    main()
