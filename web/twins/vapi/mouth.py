"""Audio out at real-time pace, in clumps, on an absolute schedule: the time alone says what is due (vapi.md §4.3)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random

import trio

from engine.audio import FRAME_BYTES, FRAME_MS, SILENCE_FRAME, duration_ms, padded
from web.twins.vapi.dials import Dials

__all__ = ["Mouth", "Utterance", "tick_s"]

TICK_S, FINE_TICK_S = 0.050, 0.010
_FRAME_S = FRAME_MS / 1000
MOST_FRAMES_A_TICK = 50
"""After a stall of the twin: a second of audio at once, not all that is late."""


def tick_s(dials: Dials) -> float:
    """How often mouths are pumped: once a clump, but no more seldom than usual; finely when clumps are to be late."""
    return FINE_TICK_S if dials.output_jitter_ms else max(FINE_TICK_S, min(TICK_S, dials.clump_ms / 1000))


class Utterance:
    """One speech that is being played. `began` is on Trio's clock."""

    def __init__(self, mulaw: bytes, began: float) -> None:
        self.mulaw = padded(mulaw)
        self.began = began
        self.length_s = duration_ms(self.mulaw) / 1000
        self.next_clump = began
        self.sent_frames = 0
        self.over = trio.Event()
        self.was_cut = False

    def is_spoken(self, now: float) -> bool:
        """All of it was sent, and its time is over."""
        return self.sent_frames * FRAME_BYTES == len(self.mulaw) and now >= self.began + self.length_s

    def part_spoken(self, now: float) -> float:
        """From 0 to 1."""
        return min(1.0, max(0.0, (now - self.began) / self.length_s)) if self.length_s else 1.0


class Mouth:
    """One call's. `pump` is called by the twin's one ticker; everything here is synchronous."""

    def __init__(self, send: Callable[[bytes], None], dials: Dials, chance: Random) -> None:
        self._send, self._dials, self._chance = send, dials, chance
        self._silence_due: float | None = None
        self._late: deque[tuple[float, list[bytes]]] = deque()
        self.speaking: Utterance | None = None
        self.is_muted = False

    def begin(self, mulaw: bytes) -> Utterance:
        """Start playing. There is no other utterance: the speaker sees to that."""
        assert self.speaking is None
        self.speaking = Utterance(mulaw, trio.current_time())
        return self.speaking

    def cut(self) -> None:
        """No more of this utterance, from now on."""
        utterance, self.speaking = self.speaking, None
        self._late.clear()
        if utterance is not None:
            utterance.was_cut = True
            utterance.over.set()

    def pump(self, now: float) -> None:
        """Send what is due up to the next clump."""
        utterance = self.speaking
        if utterance is not None:
            self._silence_due = None
            self._speak(utterance, now)
        elif self._dials.send_silence:
            self._fill(now)
        while self._late and self._late[0][0] <= now:
            for frame in self._late.popleft()[1]:
                self._send(frame)
        if utterance is not None and not self._late and utterance.is_spoken(now):
            self.speaking = None
            utterance.over.set()

    def _speak(self, utterance: Utterance, now: float) -> None:
        """The next clump, when it is its time: it holds all that is due before the one after it."""
        clump_s, tick = max(_FRAME_S, self._dials.clump_ms / 1000), tick_s(self._dials)
        is_coarse = clump_s > tick
        if is_coarse and now + tick / 2 < utterance.next_clump:
            return
        lead_s = clump_s + (tick if is_coarse else 0.0) + self._dials.ahead_ms / 1000
        total = len(utterance.mulaw) // FRAME_BYTES
        due = min(total, int((now + lead_s - utterance.began) / _FRAME_S) + 1)
        last = min(due, utterance.sent_frames + MOST_FRAMES_A_TICK)
        starts = range(utterance.sent_frames * FRAME_BYTES, last * FRAME_BYTES, FRAME_BYTES)
        clump = [SILENCE_FRAME if self.is_muted else utterance.mulaw[at : at + FRAME_BYTES] for at in starts]
        utterance.sent_frames = last
        if last == due:
            clumps = int((now + tick / 2 - utterance.began) / clump_s)
            utterance.next_clump = utterance.began + (clumps + 1) * clump_s
        if clump:
            late_s = self._chance.uniform(0, self._dials.output_jitter_ms / 1000)
            before = self._late[-1][0] if self._late else 0.0
            self._late.append((max(before, now + late_s), clump))

    def _fill(self, now: float) -> None:
        if self._silence_due is None or now - self._silence_due > 1.0:
            self._silence_due = now
        while self._silence_due < now + TICK_S:
            self._send(SILENCE_FRAME)
            self._silence_due += _FRAME_S
