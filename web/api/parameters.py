"""The parameters of the request that is being answered, checked."""

from __future__ import annotations

from quart import request

from web.api.problems import Problem
from web.api.times import moment_ms

__all__ = ["flag", "integer", "moment", "text"]

MOST_QUERY_CHARS = 200


def text(name: str) -> str:
    """
    Raises:
        Problem: 400, as all here do for what cannot be.
    """
    found = request.args.get(name, "")
    if len(found) > MOST_QUERY_CHARS:
        raise Problem(400, f"`{name}` has at most {MOST_QUERY_CHARS} characters.", kind="parameter")
    return found.encode("utf-8", "replace").decode()  # what is no Unicode no call holds


def flag(name: str) -> bool | None:
    found = request.args.get(name)
    if not found:
        return None
    if found not in ("true", "false"):
        raise Problem(400, f"`{name}` is true or false.", kind="parameter")
    return found == "true"


def moment(name: str) -> int | None:
    """Milliseconds since 1970."""
    found = request.args.get(name)
    if not found:
        return None
    try:
        return moment_ms(found)
    except (ValueError, OverflowError):
        detail = f"`{name}` is a moment like 2026-05-01T14:30:00Z, or milliseconds since 1970."
        raise Problem(400, detail, kind="parameter") from None


def integer(name: str, default: int, least: int, most: int, otherwise: str | None = None) -> int:
    found = request.args.get(name) or otherwise
    if not found:
        return default
    digits = found.removeprefix("-")
    if digits.isascii() and digits.isdecimal() and len(digits) <= 16 and least <= int(found) <= most:
        return int(found)
    raise Problem(400, f"`{name}` is a whole number from {least} to {most}.", kind="parameter")
