"""Reading the journal's file, also from another process while it is written. Every function blocks, briefly.

Each opens the file, reads one consistent view, and closes it: a reader that stayed open would stop SQLite from ever
shortening its write-ahead log.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from actors.journal_file import BUSY_S, check_version
from engine.errors import BadSettings, CallscopeError
from engine.journal import Record, decode

LAST = "last"
MOST_CANDIDATES = 5


class NoJournal(CallscopeError):
    """There is no journal there yet."""


class UnknownCall(CallscopeError):
    """No call, or more than one, goes by that name. `candidates`: those it could have been."""

    def __init__(self, wanted: str, candidates: Sequence[str]) -> None:
        super().__init__("several calls begin like that" if candidates else "no such call")
        self.wanted, self.candidates = wanted, tuple(candidates)


@dataclass(frozen=True, slots=True)
class CallRow:
    """One call in a list. Field by field the columns of the table `calls`."""

    call_id: str
    started_wall_s: float
    agent: str | None
    direction: str | None
    from_masked: str | None
    to_masked: str | None
    twilio_call_sid: str | None
    phase: str | None  # the last one it entered
    status: str  # "open" or "closed"; open with nobody living it: its process was killed
    reason: str | None
    outcome: str | None
    duration_ms: float | None
    recording_problem: str | None


_COLUMNS = ", ".join(CallRow.__slots__)


def list_calls(path: Path, limit: int = 20) -> list[CallRow]:
    """The newest calls first.

    Raises:
        NoJournal: nothing was ever written there.
        BadSettings: it is no journal, or a newer Callscope's.
    """
    query = f"SELECT {_COLUMNS} FROM calls ORDER BY started_wall_s DESC, call_id DESC LIMIT ?"  # noqa: S608 - no input
    with reading(path) as connection:
        return [CallRow(*row) for row in connection.execute(query, (limit,))]


def find_call(path: Path, wanted: str) -> str:
    """The id of the call that is meant: by its whole id, a unique beginning (with or without `call-`), or `last`.

    Raises:
        NoJournal: nothing was ever written there.
        UnknownCall: none, or several.
        BadSettings: it is no journal, or a newer Callscope's.
    """
    with reading(path) as connection:
        return _find(connection, wanted)


def read_call(path: Path, id_or_prefix: str) -> list[Record]:
    """All records of one call in order. Raises what `find_call` raises."""
    with reading(path) as connection:
        return _records(connection, _find(connection, id_or_prefix))


def records_of(path: Path, call_id: str) -> list[Record]:
    """All records with exactly this call id, in order; empty when there are none.

    Raises:
        NoJournal: nothing was ever written there.
        BadSettings: it is no journal, or a newer Callscope's.
    """
    with reading(path) as connection:
        return _records(connection, call_id)


def last_row(path: Path) -> int:
    """Where the journal ends now: give it to `tail` to see only what comes. 0 when there is no journal yet."""
    try:
        with reading(path) as connection:
            row: int = connection.execute("SELECT coalesce(max(row), 0) FROM records").fetchone()[0]
            return row
    except NoJournal:
        return 0


def tail(path: Path, after_row: int, limit: int = 1000) -> tuple[int, list[Record]]:
    """New records of all calls, in the order in which they were written, and the row to go on after.

    Cheap enough to be asked ten times a second. No journal yet is as good as an empty one.

    Raises:
        BadSettings: it is no journal, or a newer Callscope's.
    """
    query = "SELECT row, line FROM records WHERE row > ? ORDER BY row LIMIT ?"
    try:
        with reading(path) as connection:
            rows = connection.execute(query, (after_row, limit)).fetchall()
    except NoJournal:
        return after_row, []
    return (rows[-1][0] if rows else after_row), [decode(line) for _, line in rows]


def _find(connection: sqlite3.Connection, wanted: str) -> str:
    found = _candidates(connection, wanted)
    if wanted in found:
        return wanted
    if len(found) != 1:
        raise UnknownCall(wanted, found[:MOST_CANDIDATES])
    return found[0]


def records_of_agent_call(path: Path, agent_call_id: str) -> list[Record]:
    """All records of the call that had this Vapi call; none when there is none.

    Raises:
        BadSettings: the journal cannot be read.
    """
    query = "SELECT call_id FROM agent_calls WHERE agent_call_id = ?"
    try:
        with reading(path) as connection:
            found = connection.execute(query, (agent_call_id,)).fetchone()
            return [] if found is None else _records(connection, found[0])
    except NoJournal:
        return []


def _candidates(connection: sqlite3.Connection, wanted: str) -> list[str]:
    if not wanted:
        return []
    if wanted == LAST:
        rows = connection.execute("SELECT call_id FROM calls ORDER BY started_wall_s DESC, call_id DESC LIMIT 1")
        return [call_id for (call_id,) in rows]
    query = """
        SELECT call_id FROM calls WHERE substr(call_id, 1, length(:it)) = :it COLLATE NOCASE
            OR substr(call_id, 1, length('call-' || :it)) = 'call-' || :it COLLATE NOCASE
        UNION SELECT call_id FROM records WHERE call_id = :it  -- its first record may have been lost
        ORDER BY call_id DESC LIMIT :most"""
    return [call_id for (call_id,) in connection.execute(query, {"it": wanted, "most": MOST_CANDIDATES + 1})]


def _records(connection: sqlite3.Connection, call_id: str) -> list[Record]:
    query = "SELECT line FROM records WHERE call_id = ? ORDER BY seq"
    return [decode(line) for (line,) in connection.execute(query, (call_id,))]


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """One consistent view of the journal, for a query of one's own; raises what `tail` and `find_call` raise."""
    if not path.is_file():
        raise NoJournal(f"there is no journal at {path}")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S)) as connection:
            if check_version(connection, path) == 0:
                raise NoJournal(f"the journal at {path} is empty")
            connection.execute("BEGIN")  # one view for all that is read
            yield connection
    except sqlite3.Error as error:
        raise BadSettings(f"the journal at {path} cannot be read: {error}") from error
