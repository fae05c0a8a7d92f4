"""Moments in queries: ISO 8601, or milliseconds since 1970."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["moment_ms"]

FURTHEST_MS = 2**53


def moment_ms(text: str) -> int:
    """The moment in milliseconds since 1970; without a zone it is UTC.

    Raises:
        ValueError: not a moment.
    """
    if text.lstrip("-").isdecimal() and len(text) <= 17:
        found = int(text)
    else:
        moment = datetime.fromisoformat(text.replace(" ", "+"))  # a `+` that came unescaped in a query
        found = round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    if abs(found) >= FURTHEST_MS:
        raise ValueError("too far away")
    return found
