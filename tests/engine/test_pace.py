"""How long words take: pauses, figures and letters weigh, and times that are known count exactly."""

from __future__ import annotations

import pytest

from engine.pace import anchors_of, bare, ends_ms, words_of


def length(text: str) -> float:
    return words_of(text)[-1].ends


def test_what_takes_longer() -> None:
    """More letters, more words, figures, single letters, symbols; and a pause inside, not after the end."""
    assert length("wonderful") > length("won") == length("won.") == length("“won.”")
    assert length("a bc") > length("abc")
    assert length("25") > length("ab") and length("BL") > length("Bl") and length("5 €") > length("5 e")
    assert length("one. two") > length("one, two") > length("one two") == length("one – two")


def test_where_words_stand() -> None:
    """Characters of the text, letters of its bare form, and the ends of sentences."""
    text = "Ja, straße 7! Und „so“?"
    words = words_of(text)
    assert [text[: word.end_char].rsplit(maxsplit=1)[-1] for word in words] == ["Ja,", "straße", "7!", "Und", "„so“?"]
    assert bare(text) == "jastrasse7undso" and words[-1].end_letter == len(bare(text))
    assert [word.ends_sentence for word in words] == [False, False, True, False, True]
    assert len(words_of("八时，有。")) == 3 and words_of("  ") == []


def test_between_times_that_are_known() -> None:
    """Straight from one to the next, exact at each, silence stays silence; beyond them at the voice's pace."""
    words = words_of("aa bb cc dd")
    anchors = anchors_of(words, [(0, 2, 100, 200), (2, 4, 300, 500)], [(0.0, 0.0)])
    unit = words[0].ends
    assert ends_ms(words, anchors, 10) == pytest.approx([200, 500, 500 + unit * 10, 500 + unit * 20])
    stretch = anchors_of(words, [(0, 8, 0, 400)], [(0.0, 0.0)])
    assert ends_ms(words, stretch, 10) == pytest.approx([100, 200, 300, 400])


def test_times_that_make_no_sense() -> None:
    """What falls, and what stands outside of the text, is left out."""
    words = words_of("aa bb")
    assert anchors_of(words, [(0, 2, 100, 200), (2, 4, 50, 60), (9, 12, 900, 950)])[-1] == (words[0].ends, 200)
    assert anchors_of([], [(0, 2, 100, 200)], [(0.0, 0.0)]) == [(0.0, 0.0)]
    assert ends_ms(words, [], 10) == pytest.approx([words[0].ends * 10, words[1].ends * 10])
