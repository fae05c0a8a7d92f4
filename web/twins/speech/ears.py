"""Speech to text for the twins: pocketsphinx with a closed grammar, in worker processes.

It holds the GIL for up to 100 ms (stack.md C.3), so it never runs in the process that paces audio. A grammar forces
every sound into one of its sentences; what fits badly scores low.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

import msgspec
import trio

from web.twins.speech.grammar import Grammar
from web.twins.speech.recogniser import LENGTH_BYTES, Answer, framed, recognise

MOST_WAITING = 256
HEAR_S = 20.0
STOP_S = 2.0


@dataclass(frozen=True, slots=True)
class Hearing:
    """What was heard. `confidence` is the recogniser's mean score a frame, 0 to 1."""

    text: str
    confidence: float


class WorkerDied(Exception):
    """The recogniser's process ended in the middle of a request."""


class _Worker:
    """One recogniser process. A request that is cancelled half-way ends it: its answer would be the next one's."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self._decoder = msgspec.msgpack.Decoder(Answer)
        self._got = b""

    @classmethod
    async def start(cls) -> _Worker:
        return cls(
            await trio.lowlevel.open_process(
                [sys.executable, "-m", "web.twins.speech.recogniser"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        )

    async def ask(self, mulaw: bytes, jsgf: str) -> Answer:
        assert self.process.stdin is not None
        try:
            await self.process.stdin.send_all(framed((jsgf, mulaw)))
            length = int.from_bytes(await self._exactly(LENGTH_BYTES), "big")
            answer: Answer = self._decoder.decode(await self._exactly(length))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as broken:
            raise WorkerDied from broken
        return answer

    async def _exactly(self, count: int) -> bytes:
        assert self.process.stdout is not None
        while len(self._got) < count:
            some = await self.process.stdout.receive_some(65536)
            if not some:
                raise WorkerDied
            self._got += some
        taken, self._got = self._got[:count], self._got[count:]
        return taken

    async def stop(self) -> None:
        with trio.move_on_after(STOP_S, shield=True):
            for pipe in (self.process.stdin, self.process.stdout):
                if pipe is not None:
                    await pipe.aclose()
            with suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()


class Ears:
    """Worker processes that listen, started when first needed. 256 requests may wait; then hearing fails at once."""

    def __init__(self, workers: int = 1) -> None:
        self._limiter = trio.CapacityLimiter(workers)
        self._idle: list[_Worker] = []
        self._waiting = 0

    async def __aenter__(self) -> Ears:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._idle:
            await self._idle.pop().stop()

    async def hear(self, mulaw: bytes, grammar: Grammar) -> Hearing:
        """The sentence of the grammar that this audio is; the empty text when it is none.

        Raises:
            RuntimeError: too many wait already, or the worker died twice over the same audio.
            TimeoutError: no result within 20 s.
        """
        if self._waiting >= MOST_WAITING:
            raise RuntimeError(f"{MOST_WAITING} utterances wait for the recogniser already")
        self._waiting += 1
        try:
            async with self._limiter:
                return await self._hear(mulaw, grammar)
        finally:
            self._waiting -= 1

    async def _hear(self, mulaw: bytes, grammar: Grammar) -> Hearing:
        for _ in range(2):
            worker = self._idle.pop() if self._idle else await _Worker.start()
            good = False
            try:
                with trio.fail_after(HEAR_S):
                    answer = await worker.ask(mulaw, grammar.jsgf)
                good = True
                return Hearing(*answer)
            except WorkerDied:
                continue
            except trio.TooSlowError as slow:
                raise TimeoutError("the recogniser took too long") from slow
            finally:
                if good:
                    self._idle.append(worker)
                else:
                    await worker.stop()
        raise RuntimeError("the recogniser's process died twice over the same audio")


def hear_now(mulaw: bytes, grammar: Grammar) -> Hearing:
    """As `Ears.hear`, in this process and at once: for scripts and tests."""
    return Hearing(*recognise(grammar.jsgf, mulaw))
