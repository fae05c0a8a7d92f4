"""The practice's calendar: a small service on SQLite. Its own process, so it may block.

POST /appointments/{id}/confirm     Idempotency-Key    200 {"day": …, "hour": …}, 404
GET  /appointments/{id}/free                           200 {"slots": [["Friday", "ten"], …]}
POST /appointments/{id}/move        Idempotency-Key    200, 404, 409 taken
"""

from __future__ import annotations

import os
import sqlite3
from typing import Any

from quart import request
from quart_trio import QuartTrio

SLOTS = [("a17", "Thursday", "three"), ("", "Friday", "ten"), ("b20", "Friday", "eleven"), ("", "Monday", "nine")]

app = QuartTrio("reminder")
db = sqlite3.connect(os.environ.get("REMINDER_DB", ":memory:"), isolation_level=None)
db.executescript(
    """
    CREATE TABLE IF NOT EXISTS slots (
      appointment TEXT NOT NULL, day TEXT NOT NULL, hour TEXT NOT NULL, confirmed INTEGER NOT NULL DEFAULT 0,
      PRIMARY KEY (day, hour));
    CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, status INTEGER NOT NULL);
    """
)
db.executemany("INSERT OR IGNORE INTO slots (appointment, day, hour) VALUES (?, ?, ?)", SLOTS)

Answer = tuple[dict[str, Any], int]


@app.post("/appointments/<appointment>/confirm")
async def confirm(appointment: str) -> Answer:
    """Confirming twice is confirming once."""
    db.execute("UPDATE slots SET confirmed = 1 WHERE appointment = ?", (appointment,))
    row = db.execute("SELECT day, hour FROM slots WHERE appointment = ?", (appointment,)).fetchone()
    return ({}, 404) if row is None else ({"day": row[0], "hour": row[1]}, 200)


@app.get("/appointments/<appointment>/free")
async def free(appointment: str) -> Answer:
    return {"slots": db.execute("SELECT day, hour FROM slots WHERE appointment = ''").fetchall()}, 200


@app.post("/appointments/<appointment>/move")
async def move(appointment: str) -> Answer:
    """The first answer to a key is the answer to it."""
    to, key = await request.get_json(), request.headers["Idempotency-Key"]
    db.execute("BEGIN IMMEDIATE")
    known = db.execute("SELECT status FROM answers WHERE key = ?", (key,)).fetchone()
    status = known[0] if known else _move(appointment, to["day"], to["hour"])
    db.execute("INSERT OR IGNORE INTO answers VALUES (?, ?)", (key, status))
    db.execute("COMMIT")
    return {}, status


def _move(appointment: str, day: str, hour: str) -> int:
    if db.execute(
        "SELECT 1 FROM slots WHERE (day, hour, appointment) = (?, ?, ?)", (day, hour, appointment)
    ).fetchone():
        return 200
    if db.execute("SELECT 1 FROM slots WHERE appointment = ?", (appointment,)).fetchone() is None:
        return 404
    if not db.execute("SELECT 1 FROM slots WHERE (day, hour, appointment) = (?, ?, '')", (day, hour)).fetchone():
        return 409
    db.execute("UPDATE slots SET appointment = '', confirmed = 0 WHERE appointment = ?", (appointment,))
    db.execute("UPDATE slots SET appointment = ?, confirmed = 1 WHERE (day, hour) = (?, ?)", (appointment, day, hour))
    return 200
