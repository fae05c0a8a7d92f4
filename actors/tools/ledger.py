"""Where the tool calls of calls are found whose process died: in their journals. A port, and two who fulfil it.

Nothing is written here. Intents and results are records of the call's journal, written by whoever lives the call; what
they add up to is `engine.ledger.past_of`. One contract suite (`tests/contracts/test_tool_ledger.py`) runs on both.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import trio

from actors.journal_reader import records_of_agent_call
from actors.ports import Journal
from engine.journal import Kind, Record
from engine.ledger import Past, past_of

MOST_READERS = 2


class ToolLedger(Protocol):
    """Reads what is known of a tool call."""

    async def find(self, agent_call_id: str, tool_call_id: str) -> Past | None:
        """What the journal of the call with this Vapi call says; None when there is no such call.

        Raises:
            BadSettings: the journal cannot be read.
        """


class _JournalOfIds(Journal, Protocol):
    @property
    def call_ids(self) -> Sequence[str]: ...


class MemoryToolLedger:
    """Fulfils `ToolLedger` with a journal in memory: for tests, and the oracle of the other."""

    def __init__(self, journal: _JournalOfIds) -> None:
        self._journal = journal

    async def find(self, agent_call_id: str, tool_call_id: str) -> Past | None:
        for call_id in self._journal.call_ids:
            records = await self._journal.read(call_id)
            if any(_is_of(record, agent_call_id) for record in records):
                return past_of(records, tool_call_id)
        return None


class SqliteToolLedger:
    """Fulfils `ToolLedger` with the journal's file, also while another process writes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._limiter = trio.CapacityLimiter(MOST_READERS)

    async def find(self, agent_call_id: str, tool_call_id: str) -> Past | None:
        records = await trio.to_thread.run_sync(records_of_agent_call, self._path, agent_call_id, limiter=self._limiter)
        return past_of(records, tool_call_id)


def _is_of(record: Record, agent_call_id: str) -> bool:
    return (
        record.kind is Kind.NOTE and record.name == "AgentCreated" and record.data.get("agent_call_id") == agent_call_id
    )
