"""Voice activity for the twins' ears, and for judging recordings. Not the engine's detector: a judge by itself."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from engine.audio import BYTES_PER_MS, FRAME_BYTES, FRAME_MS, mulaw_to_pcm16

ONSET_RMS = 400.0  # of 32767; made speech is well over 1,000, line noise well under 100
HANGOVER_MS = 160


class VoiceActivity:
    """Whether a line carries voice, frame by frame: on after two loud frames, off after a hangover.

    Energy over the linear samples, with a noise floor. A neural detector (silero) was five times slower a frame and
    40 ms later in quiet (stack.md C.4), and the twins' lines are quiet.
    """

    __slots__ = ("_floor", "_loud", "_quiet", "active")

    def __init__(self) -> None:
        self._floor = 50.0
        self._loud = self._quiet = 0
        self.active = False

    def feed(self, frame: bytes) -> bool:
        """One 20 ms frame of µ-law; whether the line is in voice now."""
        return self.hear(rms(frame))

    def hear(self, level: float) -> bool:
        """As `feed`, by the frame's root mean square alone."""
        loud = level > max(ONSET_RMS, 4 * self._floor)
        if not loud:
            self._floor += 0.02 * (min(level, 500.0) - self._floor)
        self._loud = self._loud + 1 if loud else 0
        self._quiet = 0 if loud else self._quiet + 1
        if self._loud >= 2:
            self.active = True
        elif self._quiet * FRAME_MS >= HANGOVER_MS:
            self.active = False
        return self.active


def rms(mulaw: bytes) -> float:
    """Root mean square of the linear samples."""
    if not mulaw.strip(b"\xff\x7f"):
        return 0.0  # most frames of a call: no sums for them
    samples = array("h", mulaw_to_pcm16(mulaw))
    return float((sum(sample * sample for sample in samples) / max(1, len(samples))) ** 0.5)


def loud_frames(mulaw: bytes, threshold: float = ONSET_RMS) -> Iterator[tuple[float, bool]]:
    """Each whole frame: when it starts in ms, and whether it is loud."""
    for start in range(0, len(mulaw) - FRAME_BYTES + 1, FRAME_BYTES):
        yield start / BYTES_PER_MS, rms(mulaw[start : start + FRAME_BYTES]) > threshold


def voiced_spans(mulaw: bytes, *, gap_ms: float = 500.0, shortest_ms: float = 60.0) -> list[tuple[float, float]]:
    """Stretches of voice as (start ms, end ms); pauses shorter than `gap_ms` are inside one."""
    spans: list[tuple[float, float]] = []
    for at_ms, loud in loud_frames(mulaw):
        if not loud:
            continue
        if spans and at_ms - spans[-1][1] < gap_ms:
            spans[-1] = (spans[-1][0], at_ms + FRAME_MS)
        else:
            spans.append((at_ms, at_ms + FRAME_MS))
    return [(start, end) for start, end in spans if end - start >= shortest_ms]


def first_voiced_ms(mulaw: bytes) -> float | None:
    """When the first loud frame starts."""
    return next((at_ms for at_ms, loud in loud_frames(mulaw) if loud), None)
