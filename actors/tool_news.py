"""What comes of tools outside of their webhooks: late results, and what the model may have forgotten with a turn.

It is put into the agent's conversation, or said, once nobody speaks: a message in the middle of a turn is easily lost
(reference/vapi.md §4.5).
"""

from __future__ import annotations

import trio

from actors.tool_host import ToolHost
from actors.tool_run import ToolRun
from actors.tools.detached import Detached
from engine import events as e
from engine.call import Call
from engine.ledger import HAS_ANSWERED, WAS_DONE, Stage
from engine.phases import Phase
from engine.wire import vapi

VAPI_STOPS_S = 0.4  # so long after a speech Vapi takes messages again
LONGEST_WAIT_S = 20.0  # for nobody to speak; then it is told all the same


def is_calm(call: Call) -> bool:
    """Whether nobody speaks, or is about to."""
    nobody_speaks = call.phase in (Phase.LISTENING, Phase.TOOL_PENDING) and not call.ours
    return nobody_speaks and call.held_at is None and not call.caller_voiced and not call.agent_talking


class ToolNews:
    """The news for one call's agent."""

    def __init__(self, host: ToolHost, home: Detached) -> None:
        self._host, self._home = host, home
        self._calm: trio.Event | None = None  # somebody waits for it
        self._telling: set[trio.CancelScope] = set()
        self._over = False

    def after_step(self) -> None:
        if self._calm is not None and is_calm(self._host.call):
            self._calm.set()
            self._calm = None

    def over(self, host: ToolHost) -> None:
        """Nobody is there to be told any more. `host`: what is left of the call."""
        self._over, self._host = True, host
        for scope in self._telling:
            scope.cancel()

    def late(self, run: ToolRun, *, wanted: bool, how: str = "") -> None:
        """A result for which no webhook waits any more."""
        how = how or (run.tool.spec.policy.late if run.tool is not None else "keep")
        if not wanted or self._over:
            how = "keep"
        assert run.result is not None
        if how == "keep" or not self._home.start(self._deliver, run, how, run.result.ok, run.result.text):
            self._note(run, "keep", wanted=wanted)

    def tell_again(self, run: ToolRun) -> None:
        """It was done, and the turn in which the model heard of it may be lost."""
        assert run.result is not None
        words = WAS_DONE.format(name=run.name, text=run.result.text) if run.result.ok else run.result.text
        self._home.start(self._remind, run, words)

    async def _deliver(self, run: ToolRun, how: str, ok: bool, text: str) -> None:
        words = HAS_ANSWERED.format(name=run.name, text=text)
        message = vapi.say(text) if how == "say" and ok else vapi.add_message("system", words, respond=True)
        if not await self._tell_when_calm(message):
            self._note(run, "keep", wanted=True)
            return
        if run.stage is Stage.DONE:
            run.stage = Stage.TOLD
        self._note(run, how, wanted=True)

    async def _remind(self, run: ToolRun, words: str) -> None:
        if await self._tell_when_calm(vapi.add_message("system", words, respond=False)):
            self._host.journal.try_note("ToolToldAgain", {"tool_call_id": run.tool_call_id, "name": run.name})

    async def _tell_when_calm(self, message: bytes) -> bool:
        with trio.CancelScope() as scope:
            self._telling.add(scope)
            try:
                with trio.move_on_after(LONGEST_WAIT_S):
                    await self._wait_calm()
            finally:
                self._telling.discard(scope)
        return not self._over and not scope.cancelled_caught and self._host.tell_agent(message)

    async def _wait_calm(self) -> None:
        while True:
            await trio.sleep(VAPI_STOPS_S)
            if is_calm(self._host.call):
                return
            if self._calm is None:
                self._calm = trio.Event()
            await self._calm.wait()

    def _note(self, run: ToolRun, how: str, *, wanted: bool) -> None:
        result = run.result
        assert result is not None
        data = {"tool_call_id": run.tool_call_id, "name": run.name, "how": how, "wanted": wanted, "ok": result.ok}
        self._host.journal.try_note("ToolLateResult", data)
        if run.is_known and not self._over:
            self._host.post(
                e.ToolLate(
                    at=trio.current_time(),
                    tool_call_id=run.tool_call_id,
                    ok=result.ok,
                    took_ms=result.took_ms,
                    how=how,
                )
            )
