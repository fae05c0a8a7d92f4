"""What the caller heard of what the agent said: by the times of its words, else by its length and its voice's pace."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.audio import duration_ms
from engine.heard import MOST_SPEECHES, AgentWords, Heard, note
from engine.speech import MOST_CHARS
from web.twins.speech.voice import EDGE_MS, speak

BISTRO = "We have seven, eight and nine o'clock free. Which one would you like?"
SPOKEN = [  # sentences, figures, letters, lists
    "Bistro Lune, how can I help?",
    "Yes, four at half past seven is free. Your reference is BL-204.",
    "I am sorry, but we are fully booked on Saturday. Would Sunday evening suit you as well?",
    "The total comes to 48 dollars and 50 cents, including tax and delivery.",
    "Please note that this call may be recorded for quality and training purposes.",
    "No problem! I have moved your booking from seven to eight o'clock, everything else stays the same.",
]


def speech(words: AgentWords, *texts: str, ms: float, over: bool = True, utterance: int | None = 1) -> None:
    """As the bridge sees one: words for the voice, audio in clumps, the first of it leaves, the rest, the end."""
    for text in texts:
        words.voice_input(text)
    words.audio(60)
    if utterance is not None:
        words.utterance_began(utterance)
    words.audio(ms - 60)
    if over:
        words.speech_stopped()


def test_nothing_was_heard() -> None:
    """Dropped before its first sound: all of it is unheard."""
    words = AgentWords()
    speech(words, BISTRO, ms=4000)
    assert words.cut(0, 4000) == Heard("", BISTRO, cut=True)


def test_all_was_heard() -> None:
    """To its end, or to within a frame of it."""
    for heard_ms in (4000, 3985):
        words = AgentWords()
        speech(words, BISTRO, ms=4000)
        assert words.cut(heard_ms, 4000) == Heard(BISTRO, BISTRO, cut=False)
    words = AgentWords()
    speech(words, BISTRO, ms=4000)
    assert words.done(4000) == Heard(BISTRO, BISTRO, cut=False)


@given(st.sampled_from(SPOKEN), st.integers(0, 4600))
def test_what_was_taken_to_be_heard_may_be_cut_after_all(text: str, heard_ms: int) -> None:
    """The next speech had begun to leave while this one still played: the same words as if it had been cut at once."""
    at_once, after_all = AgentWords(), AgentWords()
    for words in (at_once, after_all):
        speech(words, text, ms=4600)
    cut = at_once.cut(heard_ms, 4600)
    whole = after_all.done(4600, 1)
    assert whole == Heard(text, text, cut=False)
    assert heard_ms >= 4580 or whole.until(heard_ms) == cut


def test_a_part_was_heard() -> None:
    """Cut between two words, and what was not heard is the rest."""
    words = AgentWords()
    speech(words, BISTRO, ms=4600)
    heard = words.cut(2000, 4600)
    assert heard == Heard("We have seven, eight and", BISTRO, cut=True)
    assert heard.unheard == "nine o'clock free. Which one would you like?"


def test_words_that_vapi_is_still_making_audio_for() -> None:
    """Dropped in the middle of its making: how long it would have been is known from the voice's pace alone."""
    words = AgentWords()
    speech(words, BISTRO, ms=2100, over=False)
    assert words.cut(2000, 2100).text in ("We have seven, eight", "We have seven, eight and")


def test_the_voice_s_pace_is_learnt() -> None:
    """After a slow speech the next one is taken to be slow as well."""
    usual, slow = AgentWords(), AgentWords()
    for _ in range(3):
        speech(slow, BISTRO, ms=9000)
        slow.done(9000)
    for words in (usual, slow):
        speech(words, BISTRO, ms=2400, over=False)
    assert len(slow.cut(2400, 2400).text.split()) < len(usual.cut(2400, 2400).text.split())


def test_no_words_are_known() -> None:
    """Audio without a text, an utterance that nobody began, and one that was asked for already."""
    words = AgentWords()
    assert words.cut(100, 200) == words.done(200) == Heard("", "", cut=False)
    words.audio(500)
    words.utterance_began(1)
    assert words.cut(200, 500, 1) == Heard("", "", cut=False)
    assert words.cut(200, 500, 1) == Heard("", "", cut=False)
    assert words.done(500, 7) == Heard("", "", cut=False)


