"""Small things of the pure modules that a slip of the hand would change: found by `python -m tests.mutation`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from engine.agent import Keywords, Phrases
from engine.certificate import Certificate
from engine.digits import Keys
from engine.interrupting import in_force, local_minutes, minutes_of
from engine.journal import Kind, Record
from engine.ledger import (
    MOST_ARGUMENT_BYTES,
    MOST_NAME_CHARS,
    Stage,
    canonical,
    key_of,
    needs_intent,
    past_of,
)
from engine.lines import Clip
from engine.pace import (
    FASTEST_MS,
    USUAL_MS,
    anchors_of,
    ends_ms,
    words_of,
)
from engine.phrases import Kind as Says
from engine.phrases import PhraseBook, normalise
from engine.playout_moves import Cut
from engine.tools import ToolEffect


def test_nothing_has_been_typed_yet() -> None:
    """A call without keys knows none, and no time of one."""
    assert (Keys().typed, Keys().last_at, Keys().ignored) == ("", 0.0, 0)


def test_a_clip_does_not_show_its_sound() -> None:
    """A log line with one is a line."""
    assert repr(Clip("Hello.", b"\xff" * 160)) == "Clip(text='Hello.')"


# --- phrases --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "sounds"),
    [("Häuser", "haeuser"), ("hör", "hoer"), ("für", "fuer"), ("sœur", "soeur"), ("læge", "laege"), ("sø", "so")],
)
def test_letters_that_a_recogniser_spells_out(written: str, sounds: str) -> None:
    """It may write either, and both are the same word."""
    assert normalise(written) == sounds


def test_a_phrase_in_both_lists() -> None:
    """Where an agent's own lists hold one phrase twice, the caller's word counts: it interrupts."""
    both = PhraseBook.of(Phrases(languages=(), always_interrupt=("right so",), never_interrupt=("right so", "right")))
    assert both.kind("right so") is Says.ALWAYS
    assert (
        PhraseBook.of(Phrases(languages=(), never_interrupt=("go on then",))).kind("go", final=False) is Says.UNFINISHED
    )
    assert (
        PhraseBook.of(Phrases(languages=(), never_interrupt=("go on then",))).kind("go on", final=False)
        is Says.UNFINISHED
    )
    assert (
        PhraseBook.of(Phrases(languages=(), never_interrupt=("go on then",))).kind("go on then", final=False)
        is Says.NEVER
    )


def test_a_text_is_final_unless_it_says_otherwise() -> None:
    """Half a phrase that ends there decides nothing."""
    book = PhraseBook.of(Phrases(languages=(), never_interrupt=("got it",)))
    assert book.kind("got") is Says.NEUTRAL and book.kind_of_words(("got",)) is Says.NEUTRAL
    assert (
        book.kind("got", final=False) is Says.UNFINISHED
        and book.kind_of_words(("got",), final=False) is Says.UNFINISHED
    )


# --- hours ----------------------------------------------------------------------------------------------------------


def test_minutes_of_the_day() -> None:
    """Hours and minutes both count, on the clock of the zone."""
    assert minutes_of("21:30-07:15") == (21 * 60 + 30, 7 * 60 + 15)
    at = datetime(2026, 3, 2, 13, 45, tzinfo=UTC).timestamp()
    assert local_minutes(at, "UTC") == 13 * 60 + 45
    assert local_minutes(at, "Europe/Berlin") == 14 * 60 + 45


@pytest.mark.parametrize(
    ("hours", "minute", "asked"),
    [
        ("09:00-17:00", 9 * 60 - 1, False),
        ("09:00-17:00", 9 * 60, True),
        ("09:00-17:00", 17 * 60 - 1, True),
        ("09:00-17:00", 17 * 60, False),
        ("21:00-07:00", 21 * 60 - 1, False),
        ("21:00-07:00", 21 * 60, True),
        ("21:00-07:00", 0, True),
        ("21:00-07:00", 7 * 60 - 1, True),
        ("21:00-07:00", 7 * 60, False),
    ],
)
def test_when_keywords_are_asked_for(hours: str, minute: int, asked: bool) -> None:
    """From the first minute on, and not in the last one; also over midnight."""
    assert in_force(Keywords(words=("desk",), hours=hours), minute) is asked


# --- certificate ----------------------------------------------------------------------------------------------------


def test_how_exact_a_certificate_is() -> None:
    """Tenths of a millisecond since the onset, tenths of a millisecond of the call's clock."""
    certificate = Certificate(1, 1.234_567, 1.300_055, Cut(1, 10.123, 20.456), audible_ms=3.456, onset_line_ms=7.891)
    certificate.decide(1.400_099, "dropped", "words")
    data = certificate.data()
    assert (data["onset_at"], data["onset_line_ms"], data["clear_ms"], data["decided_ms"]) == (1.2346, 7.9, 65.5, 165.5)
    assert (data["heard_ms"], data["unheard_ms"], data["still_heard_ms"]) == (10.1, 20.5, 3.5)


