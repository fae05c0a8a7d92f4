"""Which words were heard, in the corners: what mutants of `engine.heard` and `engine.speech` survived."""

from __future__ import annotations

import pytest

from engine import heard as module
from engine.heard import MOST_SPEECHES, MOST_UTTERANCES, NEAR, SLACK_MS, AgentWords, Heard, note
from engine.pace import USUAL_MS, words_of
from engine.speech import FRAME_MS, LONGEST_PAUSE_MS, MOST_CHARS, MOST_TIMES, Speech, cleaned, joined, segment_of
from tests.engine.test_heard import BISTRO, speech


def test_the_numbers() -> None:
    """What a wrong one would do shows only in a thousand calls."""
    assert (MOST_SPEECHES, MOST_UTTERANCES, SLACK_MS, NEAR) == (8, 16, 100.0, 0.35)
    assert (module._PRIOR_UNITS, module._FORGETTING) == (60.0, 0.7)
    assert (MOST_CHARS, MOST_TIMES, FRAME_MS, LONGEST_PAUSE_MS) == (8000, 8000, 20.0, 600.0)


def test_a_note_is_exact_to_a_tenth() -> None:
    """Of a millisecond."""
    told = note(1, Heard("a", "a b", cut=True), heard_ms=100.06, of_ms=200.04, policy="truncate")
    assert (told["heard_ms"], told["of_ms"]) == (100.1, 200.0)


def test_a_speech_that_was_broken_off_before_its_first_sound() -> None:
    """It will not be heard any more: the next sound is the next speech's."""
    words = AgentWords()
    words.voice_input("It never comes to this.")
    words.interrupted()
    speech(words, BISTRO, ms=4000)
    assert words.saying(1) == BISTRO and words.done(4000, 1) == Heard(BISTRO, BISTRO, cut=False)


def test_a_speech_that_was_broken_off_in_the_middle() -> None:
    """What comes after it is another, with its own words and its own sound."""
    words = AgentWords()
    speech(words, BISTRO, ms=1000, over=False)
    words.interrupted()
    words.voice_input("Eight it is.")
    words.audio(900)
    assert words.saying(1) == BISTRO
    first = words.done(1000, 1)
    assert first.cut and first.generated == BISTRO and first.text.startswith("We have")
    words.utterance_began(2)
    assert words.saying(2) == "Eight it is."
    words.speech_stopped()
    assert words.done(900, 2) == Heard("Eight it is.", "Eight it is.", cut=False)


def test_an_interruption_of_what_is_over() -> None:
    """What was complete stays complete."""
    words = AgentWords()
    speech(words, "Eight it is.", ms=900)
    words.interrupted()
    assert words.done(900, 1) == Heard("Eight it is.", "Eight it is.", cut=False)


def test_a_rest_and_then_nothing_more() -> None:
    """What was heard out while it rested is done when Vapi says so; the next utterance is the next speech's."""
    for more_ms, rest in ((0.0, True), (FRAME_MS, True), (FRAME_MS + 1, False)):
        words = AgentWords()
        speech(words, "Of course.", "One moment please.", ms=1900, over=False)
        assert words.done(1900, 1).cut is False
        words.audio(more_ms)
        words.speech_stopped()
        words.voice_input("Eight it is.")
        words.audio(900)
        words.utterance_began(2)
        assert (words.saying(2) == "Eight it is.") is rest, more_ms


def test_a_cut_forgets_everything_that_waited() -> None:
    """No utterance of before is known after it."""
    words = AgentWords()
    speech(words, BISTRO, ms=4000)
    speech(words, "And another one.", ms=1200, utterance=2)
    words.cut(1000, 5200, 1)
    assert words.saying(1) == words.saying(2) == "" and words.done(1200, 2) == Heard("", "", cut=False)
    speech(words, "Eight it is.", ms=900, utterance=3)
    assert words.done(900, 3) == Heard("Eight it is.", "Eight it is.", cut=False)


def test_two_speeches_are_cut_together() -> None:
    """The first was heard to its end, the second in part; together they are one text."""
    for heard_ms, text in ((900.0, "Eight it is."), (1500.0, "Eight it is. And"), (0.0, "")):
        words = AgentWords()
        speech(words, "Eight it is.", ms=900)
        words.voice_input("And the name please?")
        words.audio(1300)
        words.speech_stopped()
        found = words.cut(heard_ms, 2200, 1)
        assert found.generated == "Eight it is. And the name please?" and found.cut
        assert found.text.startswith(text) and len(found.text.split()) <= len(text.split()) + 1, heard_ms
    words = AgentWords()
    speech(words, "Eight it is.", ms=900)
    words.voice_input("And the name please?")
    words.audio(1300)
    words.speech_stopped()
    both = "Eight it is. And the name please?"
    assert words.cut(2200, 2200, 1) == Heard(both, both, cut=False)


