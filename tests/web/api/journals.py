"""Journals as the service writes them, with calls whose every record is known."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from actors.journal_file import Entry, JournalFile
from engine.journal import Kind, Record
from engine.recording import file_name, wav_header

EVENT, EFFECT, PHASE, NOTE = Kind.EVENT, Kind.EFFECT, Kind.PHASE, Kind.NOTE
BEGAN_S = 1_699_948_800.0  # 2023-11-14T08:00:00Z
CALLER = "+12025550123"
BOOKING = {"tool_call_id": "t1", "name": "book_table"}
Line = tuple[float, Kind, str, dict[str, Any]]

GREETED: Sequence[Line] = (
    (10.0, EVENT, "StreamStarted", {"stream_sid": "MZ1"}),
    (40.0, EVENT, "AgentConnected", {"agent_call_id": "v1"}),
    (40.0, PHASE, "listening", {"from": "connecting"}),
    (450.0, EVENT, "UtteranceStarted", {"utterance": 1, "ours": False}),
    (450.0, PHASE, "speaking", {"from": "listening"}),
    (1450.0, NOTE, "AgentHeard", {"utterance": 1, "text": "Good evening.", "cut": False, "heard_ms": 1000.0,
                                  "of_ms": 1000.0, "generated": "Good evening."}),
    (1450.0, EVENT, "PlaybackDone", {"utterance": 1, "heard_ms": 1000.0}),
    (1450.0, PHASE, "listening", {"from": "speaking"}),
)  # fmt: skip
ASKED: Sequence[Line] = (
    (2000.0, EVENT, "CallerVoice", {"onset_at": 101.96}),
    (3000.0, EVENT, "CallerQuiet", {"voiced_ms": 1000}),
    (3200.0, EVENT, "CallerTranscript", {"text": "a table for two please", "final": True}),
    (3300.0, EVENT, "ToolRequested", {**BOOKING, "arguments": {"party": 2}}),
    (3300.0, PHASE, "tool_pending", {"from": "listening"}),
    (3301.0, NOTE, "ToolIntent", BOOKING),
    (3500.0, NOTE, "ToolResult", {**BOOKING, "ok": True, "text": "Booked for two."}),
    (3500.0, EVENT, "ToolAnswered", {"tool_call_id": "t1", "ok": True, "took_ms": 199.0}),
    (3500.0, PHASE, "listening", {"from": "tool_pending"}),
    (3800.0, EVENT, "UtteranceStarted", {"utterance": 2, "ours": False}),
    (3800.0, PHASE, "speaking", {"from": "listening"}),
)
CUT: Sequence[Line] = (
    (4500.0, EVENT, "CallerVoice", {"onset_at": 104.46}),
    (4500.0, EFFECT, "Hold", {}),
    (4700.0, PHASE, "interrupted", {"from": "speaking"}),
    (4700.0, EFFECT, "Drop", {"reason": "words", "words": "no wait"}),
    (4700.0, NOTE, "AgentHeard", {"utterance": 2, "text": "Your table", "cut": True, "heard_ms": 700.0,
                                  "of_ms": 2700.0, "generated": "Your table for two is booked."}),
    (4750.0, NOTE, "Interruption", {"n": 1, "onset_at": 4.46, "hold_ms": 40.0, "clear_ms": 40.0, "silent_ms": 48.0,
                                    "decided_ms": 240.0, "decision": "dropped", "reason": "words",
                                    "words": "no wait", "heard_ms": 700.0, "unheard_ms": 2000.0}),
    (5000.0, EVENT, "CallerQuiet", {"voiced_ms": 500}),
    (5100.0, EVENT, "CallerTranscript", {"text": "no wait", "final": True}),
)  # fmt: skip
OVER: Sequence[Line] = (
    (9000.0, EVENT, "CallerHungUp", {"status": "completed"}),
    (9000.0, PHASE, "ended", {"from": "listening"}),
    (9010.0, Kind.CLOSED, "Closed", {"reason": "caller completed", "outcome": "completed", "duration_ms": 9010,
                                     "recording": {"path": "x.wav", "duration_ms": 9000.0, "problem": None}}),
)  # fmt: skip
REPORT: Line = (9500.0, EVENT, "ReportArrived", {"ended_reason": "customer-ended-call"})


def call_id_of(n: int) -> str:
    return f"call-{n:026d}"


def records_of(
    n: int, *parts: Iterable[Line], began_s: float = BEGAN_S, agent: str = "bistro", first_seq: int = 0
) -> list[Record]:
    """A call's records; it begins with `Opened` unless `first_seq` says that this is a later part."""
    opened = {"agent": agent, "direction": "inbound", "from": CALLER, "to": "+12025550199", "opened_at_s": 100.0}
    lines: list[Line] = [] if first_seq else [(0.0, Kind.OPENED, "Opened", opened)]
    for part in parts:
        lines += part
    return [
        Record(call_id_of(n), first_seq + seq, at_ms, began_s + at_ms / 1000, kind, name, dict(data))
        for seq, (at_ms, kind, name, data) in enumerate(lines)
    ]


def whole_call(n: int, **given: Any) -> list[Record]:
    return records_of(n, GREETED, ASKED, CUT, OVER, **given)


def write(data: Path, *calls: Iterable[Record]) -> None:
    """Append them to the journal of that folder, mixed as they come."""
    file = JournalFile(data / "journal.sqlite3")
    try:
        file.write([Entry.of(record) for call in calls for record in call])
    finally:
        file.close()


def write_recording(data: Path, n: int, seconds: int = 1) -> Path:
    """The caller silent, what they heard at half of full scale."""
    directory = data / "recordings"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / file_name(call_id_of(n))
    path.write_bytes(wav_header(8000 * seconds) + struct.pack("<hh", 0, 16384) * 8000 * seconds)
    return path