# --- pace -----------------------------------------------------------------------------------------------------------


def units(text: str) -> list[tuple[float, float]]:
    return [(word.starts, word.ends) for word in words_of(text)]


def test_the_weights_of_what_is_said() -> None:
    """A word has a beginning; a digit is a word by itself, a capital of an abbreviation too, signs are spoken."""
    assert (USUAL_MS, FASTEST_MS) == (56.0, 25.0)
    assert units("table") == [(0.0, 6.5)]
    assert units("a") == units("A") == [(0.0, 2.5)]
    assert units("BBC") == [(0.0, 10.5)] and units("Bbc") == [(0.0, 4.5)]
    assert units("7") == [(0.0, 7.5)] and units("42") == [(0.0, 13.5)]
    assert units("€") == [(0.0, 6.5)] and units("–") == [(0.0, 0.0)]
    assert units("市") == [(0.0, 3.0)]
    assert units("a, b") == [(0.0, 2.5), (11.5, 14.0)], "a comma is a pause before the next word"
    assert units("a. b") == [(0.0, 2.5), (12.5, 15.0)]
    assert units("a b") == [(0.0, 2.5), (2.5, 5.0)]


def test_times_of_words_become_anchors() -> None:
    """At the beginning and the end of each; two in one place are the silence there, what falls is left out."""
    words = words_of("to be or")
    found = anchors_of(words, [(0, 2, 100.0, 300.0), (2, 4, 400.0, 500.0)], [(0.0, 0.0)])
    assert found == [(0.0, 0.0), (0.0, 100.0), (3.5, 300.0), (3.5, 400.0), (7.0, 500.0)]
    assert anchors_of(words, [(0, 2, 100.0, 300.0), (2, 4, 200.0, 250.0)]) == [(0.0, 100.0), (3.5, 300.0)]
    assert anchors_of(words, [(2, 4, 400.0, 400.0)]) == [(3.5, 400.0), (7.0, 400.0)]


def test_times_of_letters() -> None:
    """In the middle of a word they stand at its share, as far as its letters go."""
    words = words_of("to table")
    found = anchors_of(words, [(2, 3, 500.0, 600.0), (4, 5, 700.0, 800.0)])
    share = 6.5 / 5
    assert found == [
        (3.5, 500.0), (pytest.approx(3.5 + share), 600.0),
        (pytest.approx(3.5 + 2 * share), 700.0), (pytest.approx(3.5 + 3 * share), 800.0),
    ]  # fmt: skip


def test_when_words_end() -> None:
    """Straight from anchor to anchor, with silences in their place, and at the given pace beyond the last."""
    words = words_of("to be or not")
    anchors = [(0.0, 100.0), (3.5, 300.0), (3.5, 400.0), (10.5, 1100.0)]
    assert ends_ms(words, anchors, 50.0) == [300.0, 750.0, 1100.0, 1100.0 + 4.5 * 50.0]
    assert ends_ms(words, [], 10.0) == [35.0, 70.0, 105.0, 150.0]
    assert ends_ms(words_of("to"), [(7.0, 700.0)], 50.0) == [350.0]


# --- the ledger after a restart -------------------------------------------------------------------------------------


Told = tuple[Kind, str, dict[str, Any]]


def records(*told: Told) -> list[Record]:
    return [Record("call-1", seq, seq * 500.0, 1000.0 + seq / 2, *one) for seq, one in enumerate(told)]


