"""Words that decide by themselves: how they are compared, the built-in lists, the owner's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.agent import Phrases
from engine.phrases import LANGUAGES, Kind, PhraseBook, holds, normalise

ENGLISH = PhraseBook.of(Phrases())


def book(*languages: str, always: tuple[str, ...] = (), never: tuple[str, ...] = ()) -> PhraseBook:
    return PhraseBook.of(Phrases(languages=languages, always_interrupt=always, never_interrupt=never))


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("  Stop!  ", "stop"),
        ("That's right…", "thats right"),
        ("That’s right", "thats right"),
        ("Mm-HMM, mhm. MMM", "hm hm hm hm"),
        ("uh-huh", "uh huh"),
        ("ham, him, m", "ham him m"),
        ("nooooo, 1000", "no 1000"),
        ("Natürlich", "natuerlich"),
        ("NATU\u0308RLICH", "natuerlich"),
        ("natuerlich", "natuerlich"),
        ("Straße", "strasse"),
        ("Ça suffit", "ca suffit"),
        ("ＯＫ", "ok"),
        ("hold_on", "hold on"),
        ("…?!", ""),
        ("", ""),
    ],
)
def test_words_are_compared_as_they_sound(text: str, plain: str) -> None:
    """However a recogniser writes it."""
    assert normalise(text) == plain


@given(st.text(max_size=40))
def test_levelling_is_done_once(text: str) -> None:
    """What is level stays as it is, in single blanks."""
    plain = normalise(text)
    assert normalise(plain) == plain
    assert plain.split() == plain.split(" ") or not plain


@pytest.mark.parametrize(
    "text",
    [
        "uh-huh", "Uh huh.", "mm-hm", "Mmhmm", "mhm", "yeah", "Yeah, okay.", "right right right", "I see",
        "okay, I see", "Oh, okay. Yeah, that's right!", "No problem.", "um", "okaaay", "That makes sense, go on",
    ],
)  # fmt: skip
def test_an_uh_huh_is_one(text: str) -> None:
    """And so are several."""
    assert ENGLISH.kind(text) is Kind.NEVER


@pytest.mark.parametrize(
    "text",
    [
        "stop", "STOP!", "Stooop", "wait", "hold on", "Excuse me?", "no no", "okay stop", "uh-huh, wait",
        "no wait, Thursday", "right, but hold on a second", "could you please stop for a moment", "I said no",
    ],
)  # fmt: skip
def test_a_stop_is_one_wherever_it_stands(text: str) -> None:
    """Also after an "okay", also in the middle."""
    assert ENGLISH.kind(text) is Kind.ALWAYS


@pytest.mark.parametrize(
    "text",
    ["", "Eight works", "yes I would like that", "okay so Thursday", "unstoppable", "the waiter", "I know Noah", "..."],
)
def test_other_words_decide_nothing(text: str) -> None:
    """Whole words only; an "okay" with something behind it is no backchannel."""
    assert ENGLISH.kind(text) is Kind.NEUTRAL


@pytest.mark.parametrize("language", LANGUAGES)
def test_built_in_lists_of_each_language(language: str) -> None:
    """Each phrase is what its list says, and an always-phrase is found between other words."""
    one = book(language)
    assert len(one.always) > 25 and len(one.never) > 35
    assert {one.kind(phrase) for phrase in one.always} == {Kind.ALWAYS}
    assert {one.kind(phrase) for phrase in one.never} == {Kind.NEVER}
    assert {one.kind(f"okay {phrase} x2") for phrase in one.always} == {Kind.ALWAYS}
    assert {one.kind(f"{phrase} x2") for phrase in one.never} == {Kind.NEUTRAL}


def test_languages_do_not_contradict_each_other() -> None:
    """With all of them at once every backchannel still is one, and every stop."""
    everything = book(*LANGUAGES)
    assert {everything.kind(phrase) for phrase in everything.never} == {Kind.NEVER}
    assert {everything.kind(phrase) for phrase in everything.always} == {Kind.ALWAYS}


@given(st.lists(st.sampled_from(ENGLISH.never), min_size=1, max_size=6), st.sampled_from([" ", ", ", "... ", "! "]))
def test_backchannels_in_a_row_are_one(phrases: list[str], between: str) -> None:
    """Whatever the combination, the case and the punctuation; one word of substance, and they are not."""
    text = between.join(phrases).title()
    assert ENGLISH.kind(text) is Kind.NEVER
    assert ENGLISH.kind(text + between + "Thursday") is Kind.NEUTRAL
    assert ENGLISH.kind(text + between + "stop") is Kind.ALWAYS


def test_the_longer_phrase_counts() -> None:
    """A "no problem" holds no "no", but "no problem, no" does."""
    assert ENGLISH.kind("no problem") is Kind.NEVER
    assert ENGLISH.kind("no problem, no") is Kind.ALWAYS
    german = book("de")
    assert (german.kind("das stimmt"), german.kind("das stimmt nicht")) == (Kind.NEVER, Kind.ALWAYS)


@pytest.mark.parametrize("text", ["got", "okay, that makes", "all", "sounds"])
def test_a_partial_may_be_the_beginning_of_a_backchannel(text: str) -> None:
    """The agent is held anyway: the next partial tells. A final has no next."""
    assert ENGLISH.kind(text, final=False) is Kind.UNFINISHED
    assert ENGLISH.kind(text) is Kind.NEUTRAL


@pytest.mark.parametrize("text", ["got a", "eight got", "works"])
def test_a_partial_that_cannot_become_one(text: str) -> None:
    """Words of substance are not waited on."""
    assert ENGLISH.kind(text, final=False) is Kind.NEUTRAL


def test_the_owners_lists_win() -> None:
    """Over the built-in ones, also where theirs is a part of ours."""
    own = book("en", always=("Yes", "problem", "front desk"), never=("Wait", "bless you"))
    assert own.kind("yes") is Kind.ALWAYS
    assert own.kind("no problem") is Kind.ALWAYS
    assert own.kind("the front desk please") is Kind.ALWAYS
    assert own.kind("wait, bless you") is Kind.NEVER
    assert own.kind("stop") is Kind.ALWAYS
    assert own.kind("yeah") is Kind.NEVER


def test_no_language_is_no_list() -> None:
    """Then only the owner's phrases decide."""
    bare = book(always=("halt",))
    assert [bare.kind(text) for text in ("stop", "yeah", "halt")] == [Kind.NEUTRAL, Kind.NEUTRAL, Kind.ALWAYS]


def test_a_book_is_made_once() -> None:
    """An agent's book is the same for all its calls."""
    assert PhraseBook.of(Phrases(never_interrupt=("a b",))) is PhraseBook.of(Phrases(never_interrupt=("a b",)))


def test_whole_words_are_found() -> None:
    """Not their parts."""
    assert holds("this call may be recorded", ["call may"])
    assert not holds("this call may be recorded", ["all may", "recorde", "be this"])
    assert not holds("anything", [])
