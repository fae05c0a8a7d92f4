"""The books of the playout, to the byte: what mutants of `engine.playout` survived."""

from __future__ import annotations

from inspect import isdatadescriptor
from math import inf

import pytest

from engine.audio import FRAME_BYTES, silence
from engine.playout import Playout
from engine.playout_moves import Audio, Cut, Done, Gate, Mark, Move, Started


def numbered(ms: int, first: int = 0) -> bytes:
    """Sound in which each frame can be told from the others; never silence."""
    return b"".join(bytes([1 + (first + at) % 100]) * FRAME_BYTES for at in range(ms // 20))


def heard(moves: list[Move]) -> bytes:
    return b"".join(move.mulaw for move in moves if isinstance(move, Audio))


def others(moves: list[Move]) -> list[Move]:
    return [move for move in moves if not isinstance(move, Audio)]


def at_once(ms: int = 1000, now: float = 10.0, *, ours: bool = False) -> tuple[Playout, list[Move]]:
    """A speech that came at once and is complete."""
    playout = Playout()
    return playout, [*playout.push(numbered(ms), now, ours=ours), *playout.finish(now, ours=ours)]


def test_nothing_was_played_yet() -> None:
    """No count, no flag and no time is there from the beginning."""
    playout = Playout()
    books = [name for name, kind in vars(Playout).items() if isdatadescriptor(kind)]  # compiled, there are no slots
    begun = {name: getattr(playout, name) for name in books if getattr(playout, name)}
    assert begun == {
        "_least_prebuffer_s": 0.06, "_prebuffer_s": 0.06, "_mark_every_bytes": 1600, "_least_mark_bytes": 1600,
        "_most_bytes": 240_000, "_prune_at": 2000, "_line_s": inf, "_zero_s": -inf, "_mark_soon": True,
        "gate": Gate.OPEN, "may_say": True,
    }  # fmt: skip
    assert (Playout.REST_S, Playout.MARK_PATIENCE_S, Playout.MOST_PREBUFFER_S) == (1.0, 2.0, 0.42)
    assert Playout.REMEMBERED_BYTES == 1600
    assert (Started(1).ours, Done(1, 2.0).ours) == (False, False)
    assert (playout.busy, playout.audible, playout.unheard_ms) == (False, False, 0.0)
    assert (playout.heard_ms(5.0), playout.hearing(5.0), playout.tick(5.0)) == (0.0, b"", ())


def test_a_speech_and_its_marks() -> None:
    """A mark each 200 ms, the last one at the end; each is returned, and it is done."""
    playout, moves = at_once(500)
    assert others(moves) == [Started(1), Mark("u-1.1"), Mark("u-1.2"), Mark("u-1.3")]
    assert heard(moves) == numbered(500) and playout.audible and playout.busy
    assert [len(move.mulaw) for move in moves if isinstance(move, Audio)] == [1600, 1600, 800]
    assert playout.mark_returned("u-1.1", 10.2) == [] and playout.mark_returned("u-1.2", 10.4) == []
    assert playout.heard_ms(10.3) == 400.0, "never behind a mark"
    assert playout.mark_returned("u-1.3", 10.5) == [Done(1, 500.0)]
    assert (playout.busy, playout.audible, playout.last_ms, playout.late_marks) == (False, False, 500.0, 0)
    assert playout.mark_returned("u-1.3", 10.6) == [] and playout.late_marks == 1


def test_one_mark_stands_for_those_before_it() -> None:
    """A mark that was lost on the way costs nothing."""
    playout, _ = at_once(500)
    assert playout.mark_returned("u-1.3", 10.5) == [Done(1, 500.0)]


def test_what_the_ear_hears_now() -> None:
    """Frame by frame by the clock, and nothing after the end."""
    playout, _ = at_once(500)
    sound = numbered(500)
    for at_ms in (20, 200, 210, 480):
        start = at_ms * 8
        assert playout.hearing(10.0 + at_ms / 1000) == sound[start : start + FRAME_BYTES][: len(sound) - start], at_ms
        assert playout.heard_ms(10.0 + at_ms / 1000) == pytest.approx(at_ms)
    assert playout.hearing(10.51) == b"" and playout.heard_ms(10.6) == 500.0


def test_a_hold_takes_back_to_the_frame() -> None:
    """Half a frame that was heard counts by which half it was; the rest waits, whole, and goes on."""
    for at_ms, heard_ms, kept_ms in ((0, 0, 500), (101, 101, 400), (111, 111, 380), (500, 500, 0)):
        playout, _ = at_once(500)
        cut = playout.hold(10.0 + at_ms / 1000)
        assert cut.utterance == 1 and cut.heard_ms == pytest.approx(heard_ms)
        assert (cut.unheard_ms, playout.unheard_ms) == (kept_ms, kept_ms)
        assert (playout.gate, playout.hearing(10.2), playout.audible) == (Gate.HELD, b"", True)
        moves = playout.let_speak(12.0)
        assert heard(moves) == numbered(500)[len(numbered(500)) - kept_ms * 8 :]
        assert (playout.gate, playout.unheard_ms, playout.audible_since) == (Gate.OPEN, 0.0, 12.0)
        if kept_ms:
            assert playout.heard_ms(12.0) == pytest.approx(500 - kept_ms)
            assert playout.heard_ms(12.04) == pytest.approx(500 - kept_ms + 40)


def test_marks_that_a_hold_cleared() -> None:
    """They are counted as they return, each once, and end nothing."""
    playout, _ = at_once(500)
    playout.hold(10.1)
    assert playout.marks_back == 0 and playout.last_mark == ""
    assert playout.mark_returned("u-1.2", 10.15) == [] and playout.mark_returned("u-1.3", 10.15) == []
    assert (playout.marks_back, playout.late_marks) == (2, 0)
    playout.mark_returned("u-1.3", 10.16)
    assert (playout.marks_back, playout.late_marks) == (2, 1)
    playout.let_speak(11.0)
    playout.hold(11.1)
    assert playout.marks_back == 0


def test_a_hold_between_two_marks() -> None:
    """What went after the last mark gets one of its own, to be sent before `clear`."""
    playout = Playout()
    assert others(playout.push(numbered(100), 10.0)) == [Started(1), Mark("u-1.1")]
    assert others(playout.push(numbered(40, 5), 10.02)) == []
    playout.hold(10.04)
    assert playout.last_mark == "u-1.2"
    playout.hold(10.05)
    assert playout.last_mark == ""
    playout.let_speak(10.5)
    playout.drop(10.52)
    assert playout.gate is Gate.HELD


def test_a_hold_when_it_is_held() -> None:
    """Nothing more is taken back, and what waits is told."""
    playout, _ = at_once(500)
    playout.hold(10.1)
    assert playout.hold(10.4) == Cut(1, 100.0, 400.0)


def test_after_a_drop_the_guard_and_then_the_next_speech() -> None:
    """What comes in the guard is stale; from its very end on it is new, waits, and is an utterance of its own."""
    playout, _ = at_once(500)
    assert playout.drop(10.1, guard_s=0.1) == Cut(1, 100.0, 400.0)
    assert (playout.gate, playout.busy, playout.unheard_ms, playout.last_ms) == (Gate.SHUT, False, 0.0, 100.0)
    assert playout.push(numbered(100), 10.19) == [] and playout.stale_ms == 100.0
    assert (playout.gate, playout.busy) == (Gate.SHUT, False)
    assert playout.push(numbered(100), 10.1 + 0.1) == [] and playout.stale_ms == 100.0
    assert (playout.gate, playout.unheard_ms) == (Gate.HELD, 100.0)
    moves = [*playout.finish(10.3), *playout.let_speak(10.4)]
    assert others(moves)[0] == Started(2) and heard(moves) == numbered(100)


def test_a_drop_without_a_guard() -> None:
    """What comes next is new at once; until then the gate is held."""
    playout, _ = at_once(500)
    playout.drop(10.1)
    assert (playout.gate, playout.push(numbered(100), 10.1), playout.unheard_ms) == (Gate.HELD, [], 100.0)
    playout.drop(10.2)
    assert (playout.unheard_ms, playout.busy, playout.let_speak(10.3)) == (0.0, False, [])


def test_a_drop_until_further_notice() -> None:
    """Shut for ever, until what comes is known to be new."""
    playout, _ = at_once(500)
    playout.drop(10.1, guard_s=inf)
    assert playout.push(numbered(100), 999.0) == [] and playout.stale_ms == 100.0
    playout.keep()
    assert [playout.gate] == [Gate.HELD] and playout.push(numbered(100), 999.1) == [] and playout.unheard_ms == 100.0
    playout.keep()
    assert [playout.gate] == [Gate.HELD]
    playout.let_speak(999.2)
    playout.keep()
    assert [playout.gate] == [Gate.OPEN]


def test_a_line_of_ours_at_a_shut_gate() -> None:
    """It waits: stale is only what the agent says."""
    playout, _ = at_once(500)
    playout.drop(10.1, guard_s=5.0)
    assert playout.push(numbered(100), 10.2, ours=True) == []
    assert (playout.stale_ms, playout.unheard_ms) == (0.0, 100.0)


def test_speeches_that_wait_stay_apart() -> None:
    """Held: the rest of the first, a second in two clumps, a third; each an utterance of its own, in order."""
    playout, _ = at_once(500)
    playout.hold(10.1)
    for first in (30, 40):
        assert playout.push(numbered(200, first), 10.2) == []
    assert playout.finish(10.3) == [] and playout.push(numbered(100, 60), 10.4) == []
    assert playout.push(numbered(60, 70), 10.45, ours=True) == []
    assert playout.finish(10.5, ours=True) == [] and playout.push(numbered(80, 80), 10.55) == []
    assert playout.unheard_ms == 400 + 400 + 100 + 60 + 80
    moves = [*playout.finish(10.6), *playout.let_speak(11.0)]
    assert [move for move in moves if isinstance(move, Started)] == [Started(2), Started(3)]
    rest = numbered(500)[5 * FRAME_BYTES :] + numbered(200, 30) + numbered(200, 40)
    assert heard(moves) == rest + numbered(100, 60)
    assert playout.finish(11.01) == [], "the end that it tells is the last speech's"
    assert others(list(playout.tick(11.99))) == []
    moves = [*playout.tick(12.0), *playout.tick(12.02)]
    assert [move for move in moves if isinstance(move, Started)] == [Started(4, ours=True), Started(5)]
    assert heard(moves) == numbered(60, 70) + numbered(80, 80)


def test_silence_ends_with_the_speech_that_it_is_in() -> None:
    """In a speech that waits it is a part of it; between two it is nothing."""
    playout, _ = at_once(500)
    playout.hold(10.1)
    playout.push(silence(100), 10.2)
    assert playout.unheard_ms == 400.0
    playout.push(numbered(100), 10.3)
    playout.push(silence(100), 10.4)
    assert playout.unheard_ms == 600.0
    playout.finish(10.5)
    playout.push(silence(100), 10.6)
    assert playout.unheard_ms == 600.0


def test_who_may_finish_what() -> None:
    """The agent's end is not that of a line of ours, nor the other way round."""
    playout = Playout()
    playout.push(numbered(100), 10.0, ours=True)
    assert playout.finish(10.0) == []
    moves = playout.finish(10.0, ours=True)
    assert moves == [Mark("u-1.2")] or moves == []
    assert playout.may_say
    assert Playout().finish(1.0) == []
    waiting = Playout(prebuffer_ms=200)
    assert waiting.push(numbered(40), 10.0) == [] and waiting.finish(10.0, ours=True) == []
    assert others(waiting.finish(10.0)) == [Started(1), Mark("u-1.1")]


def test_a_rest_of_a_second_ends_a_speech() -> None:
    """Open or held; half a frame that waits is filled up then, and not before."""
    playout = Playout()
    playout.push(numbered(100), 10.0)
    playout.mark_returned("u-1.1", 10.1)
    assert others(list(playout.tick(10.99))) == [] and playout.audible
    assert list(playout.tick(11.0)) == [Done(1, 100.0)]
    half = Playout()
    half.push(numbered(100) + b"\x21" * 80, 10.0)
    assert heard(list(half.tick(10.9))) == b""
    assert heard([*half.tick(11.0), *half.tick(11.02)]) == b"\x21" * 80 + silence(10)
    held = Playout()
    held.push(numbered(100), 10.0)
    held.hold(10.02)
    for now, apart in ((10.99, False), (11.0, True)):
        other = Playout()
        other.push(numbered(100), 10.0)
        other.hold(10.02)
        assert other.tick(now) == ()
        other.push(numbered(100, 50), now)
        moves = other.let_speak(now + 0.1)
        assert ([move for move in moves if isinstance(move, Started)] == [Started(2)]) is apart, now


def test_marks_that_never_return() -> None:
    """Two seconds after the last sound they are taken for returned."""
    playout, _ = at_once(500)
    assert list(playout.tick(12.49)) == [] and playout.audible
    assert list(playout.tick(12.5)) == [Done(1, 500.0)]
    open_end = Playout()
    open_end.push(numbered(500), 10.0)
    open_end.push(numbered(20, 30), 12.45)
    assert not any(isinstance(move, Done) for move in open_end.tick(12.47))


def test_a_tick_in_the_middle_of_an_utterance() -> None:
    """As long as sound comes there is nothing to do; when it rests for the prebuffer's time, its end is marked."""
    playout = Playout()
    playout.push(numbered(100), 10.0)
    playout.push(numbered(20, 9), 10.02)
    assert list(playout.tick(10.079)) == []
    assert list(playout.tick(10.08)) == [Mark("u-1.2")]


def test_audio_that_just_passes() -> None:
    """Only while Twilio still has some: in the very moment when it runs dry it takes the long way."""
    playout = Playout()
    playout.push(numbered(100), 10.0)
    assert playout.passes(numbered(20), 10.0999) and not playout.passes(numbered(20), 10.12)
    for now, ours in ((10.05, True), (10.05, False)):
        other = Playout()
        other.push(numbered(100), 10.0, ours=ours)
        assert other.passes(numbered(20), now) is not ours


def test_jitter_and_pauses() -> None:
    """What came late all at once was jitter: the next start waits longer. A pause was meant, and costs nothing."""
    playout = Playout()
    playout.push(numbered(100), 10.0)
    playout.push(numbered(400), 10.3)
    assert playout.gap_ms == pytest.approx(200.0) and playout._prebuffer_s == pytest.approx(0.26)
    pause = Playout()
    pause.push(numbered(100), 10.0)
    pause.push(numbered(40), 10.3)
    pause.tick(10.36)
    assert pause.gap_ms == 0.0 and pause._prebuffer_s == 0.06
    most = Playout()
    most.push(numbered(100), 10.0)
    most.push(numbered(900), 10.9)
    assert most._prebuffer_s == Playout.MOST_PREBUFFER_S
    for _ in range(2):
        most.finish(12.0)
        most.mark_returned(most._outstanding[-1][0], 12.1)
        most.push(numbered(900), 13.0)
    assert most._prebuffer_s == pytest.approx(0.42 * 0.9)


def test_too_much_to_wait() -> None:
    """The oldest goes, of the first that waits and then of the next, and is counted."""
    playout = Playout(most_ms=300)
    playout.push(numbered(300), 10.0)
    playout.hold(10.0)
    playout.push(numbered(200, 10), 10.1)
    playout.finish(10.1)
    assert playout.dropped_ms == 0.0
    playout.push(numbered(200, 30), 10.2)
    assert playout.dropped_ms == 100.0 and playout.unheard_ms == 300.0 + 300.0
    playout.finish(10.2)
    playout.push(numbered(200, 50), 10.3)
    assert playout.dropped_ms == 300.0 and playout.unheard_ms == 300.0 + 300.0
    assert heard(playout.let_speak(10.4)).endswith(numbered(100, 35) + numbered(200, 50))


# --- the line's own clock -------------------------------------------------------------------------------------------


def on_a_line(ms: int = 1000) -> Playout:
    """The round trip is 100 ms; the caller's audio began at 9.0 s and is 50 ms on its way; a speech left at 10.0 s."""
    playout = Playout()
    playout.probe("p-0", 9.2)
    playout.mark_returned("p-0", 9.3, 0.25)
    playout.push(numbered(ms), 10.0)
    return playout


def test_where_the_ear_was_is_told_by_the_marks() -> None:
    """The first mark tells when the speech began at Twilio, the one behind `clear` when it ended."""
    playout = on_a_line()
    playout.mark_returned("u-1.1", 10.3, 1.25)  # its 200 ms had been heard at 1.25 s of the line: it began at 1.05
    cut = playout.hold(10.5)
    assert (cut.utterance, cut.unheard_ms) == (1, 500.0) and cut.heard_ms == pytest.approx(500.0)
    known = playout.silenced(1.51)  # 460 ms after the beginning: the frame that was begun is heard to its end
    assert known is not None
    assert (known.utterance, known.heard_ms, known.unheard_ms) == (1, 460.0, 540.0)
    assert known.since_line_ms == pytest.approx(1050.0) and known.until_line_ms == pytest.approx(1510.0)
    assert playout.unheard_ms == 540.0
    assert heard(playout.let_speak(11.0)) == numbered(1000)[23 * FRAME_BYTES :]


def test_more_was_heard_than_the_clock_said() -> None:
    """What had been taken back too much is heard already."""
    playout = on_a_line()
    playout.mark_returned("u-1.1", 10.3, 1.25)
    playout.hold(10.5)
    known = playout.silenced(1.59)
    assert known is not None and (known.heard_ms, known.unheard_ms) == (540.0, 460.0)
    assert playout.unheard_ms == 460.0 and heard(playout.let_speak(11.0)) == numbered(1000)[27 * FRAME_BYTES :]


def test_without_a_mark_the_soonest_beginning_counts() -> None:
    """It left at 10.0 s, so it came to the line 1.0 s after that began, half a round trip each way."""
    playout = on_a_line()
    playout.hold(10.5)
    known = playout.silenced(1.55)
    assert known is not None
    assert known.since_line_ms is not None and 1040 <= known.since_line_ms <= 1060
    assert known.heard_ms == pytest.approx(500.0, abs=20.0)
    blind = Playout()
    blind.push(numbered(1000), 10.0)
    blind.hold(10.5)
    assert blind.silenced(1.5) is None and blind.silenced(1.5) is None


def test_marks_that_came_back_with_the_clear() -> None:
    """Those that return in one breath with it were cleared; those before it were heard."""
    playout = on_a_line()
    playout.hold(10.5)
    playout.mark_returned("u-1.1", 10.31, 1.25)
    playout.mark_returned("u-1.2", 10.6, 1.45)
    for name in ("u-1.3", "u-1.4", "u-1.5"):
        playout.mark_returned(name, 10.61, 1.55)
    known = playout.silenced(1.55)
    assert known is not None and known.heard_ms == 500.0 and known.since_line_ms == pytest.approx(1050.0)
    assert playout.marks_back == 5


def test_what_is_known_too_late_changes_nothing() -> None:
    """The gate is open again, or another utterance runs: only the certificate learns."""
    playout = on_a_line()
    playout.mark_returned("u-1.1", 10.3, 1.25)
    playout.hold(10.5)
    moves = playout.let_speak(10.55)
    assert heard(moves) == numbered(1000)[25 * FRAME_BYTES :]
    known = playout.silenced(1.51)
    assert known is not None and known.heard_ms == 460.0 and playout.unheard_ms == 0.0
    assert playout.silenced(1.51) is None


def test_a_late_start_at_twilio() -> None:
    """It plays 60 ms later than by our clock; the marks say so, and what the ear hears is that much earlier."""
    playout = on_a_line()
    assert playout.heard_ms(10.4) == pytest.approx(400.0)
    playout.mark_returned("u-1.1", 10.36, 1.31)
    assert playout.heard_ms(10.4) == pytest.approx(340.0)
    playout.mark_returned("u-1.2", 10.48, 1.45)
    assert playout.heard_ms(10.5) == pytest.approx(500.0), "it has caught up"
