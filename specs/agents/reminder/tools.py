"""The reminder's tools. Whose appointment it is stands in the call's variables: the model cannot name another one."""

from __future__ import annotations

import os
from typing import Any, Literal

import httpx

from actors.tools import Caller, ToolContext, ToolProblem, tool

CALENDAR = httpx.AsyncClient(
    base_url=os.environ.get("BACKEND_URL", "http://127.0.0.1:8790"),
    timeout=4.0,
    limits=httpx.Limits(max_keepalive_connections=0),  # a connection that idles may be gone when it is needed
)
Day = Literal["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]
Hour = Literal["nine", "ten", "eleven", "two", "three", "four"]


@tool(effect="commit", timeout_s=8)
async def confirm_appointment(context: ToolContext) -> str:
    """Note that the person will come to the appointment, once they have said so themselves."""
    kept = await _ask("POST", "/confirm", context.caller, headers={"Idempotency-Key": context.idempotency_key})
    return f"Your appointment on {kept['day']} at {kept['hour']} is confirmed"


@tool(effect="read", timeout_s=5, retries=1)
async def free_times(caller: Caller) -> str:
    """Look up to which times the appointment could be moved."""
    found = await _ask("GET", "/free", caller)
    return "Free is " + " or ".join(f"{day} at {hour}" for day, hour in found["slots"])


@tool(effect="commit", confirm=True, timeout_s=8)
async def move_appointment(day: Day, hour: Hour, context: ToolContext) -> str:
    """Move the appointment to another time, one of those that free_times named."""
    headers = {"Idempotency-Key": context.idempotency_key}
    await _ask("POST", "/move", context.caller, json={"day": day, "hour": hour}, headers=headers)
    return f"Your appointment is now on {day} at {hour}"


async def _ask(method: str, what: str, caller: Caller, **more: Any) -> dict[str, Any]:
    """The calendar's answer about this call's appointment.

    Raises:
        ToolProblem: in words for the caller. A lost answer to a change is left to the ledger: it may have been made.
    """
    appointment = caller.variables.get("appointment", "")
    try:
        answer = await CALENDAR.request(method, f"/appointments/{appointment}{what}", **more)
    except httpx.ConnectError:
        raise ToolProblem("Our calendar cannot be reached right now.", again=True) from None
    if answer.status_code == 404:
        raise ToolProblem("There is no such appointment any more.")
    if answer.status_code == 409:
        raise ToolProblem("That time was just taken.")
    answer.raise_for_status()
    return dict(answer.json())
