"""The agent's audio on its way out: pieces, marks, epochs and milliseconds."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from engine.audio import FRAME_BYTES, silence
from engine.playout import Audio, Done, Mark, Move, Playout, Started

LOUD = b"\x20"


def speech(ms: int) -> bytes:
    return LOUD * (ms * 8)


def sent_ms(moves: Sequence[Move]) -> float:
    return sum(len(move.mulaw) / 8 for move in moves if isinstance(move, Audio))


def marks(moves: Sequence[Move]) -> list[str]:
    return [move.name for move in moves if isinstance(move, Mark)]


def test_an_utterance_from_clumps_to_the_last_mark() -> None:
    """Held back a moment, sent in whole frames, marked, and done when the last mark is back."""
    playout = Playout(prebuffer_ms=60, mark_every_ms=200)
    assert playout.push(speech(50), now=1.0) == []
    moves = playout.push(speech(55), now=1.05)
    assert moves[0] == Started(1)
    assert sent_ms(moves) == 100
    moves = playout.push(speech(107), now=1.1)
    assert sent_ms(moves) == 100
    assert marks(moves) == ["u-1.1"]
    moves = playout.finish(now=1.15)
    assert sent_ms(moves) == 20, "the last 12 ms, filled up to a frame"
    assert marks(moves) == ["u-1.2"]
    assert playout.mark_returned("u-1.1", now=1.26) == []
    assert playout.mark_returned("u-1.2", now=1.28) == [Done(1, 220)]
    assert not playout.busy


def test_a_short_first_clump_does_not_wait_for_more() -> None:
    """A single word is heard after the prebuffer's time, not when the next word comes."""
    playout = Playout(prebuffer_ms=60)
    assert playout.push(speech(40), now=1.0) == []
    assert not playout.tick(now=1.04)
    assert playout.tick(now=1.06)[:2] == [Started(1), Audio(speech(40))]


def test_silence_between_sentences_is_not_an_utterance() -> None:
    """Some voices send silence all the time; it is neither forwarded nor taken for speech."""
    playout = Playout()
    assert playout.push(silence(200), now=1.0) == []
    assert not playout.busy
    playout.push(speech(200), now=2.0)
    assert sent_ms(playout.push(silence(100), now=2.1)) == 100, "but a pause inside a sentence is part of it"


def test_barge_in_forgets_everything_and_counts_it() -> None:
    """What was heard is known by the send clock; the rest is dropped; its marks are late ones."""
    playout = Playout(prebuffer_ms=60, mark_every_ms=200)
    moves = playout.push(speech(1000), now=1.0)
    assert sent_ms(moves) == 1000
    cleared = playout.clear(now=1.3)
    assert (cleared.utterance, round(cleared.heard_ms), round(cleared.dropped_ms)) == (1, 300, 700)
    assert playout.mark_returned(marks(moves)[0], now=1.31) == []
    assert playout.late_marks == 1
    assert playout.push(speech(100), now=2.0)[0] == Started(2), "the next one has a new number"


def test_a_late_mark_does_not_end_the_next_utterance() -> None:
    """The mark of a cleared utterance comes back while the next one plays: nothing happens."""
    playout = Playout()
    old = marks(playout.push(speech(300), now=1.0))
    playout.clear(now=1.1)
    playout.push(speech(300), now=1.5)
    playout.finish(now=1.6)
    assert playout.mark_returned(old[0], now=1.61) == []
    assert playout.busy


def test_the_next_sentence_begins_before_the_last_mark_is_back() -> None:
    """Two sentences without a pause are two utterances; the first one's marks are then late."""
    playout = Playout()
    first = playout.push(speech(300), now=1.0) + playout.finish(now=1.1)
    moves = playout.push(speech(300), now=1.15)
    assert moves[0] == Started(2)
    assert playout.mark_returned(marks(first)[-1], now=1.3) == []


