"""The agent's tools: typed functions. A docstring tells the model when to use one, the types what to give it."""

from __future__ import annotations

from typing import Literal

from actors.tools import tool

HOURS = {
    "weekday": "nine in the morning until five in the afternoon",
    "weekend": "ten in the morning until four in the afternoon",
}


@tool(effect="read", timeout_s=5)
async def opening_hours(day: Literal["today", "weekday", "weekend"]) -> str:
    """Look up when the shop is open. Use it whenever somebody asks for opening hours."""
    return f"We are open from {HOURS['weekday' if day == 'today' else day]}"
