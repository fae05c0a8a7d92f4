"""The agent's audio on its way out: pieces, marks, epochs and milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import isdatadescriptor
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from engine.audio import FRAME_BYTES, silence
from engine.playout import Playout
from engine.playout_moves import Audio, Done, Mark, Move, Started

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
    assert marks(moves) == ["u-1.1"], "where the ear is, is to be known soon"
    moves = playout.push(speech(107), now=1.1)
    assert sent_ms(moves) == 100
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
    cut = playout.drop(now=1.3)
    assert (cut.utterance, round(cut.heard_ms), round(cut.unheard_ms)) == (1, 300, 700)
    assert playout.mark_returned(marks(moves)[0], now=1.31) == []
    assert (playout.late_marks, playout.marks_back) == (0, 1)
    playout.let_speak(now=1.9)
    assert playout.push(speech(100), now=2.0)[0] == Started(2), "the next one has a new number"


def test_a_late_mark_does_not_end_the_next_utterance() -> None:
    """The mark of a cleared utterance comes back while the next one plays: nothing happens."""
    playout = Playout()
    old = marks(playout.push(speech(300), now=1.0))
    playout.drop(now=1.1)
    playout.let_speak(now=1.4)
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


def test_half_a_frame_does_not_keep_an_utterance_open() -> None:
    """Vapi's socket dies in the middle of a frame: what is left is heard, and the utterance ends by itself."""
    playout = Playout(prebuffer_ms=60)
    playout.push(speech(110), now=1.0)
    moves = [move for tick in range(1, 80) for move in playout.tick(now=1.0 + tick / 50)]
    assert marks(moves)[-1] == "u-1.2" and sent_ms(moves) == 20, "filled up to a frame"
    playout.mark_returned("u-1.1", now=3.0)
    assert playout.mark_returned("u-1.2", now=3.0) == [Done(1, 120)]


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
    st.tuples(st.sampled_from(["clump", "frame", "tick", "finish", "mark", "drop"]), st.integers(1, 900)), max_size=80
)


@given(STEPS)
def test_the_short_way_is_the_same_way(steps: list[tuple[str, int]]) -> None:
    """Audio that `passes` leaves just as `push` would have sent it, is counted the same, and no `tick` is missed."""
    books = [name for name, kind in vars(Playout).items() if isdatadescriptor(kind)]
    told = [name for name in books if name not in ("_free_bytes", "quiet_until")]
    assert len(told) > 40
    short, long = Playout(), Playout()
    now = 1.0
    for step, amount in steps:
        now += amount / 10_000
        sound = LOUD * (160 if step == "frame" else amount)
        if step in ("clump", "frame"):
            given_short: list[Move] = [Audio(sound)] if short.passes(sound, now) else short.push(sound, now)
            assert given_short == long.push(sound, now)
        elif step == "tick":
            done = list(short.tick(now)) if now >= short.quiet_until else []
            assert done == list(long.tick(now))
        elif step == "finish":
            assert short.finish(now) == long.finish(now)
        elif step == "mark":
            names = [name for name, _ in long._outstanding] or ["u-9.9"]
            assert short.mark_returned(names[0], now) == long.mark_returned(names[0], now)
        else:
            assert short.drop(now) == long.drop(now)
            assert short.let_speak(now) == long.let_speak(now)
        assert short.heard_ms(now) == long.heard_ms(now)
        assert [getattr(short, name) for name in told] == [getattr(long, name) for name in told]


def test_only_the_middle_of_an_utterance_passes() -> None:
    playout = Playout(prebuffer_ms=60, mark_every_ms=200)
    assert not playout.passes(speech(20), 1.0), "nothing runs yet"
    playout.push(speech(60), 1.0)
    assert playout.passes(speech(20), 1.02) and playout.passes(speech(160), 1.04)
    assert not playout.passes(speech(20), 1.06), "a mark is due"
    assert not playout.passes(speech(20), 1.5), "Twilio has nothing left to play: a gap"
    assert not playout.passes(speech(5), 1.06), "no whole frame"
    playout.finish(1.1)
    assert not playout.passes(speech(20), 1.12), "it is complete: this is the next one"


