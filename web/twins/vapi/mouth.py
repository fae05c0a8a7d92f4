"""Audio out at real-time pace, in clumps, on an absolute schedule: the time alone says what is due (vapi.md §4.3)."""

from __future__ import annotations

from collections.abc import Callable

import trio

from engine.audio import FRAME_BYTES, FRAME_MS, SILENCE_FRAME, duration_ms, padded

__all__ = ["TICK_S", "Mouth", "Utterance"]

TICK_S = 0.050
_FRAME_S = FRAME_MS / 1000
MOST_FRAMES_A_TICK = 50
"""After a stall of the twin: a second of audio at once, not all that is late."""


class Utterance:
    """One speech that is being played. `began` is on Trio's clock."""

    def __init__(self, mulaw: bytes, began: float) -> None:
        self.mulaw = padded(mulaw)
        self.began = began
        self.length_s = duration_ms(self.mulaw) / 1000
        self.sent_frames = 0
        self.over = trio.Event()
        self.was_cut = False

    def part_spoken(self, now: float) -> float:
        """From 0 to 1."""
        return min(1.0, max(0.0, (now - self.began) / self.length_s)) if self.length_s else 1.0


class Mouth:
    """One call's. `pump` is called by the twin's one ticker; everything here is synchronous."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._silence_due: float | None = None
        self.speaking: Utterance | None = None
        self.is_muted = False
        self.fills_silence = False

    def begin(self, mulaw: bytes) -> Utterance:
        """Start playing. There is no other utterance: the speaker sees to that."""
        assert self.speaking is None
        self.speaking = Utterance(mulaw, trio.current_time())
        return self.speaking

    def cut(self) -> None:
        """No more of this utterance, from now on."""
        utterance, self.speaking = self.speaking, None
        if utterance is not None:
            utterance.was_cut = True
            utterance.over.set()

    def pump(self, now: float) -> None:
        """Send what is due up to the next tick."""
        utterance = self.speaking
        if utterance is None:
            if self.fills_silence:
                self._fill(now)
            return
        self._silence_due = None
        total = len(utterance.mulaw) // FRAME_BYTES
        due = min(total, int((now + TICK_S - utterance.began) / _FRAME_S) + 1)
        last = min(due, utterance.sent_frames + MOST_FRAMES_A_TICK)
        for index in range(utterance.sent_frames, last):
            start = index * FRAME_BYTES
            self._send(SILENCE_FRAME if self.is_muted else utterance.mulaw[start : start + FRAME_BYTES])
        utterance.sent_frames = last
        if last == total and now >= utterance.began + utterance.length_s:
            self.speaking = None
            utterance.over.set()

    def _fill(self, now: float) -> None:
        if self._silence_due is None or now - self._silence_due > 1.0:
            self._silence_due = now
        while self._silence_due < now + TICK_S:
            self._send(SILENCE_FRAME)
            self._silence_due += _FRAME_S
