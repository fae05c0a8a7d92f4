"""The journal's SQLite file: its schema, and writing to it. Every function here blocks; `actors.journal_sqlite` waits.

A record is one row, JSON as `engine.journal.encode` gives it, its key (call, number). Beside it stands `calls`, one
row a call for lists, made from the records as they are written and never the truth: the records are.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from actors.hidden import HIDDEN
from engine.errors import BadSettings, JournalUnavailable
from engine.journal import Kind, Record, decode, encode
from engine.masking import masked

SCHEMA_VERSION = 1
BUSY_S = 0.5  # so long a write waits for another process's transaction, in the worker thread
OPEN_S = 5.0  # so long opening waits for another process that is just making the file
MOST_SEQ = 2**63 - 1

_SCHEMA = """
CREATE TABLE records (
    row INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used twice: `tail` may rely on it
    call_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    line BLOB NOT NULL,
    UNIQUE (call_id, seq)
);
CREATE TABLE calls (
    call_id TEXT PRIMARY KEY,
    started_wall_s REAL NOT NULL,
    agent TEXT,
    direction TEXT,
    from_masked TEXT,
    to_masked TEXT,
    twilio_call_sid TEXT,
    phase TEXT,
    status TEXT NOT NULL DEFAULT 'open',
    reason TEXT,
    outcome TEXT,
    duration_ms REAL,
    recording_problem TEXT
) WITHOUT ROWID;
CREATE INDEX calls_by_start ON calls (started_wall_s);
"""
# Whose call a Vapi call is: a tool's webhook names no other. Added to files of this version that lack it.
_ADDED = "CREATE TABLE IF NOT EXISTS agent_calls (agent_call_id TEXT PRIMARY KEY, call_id TEXT NOT NULL) WITHOUT ROWID"
_AGENT_CREATED = "INSERT INTO agent_calls (agent_call_id, call_id) VALUES (?, ?) ON CONFLICT DO NOTHING"

_INSERT = "INSERT INTO records (call_id, seq, line) VALUES (?, ?, ?) ON CONFLICT (call_id, seq) DO NOTHING"
_OPENED = """
INSERT INTO calls (call_id, started_wall_s, agent, direction, from_masked, to_masked, twilio_call_sid)
VALUES (:call_id, :wall_s, :agent, :direction, :from_masked, :to_masked, :twilio_call_sid)
ON CONFLICT (call_id) DO UPDATE SET started_wall_s = min(started_wall_s, :wall_s), agent = :agent,
    direction = :direction, from_masked = :from_masked, to_masked = :to_masked, twilio_call_sid = :twilio_call_sid