def heard_bytes(moves: Sequence[Move]) -> bytes:
    return b"".join(move.mulaw for move in moves if isinstance(move, Audio))


def numbered(first: int, frames: int) -> bytes:
    """Frames that can be told apart."""
    return b"".join(bytes([number % 100 + 1]) * FRAME_BYTES for number in range(first, first + frames))


def test_a_false_alarm_goes_on_with_the_frame_that_was_not_heard() -> None:
    """Held 300 ms into a second of speech, resumed later: nothing is lost, nothing comes twice."""
    playout = Playout()
    playout.push(numbered(0, 50), now=1.0)
    cut = playout.hold(now=1.3)
    assert (cut.utterance, cut.heard_ms, cut.unheard_ms) == (1, 300, 700)
    assert playout.push(numbered(50, 5), now=1.35) == [], "what comes meanwhile waits"
    moves = playout.let_speak(now=1.8)
    assert heard_bytes(moves) == numbered(15, 40)
    assert Started(2) not in moves, "it is the same utterance"
    assert playout.heard_ms(now=2.0) == 500


def test_a_hold_when_nothing_is_left_to_be_heard() -> None:
    """The voice comes with the last frame: nothing is kept, and the utterance is done when the gate opens."""
    playout = Playout()
    playout.push(speech(200), now=1.0)
    playout.finish(now=1.0)
    assert playout.hold(now=1.25).unheard_ms == 0
    assert playout.let_speak(now=1.6) == [Done(1, 200)]


def test_what_is_dropped_stays_dropped() -> None:
    """After a drop nothing of the old speech comes, what comes after the guard waits, and then is an utterance."""
    playout = Playout()
    playout.push(numbered(0, 50), now=1.0)
    playout.drop(now=1.3, guard_s=0.1)
    assert playout.push(numbered(50, 3), now=1.35) == []
    assert playout.stale_ms == 60
    assert playout.push(numbered(60, 5), now=1.45) == [], "the answer waits for the caller's quiet"
    moves = playout.let_speak(now=1.6)
    assert moves[0] == Started(2)
    assert heard_bytes(moves) == numbered(60, 5)


def test_a_late_start_at_twilio_is_known_by_its_marks() -> None:
    """The carrier began 100 ms late: the marks tell, and the hold takes back what really was not heard."""
    playout = Playout()
    playout.probe("p", now=0.5)
    playout.mark_returned("p", now=0.54)
    first = marks(playout.push(numbered(0, 10), now=1.0))
    playout.push(numbered(10, 40), now=1.05)
    playout.mark_returned(first[0], now=1.0 + 0.2 + 0.04 + 0.1)
    assert round(playout.hold(now=1.5).heard_ms) == 400


def test_our_line_and_then_the_answer() -> None:
    """A filler is an utterance of its own; the answer that comes while it plays follows it without a gap."""
    playout = Playout()
    moves = [*playout.push(numbered(0, 25), now=1.0, ours=True), *playout.finish(now=1.0, ours=True)]
    assert moves[0] == Started(1, ours=True)
    answer = playout.push(numbered(50, 10), now=1.2)
    assert answer[0] == Started(2) and playout.heard_ms(now=1.4) == 0
    assert playout.hold(now=1.4).unheard_ms == 300, "of both"
    assert heard_bytes(playout.let_speak(now=1.5)) == numbered(20, 5) + numbered(50, 10)


def test_our_lines_never_cut_into_the_agent() -> None:
    """Not while it speaks, nor while what it said waits; between two speeches, and after one that is complete, yes."""
    playout = Playout()
    could = [playout.may_say]
    playout.push(numbered(0, 2), now=1.0)
    could.append(playout.may_say)  # it is about to begin
    playout.push(numbered(2, 10), now=1.02)
    could.append(playout.may_say)
    playout.finish(now=1.3)
    could.append(playout.may_say)  # it is complete; ours comes behind it
    playout.hold(now=1.31)
    could.append(playout.may_say)  # the caller speaks
    assert could == [True, False, False, True, False]


