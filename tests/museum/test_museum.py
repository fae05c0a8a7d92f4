"""Each bug of the museum is found by its scene, and by nothing that is broken anyway."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.museum.exhibits import EXHIBITS, Exhibit
from tests.museum.page import page
from tests.museum.storm import Level, search

PATCH_IS_BROKEN = (AttributeError, NameError, ImportError, KeyError, TypeError)
PAGE = Path(__file__).parents[2] / "specs" / "museum.md"
SHOWN = [pytest.param(one, marks=[pytest.mark.slow] if one.slow else [], id=one.name) for one in EXHIBITS]


@pytest.mark.parametrize("exhibit", SHOWN)
def test_the_scene_finds_it(exhibit: Exhibit) -> None:
    """With the bug back in, the scene fails; without it, it passes."""
    exhibit.scene()
    with pytest.MonkeyPatch.context() as patch:
        exhibit.patch(patch)
        with pytest.raises((Exception, pytest.fail.Exception)) as found:
            exhibit.scene()
    assert not isinstance(_first_of(found.value), PATCH_IS_BROKEN), "the patch itself does not fit any more"


def _first_of(raised: BaseException) -> BaseException:
    while isinstance(raised, BaseExceptionGroup):
        raised = raised.exceptions[0]
    return raised


@pytest.mark.parametrize("exhibit", [one for one in EXHIBITS if one.engine], ids=lambda one: one.name)
def test_the_storm_on_the_engine_finds_it(exhibit: Exhibit) -> None:
    """Random calls run into it within so many seeds as the page says."""
    assert search(exhibit.patch, "engine", exhibit.engine)


@pytest.mark.slow
@pytest.mark.parametrize("exhibit", [one for one in EXHIBITS if one.actors], ids=lambda one: one.name)
def test_the_storm_on_real_actors_finds_it(exhibit: Exhibit) -> None:
    """Random calls on the real actors do, too."""
    assert search(exhibit.patch, "actors", exhibit.actors)


@pytest.mark.parametrize("level", ["engine", "actors"])
def test_without_a_bug_the_storm_finds_nothing(level: Level) -> None:
    """What it finds is the bug, not itself."""
    assert search(lambda patch: None, level, 10) == ""


def test_the_page_is_what_the_museum_holds() -> None:
    """Nobody has to run anything to see what is kept here, from all sections of the list."""
    assert PAGE.read_text(encoding="utf-8") == page(), "write it anew with ./dev python -m tests.museum"
    assert {one.number.partition(" ")[0] for one in EXHIBITS} == {f"2.{number}" for number in range(1, 11)}
    assert len({one.name for one in EXHIBITS}) == len(EXHIBITS) >= 12