"""
_PHASE = """
INSERT INTO calls (call_id, started_wall_s, phase) VALUES (:call_id, :wall_s, :phase)
ON CONFLICT (call_id) DO UPDATE SET phase = :phase
"""
# The first terminal record is the terminal record (reliability.md I10, I12).
_CLOSED = """
INSERT INTO calls (call_id, started_wall_s, status, reason, outcome, duration_ms, recording_problem)
VALUES (:call_id, :wall_s, 'closed', :reason, :outcome, :duration_ms, :recording_problem)
ON CONFLICT (call_id) DO UPDATE SET status = 'closed', reason = :reason, outcome = :outcome,
    duration_ms = :duration_ms, recording_problem = :recording_problem WHERE status = 'open'
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A record as it goes into the file: taken down when it was appended, whatever becomes of its data later."""

    call_id: str
    seq: int
    kind: Kind
    line: bytes

    @classmethod
    def of(cls, record: Record) -> Entry:
        """Take the record down.

        Raises:
            JournalUnavailable: it cannot be written as JSON, or its number is none.
        """
        if not 0 <= record.seq <= MOST_SEQ:
            raise JournalUnavailable(f"a record's number is from 0 on, got {record.seq}")
        try:
            return cls(record.call_id, record.seq, record.kind, HIDDEN.out_of_bytes(encode(record)))
        except (TypeError, ValueError, OverflowError, RecursionError) as unfit:
            raise JournalUnavailable(f"{record.kind} {record.name} is not JSON-able: {type(unfit).__name__}") from unfit


class JournalFile:
    """One connection that writes. Used by one thread at a time.

    Raises (on opening):
        BadSettings: the file cannot be made or opened, is no journal, or is a newer Callscope's.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # SQLite would make it 0644
        except OSError as error:
            raise BadSettings(
                f"the journal cannot be kept at {path}: {error.strerror}. Choose another directory with CALLSCOPE_DATA."
            ) from error
        self._connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(path)
        except BaseException:
            self._connection.close()
            raise

    def write(self, entries: Sequence[Entry]) -> set[int]:
        """Write all in one transaction that is on the disk when this returns.

        Returns:
            The indexes of entries that were refused: their numbers belong to different records already.

        Raises:
            sqlite3.Error: nothing was written.
        """
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            refused = self._insert(entries)
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            raise
        return refused

    def close(self) -> None:
        self._connection.close()

    def _prepare(self, path: Path) -> None:
        give_up_at = time.monotonic() + OPEN_S
        while True:
            try:
                check_version(self._connection, path)
                self._make_schema()
            except sqlite3.OperationalError as error:
                if not is_busy(error) or time.monotonic() > give_up_at:
                    raise BadSettings(f"the journal at {path} cannot be opened: {error}") from error
                time.sleep(0.02)
            except sqlite3.DatabaseError as error:
                raise BadSettings(f"{path} is no journal of Callscope's ({error}). Move it away.") from error
            else:
                return

    def _make_schema(self) -> None:
        connection = self._connection
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise sqlite3.OperationalError("its file system cannot share memory between processes (no WAL)")
        # FULL: one fsync for each group of records. It is affordable (stack.md A.8), groups are at most 50 a second
        # unless somebody waits for a commit, and `durable` then means one thing for every record.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        try:
            if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
                for statement in _SCHEMA.split(";\n"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.execute(_ADDED)
            connection.execute("COMMIT")
        except BaseException:
            connection.rollback()
            raise

    def _insert(self, entries: Sequence[Entry]) -> set[int]:
        """All at once when all are new, which is always but for a replay; otherwise one by one."""
        connection = self._connection
        rows = [(entry.call_id, entry.seq, entry.line) for entry in entries]
        connection.execute("SAVEPOINT all_new")
        refused: set[int] = set()
        if connection.executemany(_INSERT, rows).rowcount == len(rows):
            fresh = list(entries)
        else:
            connection.execute("ROLLBACK TO all_new")
            fresh = []
            for index, entry in enumerate(entries):
                if connection.execute(_INSERT, rows[index]).rowcount:
                    fresh.append(entry)
                elif not self._has(entry):
                    refused.add(index)
        connection.execute("RELEASE all_new")
        for entry in fresh:
            self._list(entry)
        return refused

    def _has(self, entry: Entry) -> bool:
        query = "SELECT line FROM records WHERE call_id = ? AND seq = ?"
        kept = self._connection.execute(query, (entry.call_id, entry.seq)).fetchone()
        return kept is not None and bytes(kept[0]) == entry.line

    def _list(self, entry: Entry) -> None:
        """Keep `calls` in step with this record."""
        if entry.kind is Kind.OPENED:
            self._connection.execute(_OPENED, _opened(decode(entry.line)))
        elif entry.kind is Kind.PHASE:
            record = decode(entry.line)
            row = {"call_id": record.call_id, "wall_s": record.wall_s, "phase": record.name}
            self._connection.execute(_PHASE, row)
        elif entry.kind is Kind.CLOSED:
            self._connection.execute(_CLOSED, _closed(decode(entry.line)))
        elif entry.kind is Kind.NOTE and b'"AgentCreated"' in entry.line:
            record = decode(entry.line)
            if record.name == "AgentCreated":
                self._connection.execute(_AGENT_CREATED, (str(record.data.get("agent_call_id")), record.call_id))


def check_version(connection: sqlite3.Connection, path: Path) -> int:
    """The file's schema version; 0 when it has none yet.

    Raises:
        BadSettings: it is newer than this code.
        sqlite3.DatabaseError: it is no SQLite file.
    """
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise BadSettings(
            f"the journal at {path} has schema version {version}, this callscope knows {SCHEMA_VERSION}: "
            "use the newer callscope that wrote it, or another CALLSCOPE_DATA."
        )
    return version


def is_busy(error: Exception) -> bool:
    """Whether another process holds the file: it will pass."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _opened(record: Record) -> dict[str, Any]:
    data = record.data
    return {
        "call_id": record.call_id,
        "wall_s": record.wall_s,
        "agent": _text(data.get("agent")),
        "direction": _text(data.get("direction")),
        "from_masked": _number(data.get("from")),
        "to_masked": _number(data.get("to")),
        "twilio_call_sid": _text(data.get("twilio_call_sid")),
    }


def _closed(record: Record) -> dict[str, Any]:
    data = record.data
    duration_ms = data.get("duration_ms", record.at_ms)
    recording = data.get("recording")
    return {
        "call_id": record.call_id,
        "wall_s": record.wall_s,
        "reason": _text(data.get("reason")),
        "outcome": _text(data.get("outcome")),
        "duration_ms": float(duration_ms) if isinstance(duration_ms, int | float) else None,
        "recording_problem": _text(recording.get("problem")) if isinstance(recording, dict) else None,
    }


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def _number(value: object) -> str | None:
    return masked(value) if isinstance(value, str) else None
