"""The load generator as an object: start it, open calls, measure."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio

from web.bench.contenders import Contender
from web.bench.process import pin

DIALS_A_BATCH = 50
MOST_CALL_NUMBERS = 60_000  # a stamp has two bytes for the call
ANSWER_S = 60.0


class Driver:
    """Orders to one load generator, and its answers."""

    def __init__(self, process: trio.Process, port: int) -> None:
        self._process, self.port = process, port
        self._pending = b""
        self._open: list[int] = []
        self._next_call = 0

    @property
    def agent_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/agent"

    async def ask(self, *, answer_s: float = ANSWER_S, **order: Any) -> dict[str, Any]:
        await self.tell(**order)
        with trio.fail_after(answer_s):
            return await self._answer()

    async def tell(self, **order: Any) -> None:
        assert self._process.stdin is not None
        await self._process.stdin.send_all(msgspec.json.encode(order) + b"\n")

    async def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        while b"\n" not in self._pending:
            some = await self._process.stdout.receive_some(65_536)
            if not some:
                raise RuntimeError("the load generator ended")
            self._pending += some
        line, _, self._pending = self._pending.partition(b"\n")
        answer: dict[str, Any] = msgspec.json.decode(line)
        return answer

    async def open_calls(self, contender: Contender, total: int) -> bool:
        """Bring the number of live calls up to `total`; whether all of them came up."""
        await self.tell(
            do="expect", total=total, stamped=contender.stamped, agents=contender.agents, in_order=contender.in_order
        )
        while len(self._open) < total:
            batch = range(self._next_call, self._next_call + min(DIALS_A_BATCH, total - len(self._open)))
            self._next_call = (self._next_call + len(batch)) % MOST_CALL_NUMBERS
            self._open += batch
            await self.tell(do="dial", calls=await contender.dials(batch))
        with trio.fail_after(ANSWER_S):
            answer = await self._answer()
        return bool(answer["connected"] >= total and (answer["agents"] >= total or not contender.agents))

    async def drop_oldest(self, calls: int) -> None:
        """The callers who have been there longest hang up."""
        gone, self._open = self._open[:calls], self._open[calls:]
        await self.tell(do="drop", calls=gone)

    async def measure(self, seconds: float, *, interrupt_every_s: float = 0.0) -> dict[str, Any]:
        order = {"do": "measure", "seconds": seconds, "interrupt_every_s": interrupt_every_s}
        return await self.ask(answer_s=seconds + ANSWER_S, **order)

    async def hang_up(self) -> None:
        self._open, self._next_call = [], 0
        await self.ask(do="hang_up")


@asynccontextmanager
async def load_generator(*, cores: set[int]) -> AsyncIterator[Driver]:
    """A generator process on these cores."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "web.bench.load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    driver = Driver(process, 0)
    try:
        with trio.fail_after(ANSWER_S):
            driver.port = int((await driver._answer())["port"])
        pin(process.pid, cores)
        yield driver
    finally:
        process.kill()
        with trio.CancelScope(shield=True):  # killed: it ends
            await process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    await pipe.aclose()
