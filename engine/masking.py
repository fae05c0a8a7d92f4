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


_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")


def masked_text(text: str) -> str:
    """What somebody said, without what can be known to be personal: digits become 0, mail addresses an example's.

    Names, streets and numbers in words cannot be known; whoever passes the text on must look at it.
    """
    return re.sub(r"[0-9]", "0", _MAIL.sub("name@example.com", text))


def masked_value(value: object) -> object:
    """The same for the values of a tool's arguments, however deep."""
    if isinstance(value, str):
        return masked_text(value)
    if isinstance(value, dict):
        return {key: masked_value(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [masked_value(one) for one in value]
    return value
