"""One tool is enough to begin with."""

from actors.tools import Caller, tool

BOOKED: dict[str, str] = {}


@tool(effect="commit", confirm=True)
async def book_table(party: int, time: str, caller: Caller) -> str:
    """Book a table tonight for so many guests at that time, HH:MM."""
    BOOKED[caller.number] = f"{party} at {time}"
    return f"A table for {party} at {time} is yours."