OPENED: Told = (Kind.OPENED, "Opened", {"from": "+15550123"})
ASKED: Told = (
    Kind.EVENT, "ToolRequested",
    {"tool_call_id": "t1", "name": "book", "arguments": {"day": "friday"}, "effect": "commit"},
)  # fmt: skip
INTENT: Told = (
    Kind.NOTE, "ToolIntent",
    {"tool_call_id": "t1", "name": "book", "arguments": {"day": "friday"}, "effect": "commit", "key": "cs-1"},
)  # fmt: skip
RESULT: Told = (
    Kind.NOTE, "ToolResult",
    {"tool_call_id": "t1", "name": "book", "text": "Booked.", "ok": True, "took_ms": 12.5},
)  # fmt: skip


def test_what_a_journal_knows_of_a_tool_call() -> None:
    """Asked, begun, done: each record tells more."""
    past = past_of(records(OPENED, ASKED), "t1")
    assert past is not None
    assert (past.call_id, past.number, past.opened_wall_s, past.next_seq) == ("call-1", "+15550123", 1000.0, 2)
    assert (past.name, past.arguments, past.effect) == ("book", {"day": "friday"}, ToolEffect.COMMIT)
    assert (past.stage, past.key, past.result, past.overtaken) == (Stage.WAITING, "", None, False)
    past = past_of(records(OPENED, ASKED, INTENT), "t1")
    assert past is not None and (past.stage, past.key, past.next_seq) == (Stage.UNKNOWN, "cs-1", 3)
    only = past_of(records(OPENED, INTENT), "t1")
    assert only is not None
    assert (only.name, only.arguments, only.effect) == ("book", {"day": "friday"}, ToolEffect.COMMIT)
    past = past_of(records(OPENED, ASKED, INTENT, RESULT), "t1")
    assert past is not None and past.result is not None and past.stage is Stage.DONE
    assert (past.result.text, past.result.ok, past.result.took_ms) == ("Booked.", True, 12.5)
    late = past_of(records(OPENED, RESULT), "t1")
    assert late is not None and late.name == "book"


def test_a_journal_that_begins_late_or_knows_nothing() -> None:
    """When the call began is known from any record; another tool call is not this one."""
    (_, later) = records(OPENED, ASKED)
    past = past_of([later], "t1")
    assert past is not None and (past.opened_wall_s, past.next_seq, past.number) == (1000.0, 2, "")
    other = past_of(records(OPENED, ASKED), "t2")
    assert other is not None and (other.name, other.next_seq) == ("", 2)
    assert past_of([], "t1") is None
    swapped = past_of(list(reversed(records(OPENED, ASKED, INTENT))), "t1")
    assert swapped is not None and swapped.next_seq == 3
    hidden = past_of(records((Kind.OPENED, "Opened", {"from": None}), ASKED), "t1")
    assert hidden is not None and hidden.number == ""


def test_a_tool_call_that_was_overtaken() -> None:
    """The caller spoke after it was asked for: it may never have begun. What was before does not count."""
    spoke: Told = (Kind.EVENT, "CallerVoice", {})
    after, before = past_of(records(OPENED, ASKED, spoke), "t1"), past_of(records(OPENED, spoke, ASKED), "t1")
    assert after is not None and before is not None and (after.overtaken, before.overtaken) == (True, False)
    other = past_of(records(OPENED, ASKED, (Kind.EVENT, "CallerQuiet", {})), "t1")
    assert other is not None and not other.overtaken


def test_the_ledgers_numbers() -> None:
    """What may be asked at most, and how long a key is."""
    assert (MOST_ARGUMENT_BYTES, MOST_NAME_CHARS) == (65_536, 64)
    key = key_of("call-1", "book", b"{}", 1)
    assert len(key) == 43 and key.startswith("cs-") and key != key_of("call-1", "book", b"{}", 2)
    assert [needs_intent(effect) for effect in ToolEffect] == [effect is not ToolEffect.READ for effect in ToolEffect]


def test_arguments_that_are_no_json() -> None:
    """A model of pydantic tells itself; anything else is refused by its type's name."""

    class Model:
        def model_dump(self, mode: str) -> dict[str, str]:
            return {"mode": mode}

    assert canonical({"one": Model()}) == b'{"one":{"mode":"json"}}'
    with pytest.raises(TypeError, match="a object is not JSON-able"):
        canonical({"one": object()})
