"""Hot reload: the agent file, its tools or its clips change, and the calls that come from then on get the new version.

Calls that live keep what they began with: agent, toolbox and lines are theirs (`Services` is replaced, never changed).
A version that has faults is not taken; what is wrong is told, and the one before stays. Files are looked at twice a
second: nothing to install, and it works on every file system.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

import structlog
import trio

from actors.supervisor import Supervisor
from actors.vapi_rest import VapiRest
from engine.errors import BadSettings, VapiTrouble
from web.agents import LoadedAgent, load_agent
from web.assistant import Assistant, assistant_answer, assistant_body, call_bodies
from web.clips import line_book
from web.settings import Settings
from web.siblings import Place
from web.vapi_hooks import VapiDoor

__all__ = ["FileWatch", "Versions", "Watch", "keep_current", "load_in_thread"]

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


async def load_in_thread(path: Path) -> LoadedAgent:
    """The agent, read and imported beside the calls.

    Raises:
        BadSettings: it has faults, or its tools do not come back from their import.
    """
    with trio.move_on_after(LOAD_S):
        return await trio.to_thread.run_sync(partial(load_agent, path), abandon_on_cancel=True)
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


class Versions:
    """The agent's versions in a running service: the newest is what new calls get.

    Args:
        assistant: the first version's; `prepare_assistant` finds or creates it.
    """

    def __init__(
        self,
        settings: Settings,
        loaded: LoadedAgent,
        *,
        supervisor: Supervisor,
        door: VapiDoor,
        vapi: VapiRest,
        assistant: Assistant,
        place: Place | None = None,
    ) -> None:
        self._settings, self._supervisor, self._door = settings, supervisor, door
        self._vapi, self._assistant, self._place = vapi, assistant, place
        self.newest, self.number = loaded, 1
        self._update: trio.CancelScope | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        return self.newest.files

    async def run(self, watch: Watch | None = None) -> None:
        """Take what changes, until cancelled."""
        async with trio.open_nursery() as nursery:
            take = partial(self.take, nursery)
            await keep_current(self.newest.path, watch or FileWatch(lambda: self.files), take)

    async def take(self, nursery: trio.Nursery, fresh: LoadedAgent) -> None:
        """Give it to the calls that come; update the assistant that Vapi keeps, in this nursery.

        New calls carry the assistant whole: an update of the saved one may not be everywhere at once, and a call that
        lives must not change under its caller. A saved assistant that is not ours is named as before.

        Raises:
            BadSettings: it has clips that cannot be used, or no assistant at all.
        """
        agent = fresh.agent
        saved = self._settings.vapi_assistant_id or agent.assistant_id
        if agent.assistant is None and not saved:
            raise BadSettings(f"{fresh.path}: no assistant: give it an `assistant:`, or set VAPI_ASSISTANT_ID")
        lines = await line_book(agent.silence, fresh.path.parent)
        assistant = Assistant(id=saved or None)
        services = replace(
            self._supervisor.services,
            toolbox=fresh.toolbox,
            agent=agent,
            lines=lines,
            agent_call_body=call_bodies(self._settings, fresh, assistant, self._place),
        )
        self._supervisor.services = services
        self._door.answer_requests_with(assistant_answer(self._settings, fresh))
        self.newest, self.number = fresh, self.number + 1
        log.info("agent file taken: new calls have it", version=self.number, live=len(self._supervisor.live))
        if self._update is not None:
            self._update.cancel()
        if not saved and (self._place is None or self._place.worker == 0):
            self._update = trio.CancelScope()
            nursery.start_soon(self._update_saved, fresh, self._update)

    async def _update_saved(self, fresh: LoadedAgent, scope: trio.CancelScope) -> None:
        """For those who look at the dashboard, and for calls that reach Vapi without us."""
        with scope:
            while self._assistant.id is None:  # the first version is still being made: one after the other
                await trio.sleep(EVERY_S)
            try:
                await self._vapi.ensure_assistant(fresh.agent.name, assistant_body(self._settings, fresh))
            except VapiTrouble as trouble:
                log.warning("the saved assistant keeps its older version; calls carry the new one", why=str(trouble))
