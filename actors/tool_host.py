"""What the tool calls of a call need of it; and what is left of it when they go on without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from actors.call_journal import CallJournal
from engine import events as e
from engine.call import Call


class ToolHost(Protocol):
    """What the tools need of their call."""

    @property
    def call(self) -> Call: ...

    @property
    def journal(self) -> CallJournal: ...

    def post(self, fact: e.Event) -> None: ...

    def tell_agent(self, message: bytes) -> bool:
        """A text frame to Vapi; False when it cannot be told."""


@dataclass(frozen=True, slots=True)
class NoHost:
    """What is left of a call for runs that go on without it: the call itself is freed at once."""

    call: Call
    journal: CallJournal

    def post(self, fact: e.Event) -> None:
        self.journal.late(fact)

    def tell_agent(self, message: bytes) -> bool:
        return False