def test_nobody_speaks_that_fast() -> None:
    """Vapi broke off and never said so: its audio is over, but cannot have held all the words."""
    words = AgentWords()
    speech(words, BISTRO, ms=600)
    assert words.done(600).text in ("We", "We have")


def test_vapi_broke_off() -> None:
    """It heard an interruption that we took for none: the end of its audio is not the end of its words."""
    words = AgentWords()
    speech(words, BISTRO, ms=2000, over=False)
    words.voice_input("And a sentence that it forgets.")
    words.interrupted()
    words.speech_stopped()
    heard = words.done(2000)
    assert heard.cut and "We have seven" in heard.text and "free" not in heard.text
    speech(words, "Eight it is.", ms=900, utterance=2)
    assert words.done(900) == Heard("Eight it is.", "Eight it is.", cut=False)


def test_sentences_one_by_one() -> None:
    """Each goes to the voice by itself; the second while the first is heard."""
    words = AgentWords()
    words.voice_input("Let me see.")
    words.audio(700)
    words.utterance_began(1)
    words.voice_input("<break time='1s'/> Eight is free. <flush />")
    words.audio(1300)
    words.speech_stopped()
    assert words.saying() == "Let me see. Eight is free."
    assert words.cut(800, 2000) == Heard("Let me see.", "Let me see. Eight is free.", cut=True)


def test_words_that_come_after_their_audio_began() -> None:
    """The first message: no words for the voice, only a transcript that grows."""
    words = AgentWords()
    words.audio(60)
    words.utterance_began(1)
    words.audio(600)
    words.transcript("Bistro Lune,", final=False)
    assert words.saying() == "Bistro Lune,"
    words.audio(1400)
    words.transcript("Bistro Lune, how can", final=False)
    words.speech_stopped()
    words.transcript("Bistro Lune, how can I help?", final=True)
    assert words.cut(1000, 2060) == Heard("Bistro Lune,", "Bistro Lune, how can I help?", cut=True)


def test_a_transcript_in_pieces() -> None:
    """A final ends a piece, unless the next one repeats it."""
    for second in ("We have eight.", "Sure. We have eight."):
        words = AgentWords()
        words.audio(2000)
        words.utterance_began(1)
        words.transcript("Sure.", final=True)
        words.transcript("We", final=False)
        words.transcript(second, final=True)
        words.speech_stopped()
        assert words.done(2000).text == "Sure. We have eight."


def test_the_voice_s_words_and_the_transcript_s() -> None:
    """What goes to the voice is nearest to what is heard; unless it is not all."""
    words = AgentWords()
    speech(words, "That is five dollars.", ms=1500)
    words.transcript("That is $5.", final=True)
    assert words.done(1500).text == "That is five dollars."
    speech(words, "That is all.", ms=2500, utterance=2)
    words.transcript("One moment. That is all.", final=True)
    assert words.done(2500).text == "One moment. That is all."


def test_the_next_speech_is_not_mixed_in() -> None:
    """Its words and audio come while the last one is still heard; so does the last one's transcript."""
    words = AgentWords()
    speech(words, "One moment, please.", ms=1500)
    words.voice_input("We have eight.")
    words.transcript("One moment, please.", final=True)
    words.audio(400)
    words.transcript("We", final=False)
    assert words.saying(1) == "One moment, please."
    assert words.done(1500, 1) == Heard("One moment, please.", "One moment, please.", cut=False)
    words.utterance_began(2)
    words.audio(800)
    words.speech_stopped()
    assert words.done(1200, 2) == Heard("We have eight.", "We have eight.", cut=False)


def test_the_next_utterance_begins_before_the_last_was_asked_for() -> None:
    """Numbers keep them apart."""
    words = AgentWords()
    speech(words, "One moment, please.", ms=1500, utterance=1)
    speech(words, "We have eight.", ms=1200, utterance=2)
    assert words.done(1200, 2).text == "We have eight."
    assert words.done(1500, 1).text == "One moment, please."


