"""The agent's audio on its way to the caller's ear: pieces, marks, milliseconds, the gate. Pure; time comes as `now`.

Vapi sends clumps of any size, and perhaps silence between sentences (reference/vapi.md §4.3); Twilio wants whole
frames, plays them at real time, and returns a mark when everything before it was heard, or at once when it was
cleared (reference/twilio.md §10). Every utterance has a number, its epoch; a mark carries it (`u-<utterance>.<piece>`),
so a mark that comes late is known for what it is.

The gate has three positions. *Open*: audio goes on to Twilio. *Held*: it waits here, and what Twilio had but had not
played was taken back, so that `let_speak` goes on with the very frame that the caller did not hear. *Shut*: it is
dropped, until a moment that is given; from then on the gate is held.

Where the ear is, is told by two clocks. The send clock (`now`) is ours and knows nothing of the line. The line's own
clock counts the caller's audio that came on the same socket: a mark that comes behind so many frames left Twilio with
them, however long the network held them all (TCP keeps the order). By it a held speech goes on with the right frame on
a line with jitter too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Final

from engine.audio import BYTES_PER_MS, BYTES_PER_S, FRAME_BYTES, FRAME_MS, duration_ms, padded
from engine.playout_moves import Audio, Cut, Done, Gate, Mark, Move, Started
from engine.taken_back import TakenBack
from engine.voice import is_silent

_DRIFT_S = 0.001  # a mark: two clocks never go at quite the same pace


@dataclass(slots=True)
class _Speech:
    """Audio that waits for its turn: a speech that has not begun to leave."""

    audio: bytearray = field(default_factory=bytearray)
    ours: bool = False
    came_at: float = 0.0
    closed: bool = False


OPEN, HELD, SHUT = Gate.OPEN, Gate.HELD, Gate.SHUT


class Playout:
    """One call's outgoing audio. Each method returns the moves to make, in order.

    Args:
        prebuffer_ms: held back at the start of an utterance, so that a clump that comes late makes no gap. Grows by
            what was missing, up to `MOST_PREBUFFER_S`, and shrinks again with each utterance that had no gap.
        mark_every_ms: so much audio between two marks; more, up to `MOST_MARK_MS`, while they tell nothing new.
        most_ms: more than this never waits here; the oldest goes first and is counted in `dropped_ms`.
    """

    __slots__ = (
        "_behind_bytes", "_cleared", "_closed", "_empty_at", "_first_at", "_free_bytes", "_gap_s", "_gaps",
        "_heard_bytes", "_held", "_kept", "_kept_bytes", "_lag_s", "_later", "_least_mark_bytes", "_least_prebuffer_s",
        "_line_s", "_log", "_log_bytes", "_mark_every_bytes", "_mark_soon", "_marked_bytes", "_most_bytes",
        "_outstanding", "_piece", "_prebuffer_s", "_probes", "_prune_at", "_pushed_at", "_rtt_s", "_running",
        "_sent_bytes", "_shut_until", "_since_bytes", "_waiting", "_waiting_ours", "_zero_is_known", "_zero_s",
        "audible_since", "dropped_ms", "gap_ms", "gate", "last_mark", "last_ms", "late_marks", "marks_back", "ours",
        "quiet_until", "stale_ms", "utterance",
    )  # fmt: skip

    REST_S: Final = 1.0  # an utterance that Vapi never says is over is taken to be, after so long without sound
    MARK_PATIENCE_S: Final = 2.0  # a mark this much later than its audio will not come any more
    MOST_PREBUFFER_S: Final = 0.42
    MOST_MARK_MS: Final = 400
    REMEMBERED_BYTES: Final = 10 * FRAME_BYTES  # of what was heard, by the clock: it may be wrong by the line's jitter

    def __init__(self, *, prebuffer_ms: int = 60, mark_every_ms: int = 200, most_ms: int = 30_000) -> None:
        self._least_prebuffer_s = self._prebuffer_s = prebuffer_ms / 1000
        self._least_mark_bytes = self._mark_every_bytes = mark_every_ms * BYTES_PER_MS
        self._most_bytes = most_ms * BYTES_PER_MS
        self.utterance = 0
        self.ours = False  # the present utterance is one of our own lines
        self.gate = OPEN
        self.dropped_ms = 0.0
        self.stale_ms = 0.0  # agent audio that came while the gate was shut
        self.gap_ms = 0.0  # silence in the middle of an utterance, because audio came too late
        self.late_marks = 0
        self.last_mark = ""  # to be sent before the `clear` of `hold`
        self.audible_since = 0.0  # when the caller last began to hear something after silence
        self.last_ms = 0.0  # the length of the last utterance that is over
        self._shut_until = 0.0
        self._waiting = bytearray()  # of the present utterance, or of the one that is about to begin
        self._waiting_ours = False
        self._later: list[_Speech] = []  # speeches after that one
        self._kept: list[bytes] = []  # taken back from Twilio by `hold`
        self._kept_bytes = 0
        self._closed = False  # the agent says that this speech is complete
        self._running = False  # an utterance has started and is not done
        self._gaps = 0
        self._gap_s = 0.0  # the last silence in the middle of the present utterance, not yet judged
        self._pushed_at = 0.0
        self._first_at = 0.0
        self._piece = 0
        self._sent_bytes = 0
        self._marked_bytes = 0
        self._outstanding: list[tuple[str, int]] = []
        self._heard_bytes = 0
        self._empty_at = 0.0  # when Twilio will have played all that we sent, if it lost no time
        self._log: deque[bytes] = deque()  # what Twilio got last: not yet heard, and a little that was
        self._log_bytes = 0
        self._prune_at = BYTES_PER_S // 4
        self._cleared: set[str] = set()
        self.marks_back = 0  # of the marks that the last `hold` cleared, so many have returned
        self._probes: dict[str, float] = {}
        self._rtt_s: float | None = None  # of a mark on an empty buffer
        self._lag_s = 0.0  # how much later than by our clock Twilio plays, beyond the round trip
        self._line_s = inf  # our clock when the line's began, and the quickest mark on its way up
        self._zero_s = -inf  # by the line's clock: when the ear was at the start of this utterance
        self._behind_bytes = 0  # of unbroken sound before the present utterance
        self._since_bytes = 0  # from here on Twilio had no gap that we know of
        self._zero_is_known = False  # by a mark; else it is the soonest that it can have been
        self._mark_soon = True  # after a start or a gap: where the ear is, is not known
        self._held: TakenBack | None = None
        self._free_bytes = 0  # so much may pass before there is more to do than to count it; 0: to be looked at
        self.quiet_until = 0.0
        """`tick` has nothing to do before that, unless something else is called that changes more than `passes`."""

    @property
    def busy(self) -> bool:
        """Whether anything is being heard or waits to be."""
        return self._running or bool(self._waiting) or bool(self._later)

    # --- audio ------------------------------------------------------------------------------------------------------

    def passes(self, mulaw: bytes, now: float) -> bool:
        """Whether this audio, whole frames in the middle of an utterance, just goes on to Twilio; it is counted then.

        What `push` would come to as well, without the moves: 45 of 50 frames a second take this way.
        """
        size = len(mulaw)
        if size > self._free_bytes and not self._is_free(size):
            return False
        empty_at = self._empty_at
        if empty_at <= now or (size != FRAME_BYTES and size % FRAME_BYTES):
            return False
        self._free_bytes -= size
        self._empty_at = empty_at + size / BYTES_PER_S
        self._sent_bytes += size
        self._log.append(mulaw)
        self._log_bytes += size
        self._pushed_at = now
        return True

    def _is_free(self, size: int) -> bool:
        """Whether so much may pass, and how much more: up to the next mark, and to the next look at what is old."""
        if self._waiting or self._closed or not self._running or self.gate is not OPEN or self.ours:
            return False
        until_mark = self._marked_bytes + self._mark_every_bytes - 1 - self._sent_bytes
        self._free_bytes = min(until_mark, self._prune_at - self._log_bytes)
        return size <= self._free_bytes

    def _stirred(self) -> None:
        """Something may be different from now on: neither `passes` nor `tick` may take the short way unseen."""
        self._free_bytes, self.quiet_until = 0, 0.0

    def push(self, mulaw: bytes, now: float, *, ours: bool = False) -> list[Move]:
        """Audio from the agent, or a line of `ours`: all of it at once, and only when `may_say`."""
        self._stirred()
        if self.gate is SHUT and not ours:
            if now < self._shut_until:
                self.stale_ms += duration_ms(mulaw)
                return []
            self.gate = HELD
        if self._goes_on(ours):
            self._waiting += mulaw
        elif not ours and is_silent(mulaw) and not (self._later and not self._later[-1].closed):
            return []  # between sentences: forwarding it would only let delay pile up at Twilio
        else:
            self._add_speech(mulaw, now, ours)
        self._pushed_at = now
        self._bound()
        return self._send(now) if self.gate is OPEN else []

    @property
    def audible(self) -> bool:
        """Whether an utterance has begun to leave, and is not known to have been heard to its end."""
        return self._running

    @property
    def may_say(self) -> bool:
        """Whether a line of ours would be heard now, and not in the middle of the agent's speech or behind it."""
        agent_speaks = (self._running and not self.ours and not self._closed) or (
            bool(self._waiting) and not self._waiting_ours
        )
        return self.gate is OPEN and not agent_speaks and not self._later

    def _goes_on(self, ours: bool) -> bool:
        """Whether audio belongs to the speech at hand."""
        if self._later or self._closed:
            return False
        return (self._running and self.ours is ours) or (bool(self._waiting) and self._waiting_ours is ours)

    def _add_speech(self, mulaw: bytes, now: float, ours: bool) -> None:
        """A new speech begins, at once or after those that wait."""
        last = self._later[-1] if self._later else None
        if last is not None and not last.closed and last.ours is ours:
            last.audio += mulaw
        elif self._waiting or self._kept or self._later or self._running:
            self._later.append(_Speech(bytearray(mulaw), ours, now))
        else:
            self._begin(bytearray(mulaw), now, ours, closed=False)

    def finish(self, now: float, *, ours: bool = False) -> list[Move]:
        """The agent says that its speech is complete: fill up the last frame, and mark the end."""
        self._stirred()
        for speech in reversed(self._later):
            if speech.ours is ours:
                speech.closed = True
                return []
        if not self.busy or (self.ours if self._running else self._waiting_ours) is not ours:
            return []
        self._closed = True
        return self._send(now) if self.gate is OPEN else []

    def tick(self, now: float) -> Sequence[Move]:
        """Time passes: about every 20 ms."""
        waiting = self._waiting
        if not self._running and not waiting and not self._later:
            self.quiet_until = inf
            return ()
        if self.gate is not OPEN:
            return self._tick_held(now)
        if not waiting and not self._closed and now - self._pushed_at < self._prebuffer_s:
            self.quiet_until = self._pushed_at + self._prebuffer_s
            return ()  # in the middle of an utterance, and sound came just now
        self._stirred()
        moves = self._send(now)
        if not self._running:
            return moves
        if not self._closed and now - self._pushed_at >= self.REST_S and len(self._waiting) < FRAME_BYTES:
            self._closed = True
        if self._outstanding and now >= self._empty_at + self.MARK_PATIENCE_S:
            self._outstanding.clear()
            self._heard_bytes = self._sent_bytes
        return [*moves, *self._mark(now), *self._check_done()]

    def _tick_held(self, now: float) -> Sequence[Move]:
        if not self._closed and not self._later and now - self._pushed_at >= self.REST_S:
            self._closed = True
        return ()

    # --- the gate ---------------------------------------------------------------------------------------------------

    def hold(self, now: float) -> Cut:
        """Silence the agent and keep what was not heard.

        Twilio must be told by the caller of this: `last_mark`, if there is one, and then `clear`, which sends it back.
        """
        self._stirred()
        heard_ms, tail_ms = self.heard_ms(now), self.tail_ms(now)
        self.last_mark = ""
        if self.gate is OPEN:
            if self._sent_bytes > self._marked_bytes:
                self.last_mark = self._next_mark()
            self._take_back(now)
            self.gate = HELD
        return Cut(self.utterance, heard_ms, self.unheard_ms, tail_ms=tail_ms)

    def drop(self, now: float, *, guard_s: float = 0.0) -> Cut:
        """Forget everything, and what still comes for `guard_s`; after that the gate is held."""
        cut = self.hold(now)
        self._forget()
        self._waiting.clear()
        self._later.clear()
        self.gate = SHUT if guard_s > 0 else HELD
        self._shut_until = now + guard_s if guard_s != inf else inf
        return cut

    def keep(self) -> None:
        """What comes from now on is new: a shut gate becomes a held one."""
        self._stirred()
        if self.gate is SHUT:
            self.gate = HELD

    def let_speak(self, now: float) -> list[Move]:
        """Open the gate: go on with what was kept, to the frame, and with all that came meanwhile."""
        self._stirred()
        if self.gate is OPEN:
            return []
        self.gate = OPEN
        if self._held is not None:
            self._held.waits = False
        self._lose_the_ear(now)
        self._empty_at = max(self._empty_at, now)  # the pause was ours: nothing came too late
        self.audible_since = now
        moves: list[Move] = []
        while self._kept:
            moves += self._put(self._kept.pop(0), now)
            if self._mark_is_due:
                moves += self._mark(now)
        self._kept_bytes = 0
        moves += self._send(now)
        if self._running and self._closed and not self._later:
            moves += [*self._mark(now), *self._check_done()]
        return moves

    def _take_back(self, now: float) -> None:
        """What Twilio has and has not played becomes ours again."""
        unplayed = min(self._unplayed_bytes(now), self._log_bytes) if self._running else 0
        unplayed = min((unplayed + FRAME_BYTES // 2) // FRAME_BYTES * FRAME_BYTES, self._log_bytes)
        self._held = None
        if self._running:
            marks = dict(self._outstanding)
            self._held = TakenBack(
                self.utterance,
                self._sent_bytes,
                unplayed,
                0.0,
                self._zero_s,
                self._zero_is_known,
                self._since_bytes,
                marks,
            )
        self._take(unplayed)
        self._cleared = {name for name, _ in self._outstanding}
        self.marks_back = 0
        self._outstanding.clear()
        self._empty_at = now
        if self._held is not None:
            self._held.unheard_ms = self.unheard_ms

    def _take(self, wanted: int) -> None:
        """So many bytes more of what was sent are ours again; or fewer, where it is below 0."""
        self._log_bytes -= wanted
        self._kept_bytes += wanted
        self._sent_bytes -= wanted  # below 0: the end of what was before this utterance was taken back too
        self._marked_bytes = min(self._marked_bytes, self._sent_bytes)
        self._heard_bytes = min(self._heard_bytes, self._sent_bytes)
        while wanted > 0:
            piece = self._log.pop()
            if len(piece) > wanted:
                self._log.append(piece[: len(piece) - wanted])
                piece = piece[len(piece) - wanted :]
            self._kept.insert(0, piece)
            wanted -= len(piece)
        while wanted < 0:
            piece = self._kept.pop(0)
            if len(piece) > -wanted:
                self._kept.insert(0, piece[-wanted:])
                piece = piece[:-wanted]
            self._log.append(piece)
            wanted += len(piece)

    def silenced(self, line_s: float) -> Cut | None:
        """The mark behind the `clear` of `hold` or `drop` is back: where the caller's ear was when it fell silent.

        What waits is put right by it, if it still waits. None where nothing is known beyond what `hold` told.

        Args:
            line_s: seconds of the caller's audio that came before it.
        """
        self._stirred()
        held, self._held = self._held, None
        if held is None:
            return None
        found = held.ear(line_s, self._rtt_s)
        if found is None:
            return None
        ear, zero_s = found
        more = held.sent_bytes - ear - held.taken_bytes
        if held.waits and self._running and self.utterance == held.utterance and self.gate is HELD:
            self._take(min(max(more, -self._kept_bytes), self._log_bytes))
            self._marked_bytes = self._heard_bytes = self._sent_bytes  # all of that was heard: no mark need tell
        return held.cut(ear, zero_s)

    @property
    def unheard_ms(self) -> float:
        """What waits here and was not heard, in milliseconds."""
        later = sum(len(speech.audio) for speech in self._later)
        return duration_ms(self._kept_bytes + len(self._waiting) + later)

    # --- what was heard ---------------------------------------------------------------------------------------------

    def probe(self, name: str, now: float) -> Mark:
        """A mark that comes back as soon as Twilio has played what it has: on an empty buffer, the round trip."""
        self._probes[name] = now
        return Mark(name)

    def mark_returned(self, name: str, now: float, line_s: float | None = None) -> list[Move]:
        """Twilio returned a mark: all before it was heard, or was cleared long ago.

        Args:
            line_s: seconds of the caller's audio that came before it on the same socket.
        """
        if line_s is not None:
            self._line_s = min(self._line_s + _DRIFT_S, now - line_s)
        sent_at = self._probes.pop(name, None)
        if sent_at is not None:
            rtt_s = now - sent_at
            self._rtt_s = rtt_s if self._rtt_s is None else min(rtt_s, self._rtt_s * 1.1)
            return []
        self._stirred()
        if not any(name == waiting for waiting, _ in self._outstanding):
            if name in self._cleared:
                self._cleared.discard(name)
                self.marks_back += 1
                held = self._held
                if held is not None and line_s is not None and name in held.marks:
                    held.back.append((line_s, held.marks[name]))
            else:
                self.late_marks += 1
            return []
        while self._outstanding:
            waiting, position = self._outstanding.pop(0)
            self._heard_bytes = max(self._heard_bytes, position)
            if waiting == name:
                self._measure_lag(position, now, line_s)
                break
        return self._check_done()

    def _measure_lag(self, position: int, now: float, line_s: float | None) -> None:
        """The mark tells when its audio was really played; the send clock does not know of a late start."""
        if line_s is not None:
            zero_s = line_s - position / BYTES_PER_S
            is_news = not self._zero_is_known or abs(zero_s - self._zero_s) >= FRAME_MS / 1000
            self._zero_s, self._zero_is_known = zero_s, True
            self._marks_seldom(not is_news)
            now = min(now, self._line_s + line_s)  # as if the line had held up nothing
        if self._rtt_s is None:
            return
        by_clock = self._empty_at - (self._sent_bytes - position) / BYTES_PER_S
        self._lag_s = max(0.0, now - by_clock - self._rtt_s)

    def _marks_seldom(self, seldom: bool) -> None:
        """A mark a time costs as much as two frames: where the last ones agreed on where the ear is, fewer will do."""
        most_bytes = max(self._least_mark_bytes, self.MOST_MARK_MS * BYTES_PER_MS)
        self._mark_every_bytes = min(2 * self._mark_every_bytes, most_bytes) if seldom else self._least_mark_bytes

    def _unplayed_bytes(self, now: float) -> int:
        left_s = self._empty_at + self._lag_s - now
        return int(left_s * BYTES_PER_S + 1e-6) if left_s > 0 and self.gate is OPEN else 0

    def heard_ms(self, now: float) -> float:
        """How much of the present utterance the caller has heard: the send clock, never behind a returned mark."""
        if not self._running:
            return 0.0
        by_clock = self._sent_bytes - self._unplayed_bytes(now)
        return duration_ms(max(0, by_clock, self._heard_bytes))

    def tail_ms(self, now: float) -> float:
        """How much is yet to be heard of what was sent before the present utterance."""
        return duration_ms(max(0, self._unplayed_bytes(now) - self._sent_bytes)) if self._running else 0.0

    def hearing(self, now: float) -> bytes:
        """The 20 ms that the caller hears now; empty when there is nothing."""
        unplayed = self._unplayed_bytes(now)
        if not unplayed:
            return b""
        for piece in reversed(self._log):
            if unplayed <= len(piece):
                start = len(piece) - unplayed
                return piece[start : start + FRAME_BYTES]
            unplayed -= len(piece)
        return b""

    # --- inside -----------------------------------------------------------------------------------------------------

    def _begin(self, audio: bytearray, now: float, ours: bool, *, closed: bool) -> None:
        self._waiting = audio
        self._waiting_ours = ours
        self._closed = closed
        self._first_at = self._pushed_at = now

    def _bound(self) -> None:
        excess = len(self._waiting) + sum(len(speech.audio) for speech in self._later) - self._most_bytes
        while excess > 0 and (self._waiting or self._later):
            oldest = self._waiting or self._later[0].audio
            lost = min(excess, len(oldest))
            del oldest[:lost]
            excess -= lost
            self.dropped_ms += duration_ms(lost)
            if not self._waiting and self._later and not self._later[0].audio:
                self._later.pop(0)

    def _send(self, now: float) -> list[Move]:
        moves = self._send_waiting(now)
        while self._later and not self._waiting and (self._closed or not self._running):
            if not self._may_follow(self._later[0], now):
                break  # until then the one before is the present one, which can be held
            speech = self._later.pop(0)
            if self._running:
                moves += self._mark(now)
                self._forget()
            self._begin(speech.audio, now, speech.ours, closed=speech.closed)
            self._first_at = now - self._prebuffer_s  # it has waited long enough
            moves += self._send_waiting(now)
        return moves

    def _may_follow(self, speech: _Speech, now: float) -> bool:
        """Whether there is enough of a speech to begin it, or what Twilio still has bridges a gap at its start."""
        enough = len(speech.audio) >= self._prebuffer_s * BYTES_PER_S or self._empty_at - now >= self._prebuffer_s
        return enough or speech.closed or now - speech.came_at >= self._prebuffer_s

    def _send_waiting(self, now: float) -> list[Move]:
        moves: list[Move] = []
        if not self._running:
            if not self._waiting:
                return moves
            enough = len(self._waiting) >= self._prebuffer_s * BYTES_PER_S
            if not (enough or now - self._first_at >= self._prebuffer_s or self._closed):
                return moves
            self._start(now)
            moves.append(Started(self.utterance, self.ours))
        whole = len(self._waiting) // FRAME_BYTES * FRAME_BYTES
        audio = padded(bytes(self._waiting)) if self._closed else bytes(self._waiting[:whole])
        if audio:
            del self._waiting[: len(audio)]
            for start in range(0, len(audio), self._mark_every_bytes):
                moves += self._put(audio[start : start + self._mark_every_bytes], now)
                if self._mark_is_due:
                    moves += self._mark(now)
        return [*moves, *self._mark(now)]

    def _put(self, audio: bytes, now: float) -> list[Move]:
        """Hand audio over to Twilio, and keep account of it."""
        if now > self._empty_at and self._sent_bytes:
            self._ran_dry(now)
        self._sent_bytes += len(audio)
        self._empty_at = max(self._empty_at, now) + duration_ms(audio) / 1000
        self._log.append(audio)
        self._log_bytes += len(audio)
        if self._log_bytes > self._prune_at:
            self._prune(now)
        return [Audio(audio)]

    def _prune(self, now: float) -> None:
        """Forget what was heard long ago."""
        log = self._log
        excess = self._log_bytes - self._unplayed_bytes(now) - self.REMEMBERED_BYTES
        while log and len(log[0]) < excess:
            size = len(log.popleft())
            excess -= size
            self._log_bytes -= size
        self._prune_at = self._log_bytes + BYTES_PER_S // 4

    def _ran_dry(self, now: float) -> None:
        """The caller hears a gap in the middle of an utterance."""
        gap_s = now - self._empty_at
        self._lose_the_ear(now)
        if gap_s < self.REST_S:
            self._gap_s = gap_s

    def _judge_gap(self, now: float) -> None:
        """Was it jitter, or did the agent pause? What was only late comes all at once afterwards."""
        if self._empty_at - now >= self._gap_s / 2:
            self._gaps += 1
            self.gap_ms += self._gap_s * 1000
            self._prebuffer_s = min(self._prebuffer_s + self._gap_s, self.MOST_PREBUFFER_S)
            self._gap_s = 0.0

    def _lose_the_ear(self, now: float) -> None:
        """Twilio was without audio: when it goes on, the next mark will tell."""
        self._marks_seldom(False)
        self._zero_s, self._zero_is_known = now - self._line_s - self._sent_bytes / BYTES_PER_S, False
        self._since_bytes = self._sent_bytes
        self._mark_soon = True

    def _start(self, now: float) -> None:
        self.utterance += 1
        self.ours = self._waiting_ours
        self._running = True
        if not self._gaps:
            self._prebuffer_s = max(self._least_prebuffer_s, self._prebuffer_s * 0.9)
        self._piece = self._sent_bytes = self._marked_bytes = self._heard_bytes = self._gaps = 0
        self._lag_s = self._gap_s = 0.0
        self._lose_the_ear(max(now, self._empty_at))
        if self._empty_at > now:
            self._since_bytes = -self._behind_bytes
        self._outstanding.clear()
        if self._empty_at <= now:
            self.audible_since = self._empty_at = now

    @property
    def _mark_is_due(self) -> bool:
        unmarked = self._sent_bytes - self._marked_bytes
        return unmarked >= self._mark_every_bytes or (self._mark_soon and unmarked > 0)

    def _mark(self, now: float) -> list[Move]:
        resting = self._closed or now - self._pushed_at >= self._prebuffer_s
        if not self._mark_is_due and (not resting or self._sent_bytes <= self._marked_bytes):
            return []
        if self._gap_s and (resting or not self._mark_soon):
            self._judge_gap(now)
        self._mark_soon = False
        if self._log_bytes > self._prune_at:
            self._prune(now)
        return [Mark(self._next_mark())]

    def _next_mark(self) -> str:
        self._piece += 1
        self._marked_bytes = self._sent_bytes
        name = f"u-{self.utterance}.{self._piece}"
        self._outstanding.append((name, self._sent_bytes))
        return name

    def _check_done(self) -> list[Move]:
        unfinished = self._waiting or self._kept or self._outstanding or self._sent_bytes > self._marked_bytes
        if not self._running or not self._closed or unfinished:
            return []
        done = Done(self.utterance, duration_ms(self._sent_bytes), self.ours)
        self._forget()
        return [done]

    def _forget(self) -> None:
        if self._running:
            self.last_ms = duration_ms(self._sent_bytes)
            self._behind_bytes = self._sent_bytes - self._since_bytes
        self._waiting.clear()
        self._kept.clear()
        self._kept_bytes = 0
        self._outstanding.clear()
        self._running = self._closed = self.ours = False
        self._sent_bytes = self._marked_bytes = self._heard_bytes = 0
