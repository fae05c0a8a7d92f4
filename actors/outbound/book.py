"""The book of outbound calls: SQLite, shared by the workers of a data folder, so that its caps hold for all of them.

A dial is entered before Twilio is asked, in one transaction with the counting: of ten thousand that race for a cap of
a hundred, a hundred are entered, and a restart forgets none (reference/reliability.md S6). Blocking; `Dialler` calls it
in threads.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from actors.outbound.dials import Dial, Wanted
from engine.errors import CallscopeError
from engine.outbound import FINAL, Outbound

DAY_S = 24 * 3600.0
BUSY_S = 5.0
NO_ROOM = "answered, but there was no room for the call"
_OVER = ", ".join(f"'{status}'" for status in sorted(FINAL))
_SCHEMA = """
CREATE TABLE IF NOT EXISTS dials (
  call_id TEXT PRIMARY KEY, key TEXT NOT NULL UNIQUE, fingerprint TEXT NOT NULL, to_number TEXT NOT NULL,
  from_number TEXT NOT NULL, variables TEXT NOT NULL, who TEXT NOT NULL, begun_s REAL NOT NULL, status TEXT NOT NULL,
  reason TEXT NOT NULL DEFAULT '', answered_by TEXT NOT NULL DEFAULT '', call_sid TEXT NOT NULL DEFAULT '',
  seq INTEGER NOT NULL DEFAULT -1, admitted INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS dials_by_time ON dials (begun_s);
CREATE INDEX IF NOT EXISTS dials_by_number ON dials (to_number, begun_s);
"""
_COLUMNS = "call_id, to_number, from_number, variables, who, begun_s, status, reason, answered_by, call_sid, admitted"


class KeyTaken(CallscopeError):
    """The idempotency key belongs to another call."""


class TooMany(CallscopeError):
    """A cap is reached. `which`: per_number_per_day, per_day or at_once."""

    def __init__(self, which: str, most: int) -> None:
        super().__init__(f"`outbound.{which}` allows {most}, and they are made")
        self.which, self.most = which, most


class DialBook:
    """The book in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def enter(
        self, wanted: Wanted, *, call_id: str, from_number: str, caps: Outbound, now_s: float, longest_s: float
    ) -> tuple[Dial, bool]:
        """Enter a call, if the caps have room for it.

        Args:
            longest_s: a call that began longer ago is over, whether its end was told or not.

        Returns:
            the dial, and whether it is new: it is not when its key was given before.

        Raises:
            KeyTaken: the key was given with another wish.
            TooMany: a cap is reached.
        """
        with self._changing() as db:
            if (known := _of_key(db, wanted)) is not None:
                return known, False
            _check_caps(db, wanted.to, caps, now_s, longest_s)
            variables = msgspec.json.encode(dict(wanted.variables)).decode()
            db.execute(
                "INSERT INTO dials (call_id, key, fingerprint, to_number, from_number, variables, who, begun_s, status)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'placing')",
                (call_id, wanted.key, wanted.fingerprint, wanted.to, from_number, variables, wanted.who, now_s),
            )
            return _found(db, call_id), True

    def of_key(self, wanted: Wanted) -> Dial | None:
        """The dial that this key made before.

        Raises:
            KeyTaken: it was given with another wish.
        """
        with self._open() as db:
            return _of_key(db, wanted)

    def get(self, call_id: str) -> Dial | None:
        with self._open() as db:
            row = db.execute(f"SELECT {_COLUMNS} FROM dials WHERE call_id = ?", (call_id,)).fetchone()  # noqa: S608
            return None if row is None else _dial(row)

    def placed(self, call_id: str, call_sid: str, status: str, reason: str = "") -> None:
        """What Twilio said to the request itself. A callback may have come before it, and then knows better."""
        with self._changing() as db:
            db.execute(
                "UPDATE dials SET call_sid = CASE call_sid WHEN '' THEN ? ELSE call_sid END,"
                " reason = CASE status WHEN 'placing' THEN ? ELSE reason END,"
                " status = CASE status WHEN 'placing' THEN ? ELSE status END WHERE call_id = ?",
                (call_sid, reason, status, call_id),
            )

    def told(self, call_id: str, *, call_sid: str, status: str, seq: int, answered_by: str = "") -> Dial | None:
        """A callback. Late ones and copies change nothing: their number is not higher, or the call is over (§13).

        Returns:
            the dial, if this was its end and nobody has admitted it: then its journal is to be written by who is told.
        """
        with self._changing() as db:
            changed = db.execute(  # what stands in the text is ours
                "UPDATE dials SET status = ?, seq = ?, call_sid = CASE call_sid WHEN '' THEN ? ELSE call_sid END,"  # noqa: S608
                " answered_by = CASE ? WHEN '' THEN answered_by ELSE ? END"
                f" WHERE call_id = ? AND seq < ? AND status NOT IN ({_OVER})",
                (status, seq, call_sid, answered_by, answered_by, call_id, seq),
            ).rowcount
            dial = _found(db, call_id) if changed else None
        return dial if dial is not None and dial.is_over and not dial.admitted else None

    def admit(self, call_id: str, call_sid: str) -> Dial | None:
        """It was answered, and its call begins; None for an id that is not one of ours, or another call's."""
        with self._changing() as db:
            changed = db.execute(
                "UPDATE dials SET admitted = 1, call_sid = ? WHERE call_id = ? AND call_sid IN ('', ?)",
                (call_sid, call_id, call_sid),
            ).rowcount
            return _found(db, call_id) if changed else None

    def turned_away(self, call_id: str) -> None:
        """It was answered, but there was no room for it: its journal is written at its end."""
        with self._changing() as db:
            db.execute("UPDATE dials SET admitted = 0, reason = ? WHERE call_id = ?", (NO_ROOM, call_id))

    def machine(self, call_id: str, answered_by: str) -> None:
        with self._changing() as db:
            db.execute("UPDATE dials SET answered_by = ? WHERE call_id = ?", (answered_by, call_id))

    # --- the file --------------------------------------------------------------------------------------------------

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.executescript(_SCHEMA)
            yield db
        finally:
            db.close()

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """One transaction that nobody comes between, durable when it ends."""
        with self._open() as db:
            db.execute("PRAGMA synchronous=FULL")
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")


def _check_caps(db: sqlite3.Connection, to: str, caps: Outbound, now_s: float, longest_s: float) -> None:
    """What Twilio refused did not ring, and does not count."""
    day = "SELECT count(*) FROM dials WHERE begun_s > ? AND status != 'failed'"
    counts = (
        ("per_number_per_day", f"{day} AND to_number = ?", (now_s - DAY_S, to)),
        ("per_day", day, (now_s - DAY_S,)),
        ("at_once", f"{day} AND status NOT IN ({_OVER})", (now_s - longest_s,)),
    )
    for which, query, given in counts:
        most = getattr(caps, which)
        if db.execute(query, given).fetchone()[0] >= most:
            raise TooMany(which, most)


def _of_key(db: sqlite3.Connection, wanted: Wanted) -> Dial | None:
    known = db.execute("SELECT call_id, fingerprint FROM dials WHERE key = ?", (wanted.key,)).fetchone()
    if known is not None and known[1] != wanted.fingerprint:
        raise KeyTaken("this key belongs to another call")
    return None if known is None else _found(db, known[0])


def _found(db: sqlite3.Connection, call_id: str) -> Dial:
    return _dial(db.execute(f"SELECT {_COLUMNS} FROM dials WHERE call_id = ?", (call_id,)).fetchone())  # noqa: S608


def _dial(row: tuple[str, str, str, str, str, float, str, str, str, str, int]) -> Dial:
    call_id, to, from_, variables, who, begun_s, status, reason, answered_by, call_sid, admitted = row
    given = msgspec.json.decode(variables, type=dict[str, str])
    return Dial(call_id, to, from_, given, who, begun_s, status, reason, answered_by, call_sid, bool(admitted))