def test_another_turn_s_words_before_this_one_is_over() -> None:
    """They wait for theirs; the audio is still this turn's."""
    words = AgentWords()
    words.voice_input("One moment, please.", 2)
    words.audio(800)
    words.utterance_began(1)
    words.voice_input("We have eight.", 4)
    words.audio(700)
    words.speech_stopped()
    words.audio(1200)
    words.speech_stopped()
    assert words.done(1500, 1).text == "One moment, please."
    words.utterance_began(2)
    assert words.done(1200, 2).text == "We have eight."


def test_a_speech_that_rests() -> None:
    """A tool takes its time between two sentences: two utterances, and each has its own words."""
    words = AgentWords()
    words.voice_input("Let me look that up for you.")
    words.voice_input("We have eight and nine.")
    words.audio(1900)
    words.utterance_began(1)
    assert words.done(1900, 1) == Heard("Let me look that up for you.", "Let me look that up for you.", cut=False)
    words.audio(1600)
    words.utterance_began(2)
    words.speech_stopped()
    assert words.saying() == "We have eight and nine."
    assert words.cut(1000, 1600, 2) == Heard("We have eight", "We have eight and nine.", cut=True)


def test_the_end_of_a_speech_comes_late() -> None:
    """It was heard to its end by then: nothing of it is left for the next utterance."""
    words = AgentWords()
    speech(words, "One moment, please.", ms=1500, over=False)
    assert words.done(1500, 1).text == "One moment, please."
    words.speech_stopped()
    speech(words, "We have eight.", ms=1200, utterance=2)
    assert words.done(1200, 2).text == "We have eight."


def test_two_speeches_in_one_utterance() -> None:
    """The second came before the first was out: cut in the first, cut in the second, heard out."""
    for heard_ms, text in ((700, "One moment,"), (2200, "One moment, please. We have"), (2700, None)):
        words = AgentWords()
        speech(words, "One moment, please.", ms=1500)
        speech(words, "We have eight.", ms=1200, utterance=None)
        both = "One moment, please. We have eight."
        assert words.cut(heard_ms, 2700) == Heard(text or both, both, cut=text is not None)
        speech(words, "Goodbye.", ms=900, utterance=2)
        assert words.done(900, 2).text == "Goodbye."


def test_what_comes_late_of_a_dropped_speech() -> None:
    """Vapi has not noticed yet: its words are not the next answer's."""
    words = AgentWords()
    speech(words, BISTRO, ms=2000, over=False)
    words.cut(1000, 2000)
    words.voice_input("And a second sentence.")
    words.transcript("We have seven, eight", final=False)
    words.interrupted()
    words.speech_stopped()
    words.transcript("We have seven, eight", final=True)
    speech(words, "Eight it is.", ms=900, utterance=2)
    assert words.cut(900, 900) == Heard("Eight it is.", "Eight it is.", cut=False)


def test_words_that_were_never_to_be_heard() -> None:
    """The gate was shut for a whole speech: no audio is counted, and its words go with it."""
    words = AgentWords()
    words.voice_input("Nobody hears this.")
    words.speech_stopped()
    speech(words, "Eight it is.", ms=900, utterance=1)
    assert words.done(900, 1).text == "Eight it is."


def test_dropped_while_it_waited() -> None:
    """The caller spoke first: no utterance began, but something was generated."""
    for number in (None, 3):  # the last one that was, or none
        words = AgentWords()
        speech(words, "We have eight.", ms=1200, utterance=None)
        assert words.done(500, 3) == Heard("", "", cut=False)
        assert words.cut(0, 1200, number) == Heard("", "We have eight.", cut=True)


def test_silence_that_vapi_sends_between_speeches() -> None:
    """It is no audio to whoever plays it, so the length of an utterance is theirs to tell."""
    words = AgentWords()
    speech(words, "One moment, please.", ms=1500)
    words.done(1500, 1)
    words.audio(3000)
    speech(words, BISTRO, ms=4600, utterance=2)
    assert words.cut(2000, 4600, 2).text == "We have seven, eight and"


def test_audio_that_was_not_counted() -> None:
    """It came before the line was there: the length of the utterance is known all the same."""
    words = AgentWords()
    words.voice_input("One moment, please.")
    words.utterance_began(1)
    words.speech_stopped()
    speech(words, "We have eight.", ms=1200, utterance=None)
    assert words.done(1500, 1).text == "One moment, please."
    words.utterance_began(2)
    assert words.done(1200, 2).text == "We have eight."


