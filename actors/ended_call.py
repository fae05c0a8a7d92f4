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
from engine import events as e
from engine.tools import ToolResult
from engine.wire import vapi

OVER = "The call is over."


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
    answers: Mapping[str, ToolResult] = field(repr=False)
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

    def answer_tools(self, asked: Sequence[vapi.ToolCall]) -> list[ToolResult]:
        """The first answer to what was asked before; a refusal to all else."""
        return [self._answer(one) for one in asked]

    def _answer(self, one: vapi.ToolCall) -> ToolResult:
        known = self.answers.get(one.id)
        if known is not None:
            self.note("ToolRepeated", {"tool_call_id": one.id})
            return known
        refused = ToolResult(one.id, one.name, OVER, ok=False)
        data = {"tool_call_id": one.id, "name": one.name, "ok": False, "text": OVER}
        self.journal.try_note("ToolResult", data)
        return refused