def late_clump(playout: Playout, now: float) -> None:
    """100 ms at once, then 200 ms that came 200 ms late, then in time."""
    playout.push(numbered(0, 5), now)
    for step in range(1, 15):
        playout.tick(now + step * 0.02)
    playout.push(numbered(5, 10), now + 0.3)
    for frame in range(20):
        sound, moment = numbered(15 + frame, 1), now + 0.3 + frame * 0.02
        playout.passes(sound, moment) or playout.push(sound, moment)
    playout.finish(now + 0.7)
    for name, _ in list(playout._outstanding):
        playout.mark_returned(name, now + 1.2)


def test_jitter_is_learned() -> None:
    """A clump that comes 200 ms late makes a gap once; then the start of each utterance waits long enough."""
    playout = Playout()
    late_clump(playout, 1.0)
    assert 150 <= (gap_ms := playout.gap_ms) <= 210
    late_clump(playout, 5.0)
    assert playout.utterance == 2
    assert playout.gap_ms == gap_ms, "the second time there is none"


def test_a_pause_is_not_jitter() -> None:
    """A speaker who pauses between sentences sends nothing meanwhile, and nothing too much afterwards."""
    playout = Playout()
    playout.push(numbered(0, 10), 1.0)
    for number in range(20):
        playout.passes(numbered(10, 1), 1.7 + number * 0.02) or playout.push(numbered(10, 1), 1.7 + number * 0.02)
    assert playout.gap_ms == 0


HOLDS = st.lists(
    st.tuples(st.sampled_from(["clump", "frame", "tick", "hold", "speak", "mark"]), st.integers(1, 900)), max_size=80
)


@given(HOLDS)
def test_holds_lose_nothing(steps: list[tuple[str, int]]) -> None:
    """A carrier at real time, held at any moment: every byte is heard once, in order, but for the frame of the hold."""
    playout, now, number = Playout(), 1.0, 0
    carrier, heard, played_at = bytearray(), bytearray(), 1.0

    def carry(moves: Sequence[Move]) -> None:
        for move in moves:
            if isinstance(move, Audio):
                carrier.extend(move.mulaw)

    for step, amount in steps:
        now += amount / 10_000
        due = int((now - played_at) * 8000)
        heard += carrier[:due]
        played_at = now if due >= len(carrier) else played_at + due / 8000
        del carrier[:due]
        if step in ("clump", "frame"):
            size = 160 if step == "frame" else amount
            sound = bytes((number + offset) % 120 for offset in range(size))
            number += size
            if step == "frame" and playout.passes(sound, now):
                carrier += sound
            else:
                carry(playout.push(sound, now))
        elif step == "tick":
            carry(playout.tick(now))
        elif step == "hold":
            playout.hold(now)
            carrier.clear()
            played_at = now
        elif step == "speak":
            carry(playout.let_speak(now))
        else:
            for name, _ in list(playout._outstanding)[:1]:
                if not carrier:
                    carry(playout.mark_returned(name, now))
    carry(playout.let_speak(now))
    heard += carrier
    sounds = bytes(heard).replace(b"\xff", b"")
    jumps = [(later - earlier) % 120 for earlier, later in pairwise(sounds)]
    strange = [jump for jump in jumps if jump != 1]
    holds = sum(step == "hold" for step, _ in steps)
    assert len(strange) <= holds, strange


