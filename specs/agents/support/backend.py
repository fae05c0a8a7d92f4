"""The shop's orders and tickets: a small service on SQLite. Its own process, so it may block.

GET  /orders/{number}                   200 {"status": …, "due": …}, 404
POST /tickets        Idempotency-Key    201 {"ticket": "…"}; the same key again: the same ticket
"""

from __future__ import annotations

import os
import sqlite3
from typing import Any

from quart import request
from quart_trio import QuartTrio

ORDERS = [("4217", "on its way", "Friday"), ("3108", "delivered", "last Monday"), ("5550", "waiting for parts", "June")]

app = QuartTrio("support")
db = sqlite3.connect(os.environ.get("SUPPORT_DB", ":memory:"), isolation_level=None)
db.executescript(
    """
    CREATE TABLE IF NOT EXISTS orders (number TEXT PRIMARY KEY, status TEXT NOT NULL, due TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS tickets (
      id INTEGER PRIMARY KEY, key TEXT UNIQUE NOT NULL, number TEXT NOT NULL, trouble TEXT NOT NULL,
      caller TEXT NOT NULL);
    """
)
db.executemany("INSERT OR IGNORE INTO orders VALUES (?, ?, ?)", ORDERS)

Answer = tuple[dict[str, Any], int]


@app.get("/orders/<number>")
async def order(number: str) -> Answer:
    row = db.execute("SELECT status, due FROM orders WHERE number = ?", (number,)).fetchone()
    return ({}, 404) if row is None else ({"status": row[0], "due": row[1]}, 200)


@app.post("/tickets")
async def ticket() -> Answer:
    wanted, key = await request.get_json(), request.headers["Idempotency-Key"]
    row = (key, wanted["order"], wanted["trouble"], wanted["caller"])
    db.execute("INSERT OR IGNORE INTO tickets (key, number, trouble, caller) VALUES (?, ?, ?, ?)", row)
    (number,) = db.execute("SELECT id FROM tickets WHERE key = ?", (key,)).fetchone()
    return {"ticket": str(700 + number)}, 201
