"""One call whole, from its records: turns, tool ledger, waterfalls, recording. Pure but for what is given in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.journal import Kind, Record
from web.api.redact import shown_data
from web.api.story import story
from web.api.summary import Summary, iso
from web.api.turns import turns, waterfalls
from web.api.types import CallDetail, CallFacts, RecordingInfo, ToolEntry, ToolRow

__all__ = ["call_detail", "ledger", "recording_offset_ms"]

MOST_ENTRIES = 50
_WORDS = {
    "ToolRequested": "asked for",
    "RunTool": "started",
    "ToolIntent": "intent on the disk",
    "ToolDone": "result on the disk",
    "ToolResult": "result",
    "ToolAnswered": "answered",
    "ToolRepeated": "asked for again: gets the first answer",
}


def call_detail(
    summary: Summary,
    records: Sequence[Record],
    recording: RecordingInfo | None,
    *,
    now_wall_s: float,
    transfer_to: Sequence[str] = (),
) -> CallDetail:
    row = summary.row(now_wall_s)
    fields = {name: getattr(row, name) for name in CallFacts.__struct_fields__}
    closed = next((record for record in records if record.kind is Kind.CLOSED), None)
    audio = closed.data.get("audio") if closed is not None else None
    return CallDetail(
        **{**fields, "has_recording": recording is not None},
        turns=turns(records),
        story=story(records, lost=summary.outcome == "lost"),
        certificates=[
            {"at_ms": record.at_ms, "at": _iso(record), **record.data}
            for record in records
            if record.name == "Interruption"
        ],
        tools=ledger(records, over=summary.ended),
        latency=waterfalls(records),
        audio=audio if isinstance(audio, dict) else None,
        recording=recording,
        recording_problem=summary.recording_problem,
        marks=[
            {"at_ms": record.at_ms, "at": _iso(record), **shown_data(record.data)}
            for record in records
            if record.name == "OperatorAction" and record.data.get("action") in ("mark", "unmark")
        ],
        transfer_to=list(transfer_to),
        records=len(records),
    )


def recording_offset_ms(records: Sequence[Record]) -> float:
    """When the recording's first sample was, on the call's clock: the caller's sound begins with Twilio's stream."""
    return next((record.at_ms for record in records if record.name == "StreamStarted"), 0.0)


def ledger(records: Sequence[Record], *, over: bool) -> list[ToolRow]:
    """Every tool call with all that is written of it."""
    by_id: dict[str, list[Record]] = {}
    for record in records:
        tool_call_id = record.data.get("tool_call_id")
        if isinstance(tool_call_id, str):
            by_id.setdefault(tool_call_id, []).append(record)
    return [_tool(tool_call_id, found, over=over) for tool_call_id, found in by_id.items()]


def _tool(tool_call_id: str, records: Sequence[Record], *, over: bool) -> ToolRow:
    def first(*names: str) -> Record | None:
        return next((record for record in records if record.name in names), None)

    asked, started = first("ToolRequested") or records[0], first("RunTool", "ToolIntent")
    result, answered = first("ToolResult"), first("ToolAnswered")
    name = next((str(one.data["name"]) for one in records if isinstance(one.data.get("name"), str)), "?")
    arguments = next((one.data["arguments"] for one in records if isinstance(one.data.get("arguments"), dict)), None)
    took_ms = answered.data.get("took_ms") if answered is not None else None
    if result is not None:
        state = "ok" if result.data.get("ok") else "failed"
    elif over:
        state = "unknown"
    else:
        state = "running" if started is not None else "asked"
    text = result.data.get("text") if result is not None else None
    return ToolRow(
        tool_call_id=tool_call_id,
        name=name,
        arguments=shown_data(arguments) if arguments is not None else None,
        asked_ms=asked.at_ms,
        answered_ms=result.at_ms if result is not None else None,
        took_ms=float(took_ms) if isinstance(took_ms, int | float) else None,
        state=state,
        text=text if isinstance(text, str) else None,
        repeated=sum(record.name == "ToolRepeated" for record in records),
        entries=[_entry(record) for record in records[:MOST_ENTRIES]],
    )


def _entry(record: Record) -> ToolEntry:
    left_out = ("tool_call_id", "name", "arguments")
    data: dict[str, Any] = {key: value for key, value in record.data.items() if key not in left_out}
    return ToolEntry(record.at_ms, _WORDS.get(record.name, record.name), shown_data(data))


def _iso(record: Record) -> str:
    return iso(record.wall_s)
