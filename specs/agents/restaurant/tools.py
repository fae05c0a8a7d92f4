"""The restaurant's tools: typed functions that ask the book of tables (`backend.py`)."""

from __future__ import annotations

import os
from typing import Annotated, Any

import httpx
import msgspec

from actors.tools import Caller, ToolContext, ToolProblem, tool

BOOK = httpx.AsyncClient(
    base_url=os.environ.get("BACKEND_URL", "http://127.0.0.1:8790"),
    timeout=4.0,
    limits=httpx.Limits(max_keepalive_connections=0),  # a connection that idles may be gone when it is needed
)
NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]

Party = Annotated[int, msgspec.Meta(ge=1, le=12, description="How many guests")]
Time = Annotated[str, msgspec.Meta(pattern=r"^([01]\d|2[0-3]):[03]0$", description="Local time tonight, HH:MM")]


@tool(effect="read", cache_s=30, timeout_s=5, retries=1)
async def check_availability(party: Party, time: Time) -> str:
    """Check whether a table is free tonight for so many guests at that time. Use it before offering a table."""
    found = await _ask("GET", f"/tables/{time}", params={"party": party})
    if found["free"]:
        return f"A table for {NUMBERS[party]} at {spoken(time)} is free"
    raise ToolProblem(f"At {spoken(time)} nothing is free. {_instead(found)}")


@tool(effect="commit", confirm=True, undo="cancel_booking", timeout_s=8)
async def book_table(party: Party, time: Time, context: ToolContext) -> str:
    """Book a table tonight. Only after check_availability, and when the caller has settled on party and time."""
    guest = {"party": party, "time": time, "guest": context.caller.number}
    await _ask("POST", "/bookings", json=guest, headers={"Idempotency-Key": context.idempotency_key})
    return f"Your table for {NUMBERS[party]} at {spoken(time)} is booked"


@tool(effect="read", timeout_s=5)
async def find_booking(caller: Caller) -> str:
    """Look up the caller's own booking for tonight."""
    found = await _ask("GET", f"/bookings/{caller.number}")
    return f"You have a table for {NUMBERS[found['party']]} at {spoken(found['time'])}"


@tool(effect="commit", confirm=True, timeout_s=8)
async def cancel_my_booking(caller: Caller) -> str:
    """Cancel the caller's own booking for tonight, when they ask for it."""
    found = await _ask("GET", f"/bookings/{caller.number}")
    await _ask("DELETE", f"/bookings/{caller.number}/{found['code']}")
    return "Your booking is cancelled"


@tool(effect="idempotent", hidden=True, retries=2)
async def cancel_booking(party: Party, time: Time, caller: Caller) -> str:
    """Take a booking back whose guest hung up before hearing of it. The arguments are book_table's."""
    found = await _ask("GET", f"/bookings/{caller.number}")
    if (found["party"], found["time"]) == (party, time):
        await _ask("DELETE", f"/bookings/{caller.number}/{found['code']}")
    return "taken back"


def spoken(time: str) -> str:
    """ "18:30" as people say it."""
    hour, minute = int(time[:2]), time[3:]
    name = NUMBERS[hour - 12 if hour > 12 else hour]
    return f"half past {name}" if minute == "30" else name


def _instead(found: dict[str, Any]) -> str:
    times = [spoken(time) for time in found["else"]]
    return f"Free is {' or '.join(times)}." if times else "Tonight we are full."


async def _ask(method: str, path: str, **more: Any) -> dict[str, Any]:
    """The book's answer.

    Raises:
        ToolProblem: in words for the caller. A lost answer to a booking is left to the ledger: it may have been made.
    """
    try:
        answer = await BOOK.request(method, path, **more)
    except httpx.ConnectError:
        raise ToolProblem("Our book of tables cannot be reached right now.", again=True) from None
    if answer.status_code == 404:
        raise ToolProblem("There is no booking under this phone number.")
    if answer.status_code == 409:
        raise ToolProblem(f"That table was just taken. {_instead(answer.json())}")
    answer.raise_for_status()
    return answer.json() if answer.content else {}
