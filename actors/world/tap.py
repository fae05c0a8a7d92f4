"""The speaker tap: exactly what the caller's phone played, and which millisecond of the agent each piece of it was."""

from __future__ import annotations

from dataclasses import dataclass, field

from actors.world.sounds import number_of
from engine.audio import BYTES_PER_MS, FRAME_BYTES, FRAME_MS, SILENCE_FRAME, duration_ms, stereo_pcm16
from engine.recording import wav_header
from engine.voice import is_silent

MOST_KNOWN_FRAMES = 2000
_ALL_OURS: set[bytes] = set()  # frames that are a line of ours from end to end: clips are heard again and again
OURS = -1  # a run's `number` when it is not the agent: a clip of the service's own


@dataclass(slots=True)
class Run:
    """Sound without a break. The agent's: millisecond `number` was heard at `at_ms`, the next ones after it."""

    at_ms: float
    number: int
    ms: float

    @property
    def end_ms(self) -> float:
        return self.at_ms + self.ms

    @property
    def is_agent(self) -> bool:
        return self.number >= 0


@dataclass
class Tap:
    """Both directions of one call, in milliseconds since its stream began.

    Args:
        phase_ms: when the phone plays its first frame; the microphone's first frame begins at 0.
    """

    phase_ms: float = 0.0
    heard: bytearray = field(default_factory=bytearray, repr=False)
    said: bytearray = field(default_factory=bytearray, repr=False)
    runs: list[Run] = field(default_factory=list)
    agent: bytearray = field(default_factory=bytearray, repr=False)
    """All that the agent generated; millisecond n begins at byte 8 n. Filled by the agent."""

    @property
    def heard_ms(self) -> float:
        """How long the phone has played."""
        return duration_ms(len(self.heard))

    def play(self, frame: bytes) -> None:
        """The phone plays 20 ms."""
        at_ms = self.phase_ms + self.heard_ms
        self.heard += frame
        if frame == SILENCE_FRAME:
            return
        number = number_of(frame)
        if number is not None and self.agent[number * BYTES_PER_MS :][:FRAME_BYTES] == frame:
            self._run(at_ms, number, FRAME_MS)
        else:
            self._in_pieces(frame, at_ms)

    def agent_heard_ms(self, first: int, after: int, *, until_ms: float = float("inf"), since_ms: float = 0.0) -> float:
        """How much of the agent's milliseconds `first` to `after` was heard between two moments."""
        total = 0.0
        for run in self.runs:
            if run.is_agent:
                low = max(run.at_ms, since_ms, run.at_ms + first - run.number)
                high = min(run.end_ms, until_ms, run.at_ms + after - run.number)
                total += max(0.0, high - low)
        return total

    def wav(self) -> bytes:
        """Left what was said, right what was heard; the shorter is not filled up."""
        length = min(len(self.said), len(self.heard))
        return wav_header(length) + stereo_pcm16(bytes(self.said[:length]), bytes(self.heard[:length]))

    def _in_pieces(self, frame: bytes, at_ms: float) -> None:
        """A frame that is not 20 ms of the agent in one piece."""
        if frame in _ALL_OURS:
            self._run(at_ms, OURS, FRAME_MS)
            return
        offset = ours = 0
        while offset < len(frame):
            number = number_of(frame, offset)
            if number is not None:
                self._run(at_ms + duration_ms(offset), number, 1)
                offset += BYTES_PER_MS
                continue
            step = frame[offset : offset + 1]
            if not is_silent(step):
                self._run(at_ms + duration_ms(offset), OURS, duration_ms(1))
                ours += 1
            offset += 1
        if ours == len(frame) and len(_ALL_OURS) < MOST_KNOWN_FRAMES:
            _ALL_OURS.add(frame)

    def _run(self, at_ms: float, number: int, ms: float) -> None:
        last = self.runs[-1] if self.runs else None
        if last is not None and last.is_agent == (number >= 0) and abs(last.end_ms - at_ms) < 0.01:
            goes_on = not last.is_agent or last.number + round(last.ms) == number
            if goes_on:
                last.ms += ms
                return
        self.runs.append(Run(at_ms, number, ms))