WORD_TIMES = [("We", 0, 150), ("have", 160, 400), ("seven,", 420, 900), ("eight", 1300, 1600), ("and", 1620, 1750)]


@pytest.mark.parametrize(
    ("heard_ms", "text"),
    [
        (100, ""),
        (160, "We"),
        (880, "We have"),
        (900, "We have seven,"),
        (1589, "We have seven,"),
        (1600, "We have seven, eight"),
    ],
)
def test_with_the_times_of_words_it_is_exact(heard_ms: float, text: str) -> None:
    """A word is heard when the whole of it was."""
    words = AgentWords()
    words.voice_input(BISTRO)
    words.timing(WORD_TIMES, BISTRO)
    speech(words, ms=4600)
    assert words.cut(heard_ms, 4600) == Heard(text, BISTRO, cut=True)


def test_the_times_of_letters() -> None:
    """As some voices give them, spaces included, in segments whose times begin anew or go on."""
    letters = [(letter, index * 100.0, index * 100.0 + 100) for index, letter in enumerate("We have ")]
    for second_from in (0.0, 900.0):
        words = AgentWords()
        words.audio(60)
        words.utterance_began(1)
        words.timing(letters, BISTRO)
        words.audio(840)
        words.timing([(one, second_from + start, second_from + end) for one, start, end in WORD_TIMES[2:]], BISTRO)
        words.audio(2000)
        assert words.saying() == BISTRO
        assert words.cut(1800, 2900).text == "We have seven,"


def test_times_that_are_told_again_and_again() -> None:
    """Each message from the beginning, one word more."""
    words = AgentWords()
    words.audio(60)
    words.utterance_began(1)
    for count in range(1, len(WORD_TIMES) + 1):
        words.timing(WORD_TIMES[:count], " ".join(word for word, _, _ in WORD_TIMES[:count]))
    words.audio(4000)
    assert words.cut(1610, 4060).text == "We have seven, eight"


def test_a_segment_as_one_stretch() -> None:
    """Only its length is known: words within it by their letters."""
    words = AgentWords()
    words.voice_input("Yes, four at half past seven is free.")
    words.timing([("Yes, four at half past seven", 0, 1700)], "Yes, four at half past seven")
    speech(words, ms=2300)
    assert words.cut(1700, 2300).text == "Yes, four at half past seven"
    words.timing([("four at", 0, 500)], "Yes, four at")
    speech(words, "Yes, four at half past seven is free.", ms=2300, utterance=2)
    assert words.cut(2300, 2300).text == "Yes, four at half past seven is free."


def test_times_of_words_that_are_written_otherwise() -> None:
    """The words that have times are believed."""
    words = AgentWords()
    speech(words, "That is $5.", ms=1500)
    words.timing([("That", 0, 200), ("is", 210, 400), ("five", 410, 800), ("dollars", 820, 1400)], "That is $5.")
    assert words.cut(900, 1500).text == "That is five"


def test_signs_without_spaces_between_them() -> None:
    """Japanese and Chinese are cut between two signs."""
    words = AgentWords()
    speech(words, "八时有空位。请问您几位？", ms=2400)
    heard = words.cut(1200, 2400)
    assert heard.cut and heard.text and "八时有空位。请问您几位？".startswith(heard.text)


def test_memory_is_bounded() -> None:
    """A call of hours, an endless text, and events that never fit."""
    words = AgentWords()
    for index in range(200):
        words.voice_input("word " * 300, index)
        words.timing([("word", 0.0, 1.0)] * 300, "word " * 300, index)
        words.transcript("other " * 300, final=True)
        words.audio(20)
        words.utterance_began(index)
    assert len(words._speeches) <= MOST_SPEECHES and len(words._utterances) <= 16
    for _ in range(100):
        words.transcript("new " * 300, final=True)
    assert all(len(one.told) <= MOST_CHARS and len(one.times) <= 8000 for one in words._speeches)


