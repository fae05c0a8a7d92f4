"""What is left of a call once it is over: enough to answer late and repeated webhooks, and no more.

Vapi sends its report seconds after the end, Twilio its last callbacks; both retry. Many ended calls are remembered for
minutes, so each is about a kilobyte: no nursery, no audio, no sockets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import trio

from actors.call_journal import CallJournal
from actors.tool_run import ToolRun
from engine import events as e
from engine.ledger import OVER
from engine.tools import ToolResult
from engine.wire import vapi


@dataclass(slots=True)
class EndedCall:
    """One ended call."""

    call_id: str
    call_sid: str
    agent_call_id: str | None
    journal: CallJournal = field(repr=False)
    words: str = field(repr=False)  # what Twilio shall say, when it has not asked yet
    number: str | None = field(repr=False)
    handed_over: bool
    reported: bool
    runs: Mapping[str, ToolRun] = field(repr=False)
    ended_at: float = field(default_factory=trio.current_time)

    def post(self, fact: e.Event) -> None:
        self.journal.late(fact)

    def note(self, name: str, data: Mapping[str, Any]) -> None:
        self.journal.note(name, data)

    def report(self, ended_reason: str) -> bool:
        """The end-of-call report; False for a copy of one that was consumed already."""
        if self.reported:
            return False
        self.reported = True
        self.post(e.ReportArrived(at=trio.current_time(), ended_reason=ended_reason))
        return True

    async def run_tools(self, asked: Sequence[vapi.ToolCall], *, deadline_s: float) -> list[ToolResult]:
        """The first answer to what was asked before, also where it still works; a refusal to all else."""
        until = trio.current_time() + deadline_s
        return [await self._answer(one, until) for one in asked]

    async def _answer(self, one: vapi.ToolCall, until: float) -> ToolResult:
        known = self.runs.get(one.id)
        if known is not None:
            self.note("ToolRepeated", {"tool_call_id": one.id})
            await known.wait_answer(until)
            return known.answer()
        refused = ToolResult(one.id, one.name, OVER, ok=False)
        data = {"tool_call_id": one.id, "name": one.name, "ok": False, "text": OVER}
        self.journal.try_note("ToolResult", data)
        return refused
