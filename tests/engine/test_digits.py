"""Keys collected to numbers."""

from __future__ import annotations

from math import inf

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.agent import Digits
from engine.digits import Keys, due, due_at, press, words
from engine.tones import KEYS

POLICY = Digits()
KEY = st.sampled_from(sorted(KEYS))
POLICIES = st.builds(
    Digits, between_ms=st.integers(1, 5000), end=st.sampled_from(["", "#", "*", "A", "0"]), most=st.integers(1, 12)
)


def typed(keys: str, policy: Digits = POLICY, *, every_s: float = 0.5) -> tuple[Keys, list[str]]:
    """One key each half second from 10 s on: what is left, and the numbers that were complete."""
    state, numbers = Keys(), []
    for n, key in enumerate(keys):
        state, number = press(state, key, 10 + n * every_s, policy)
        numbers += [] if number is None else [number]
    return state, numbers


@pytest.mark.parametrize(
    ("keys", "policy", "numbers", "left"),
    [
        ("4007#", POLICY, ["4007"], ""),
        ("4007", POLICY, [], "4007"),
        ("4007#12#", POLICY, ["4007", "12"], ""),
        ("40*A#", POLICY, ["40*A"], ""),
        ("4007#", Digits(end=""), [], "4007#"),
        ("40#07*", Digits(end="*"), ["40#07"], ""),
        ("400712", Digits(most=4), ["4007"], "12"),
        ("4007#", Digits(most=4), ["4007", "#"], ""),
        ("507", Digits(most=1), ["5", "0", "7"], ""),
        ("#", POLICY, ["#"], ""),
        ("##", POLICY, ["#", "#"], ""),
        ("4a", POLICY, [], "4A"),
    ],
)  # fmt: skip
def test_numbers(keys: str, policy: Digits, numbers: list[str], left: str) -> None:
    """The end key or the most completes a number; the end key alone is a key like any other."""
    state, complete = typed(keys, policy)
    assert (complete, state.typed) == (numbers, left)


def test_quiet_fingers_complete_a_number() -> None:
    """Two seconds after the last key, not after the first."""
    state, _ = typed("40")
    assert due_at(state, POLICY) == 12.5
    assert due(state, 12.4, POLICY) == (state, None)
    assert due(state, 12.5, POLICY) == (Keys(), "40")


def test_without_a_key_nothing_is_due() -> None:
    """However late it is."""
    assert due_at(Keys(last_at=3), POLICY) == inf
    assert due(Keys(), 1e9, POLICY) == (Keys(), None)


def test_a_key_after_the_time_begins_the_next_number() -> None:
    """Also when nobody had asked for the first one yet; the end key still belongs to it."""
    state, _ = typed("40")
    assert press(state, "7", 12.5, POLICY) == (Keys("7", 12.5), "40")
    assert press(state, "#", 99.0, POLICY) == (Keys(), "40")


@pytest.mark.parametrize("key", ["", "x", "12", "ß", " ", "٣", "E"])
def test_what_is_no_key_is_counted_and_changes_nothing(key: str) -> None:
    """It does not give more time either."""
    state, _ = typed("40")
    after, number = press(state, key, 11.0, POLICY)
    assert (after, number) == (Keys("40", 10.5, ignored=1), None)
    assert press(after, "#", 11.0, POLICY) == (Keys(ignored=1), "40")
    assert due(after, 99.0, POLICY)[0].ignored == 1


def test_digits_are_in_no_repr() -> None:
    """They may be of a card; the state keeps them through the journal all the same."""
    state, _ = typed("4929")
    assert "4929" not in repr(state)
    assert msgspec.json.decode(msgspec.json.encode(state), type=Keys) == state


def test_words() -> None:
    """What the agent reads."""
    assert words("4007") == "The caller typed 4 0 0 7 on the keypad."
    assert words("#") == "The caller pressed # on the keypad."


@given(POLICIES, st.lists(st.tuples(KEY, st.floats(0, 6)), max_size=40))
def test_no_key_is_lost_and_none_comes_twice(policy: Digits, presses: list[tuple[str, float]]) -> None:
    """All numbers in a row are the keys in a row, but for end keys; whether or not somebody asks what is due."""
    for asked in (True, False):
        state, at, numbers = Keys(), 0.0, []
        for key, later in presses:
            at += later
            if asked:
                state, number = due(state, at, policy)
                numbers += [number] if number is not None else []
            state, number = press(state, key, at, policy)
            numbers += [number] if number is not None else []
            assert due_at(state, policy) >= at
            assert len(state.typed) < policy.most
        numbers += [state.typed]
        told = "".join(numbers)
        assert told.replace(policy.end, "") == "".join(key for key, _ in presses).replace(policy.end, "")
        assert all(0 < len(number) <= policy.most for number in numbers[:-1])
        assert all(policy.end not in number for number in numbers if policy.end and number != policy.end)