TEXT = st.text(st.sampled_from("ab .,?1é字<>-"), max_size=20)
STEP = st.one_of(
    st.tuples(st.just("voice_input"), TEXT, st.none() | st.integers(0, 3)),
    st.tuples(st.just("transcript"), TEXT, st.booleans()),
    st.tuples(st.just("timing"), st.lists(st.tuples(TEXT, st.integers(0, 500), st.integers(0, 900)), max_size=4), TEXT),
    st.tuples(st.just("audio"), st.integers(1, 2000)),
    st.tuples(st.sampled_from(["speech_stopped", "interrupted"])),
    st.tuples(st.just("utterance_began"), st.integers(1, 4)),
    st.tuples(st.just("done"), st.integers(0, 3000), st.none() | st.integers(1, 4)),
    st.tuples(st.just("cut"), st.integers(0, 3000), st.integers(0, 3000), st.none() | st.integers(1, 4)),
)


@given(st.lists(STEP, max_size=25))
@example([("timing", [("<11>", 0, 0)], ""), ("timing", [("1", 0, 0), ("<", 0, 0)], ""), ("cut", 0, 0, None)])
def test_whatever_happens(steps: list[tuple[object, ...]]) -> None:
    """What was heard is a beginning of what was generated; nothing heard is no words; nothing raises."""
    words = AgentWords()
    for name, *given_ in steps:
        if name == "transcript":
            words.transcript(str(given_[0]), final=bool(given_[1]))
            continue
        answer = getattr(words, str(name))(*given_)
        if isinstance(answer, Heard):
            assert answer.generated.startswith(answer.text)
            assert answer.cut or answer.text == answer.generated
            assert not answer.text or name == "done" or given_[0]


@given(
    st.lists(st.sampled_from(["one", "seven,", "I", "4", "BL-204.", "wonderful"]), min_size=1), st.integers(100, 9000)
)
def test_more_heard_is_never_fewer_words(said: list[str], of_ms: int) -> None:
    """From nothing to all, word by word."""
    text, before = " ".join(said), 0
    for heard_ms in range(0, of_ms + 1, max(1, of_ms // 20)):
        words = AgentWords()
        speech(words, text, ms=of_ms)
        count = len(words.cut(heard_ms, of_ms).text.split())
        assert count >= before
        before = count


def word_ends_ms(text: str) -> list[float]:
    """When each word has been spoken by the synthetic voice: by the length of what comes before the next one."""
    said = text.split()
    return [duration_ms(speak(" ".join(said[: count + 1]))) - EDGE_MS for count in range(len(said))]


def test_against_a_voice() -> None:
    """At most a word off in nine of ten places, with the whole length known and without it."""
    known: list[int] = []
    learnt: list[int] = []
    call = AgentWords()
    for number, text in enumerate(SPOKEN):
        total_ms = duration_ms(speak(text))
        true_ms = [min(end, total_ms) for end in word_ends_ms(text)]
        for heard_ms in range(100, round(total_ms), 100):
            truly = sum(end <= heard_ms for end in true_ms)
            words = AgentWords()
            speech(words, text, ms=total_ms)
            known.append(len(words.cut(heard_ms, total_ms).text.split()) - truly)
            if number:
                words = AgentWords()
                words._ms, words._units = call._ms, call._units  # what this call has learnt until now
                speech(words, text, ms=heard_ms + 200, over=False)
                learnt.append(len(words.cut(heard_ms, heard_ms + 200).text.split()) - truly)
        speech(call, text, ms=total_ms, utterance=number)
        call.done(total_ms, number)
    for off in (known, learnt):
        share = sum(abs(one) <= 1 for one in off) / len(off)
        assert share >= 0.9, (share, off)


def test_the_note_for_the_journal() -> None:
    """The shape that readers of the journal rely on; kept whole by policy, and still known as cut."""
    heard = Heard("We have", "We have eight.", cut=True)
    told = note(3, heard, heard_ms=500.04, of_ms=1200, policy="truncate")
    assert told == {
        "utterance": 3, "text": "We have", "cut": True, "heard_ms": 500.0, "of_ms": 1200, "policy": "truncate",
        "generated": "We have eight.",
    }  # fmt: skip
    assert note(3, heard, heard_ms=500, of_ms=1200, policy="keep")["text"] == "We have eight."
