"""What was done and nobody could be told of is taken back, where its tool names another one that does so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
import trio

from actors.tool_host import ToolHost
from actors.tool_run import ToolRun
from actors.tools.detached import Detached
from actors.tools.port import Caller, ToolContext
from actors.tools.runner import Outcome, ToolRunner
from actors.tools.toolbox import Toolbox
from engine import ledger
from engine.errors import JournalUnavailable
from engine.ledger import Stage

log = structlog.get_logger(__name__)

Settle = Callable[[ToolRun, Outcome], Awaitable[None]]


class ToolUndo:
    """Takes back the effects of one call.

    Args:
        runs: the call's; an undo is one more of them.
    """

    def __init__(
        self,
        host: ToolHost,
        runs: dict[str, ToolRun],
        *,
        toolbox: Toolbox,
        runner: ToolRunner,
        home: Detached,
        caller: Caller,
    ) -> None:
        self._host, self._runs = host, runs
        self._toolbox, self._runner, self._home, self._caller = toolbox, runner, home, caller

    def over(self, host: ToolHost) -> None:
        """The call is over. `host`: what is left of it."""
        self._host = host

    def is_possible(self, run: ToolRun) -> bool:
        """Whether it happened, and there is a tool that takes it back."""
        return (
            run.tool is not None
            and bool(run.tool.spec.policy.undo)
            and run.stage is Stage.DONE
            and run.result is not None
            and run.result.ok
        )

    def if_untold(self, run: ToolRun, settle: Settle) -> None:
        """The caller hung up, and the agent never heard that it was done: take it back.

        `settle`: what is done with the outcome. It is its owner's and not kept: ended calls are freed by counts alone.
        """
        if not self.is_possible(run) or run.tool is None or run.result is None:
            return
        undo = self._toolbox.tools.get(run.tool.spec.policy.undo)
        if undo is not None:
            given = {**run.arguments, "result": run.result.text}
            known = undo.spec.parameters.get("properties", {})
            arguments = {name: value for name, value in given.items() if name in known}
            taken_back = ToolRun(f"{run.tool_call_id}/undo", undo.spec.name, trio.current_time(), undo)
            taken_back.effect, taken_back.arguments, taken_back.ordered = undo.spec.effect, arguments, True
            if taken_back.tool_call_id not in self._runs and self._home.start(self._take_back, run, taken_back, settle):
                self._runs[taken_back.tool_call_id] = taken_back
        run.forget()

    async def _take_back(self, run: ToolRun, taken_back: ToolRun, settle: Settle) -> None:
        """Run the undo: an effect of its own, with its own intent and result."""
        tool = taken_back.tool
        assert tool is not None
        with self._home.shield():
            try:
                taken_back.fitting = tool.fit(taken_back.arguments)
                taken_back.same = ledger.canonical(taken_back.fitting)
                taken_back.key = ledger.key_of(self._host.journal.call_id, tool.spec.name, taken_back.same, 0)
                context = ToolContext(self._caller, taken_back.tool_call_id, taken_back.key)
                outcome = await self._runner.run(
                    tool, taken_back.fitting, context, before=lambda: self._intend(taken_back)
                )
            except Exception as crash:
                log.exception("undo crashed", tool=tool.spec.name)
                outcome = Outcome(f"{tool.spec.name} failed ({type(crash).__name__}).", ok=False)
            await settle(taken_back, outcome)
        self._host.journal.try_note(
            "ToolUndone", {"tool_call_id": run.tool_call_id, "name": run.name, "by": tool.spec.name, "ok": outcome.ok}
        )

    async def _intend(self, taken_back: ToolRun) -> bool:
        taken_back.stage = Stage.RUNNING
        intent = {
            "tool_call_id": taken_back.tool_call_id,
            "name": taken_back.name,
            "arguments": dict(taken_back.arguments),
            "effect": taken_back.effect.value,
            "key": taken_back.key,
        }
        try:
            await self._host.journal.commit("ToolIntent", trio.current_time(), intent)
        except JournalUnavailable as trouble:
            log.error("undo goes on without its intent", tool=taken_back.name, why=str(trouble))  # noqa: TRY400
        return True
