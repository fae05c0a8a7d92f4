"""Child processes that say when they are ready, and never outlive us: the twins, and the service in the demo."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from engine.errors import CallscopeError

READY_S = 60.0  # a cold disk and a busy machine; ordinarily under two seconds
STOP_S = 5.0
LAST_LINES = 12


class ChildFailed(CallscopeError):
    """A child process ended or hung before it was ready; the message holds the end of its log."""


@dataclass
class Child:
    """A child process that is ready."""

    name: str
    process: trio.Process
    ready: Mapping[str, Any]  # what it said of itself
    log: Path

    @property
    def url(self) -> str:
        return str(self.ready["url"])

    async def stop(self) -> int | None:
        """SIGTERM, then SIGKILL after 5 s. Returns the exit status."""
        if self.process.returncode is None:
            self.process.terminate()
            with trio.move_on_after(STOP_S):
                await self.process.wait()
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                await pipe.aclose()
        return self.process.returncode


async def start_child(
    name: str,
    arguments: Sequence[str],
    *,
    logs: Path,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    cwd: Path | None = None,
) -> Child:
    """Start `python -m …` with these arguments, in `cwd` or here, and wait until it prints its line of JSON.

    Raises:
        ChildFailed: it ended or said nothing in time.
    """
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"{name}.log"
    with log.open("wb") as errors:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **(env or {}), "CALLSCOPE_PARENT": str(os.getpid())},
            pass_fds=tuple(pass_fds),
            cwd=cwd,
        )
    try:
        with trio.fail_after(READY_S):
            ready = await _ready_line(process)
    except (trio.TooSlowError, ValueError):
        await Child(name, process, {}, log).stop()
        raise ChildFailed(f"{name} did not start; the end of {log}:\n{_tail(log)}") from None
    except BaseException:
        with trio.CancelScope(shield=True):
            await Child(name, process, {}, log).stop()
        raise
    return Child(name, process, ready, log)


async def _ready_line(process: trio.Process) -> Mapping[str, Any]:
    """The first line that the child prints.

    Raises:
        ValueError: it closed its output, or printed something else.
    """
    assert process.stdout is not None
    line = b""
    while not line.endswith(b"\n"):
        some = await process.stdout.receive_some(4096)
        if not some:
            raise ValueError("the child ended")
        line += some
    said: Mapping[str, Any] = json.loads(line.splitlines()[0])
    return said


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-LAST_LINES:]) or "  (empty)"


def end_with_parent() -> None:
    """Called by a child: it ends when its parent does, however that happens.

    The parent holds the other end of our input. (The kernel's own parent-death signal goes by the thread that started
    us, and Trio's worker threads come and go.)
    """
    if "CALLSCOPE_PARENT" not in os.environ:
        return

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
