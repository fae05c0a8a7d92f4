"""Numbers as people may see them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.masking import masked


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("+14155550123", "+1•••23"),
        ("+49 30 1234-5678", "+4•••78"),
        ("0301234567", "•••67"),
        ("911", "•••"),
        ("", ""),
        ("anonymous", "anonymous"),
        ("sip:ann@example.org", "sip:•••"),
        ("client:ann", "client:•••"),
        ("Ann 4155550123", "•••"),
        ("+٤١٥٥٥٥٠١٢٣", "•••"),
    ],
)
def test_how_numbers_are_shown(number: str, shown: str) -> None:
    assert masked(number) == shown


@given(st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True))
def test_never_more_than_three_digits(number: str) -> None:
    assert sum(char.isdigit() for char in masked(number)) == 3
