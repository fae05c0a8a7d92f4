"""The calls of a journal as lists want them: a SQLite file beside it, made from the journal and never the truth.

It can be deleted at any time and is then made anew. Every function here blocks and is called by one thread at a time
(`web.api.model`). Each process of a fleet keeps it: a summary is only ever replaced by one that has seen more, so that
they need not agree on who writes.
"""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import structlog

from actors.journal_reader import NoJournal, records_of, tail
from engine.journal import Record
from web.api.summary import SUMMARY_VERSION, Summary, searched, summarise
from web.insights import store as insights

__all__ = ["CallsIndex", "Place", "Wanted"]

log = structlog.get_logger(__name__)

FILE = "calls-index.sqlite3"
BUSY_S = 2.0
RECORDS_A_READ = 1_000  # a few milliseconds of a thread that shares the interpreter with the calls' sound
MOST_KEPT = 300  # summaries of ended calls in memory: late records mostly come within seconds, else it is read again
SILENT_S = 180.0  # a call that writes nothing for so long is not alive: its caller would have been asked three times

_SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
    call_id TEXT PRIMARY KEY,
    began_ms INTEGER NOT NULL,
    ended INTEGER NOT NULL,
    agent TEXT, outcome TEXT, reason TEXT, phase TEXT,
    duration_ms REAL,
    marked INTEGER NOT NULL,
    searched TEXT NOT NULL,
    seq INTEGER NOT NULL,
    summary BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS calls_by_start ON calls (began_ms, call_id);
CREATE TABLE IF NOT EXISTS place (row INTEGER NOT NULL);
"""
_STORE = """
INSERT INTO calls VALUES (:call_id, :began_ms, :ended, :agent, :outcome, :reason, :phase, :duration_ms, :marked,
    :searched, :seq, :summary)
ON CONFLICT (call_id) DO UPDATE SET began_ms = :began_ms, ended = :ended, agent = :agent, outcome = :outcome,
    reason = :reason, phase = :phase, duration_ms = :duration_ms, marked = :marked, searched = :searched, seq = :seq,
    summary = :summary