def test_an_utterance_is_told_once() -> None:
    """Asked for again, there is nothing of it."""
    words = AgentWords()
    speech(words, "Eight it is.", ms=900)
    assert words.done(900, 1).text == "Eight it is."
    assert words.done(900, 1) == Heard("", "", cut=False)


def test_utterances_are_remembered_so_far() -> None:
    """The oldest goes first; what was begun last is known."""
    words = AgentWords()
    for number in range(1, MOST_UTTERANCES + 2):
        words.utterance_began(number)
    assert len(words._utterances) == MOST_UTTERANCES and min(words._utterances) == 2


def test_within_a_frame_of_its_end() -> None:
    """It counts as heard out; a frame and a little more does not, when the last word reaches into it."""
    for missing_ms, whole in ((FRAME_MS, True), (FRAME_MS + 1, False)):
        words = AgentWords()
        speech(words, "Eight it is.", ms=900)
        assert (words.cut(900 - missing_ms, 900).cut is False) is whole


def test_a_word_counts_when_all_of_it_was_heard() -> None:
    """To half a frame, by times that are known."""
    for heard_ms, text in ((489.9, ""), (490.0, "We"), (989.9, "We"), (990.0, "We have")):
        words = AgentWords()
        words.timing([("We", 0.0, 500.0), ("have", 500.0, 1000.0), ("seven", 1000.0, 1500.0)], "We have seven")
        words.audio(1500)
        words.utterance_began(1)
        words.speech_stopped()
        assert words.cut(heard_ms, 1500).text == text, heard_ms


def test_times_without_a_text_are_a_text() -> None:
    """They say the words as well, and belong to the speech that has these words."""
    words = AgentWords()
    speech(words, "Eight it is.", ms=900)
    words.done(900, 1)
    words.timing([("And", 0.0, 300.0), ("then", 300.0, 600.0)])
    words.audio(600)
    words.utterance_began(2)
    assert words.saying(2) == "And then"
    words.speech_stopped()
    assert words.cut(320, 600, 2).text == "And"


def test_times_of_a_speech_that_is_done() -> None:
    """They come late: they are not the next one's."""
    words = AgentWords()
    speech(words, "Eight it is.", ms=900)
    words.done(900, 1)
    words.timing([("Eight", 0.0, 300.0), ("it", 300.0, 600.0), ("is.", 600.0, 900.0)], "Eight it is.")
    words.voice_input("And then?")
    words.audio(600)
    words.utterance_began(2)
    assert words.saying(2) == "And then?"


def test_so_many_times_and_no_more() -> None:
    """The last that fit are taken."""
    letters = [("a", float(at), float(at + 1)) for at in range(MOST_TIMES)]
    words = AgentWords()
    words.timing(letters)
    assert len(words._speeches[-1].times) == MOST_TIMES
    words.timing([("b", 0.0, 1.0)])
    assert len(words._speeches[-1].times) == MOST_TIMES


def test_the_pace_is_forgotten_slowly() -> None:
    """Each speech that was heard out counts, the latest the most."""
    words = AgentWords()
    units = words_of(BISTRO)[-1].ends
    speech(words, BISTRO, ms=9000)
    words.done(9000)
    ms, known = USUAL_MS * 60 * 0.7 + 9000, 60 * 0.7 + units
    assert (words._ms, words._units) == pytest.approx((ms, known))
    speech(words, BISTRO, ms=4000)
    words.done(4000)
    assert (words._ms, words._units) == pytest.approx((ms * 0.7 + 4000, known * 0.7 + units))


def test_a_turn_that_is_known() -> None:
    """A text of another turn opens a speech of its own; of no turn, or of the same, it does not."""
    words = AgentWords()
    words.voice_input("Eight it is.", turn=1)
    words.timing([("Nine", 0.0, 100.0)], "Nine it is.", turn=2)
    assert [one.turn for one in words._speeches] == [1, None] and words._speeches[-1].named == "Nine it is."
    words = AgentWords()
    words.voice_input("Eight it is.", turn=1)
    words.voice_input("And then?", turn=1)
    words.voice_input("Well.", turn=2)
    assert [(one.turn, one.voice) for one in words._speeches] == [(1, "Eight it is. And then?"), (2, "Well.")]


# --- one speech -----------------------------------------------------------------------------------------------------


def test_all_the_words_of_a_speech_are_known() -> None:
    """From what went to the voice, or from a transcript that is final."""
    assert not Speech().is_settled
    assert Speech(voice="a").is_settled and Speech(told="a").is_settled
    assert not Speech(telling="a").is_settled and not Speech(told="a", telling="b").is_settled


