"""The parent of several workers: opens the port, starts them, starts again what dies, and sees them off together.

It carries no call and reads no request. Each worker is `callscope serve` with the port's file descriptor and its
number. Hypercorn's own workers are no use here: its master ends all when one has ended (stack.md A.3, 1).
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
import trio

from engine.errors import BadSettings
from web.worker import GOODBYE_S, HURRY

__all__ = ["LEAVE_S", "Workers", "open_run_dir"]

log = structlog.get_logger(__name__)

READY_S = 60.0  # a cold disk and a busy machine; ordinarily under two seconds
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0  # before a worker that died is started again
STEADY_S = 30.0  # one that has lived so long starts from the first pause again
LEAVE_S = (
    GOODBYE_S + 15.0
)  # over the calls' patience: their goodbyes, the last webhooks, a margin, the journal's last write
LAST_LINES_S, REAP_S = 0.5, 5.0
MOST_LINE_BYTES = 4096
MOST_PATH_BYTES = 90  # of 107, for the longest socket name in it


@asynccontextmanager
async def open_run_dir() -> AsyncIterator[Path]:
    """A folder for the workers' sockets that nobody else may enter.

    Raises:
        BadSettings: its name is too long for a Unix socket's address.
    """
    path = Path(tempfile.mkdtemp(prefix="callscope-"))
    try:
        if len(bytes(path)) > MOST_PATH_BYTES:
            raise BadSettings(f"{path} is too long for the workers' sockets; set TMPDIR to a shorter folder")
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@dataclass
class _Worker:
    """One place among the workers, whichever process has it."""

    number: int
    process: trio.Process | None = None
    ready: trio.Event = field(default_factory=trio.Event)  # of the present process
    was_ready: trio.Event = field(default_factory=trio.Event)  # of the first one that was
    is_empty: bool = False

    def terminate(self) -> None:
        if self.process is not None:
            self.process.terminate()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()

    async def tell(self, what: bytes) -> None:
        """Say something to it; nothing when it is gone. Its pipe holds thousands of our few words."""
        if self.process is not None and self.process.stdin is not None:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self.process.stdin.send_all(what)

    async def dismiss(self) -> None:
        """It may leave: nobody needs it."""
        if self.process is not None and self.process.stdin is not None:
            await self.process.stdin.aclose()


class Workers:
    """A fleet.

    Args:
        command: the arguments after `python -m` for a worker's number.
        pass_fds: the port.
        leave_within_s: so long after the first signal whoever is still there is killed.
    """

    def __init__(
        self,
        command: Callable[[int], Sequence[str]],
        *,
        of: int,
        pass_fds: Sequence[int],
        leave_within_s: float,
    ) -> None:
        self._command, self._pass_fds, self._leave_within_s = command, pass_fds, leave_within_s
        self._workers = [_Worker(number) for number in range(of)]
        self._draining = trio.Event()
        self.status = 0

    @property
    def pids(self) -> list[int]:
        return [worker.process.pid for worker in self._workers if worker.process is not None]

    async def run(self, on_ready: Callable[[], Awaitable[None]]) -> int:
        """Keep them until a signal, then see them off. Cancelled from outside, they are killed.

        Args:
            on_ready: called once, when all can take calls.

        Returns:
            the exit status: 0 when all left by themselves; 1 when some had to be killed. When one does not even start
            at the beginning, all end, and the status is its own.
        """
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._obey, signals)
                nursery.start_soon(self._announce, on_ready)
                nursery.start_soon(self._put_an_end)
                async with trio.open_nursery() as keeping:
                    for worker in self._workers:
                        keeping.start_soon(self._keep, worker)
                nursery.cancel_scope.cancel()
        return self.status

    async def _announce(self, on_ready: Callable[[], Awaitable[None]]) -> None:
        for worker in self._workers:
            await worker.was_ready.wait()
        await on_ready()

    async def _obey(self, signals: AsyncIterator[int]) -> None:
        """The first signal drains; each further one ends the calls' patience."""
        await anext(signals)
        log.info("draining all workers")
        self._drain()
        async for _ in signals:
            for worker in self._workers:
                await worker.tell(HURRY)

    def _drain(self) -> None:
        if not self._draining.is_set():
            self._draining.set()
            for worker in self._workers:
                worker.terminate()

    async def _put_an_end(self) -> None:
        """Whoever is still there long after the last goodbye is killed."""
        await self._draining.wait()
        await trio.sleep(self._leave_within_s)
        for worker in self._workers:
            if worker.process is not None:
                log.error("worker killed", worker=worker.number, why="it did not leave in time")
                self.status = 1
                worker.kill()

    async def _keep(self, worker: _Worker) -> None:
        """One process after the other in this place, until all drain."""
        pause_s = FIRST_PAUSE_S
        while not self._draining.is_set():
            began_at = trio.current_time()
            status = await self._live(worker)
            if self._draining.is_set():
                break
            if not worker.was_ready.is_set():
                log.error("worker does not start", worker=worker.number, status=status)
                self.status = status if status > 0 else 1
                self._drain()
                break
            if trio.current_time() - began_at > STEADY_S:
                pause_s = FIRST_PAUSE_S
            log.error("worker ended", worker=worker.number, status=status, again_in_s=pause_s)
            with trio.move_on_after(pause_s):
                await self._draining.wait()
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _live(self, worker: _Worker) -> int:
        """One process, from start to end. Returns its exit status."""
        worker.ready, worker.is_empty = trio.Event(), False
        process = worker.process = await trio.lowlevel.open_process(
            [sys.executable, "-m", *self._command(worker.number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=tuple(self._pass_fds),
            process_group=0,  # Ctrl-C is for us alone: we tell them
        )
        log.info("worker started", worker=worker.number, pid=process.pid)
        try:
            if self._draining.is_set():
                process.terminate()
            async with trio.open_nursery() as nursery:
                heard_all = trio.Event()
                nursery.start_soon(self._listen, worker, process, heard_all)
                nursery.start_soon(self._expect_ready, worker, process)
                status = await process.wait()
                with trio.move_on_after(LAST_LINES_S):  # a process of a tool's may hold the pipe open
                    await heard_all.wait()
                nursery.cancel_scope.cancel()
        finally:
            worker.process, worker.is_empty = None, True
            with trio.move_on_after(REAP_S, shield=True):  # waits for nobody but the kernel
                process.kill()
                await process.wait()
                for pipe in (process.stdin, process.stdout):
                    if pipe is not None:
                        await pipe.aclose()
        await self._dismiss_if_all_empty()
        return status

    async def _expect_ready(self, worker: _Worker, process: trio.Process) -> None:
        with trio.move_on_after(READY_S):
            await worker.ready.wait()
            return
        log.error("worker killed", worker=worker.number, why=f"not ready within {READY_S:g} s")
        process.kill()

    async def _listen(self, worker: _Worker, process: trio.Process, heard_all: trio.Event) -> None:
        """Hear what a worker says: lines of JSON."""
        assert process.stdout is not None
        line = b""
        async for some in process.stdout:
            *lines, line = (line + some)[-MOST_LINE_BYTES:].split(b"\n")
            for one in lines:
                await self._hear(worker, _read(one))
        heard_all.set()

    async def _hear(self, worker: _Worker, said: dict[str, Any]) -> None:
        if said.get("ready"):
            worker.ready.set()
            worker.was_ready.set()
        elif said.get("empty"):
            worker.is_empty = True
            if not self._draining.is_set():  # somebody has told it alone to end: it goes, and is started again
                await worker.dismiss()
            await self._dismiss_if_all_empty()

    async def _dismiss_if_all_empty(self) -> None:
        if self._draining.is_set() and all(worker.is_empty for worker in self._workers):
            for worker in self._workers:
                await worker.dismiss()


def _read(line: bytes) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except ValueError:
        return {}  # something printed: a tool's debugging, perhaps
    return said if isinstance(said, dict) else {}
