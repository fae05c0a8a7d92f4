"""`python -m web.twins.twilio`: the Twilio twin as a process of its own."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import trio
from cyclopts import run

from web.children import end_with_parent
from web.logs import set_up_logs
from web.twins.speech.voice import speak
from web.twins.twilio.app import serve_twin
from web.twins.twilio.settings import TwinSettings


def main(
    *,
    port: int = 8701,
    host: str = "127.0.0.1",
    account_sid: str = "AC" + "0" * 30 + "01",
    auth_token: str = "0123456789abcdef0123456789abcdef",  # noqa: S107 — a stand-in's
    number: tuple[str, ...] = ("+12025550199",),
    data: Path | None = None,
    sounds: Path | None = None,
) -> None:
    """A strict stand-in for Twilio: REST, signed webhooks, TwiML, media streams, scripted callers.

    Parameters
    ----------
    port
        The port to listen on; 0 takes a free one.
    host
        The address to listen on.
    account_sid
        The account's SID.
    auth_token
        The account's auth token: signs the webhooks, opens the REST side.
    number
        A phone number of the account; may be repeated.
    data
        Where the recordings of what callers heard go; nowhere when left out.
    sounds
        The folder of the files that the script of a live caller may name as sounds.
    """
    set_up_logs()
    end_with_parent()
    settings = TwinSettings(account_sid, auth_token, number, speak, data, sounds)
    trio.run(_run, settings, f"{host}:{port}")


async def _run(settings: TwinSettings, bind: str) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:

        async def told_to_stop() -> None:
            await anext(signals)

        async def live(*, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED) -> None:
            await serve_twin(settings, bind=bind, shutdown=told_to_stop, task_status=task_status)

        async with trio.open_nursery() as nursery:
            url, _ = await nursery.start(live)
            print(json.dumps({"ready": True, "url": url, "account_sid": settings.account_sid}), flush=True)


if __name__ == "__main__":
    run(main)
