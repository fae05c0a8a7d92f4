"""The bistro's one tool: a typed Python function. Its docstring tells the model when to use it."""

from __future__ import annotations

from typing import Annotated

import msgspec

from actors.tools import ToolProblem, tool

# Tonight's free tables: time → the largest party that still fits.
FREE = {"18:00": 2, "18:30": 4, "19:00": 6, "20:00": 4, "21:00": 8}
SPOKEN = {"18:00": "six", "18:30": "half past six", "19:00": "seven", "20:00": "eight", "21:00": "nine"}
NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]

Party = Annotated[int, msgspec.Meta(ge=1, le=12, description="How many guests")]
Time = Annotated[str, msgspec.Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$", description="Local time tonight, HH:MM")]


@tool(effect="read", timeout_s=5)
async def check_availability(party: Party, time: Time) -> str:
    """Check whether a table is free tonight for so many guests at that time. Use it before promising a table."""
    if time not in FREE:
        raise ToolProblem(f"We have no table at {time}. Free times are {', '.join(FREE)}.")
    if party > FREE[time]:
        raise ToolProblem(f"At {SPOKEN[time]} we have room for {NUMBERS[FREE[time]]} at most.")
    return f"A table for {NUMBERS[party]} at {SPOKEN[time]} is free"
