"""What may be shown of a number without saying whose it is. Pure."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"\+?[0-9][0-9 ().-]{5,}")
_SHOWN_DIGITS = 2  # at the end: enough to tell two calls apart, not enough to dial


def masked(number: str) -> str:
    """`+14155550123` as `+1•••23`; `sip:ann@example.org` as `sip:•••`; `anonymous` stays.

    For what people see in lists and lines. Anything that is no number is hidden whole.
    """
    if number in ("", "anonymous"):
        return number
    scheme, colon, _ = number.partition(":")
    if colon and scheme.isalpha() and scheme.isascii():
        return f"{scheme}:•••"
    if not _NUMBER.fullmatch(number):
        return "•••"
    shown_at_start = 2 if number.startswith("+") else 0
    return f"{number[:shown_at_start]}•••{number[-_SHOWN_DIGITS:]}"