class Carrier:
    """Plays what the playout sends, a frame each 20 ms, and hands back marks; its messages come late, but in order.

    Times are the line's own: `at_s` seconds of the caller's audio have left. Nothing here knows our clock.
    """

    def __init__(self, playout: Playout) -> None:
        self.playout = playout
        self.queue: list[int | str] = []
        self.heard: list[int] = []

    def takes(self, moves: Sequence[Move]) -> None:
        for move in moves:
            if isinstance(move, Audio):
                self.queue += move.mulaw[::FRAME_BYTES]
            elif isinstance(move, Mark):
                self.queue.append(move.name)

    def plays(self, frames: int, at_s: float, late_s: float) -> float:
        """So many frames, and the marks behind them, which we get so much later. Returns the time then."""
        for _ in range(frames):
            at_s += 0.02
            if self.queue:
                self.heard.append(int(self.queue.pop(0)))
            while self.queue and isinstance(self.queue[0], str):
                self.takes(self.playout.mark_returned(str(self.queue.pop(0)), at_s + late_s, at_s))
        return at_s

    def clears(self, at_s: float, late_s: float) -> None:
        for name in [one for one in self.queue if isinstance(one, str)] + [self.playout.last_mark]:
            if name:
                self.playout.mark_returned(name, at_s + late_s, at_s)
        self.queue.clear()


@given(
    speech_frames=st.integers(40, 100),
    heard_frames=st.integers(12, 38),
    way_there_ms=st.integers(0, 300),
    lates_ms=st.lists(st.integers(0, 300), min_size=2, max_size=2),
    pieces=st.integers(1, 30),
)
def test_the_lines_own_clock_tells_where_the_ear_was(
    speech_frames: int, heard_frames: int, way_there_ms: int, lates_ms: list[int], pieces: int
) -> None:
    """However long the network holds up what goes there and what comes back: a held speech goes on with its frame."""
    playout = Playout()
    carrier = Carrier(playout)
    playout.probe("p", 0.0)
    playout.mark_returned("p", 0.1, 0.1)
    for first in range(0, speech_frames, pieces):
        carrier.takes(playout.push(numbered(first, min(pieces, speech_frames - first)), now=0.2))
    carrier.takes(playout.finish(now=0.2))
    at_s = carrier.plays(heard_frames, 0.2 + way_there_ms / 1000, lates_ms[0] / 1000)
    playout.hold(now=at_s + lates_ms[0] / 1000)
    carrier.clears(at_s, lates_ms[1] / 1000)
    cut = playout.silenced(at_s)
    assert cut is not None
    carrier.takes(playout.let_speak(now=at_s + 2))
    carrier.plays(200, at_s + 2, 0.0)
    wanted = list(numbered(0, speech_frames)[::FRAME_BYTES])
    assert carrier.heard == wanted, (cut, heard_frames)
    assert cut.heard_ms == heard_frames * 20
    assert cut.heard_ms + cut.unheard_ms == speech_frames * 20


def test_a_hold_over_the_very_last_word() -> None:
    """The line's clock says that nothing is left: the utterance is done as the gate opens, not a round trip later."""
    playout = Playout()
    playout.probe("p", 0.0)
    playout.mark_returned("p", 0.2, 0.1)
    names = [*marks(playout.push(numbered(0, 25), now=1.0)), *marks(playout.finish(now=1.0))]
    playout.mark_returned(names[0], now=1.4, line_s=1.3)  # 200 ms of it: 300 to go
    playout.hold(now=1.45)
    for name, line_s in zip(names[1:], (1.5, 1.61), strict=True):
        playout.mark_returned(name, now=1.75, line_s=line_s)
    cut = playout.silenced(1.61)
    assert cut is not None and cut.heard_ms == 500
    assert playout.let_speak(now=2.4) == [Done(1, 500)]


def test_what_was_dropped_is_not_taken_back() -> None:
    """A hold in the moment in which the gate opened, after a drop on a slow line: nothing of the old speech comes."""
    playout = Playout()
    playout.probe("p", 0.5)
    playout.mark_returned("p", 0.54, 0.5)
    names = marks(playout.push(numbered(0, 50), now=1.0))
    playout.mark_returned(names[0], now=1.34, line_s=1.3)
    playout.drop(now=1.5)
    playout.let_speak(now=2.0)
    playout.hold(now=2.0)
    assert playout.let_speak(now=2.5) == []
