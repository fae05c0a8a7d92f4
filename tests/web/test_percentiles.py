"""Percentiles by nearest rank: always a value that was measured."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from web.percentiles import percentile, shown


def test_of_few_and_of_many() -> None:
    assert shown([]) == ()
    assert shown([7]) == (7, 7, 7)
    assert shown([3, 1, 2]) == (2, 3, 3)
    assert shown(range(1, 101)) == (50, 95, 99)
    assert percentile([1, 2], 0) == 1 and percentile([1, 2], 100) == 2


@given(st.lists(st.floats(0, 1000), min_size=1), st.floats(0, 100))
def test_so_many_are_at_most_that(values: list[float], percent: float) -> None:
    found = percentile(sorted(values), percent)
    assert found in values
    assert sum(value <= found for value in values) >= len(values) * percent / 100 - 1e-9
    assert sum(value < found for value in values) <= len(values) * percent / 100