def test_the_text_of_a_speech() -> None:
    """As it went to the voice, or the first source that knows that and more; the words with times, if they differ."""
    assert Speech(voice="At 8!", told="at 8").text == "At 8!"
    assert Speech(voice="At 8!", told="At 8! Or 9?").text == "At 8! Or 9?"
    assert Speech(voice="At 8!", told="Or 9? Or 10?").text == "At 8!"
    assert Speech(voice="At 8!", told="at 8", telling="or 9").text == "at 8 or 9"
    assert Speech(voice="At 8!", timed="Well").text == "Well" and Speech(voice="At 8!", timed="at").text == "At 8!"


def test_where_a_speech_ends() -> None:
    """Whole: its length is the pace of what has no times. Not whole: so much audio is not yet all of it."""
    words = words_of("to be or")
    one = Speech(voice="to be or", audio_ms=1050.0)
    assert one.ends_ms(words, 50.0, whole=True) == [350.0, 700.0, 1050.0]
    assert one.ends_ms(words, 50.0, whole=False) == [350.0, 700.0, 1050.0]
    assert one.ends_ms(words, 200.0, whole=False) == [700.0, 1400.0, 2100.0]
    assert Speech(telling="to be or", audio_ms=1050.0).ends_ms(words, 50.0, whole=False) == [175.0, 350.0, 525.0]
    fast = Speech(voice="to be or", audio_ms=105.0)
    assert fast.ends_ms(words, 50.0, whole=True) == [87.5, 175.0, 262.5], "nobody speaks faster"
    assert one.ends_ms([], 50.0, whole=True) == []


def test_segments_of_times() -> None:
    """Each may begin anew, or go on; a segment that was missed leaves its place."""
    one = Speech(voice="Eight it is. And the name?", audio_ms=4000.0)
    one.align([("Eight", 0.0, 300.0), ("it", 300.0, 500.0), ("is.", 500.0, 900.0)])
    assert one.timed == "Eight it is." and one.times == [(0, 5, 0.0, 300.0), (5, 7, 300.0, 500.0), (7, 9, 500.0, 900.0)]
    one.align([("And", 1000.0, 1200.0)])
    assert one.times[-1] == (9, 12, 1000.0, 1200.0), "it goes on"
    one.align([("the", 0.0, 200.0)])
    assert one.times[-1] == (12, 15, 1200.0 + LONGEST_PAUSE_MS, 1400.0 + LONGEST_PAUSE_MS), "it begins anew"
    near = Speech(voice="Eight it is. And", audio_ms=1000.0)
    near.align([("Eight", 0.0, 300.0), ("it", 300.0, 500.0), ("is.", 500.0, 900.0)])
    near.align([("And", 880.0, 1000.0)])
    assert near.times[-1] == (9, 12, 880.0, 1000.0), "a frame back is no new beginning"
    near.align([("And", 0.0, 100.0)])
    assert near.times[-1][2] == 1000.0, "no more pause than there is audio for"
    again = Speech(voice="Eight it is. And", audio_ms=1000.0)
    again.align([("Eight", 0.0, 300.0)])
    again.align([("Eight", 0.0, 310.0), ("it", 310.0, 500.0)])
    assert again.times == [(0, 5, 0.0, 310.0), (5, 7, 310.0, 500.0)] and again.timed == "Eight it"


def test_a_segment_that_was_missed() -> None:
    """What lies between is known from the text; a letter or two would be found anywhere."""
    one = Speech(voice="Eight it is. And the name?", audio_ms=4000.0)
    one.align([("Eight", 0.0, 300.0)])
    one.align([("name?", 0.0, 200.0)])
    assert one.timed.replace(" ", "").casefold() == "eightitisandthename?"
    base_ms = 300.0 + LONGEST_PAUSE_MS + 10 * USUAL_MS
    assert one.times[-1] == (15, 19, base_ms, base_ms + 200.0)
    short = Speech(voice="Eight it is. And the name?", audio_ms=4000.0)
    short.align([("Eight", 0.0, 300.0)])
    short.align([("the", 0.0, 200.0)])
    assert short.times[-1][0] == 5


def test_letters_and_words() -> None:
    """Letters have their spaces among them, words do not; tags are for the voice, not for the ear."""
    assert (
        segment_of([("a", 0, 1), (" ", 1, 2), ("b", 2, 3)]) == "a b" and segment_of([("a", 0, 1), ("b", 1, 2)]) == "a b"
    )
    assert cleaned(' Well <break time="1s"/>  then<flush />. ') == "Well then ."
    assert joined("a", " b ") == "a b" and joined("", "b") == "b" and len(joined("x" * MOST_CHARS, "y")) == MOST_CHARS
