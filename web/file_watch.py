"""Watches an agent's files by polling, and takes each version that has no faults: nothing to install for it."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Protocol

import structlog
import trio

from actors.tools.ways_out import WaysOut
from engine.errors import BadSettings
from web.agents import LoadedAgent, load_agent

__all__ = ["EVERY_S", "FileWatch", "Watch", "keep_current", "load_in_thread"]

log = structlog.get_logger(__name__)

EVERY_S = 0.5
LOAD_S = 30.0  # a tools file that does not come back from its own import must not hold the next version up

Stamp = tuple[int, int, int]


class Watch(Protocol):
    """Says when files have changed."""

    async def wait_changed(self) -> None:
        """Return once something has changed since the last time, and has come to rest."""


class FileWatch:
    """Looks at files by polling.

    Args:
        files: which, asked anew each time: a new version may have others.
    """

    def __init__(self, files: Callable[[], Iterable[Path]], *, every_s: float = EVERY_S) -> None:
        self._files, self._every_s = files, every_s
        self._stamps = _stamps(files())
        self._hashes = _hashes(self._stamps)

    async def wait_changed(self) -> None:
        """Fulfils `Watch`. Half-written files are waited for; a file that was only touched has not changed."""
        while True:
            await trio.sleep(self._every_s)
            stamps = await trio.to_thread.run_sync(_stamps, tuple(self._files()))
            if stamps == self._stamps:
                continue
            while True:
                await trio.sleep(self._every_s)
                again = await trio.to_thread.run_sync(_stamps, tuple(self._files()))
                if again == stamps:
                    break
                stamps = again
            self._stamps = stamps
            hashes = await trio.to_thread.run_sync(_hashes, stamps)
            if hashes != self._hashes:
                self._hashes = hashes
                return


def _stamps(files: Iterable[Path]) -> dict[Path, Stamp | None]:
    """When and how each file was last written; None where there is none."""
    found: dict[Path, Stamp | None] = {}
    for path in files:
        try:
            status = path.stat()
            found[path] = (status.st_mtime_ns, status.st_size, status.st_ino)
        except OSError:
            found[path] = None
    return found


def _hashes(files: Iterable[Path]) -> dict[Path, bytes]:
    found = {}
    for path in files:
        try:
            found[path] = hashlib.sha256(path.read_bytes()).digest()
        except OSError:
            found[path] = b""
    return found


async def load_in_thread(path: Path, *, ways_out: WaysOut | None = None) -> LoadedAgent:
    """The agent, read and imported beside the calls. Its tools use the ways out that are open, if there are any.

    Raises:
        BadSettings: it has faults, or its tools do not come back from their import.
    """
    with trio.move_on_after(LOAD_S):
        return await trio.to_thread.run_sync(partial(load_agent, path, ways_out=ways_out), abandon_on_cancel=True)
    raise BadSettings(f"{path}: its tools were not there after {LOAD_S:g} s")


async def keep_current(
    path: Path,
    watch: Watch,
    take: Callable[[LoadedAgent], Awaitable[None]],
    *,
    load: Callable[[Path], Awaitable[LoadedAgent]] = load_in_thread,
    told: Callable[[str], None] = lambda problem: log.error(
        "agent file not taken, the version before stays", why=problem
    ),
) -> None:
    """Take each new version that has no faults, until cancelled. `told` gets what is wrong with the others."""
    while True:
        await watch.wait_changed()
        try:
            await take(await load(path))
        except BadSettings as problem:
            told(str(problem))
        except Exception:  # a clip or a voice that fails in its own way is no reason to stop looking
            log.exception("agent file not taken, the version before stays")
