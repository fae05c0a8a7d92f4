"""The agent's audio on its way to the caller's ear: pieces, marks and milliseconds. Pure; time comes in as `now`.

Vapi sends clumps of any size, and perhaps silence between sentences (reference/vapi.md §4.3); Twilio wants whole
frames, plays them at real time, and returns a mark when everything before it was heard, or at once when it was
cleared (reference/twilio.md §10). Every utterance has a number, its epoch; a mark carries it (`u-<utterance>.<piece>`),
so a mark that comes late is known for what it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from engine.audio import BYTES_PER_MS, FRAME_BYTES, SAMPLE_RATE_HZ, duration_ms, padded
from engine.voice import is_silent


@dataclass(frozen=True, slots=True)
class Audio:
    """Send this to Twilio: whole frames."""

    mulaw: bytes


@dataclass(frozen=True, slots=True)
class Mark:
    """Send this mark after the audio before it."""

    name: str


@dataclass(frozen=True, slots=True)
class Started:
    utterance: int


@dataclass(frozen=True, slots=True)
class Done:
    utterance: int
    heard_ms: float


Move = Audio | Mark | Started | Done
BYTES_PER_S = SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class Cleared:
    """What a barge-in cost: of which utterance, how much of it was heard, how much was dropped unheard."""

    utterance: int
    heard_ms: float
    dropped_ms: float


class Playout:
    """One call's outgoing audio. Each method returns the moves to make, in order.

    Args:
        prebuffer_ms: held back at the start of an utterance, so that a clump that comes late makes no gap.
        mark_every_ms: at most so much audio between two marks.
        most_ms: more than this never waits here; the oldest goes first and is counted in `dropped_ms`.
    """

    __slots__ = (
        "_closed", "_empty_at", "_first_at", "_heard_bytes", "_mark_every_bytes", "_marked_bytes", "_most_bytes",
        "_outstanding", "_piece", "_prebuffer_bytes", "_prebuffer_s", "_pushed_at", "_running", "_sent_bytes",
        "_waiting", "dropped_ms", "late_marks", "utterance",
    )  # fmt: skip

    REST_S = 1.0  # an utterance that Vapi never says is over is taken to be, after so long without sound
    MARK_PATIENCE_S = 2.0  # a mark this much later than its audio will not come any more

    def __init__(self, *, prebuffer_ms: int = 60, mark_every_ms: int = 200, most_ms: int = 30_000) -> None:
        self._prebuffer_bytes = prebuffer_ms * BYTES_PER_MS
        self._prebuffer_s = prebuffer_ms / 1000
        self._mark_every_bytes = mark_every_ms * BYTES_PER_MS
        self._most_bytes = most_ms * BYTES_PER_MS
        self.utterance = 0
        self.dropped_ms = 0.0
        self.late_marks = 0
        self._waiting = bytearray()
        self._closed = False  # the agent says that this speech is complete
        self._running = False  # an utterance has started and is not done
        self._pushed_at = 0.0
        self._first_at = 0.0
        self._piece = 0
        self._sent_bytes = 0
        self._marked_bytes = 0
        self._outstanding: deque[tuple[str, int]] = deque()
        self._heard_bytes = 0
        self._empty_at = 0.0  # when Twilio will have played all that we sent, if it lost no time

    @property
    def busy(self) -> bool:
        """Whether anything is being heard or waits to be."""
        return self._running or bool(self._waiting)

    def passes(self, mulaw: bytes, now: float) -> bool:
        """Whether this audio, whole frames in the middle of an utterance, just goes on to Twilio; it is counted then.

        What `push` would come to as well, without the moves: 45 of 50 frames a second take this way.
        """
        size = len(mulaw)
        if (
            self._waiting
            or self._closed
            or not self._running
            or size % FRAME_BYTES
            or self._sent_bytes + size - self._marked_bytes >= self._mark_every_bytes
        ):
            return False
        self._sent_bytes += size
        self._pushed_at = now
        self._empty_at = (self._empty_at if self._empty_at > now else now) + size / BYTES_PER_S
        return True

    def push(self, mulaw: bytes, now: float) -> list[Move]:
        """Audio from the agent."""
        if not self.busy or (self._closed and not self._waiting):
            if is_silent(mulaw):
                return []  # between sentences: forwarding it would only let delay pile up at Twilio
            if self._running:
                self._forget()  # the next utterance begins before the last mark of this one: its end goes unseen
            return self._begin(mulaw, now)
        self._waiting += mulaw
        self._pushed_at = now
        excess = len(self._waiting) - self._most_bytes
        if excess > 0:
            del self._waiting[:excess]
            self.dropped_ms += duration_ms(excess)
        return self._send(now)

    def finish(self, now: float) -> list[Move]:
        """The agent says that its speech is complete: fill up the last frame, and mark the end."""
        if not self.busy:
            return []
        self._closed = True
        return self._send(now)

    def tick(self, now: float) -> Sequence[Move]:
        """Time passes: about every 20 ms."""
        waiting = self._waiting
        if not self._running and not waiting:
            return ()
        if not waiting and not self._closed and now - self._pushed_at < self._prebuffer_s:
            return ()  # in the middle of an utterance, and sound came just now
        moves = self._send(now)
        if not self._running:
            return moves
        resting_s = now - self._pushed_at
        if not self._closed and resting_s >= self.REST_S and not self._waiting:
            self._closed = True
        if self._outstanding and now >= self._empty_at + self.MARK_PATIENCE_S:
            self._outstanding.clear()
            self._heard_bytes = self._sent_bytes
        return [*moves, *self._mark(now), *self._check_done()]

    def mark_returned(self, name: str, now: float) -> list[Move]:
        """Twilio returned a mark: all before it was heard, or was cleared long ago."""
        if not any(name == waiting for waiting, _ in self._outstanding):
            self.late_marks += 1
            return []
        while self._outstanding:
            waiting, position = self._outstanding.popleft()
            self._heard_bytes = max(self._heard_bytes, position)
            if waiting == name:
                break
        return self._check_done()

    def clear(self, now: float) -> Cleared:
        """Barge-in: forget everything. Twilio must be told `clear` by the caller of this."""
        heard_ms = self.heard_ms(now)
        unsent_ms = duration_ms(len(self._waiting))
        dropped_ms = duration_ms(self._sent_bytes) - heard_ms + unsent_ms
        self._forget()
        self._empty_at = 0.0
        return Cleared(self.utterance, heard_ms, dropped_ms)

    def heard_ms(self, now: float) -> float:
        """How much of the present utterance the caller has heard: the send clock, never behind a returned mark."""
        if not self._running:
            return 0.0
        unplayed_ms = max(0.0, self._empty_at - now) * 1000
        by_clock_ms = max(0.0, duration_ms(self._sent_bytes) - unplayed_ms)
        return max(by_clock_ms, duration_ms(self._heard_bytes))

    def _begin(self, mulaw: bytes, now: float) -> list[Move]:
        self._waiting += mulaw
        self._closed = False
        self._first_at = self._pushed_at = now
        return self._send(now)

    def _send(self, now: float) -> list[Move]:
        moves: list[Move] = []
        if not self._running:
            ready = len(self._waiting) >= self._prebuffer_bytes or now - self._first_at >= self._prebuffer_s
            if not (ready or self._closed):
                return []
            self._start(now)
            moves.append(Started(self.utterance))
        stale = now - self._pushed_at >= self._prebuffer_s  # a part of a frame must not wait for the next sentence
        whole = len(self._waiting) // FRAME_BYTES * FRAME_BYTES
        audio = padded(bytes(self._waiting)) if self._closed or stale else bytes(self._waiting[:whole])
        if audio:
            del self._waiting[: len(audio)]
            self._sent_bytes += len(audio)
            self._empty_at = max(self._empty_at, now) + duration_ms(audio) / 1000
            moves.append(Audio(audio))
        return [*moves, *self._mark(now)]

    def _start(self, now: float) -> None:
        self.utterance += 1
        self._running = True
        self._piece = self._sent_bytes = self._marked_bytes = self._heard_bytes = 0
        self._outstanding.clear()
        self._empty_at = max(self._empty_at, now)

    def _mark(self, now: float) -> list[Move]:
        unmarked = self._sent_bytes - self._marked_bytes
        resting = self._closed or now - self._pushed_at >= self._prebuffer_s
        if unmarked <= 0 or (unmarked < self._mark_every_bytes and not resting):
            return []
        self._piece += 1
        self._marked_bytes = self._sent_bytes
        name = f"u-{self.utterance}.{self._piece}"
        self._outstanding.append((name, self._sent_bytes))
        return [Mark(name)]

    def _check_done(self) -> list[Move]:
        unfinished = self._waiting or self._outstanding or self._sent_bytes > self._marked_bytes
        if not self._running or not self._closed or unfinished:
            return []
        done = Done(self.utterance, duration_ms(self._sent_bytes))
        self._forget()
        return [done]

    def _forget(self) -> None:
        self._waiting.clear()
        self._outstanding.clear()
        self._running = self._closed = False
        self._sent_bytes = self._marked_bytes = self._heard_bytes = 0
