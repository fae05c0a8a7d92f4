"""Hot reload: the agent file, its tools or its clips change, and the calls that come from then on get the new version.

Calls that live keep what they began with: agent, toolbox and lines are theirs (`Services` is replaced, never changed).
A version that has faults is not taken; what is wrong is told, and the one before stays.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import structlog
import trio

from actors.supervisor import Supervisor
from actors.tools.runner import ToolRunner
from actors.vapi_rest import VapiRest
from engine.agent import Silence
from engine.errors import BadSettings, VapiTrouble
from engine.lines import LineBook
from web.agents import LoadedAgent
from web.assistant import Assistant, assistant_answer, assistant_body, call_bodies
from web.clips import line_book
from web.file_watch import EVERY_S, FileWatch, Watch, keep_current, load_in_thread
from web.settings import Settings
from web.siblings import Place
from web.vapi_hooks import VapiDoor

__all__ = ["Versions"]

log = structlog.get_logger(__name__)


class Versions:
    """The agent's versions in a running service: the newest is what new calls get.

    Args:
        assistant: the first version's; `prepare_assistant` finds or creates it.
        book: makes the audio of an agent's own lines.
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
        book: Callable[[Silence, Path], Awaitable[LineBook]] = line_book,
    ) -> None:
        self._settings, self._supervisor, self._door = settings, supervisor, door
        self._vapi, self._assistant, self._place, self._book = vapi, assistant, place, book
        self.newest, self.number = loaded, 1
        self._update: trio.CancelScope | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        return self.newest.files

    async def run(self, watch: Watch | None = None) -> None:
        """Take what changes, until cancelled."""
        async with trio.open_nursery() as nursery:
            take = partial(self.take, nursery)
            load = partial(load_in_thread, ways_out=self.newest.ways_out)
            await keep_current(self.newest.path, watch or FileWatch(lambda: self.files), take, load=load)

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
        lines = await self._book(agent.silence, fresh.path.parent)
        assistant = Assistant(id=saved or None)
        services = replace(
            self._supervisor.services,
            toolbox=fresh.toolbox,
            agent=agent,
            lines=lines,
            runner=ToolRunner(),  # limits and breakers by the new policies, and nothing cached of the old tools
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
