"""The restaurant's book of tables: a small service on SQLite. Its own process, so it may block.

GET  /tables/{time}?party=4            is one free?             200 {"free": true, "else": ["19:00"]}
POST /bookings      Idempotency-Key    book one                 201 {"code": 4217}, 409 taken
GET  /bookings/{guest}                 a guest's booking        200, 404
DELETE /bookings/{guest}/{code}        cancel one, for good     204, also the second time
"""

from __future__ import annotations

import os
import sqlite3
from typing import Any

from quart import request
from quart_trio import QuartTrio

TABLES = {"18:00": 2, "18:30": 4, "19:00": 6, "20:00": 4, "21:00": 8}  # time → the largest party; one table each

app = QuartTrio("restaurant")
db = sqlite3.connect(os.environ.get("RESTAURANT_DB", ":memory:"), isolation_level=None)
db.executescript(
    """
    CREATE TABLE IF NOT EXISTS bookings (
      code INTEGER PRIMARY KEY, time TEXT UNIQUE NOT NULL, party INTEGER NOT NULL, guest TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, status INTEGER NOT NULL, code INTEGER);
    """
)

Answer = tuple[dict[str, Any], int]


def free(party: int) -> list[str]:
    """The times at which a table for so many is free."""
    taken = {time for (time,) in db.execute("SELECT time FROM bookings")}
    return [time for time, most in TABLES.items() if party <= most and time not in taken]


@app.get("/tables/<time>")
async def look(time: str) -> Answer:
    times = free(int(request.args["party"]))
    return {"free": time in times, "else": times}, 200


@app.post("/bookings")
async def book() -> Answer:
    """The first answer to a key is the answer to it; booking and answer are one transaction."""
    wanted, key = await request.get_json(), request.headers["Idempotency-Key"]
    db.execute("BEGIN IMMEDIATE")
    known = db.execute("SELECT status, code FROM answers WHERE key = ?", (key,)).fetchone()
    if known is None:
        known = (409, None)
        if wanted["time"] in free(wanted["party"]):
            row = (wanted["time"], wanted["party"], wanted["guest"])
            code = 4217 + db.execute("SELECT count(*) FROM answers").fetchone()[0]
            db.execute("INSERT INTO bookings VALUES (?, ?, ?, ?)", (code, *row))
            known = (201, code)
        db.execute("INSERT INTO answers VALUES (?, ?, ?)", (key, *known))
    db.execute("COMMIT")
    return {"code": known[1], "else": free(wanted["party"])}, known[0]


@app.get("/bookings/<guest>")
async def find(guest: str) -> Answer:
    row = db.execute("SELECT code, time, party FROM bookings WHERE guest = ? ORDER BY time", (guest,)).fetchone()
    return ({}, 404) if row is None else (dict(zip(("code", "time", "party"), row, strict=True)), 200)


@app.delete("/bookings/<guest>/<int:code>")
async def cancel(guest: str, code: int) -> Answer:
    db.execute("DELETE FROM bookings WHERE guest = ? AND code = ?", (guest, code))
    return {}, 204
