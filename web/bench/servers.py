"""Servers of Vapi's webhooks, alike to whoever asks them: our service with live calls on it, and the peers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
import trio

from web.bench.contenders import READY_S, ROOT, Contender, ours
from web.bench.driver import Driver, load_generator
from web.bench.process import pin

__all__ = ["CALL_ID", "SECRET", "Server", "in_turns", "our_server", "peer_server"]

SECRET = "bench"  # noqa: S105 — what `contenders.ours` sets
CALL_ID = "00000000-0000-4000-9000-{:012d}"  # as web.bench.vapi_rest counts

T = TypeVar("T")


@dataclass
class Server:
    """One of the servers, ready, with calls that webhooks can be about."""

    name: str
    pid: int
    port: int
    call_ids: Sequence[str] = (CALL_ID.format(1),)
    media: Driver | None = None  # whose calls they are, where they have sound
    service: Contender | None = None


def in_turns(contenders: Mapping[str, T], number: int) -> list[tuple[str, T]]:
    """The other way round every second time: whoever comes first finds another machine than who comes last."""
    turns = list(contenders.items())
    return turns[::-1] if number % 2 else turns


@asynccontextmanager
async def our_server(
    data: Path, *, cores: set[int], generator_cores: set[int], calls: int, agent: str, tools: str
) -> AsyncIterator[Server]:
    """Our service with live calls on it, and their sound: 50 frames a second each way, for each call."""
    (data / "tools.py").write_text(tools, encoding="utf-8")
    async with (
        load_generator(cores=generator_cores) as media,
        ours(lambda: media.agent_url, data, workers=1, cores=cores, agent=agent) as service,
    ):
        if not await media.open_calls(service, calls):
            raise RuntimeError(f"the calls of the bench did not come up; see {data}")
        call_ids = [CALL_ID.format(number) for number in range(1, calls + 1)]
        yield Server("ours", service.pid, service.port, call_ids, media, service)


@asynccontextmanager
async def peer_server(name: str, command: Sequence[str], logs: Path, *, cores: set[int]) -> AsyncIterator[Server]:
    """One of the peers, alone on its core: it has no calls."""
    with (logs / f"{name}.log").open("wb") as errors:
        process = await trio.lowlevel.open_process(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "NODE_ENV": "production", "VAPI_SERVER_SECRET": SECRET},
            cwd=ROOT,
        )
    try:
        assert process.stdout is not None
        with trio.fail_after(READY_S):
            ready = msgspec.json.decode(await process.stdout.receive_some(4096))
        pin(process.pid, cores)
        yield Server(name, process.pid, int(ready["port"]))
    finally:
        process.kill()
        with trio.CancelScope(shield=True):  # killed: it ends
            await process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    await pipe.aclose()