WHERE :seq >= seq
"""

_DECODER = msgspec.msgpack.Decoder(Summary)
_ENCODER = msgspec.msgpack.Encoder()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page of a list begins: behind this call."""

    began_ms: int
    call_id: str

    def cursor(self) -> str:
        return base64.urlsafe_b64encode(f"{self.began_ms} {self.call_id}".encode()).decode().rstrip("=")

    @classmethod
    def of(cls, cursor: str) -> Place:
        """Raises: ValueError: not one of ours."""
        given = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("utf-8")
        began_ms, call_id = given.split(" ", 1)
        place = cls(int(began_ms), call_id)
        if not -(2**53) < place.began_ms < 2**53:
            raise ValueError("not a moment")
        return place


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which calls a list holds, newest first."""

    state: str = "all"
    q: str = ""
    agent: str = ""
    reason: str = ""
    outcome: str = ""  # the engine's, or that of `web.insights.outcomes`
    fault: str = ""
    caller: str = ""  # how their masked number begins
    marked: bool | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    after: Place | None = None
    limit: int = 50

    def clauses(self) -> tuple[str, dict[str, Any]]:
        """As SQL: a condition and its parameters."""
        found, given = ["1"], {name: getattr(self, name) for name in ("agent", "reason")}
        found += [f"{name} = :{name}" for name, value in given.items() if value]
        found += insights.clauses(self, given)
        if self.state in ("live", "ended"):
            found.append(f"ended = {int(self.state == 'ended')}")
        for word in self.q.casefold().split()[:8]:
            given[f"q{len(given)}"] = word
            found.append(f"instr(searched, :q{len(given) - 1}) > 0")
        if self.since_ms is not None:
            found.append("began_ms >= :since_ms")
        if self.until_ms is not None:
            found.append("began_ms < :until_ms")
        if self.after is not None:
            found.append("(began_ms, call_id) < (:after_ms, :after_id)")
        given |= {"since_ms": self.since_ms, "until_ms": self.until_ms}
        if self.after is not None:
            given |= {"after_ms": self.after.began_ms, "after_id": self.after.call_id}
        return " AND ".join(found), given


class CallsIndex:
    """Reads the journal's end as it grows, and answers what lists ask.

    Args:
        data: the folder of the journal; the index lies beside it.
        dead_before_s: Unix seconds; a call that began before that and is open cannot be alive. None: other processes
            may hold calls that are older than we are.
    """

    def __init__(self, data: Path, *, dead_before_s: float | None = None) -> None:
        self.journal = data / "journal.sqlite3"
        self._path, self._dead_before_s = data / FILE, dead_before_s
        self.calls: dict[str, Summary] = {}  # all that are live, and those that ended lately
        self.row = 0  # of the journal: read up to here
        self._changed: set[str] = set()  # not stored yet
        self._connection: sqlite3.Connection | None = None

    # --- reading on ------------------------------------------------------------------------------------------------

    def read_on(self) -> tuple[list[Record], set[str], bool]:
        """Read some of what is new.

        Returns:
            the records, the ids of the calls that look different now, and whether there is more.
        """
        self._open()
        self.row, records = tail(self.journal, self.row, RECORDS_A_READ)
        visible: set[str] = set()
        for record in records:
            summary = self.calls.get(record.call_id) or self._load(record)
            if summary.take(record):
                visible.add(record.call_id)
            self._changed.add(record.call_id)
        return records, visible, len(records) == RECORDS_A_READ

    def sweep(self, now_wall_s: float) -> set[str]:
        """Find the calls whose process was killed: their ids."""
        lost = set()
        for call_id, summary in self.calls.items():
            silent = summary.last_wall_s < now_wall_s - SILENT_S
            if not summary.ended and (silent or summary.last_wall_s < (self._dead_before_s or 0.0)):
                summary.lose()
                self._changed.add(call_id)
                lost.add(call_id)
        return lost

    def prune(self) -> None:
        """Forget what the journal does not have any more: calls are deleted from it, and nobody tells us."""
        connection = self._open()
        try:
            kept = {row[0] for row in _asked(self.journal, "SELECT call_id FROM calls")}
        except sqlite3.Error:
            return  # it is being made, or cannot be read now
        known = [call_id for (call_id,) in connection.execute("SELECT call_id FROM calls")]
        for call_id in known:
            if call_id not in kept:
                self.forget(call_id)

    def store(self) -> None:
        """Put down what has changed, with the place in the journal, all or nothing; forget who ended long ago."""
        connection = self._open()
        if self._changed:
            connection.execute("BEGIN IMMEDIATE")
            try:
                connection.executemany(_STORE, [_stored(self.calls[call_id]) for call_id in self._changed])
                insights.put(connection, [self.calls[call_id] for call_id in self._changed])
                connection.execute("UPDATE place SET row = max(row, ?)", (self.row,))
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
            self._changed.clear()
        ended = [call_id for call_id, summary in self.calls.items() if summary.ended]
        for call_id in ended[: max(0, len(ended) - MOST_KEPT)]:
            del self.calls[call_id]

    def try_store(self) -> None:
        """Put down what has changed, if the disk lets us; it is tried again, and lists are older until then."""
        try:
            self.store()
        except sqlite3.Error as trouble:
            log.warning("api.index_not_stored", why=str(trouble), calls=len(self._changed))

    # --- asking ----------------------------------------------------------------------------------------------------

    def page(self, wanted: Wanted) -> tuple[list[Summary], Place | None]:
        """One page, and where the next one begins."""
        self.try_store()
        condition, given = wanted.clauses()
        query = f"SELECT summary FROM calls WHERE {condition} ORDER BY began_ms DESC, call_id DESC LIMIT :limit"  # noqa: S608 — our own words
        rows = self._open().execute(query, {**given, "limit": wanted.limit + 1}).fetchall()
        found = [_DECODER.decode(blob) for (blob,) in rows]
        if len(found) <= wanted.limit:
            return found, None
        last = found[wanted.limit - 1]
        return found[: wanted.limit], Place(_began_ms(last), last.id)

    def get(self, call_id: str) -> Summary | None:
        """One call, by its whole id."""
        known = self.calls.get(call_id)
        if known is not None:
            return known
        row = self._open().execute("SELECT summary FROM calls WHERE call_id = ?", (call_id,)).fetchone()
        return _DECODER.decode(row[0]) if row else None

    def forget(self, call_id: str) -> None:
        """The journal does not have it any more."""
        self.calls.pop(call_id, None)
        self._changed.discard(call_id)
        self._open().execute("DELETE FROM calls WHERE call_id = ?", (call_id,))
        insights.forget(self._open(), call_id)

    def summaries(self, wanted: Wanted) -> Iterator[Summary]:
        """All calls of a selection, newest first, for whoever adds them up; `limit` is of all."""
        self.try_store()
        condition, given = wanted.clauses()
        query = f"SELECT summary FROM calls WHERE {condition} ORDER BY began_ms DESC, call_id DESC LIMIT :limit"  # noqa: S608 — our own words
        for (blob,) in self._open().execute(query, {**given, "limit": wanted.limit}):
            yield _DECODER.decode(blob)

    def connection(self) -> sqlite3.Connection:
        """The file, with all that is known in it: for questions that are put in SQL."""
        self.try_store()
        return self._open()

    def live(self) -> Sequence[Summary]:
        return [summary for summary in self.calls.values() if not summary.ended]

    def close(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self.store()
            self._connection.close()
            self._connection = None

    # --- the file --------------------------------------------------------------------------------------------------

    def _load(self, record: Record) -> Summary:
        """The summary of a call that is not in memory: as stored, or from its beginning."""
        summary = None
        if record.seq > 0:
            row = self._open().execute("SELECT summary FROM calls WHERE call_id = ?", (record.call_id,)).fetchone()
            with suppress(NoJournal):
                summary = _DECODER.decode(row[0]) if row else summarise(records_of(self.journal, record.call_id))
        summary = summary or Summary(record.call_id)
        self.calls[record.call_id] = summary
        return summary

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            try:
                self._connection = self._opened()
            except sqlite3.DatabaseError:  # broken or foreign: it is no loss
                for suffix in ("", "-wal", "-shm"):
                    self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
                self._connection = self._opened()
            self._resume(self._connection)
        return self._connection

    def _opened(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.touch(mode=0o600)
        connection = sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = OFF")  # a power cut may cost it, and it is made anew
            if connection.execute("PRAGMA user_version").fetchone()[0] != SUMMARY_VERSION:
                connection.executescript("DROP TABLE IF EXISTS calls; DROP TABLE IF EXISTS place;" + insights.DROP)
            connection.executescript(_SCHEMA + insights.SCHEMA)
            connection.execute("INSERT INTO place SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM place)")
            connection.execute(f"PRAGMA user_version = {SUMMARY_VERSION}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _resume(self, connection: sqlite3.Connection) -> None:
        """Go on where the file ends; unless the journal beside it is another one by now."""
        self.row = connection.execute("SELECT row FROM place").fetchone()[0]
        if self.row > _last_row(self.journal):
            connection.execute("DELETE FROM calls")
            insights.clear(connection)
            connection.execute("UPDATE place SET row = 0")
            self.row = 0
        for (blob,) in connection.execute("SELECT summary FROM calls WHERE ended = 0"):
            summary = _DECODER.decode(blob)
            self.calls[summary.id] = summary


def _last_row(journal: Path) -> int:
    """The highest row that the journal ever had: more than the last one when calls were deleted from its end."""
    try:
        found = _asked(journal, "SELECT seq FROM sqlite_sequence WHERE name = 'records'")
    except sqlite3.OperationalError:  # nothing was ever written
        return 0
    return int(found[0][0]) if found else 0


def _asked(journal: Path, query: str) -> Sequence[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"{journal.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S)) as connection:
        return connection.execute(query).fetchall()


def _began_ms(summary: Summary) -> int:
    return round(summary.began_wall_s * 1000)


def _stored(summary: Summary) -> Mapping[str, Any]:
    return {
        "call_id": summary.id,
        "began_ms": _began_ms(summary),
        "ended": int(summary.ended),
        "agent": summary.agent,
        "outcome": summary.outcome,
        "reason": summary.reason,
        "phase": summary.phase,
        "duration_ms": summary.duration_ms,
        "marked": int(summary.marked),
        "searched": searched(summary),
        "seq": summary.seq,
        "summary": _ENCODER.encode(summary),
    }