def test_an_utterance_that_nobody_ends_ends_by_itself() -> None:
    """Vapi did not say that it stopped: after a second without sound, it did."""
    playout = Playout()
    names = marks([*playout.push(speech(100), now=1.0), *playout.tick(now=1.1)])
    assert playout.mark_returned(names[-1], now=1.12) == []
    assert playout.tick(now=1.9) == []
    assert playout.tick(now=2.05) == [Done(1, 100)]


def test_marks_that_never_come_back() -> None:
    """A lost mark costs two seconds, not the call."""
    playout = Playout()
    playout.push(speech(100), now=1.0)
    playout.finish(now=1.0)
    assert playout.tick(now=3.0) == []
    assert playout.tick(now=3.2) == [Done(1, 100)]


def test_what_waits_is_bounded() -> None:
    """Audio beyond the limit loses its oldest part, and says so."""
    playout = Playout(prebuffer_ms=500, most_ms=200)
    playout.push(speech(150), now=1.0)
    playout.push(speech(150), now=1.0)
    assert playout.dropped_ms == 100


@given(st.lists(st.integers(1, 700), min_size=1, max_size=30))
def test_nothing_is_lost_or_reordered(sizes: list[int]) -> None:
    """However Vapi cuts it, the caller gets the same bytes in order, filled up to whole frames."""
    playout, sent, number = Playout(), bytearray(), 0
    for index, size in enumerate(sizes):
        clump = bytes((number + offset) % 120 for offset in range(size))
        number += size
        for move in playout.push(clump, now=1.0 + index * 0.02):
            if isinstance(move, Audio):
                sent += move.mulaw
    for move in playout.finish(now=1.0 + len(sizes) * 0.02):
        if isinstance(move, Audio):
            sent += move.mulaw
    assert len(sent) % FRAME_BYTES == 0
    assert bytes(sent[:number]) == bytes(value % 120 for value in range(number))
    assert not sent[number:].strip(b"\xff")


STEPS = st.lists(
    st.tuples(st.sampled_from(["clump", "frame", "tick", "finish", "mark", "clear"]), st.integers(1, 900)), max_size=80
)


@given(STEPS)
def test_the_short_way_is_the_same_way(steps: list[tuple[str, int]]) -> None:
    """Audio that `passes` leaves just as `push` would have sent it, and is counted the same."""
    short, long = Playout(), Playout()
    now = 1.0
    for step, amount in steps:
        now += amount / 10_000
        sound = LOUD * (160 if step == "frame" else amount)
        if step in ("clump", "frame"):
            given_short: list[Move] = [Audio(sound)] if short.passes(sound, now) else short.push(sound, now)
            assert given_short == long.push(sound, now)
        elif step == "tick":
            assert list(short.tick(now)) == list(long.tick(now))
        elif step == "finish":
            assert short.finish(now) == long.finish(now)
        elif step == "mark":
            names = [name for name, _ in long._outstanding] or ["u-9.9"]
            assert short.mark_returned(names[0], now) == long.mark_returned(names[0], now)
        else:
            assert short.clear(now) == long.clear(now)
        assert short.heard_ms(now) == long.heard_ms(now)
        assert [getattr(short, name) for name in Playout.__slots__] == [
            getattr(long, name) for name in Playout.__slots__
        ]


def test_only_the_middle_of_an_utterance_passes() -> None:
    playout = Playout(prebuffer_ms=60, mark_every_ms=200)
    assert not playout.passes(speech(20), 1.0), "nothing runs yet"
    playout.push(speech(60), 1.0)
    assert playout.passes(speech(20), 1.02) and playout.passes(speech(100), 1.04)
    assert not playout.passes(speech(20), 1.06), "a mark is due"
    assert not playout.passes(speech(5), 1.06), "no whole frame"
    playout.finish(1.1)
    assert not playout.passes(speech(20), 1.12), "it is complete: this is the next one"
