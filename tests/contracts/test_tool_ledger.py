"""What every tool ledger must find in the journal of a call whose process died. Real files, real time, short."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from actors.journal_memory import MemoryJournal
from actors.journal_sqlite import SqliteJournal
from actors.ports import Journal
from actors.tools.ledger import MemoryToolLedger, SqliteToolLedger, ToolLedger
from engine.journal import Kind, Record
from engine.ledger import Stage
from engine.tools import ToolEffect, ToolResult

CALL, AGENT, CALLER = "call-a", "agent-a", "+15550123"
ASKED = {"tool_call_id": "t1", "name": "book", "arguments": {"party": 2}, "effect": "commit"}
INTENT = ASKED | {"key": "cs-1"}
RESULT = {"tool_call_id": "t1", "name": "book", "ok": True, "text": "Booked.", "took_ms": 5.0}


@asynccontextmanager
async def opened(kind: str, folder: Path) -> AsyncIterator[tuple[Journal, ToolLedger]]:
    if kind == "memory":
        memory = MemoryJournal()
        yield memory, MemoryToolLedger(memory)
    else:
        async with SqliteJournal.open(folder / "journal.sqlite3") as journal:
            yield journal, SqliteToolLedger(journal.path)


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Journal, ToolLedger]]:
    async with opened(request.param, tmp_path) as both:
        yield both


async def written(
    journal: Journal, *notes: tuple[str, dict[str, Any]], call_id: str = CALL, agent: str = AGENT
) -> None:
    facts = [("Opened", {"from": CALLER}), ("AgentCreated", {"agent_call_id": agent}), *notes]
    for seq, (name, data) in enumerate(facts):
        kind = {"Opened": Kind.OPENED, "ToolRequested": Kind.EVENT}.get(name, Kind.NOTE)
        journal.append(
            Record(call_id, seq, at_ms=seq * 10.0, wall_s=1_790_000_000 + seq / 100, kind=kind, name=name, data=data)
        )
    await journal.flush()


@pytest.mark.parametrize(
    ("notes", "stage", "key"),
    [
        ([], Stage.WAITING, ""),
        ([("ToolRequested", ASKED)], Stage.WAITING, ""),
        ([("ToolRequested", ASKED), ("ToolIntent", INTENT)], Stage.UNKNOWN, "cs-1"),
        ([("ToolRequested", ASKED), ("ToolIntent", INTENT), ("ToolResult", RESULT)], Stage.DONE, "cs-1"),
    ],
)
async def test_how_far_it_came(
    store: tuple[Journal, ToolLedger], notes: list[tuple[str, dict[str, Any]]], stage: Stage, key: str
) -> None:
    """Asked for, intended, done: the same in memory and on disk."""
    journal, found_by = store
    await written(journal, *notes)
    past = await found_by.find(AGENT, "t1")
    assert past is not None
    assert (past.stage, past.key, past.number, past.next_seq) == (stage, key, CALLER, 2 + len(notes))
    assert past.opened_wall_s == pytest.approx(1_790_000_000)
    if notes:
        assert (past.name, past.arguments, past.effect) == ("book", {"party": 2}, ToolEffect.COMMIT)
    if stage is Stage.DONE:
        assert past.result == ToolResult("t1", "book", "Booked.", ok=True, took_ms=5.0)


async def test_other_calls_are_other_calls(store: tuple[Journal, ToolLedger]) -> None:
    """The same tool call id in another call, or another one in this call, is something else."""
    journal, found_by = store
    await written(journal, ("ToolIntent", INTENT), ("ToolResult", RESULT))
    await written(journal, ("ToolRequested", ASKED), call_id="call-b", agent="agent-b")
    other_call, other_tool = await found_by.find("agent-b", "t1"), await found_by.find(AGENT, "t2")
    assert other_call is not None and (other_call.call_id, other_call.result) == ("call-b", None)
    assert other_tool is not None and (other_tool.name, other_tool.result) == ("", None)
    assert await found_by.find("agent-c", "t1") is None
