"""`python -m web.twins.vapi`: the Vapi twin in a process of its own."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import trio

from engine.audio import silence
from engine.errors import BadSettings
from web.agents import LoadedAgent, load_agent
from web.file_watch import FileWatch, keep_current
from web.twins.speech.ears import Ears
from web.twins.speech.grammar import Grammar
from web.twins.speech.vad import HANGOVER_MS, VoiceActivity
from web.twins.speech.voice import speak
from web.twins.vapi.server import serve_twin, webhook_client
from web.twins.vapi.settings import Speech, TwinSettings
from web.twins.vapi.twin import VapiTwin

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. One line of JSON on stdout says where, once calls may come."""
    options = _options(arguments)
    status = 0
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    try:
        agent = load_agent(options.agent).agent if options.agent else None
        settings = TwinSettings(
            host=options.host,
            port=options.port,
            fd=options.fd,
            api_key=options.api_key,
            agent=agent,
            data=options.data,
        )
        trio.run(_run, settings, options.ears, options.agent if options.reload else None)
    except* (BadSettings, OSError, ValueError) as group:
        for problem in group.exceptions:
            print(f"vapi twin: {problem}", file=sys.stderr)
        status = 2
    return status


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m web.twins.vapi", description="A stand-in for Vapi on this machine."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0, the default: any free one")
    parser.add_argument("--fd", type=int, help="a listening socket that a parent process left open")
    parser.add_argument("--api-key", default="vapi-twin-key", help="what clients send as their bearer token")
    parser.add_argument("--agent", type=Path, help="an agent.yaml; its `twin` part is what the assistant says")
    parser.add_argument("--reload", action="store_true", help="follow changes of that file")
    parser.add_argument("--data", type=Path, help="a directory for one JSON file per call")
    parser.add_argument("--ears", type=int, default=1, help="recogniser processes; one is enough for some forty calls")
    return parser.parse_args(arguments)


async def _run(settings: TwinSettings, workers: int, follow: Path | None = None) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with webhook_client() as client, Ears(workers=workers) as ears, trio.open_nursery() as nursery:
            speech = Speech(speak, ears, Grammar.of, VoiceActivity, hangover_ms=HANGOVER_MS)
            await ears.hear(silence(200), Grammar.of(["warm up"]))  # loads its models
            twin = await nursery.start(partial(serve_twin, settings, speech, client=client))
            following = trio.CancelScope()
            if follow is not None:
                nursery.start_soon(_follow, twin, follow, following)
            print(json.dumps({"ready": True, "url": twin.url}), flush=True)
            await anext(signals)
            following.cancel()
            twin.stop()


async def _follow(twin: VapiTwin, path: Path, scope: trio.CancelScope) -> None:
    """Calls that begin after a change have the new script. What is wrong with a file its service tells."""
    file = path / "agent.yaml" if path.is_dir() else path

    async def take(loaded: LoadedAgent) -> None:
        try:
            twin.learn(loaded.agent.twin)
        except ValueError as unknown:
            raise BadSettings(f"{file}: {unknown}") from unknown
        await trio.lowlevel.checkpoint()

    with scope:
        await keep_current(file, FileWatch(lambda: [file]), take)


if __name__ == "__main__":
    raise SystemExit(main())
