"""Which of our own lines is said when."""

from __future__ import annotations

from itertools import pairwise
from typing import get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.agent import Silence
from engine.audio import SILENCE_FRAME
from engine.lines import KINDS, Clip, LineBook, texts_of

TEXTS = st.lists(st.sampled_from(["Okay.", "Mm-hm.", "Right.", "Sure."]), max_size=6)


def clips(*texts: str) -> tuple[Clip, ...]:
    return tuple(Clip(text, SILENCE_FRAME) for text in texts)


def test_the_kinds_are_those_of_the_agent_file() -> None:
    """Every field of `Silence` that holds texts is a kind of line."""
    tuples = {name for name, kind in get_type_hints(Silence).items() if kind == tuple[str, ...]}
    assert set(KINDS) == tuples
    assert texts_of(Silence(filler=("Hm.",)))["filler"] == ("Hm.",)


def test_lines_take_turns() -> None:
    """From the first, round and round."""
    book = LineBook({"filler": clips("Okay.", "Mm-hm.", "Right.")})
    said = [clip.text for n in range(5) if (clip := book.pick("filler", n))]
    assert said == ["Okay.", "Mm-hm.", "Right.", "Okay.", "Mm-hm."]


def test_what_is_not_there_is_not_said() -> None:
    """A kind without clips is no kind of the book."""
    book = LineBook({"filler": clips("Okay."), "idle": ()})
    assert book.kinds == {"filler"}
    assert book.pick("idle", 0) is None and book.pick("goodbye", 3) is None
    assert LineBook({}).kinds == frozenset()


def test_a_kind_that_there_is_not_is_our_mistake() -> None:
    """Asked for or put in."""
    with pytest.raises(KeyError):
        LineBook({}).pick("fillers", 0)
    with pytest.raises(ValueError, match="fillers"):
        LineBook({"fillers": ()})


@pytest.mark.parametrize("mulaw", [b"", b"\xff", SILENCE_FRAME + b"\xff"])
def test_a_clip_is_whole_frames(mulaw: bytes) -> None:
    with pytest.raises(ValueError, match="whole frames"):
        Clip("Okay.", mulaw)


@given(TEXTS, st.integers(0, 1000))
def test_never_the_same_twice_in_a_row(texts: list[str], first: int) -> None:
    """When there are two to choose from, also if the agent file lists one twice; and all get their turn."""
    book = LineBook({"filler": clips(*texts)})
    said = [book.pick("filler", first + n) for n in range(10)]
    assert {clip.text for clip in said if clip} == set(texts)
    assert (None in said) == (not texts)
    if len(set(texts)) > 1:
        assert all(one != other for one, other in pairwise(said))
