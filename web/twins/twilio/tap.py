"""The speaker tap: exactly what the caller heard and said, frame by frame, on one clock that starts at the answer."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any

from engine.audio import FRAME_MS, stereo_pcm16
from engine.recording import wav_header
from web.twins.speech.keys import KeyEar
from web.twins.speech.vad import ONSET_RMS, VoiceActivity, loud_frames, rms
from web.twins.twilio.referee import OVERLAP_MS, SILENCE_MS, Span, overlaps, silences

QUIET_MS = 200  # so long without voice, and the agent has stopped
TAIL_MS = 300  # after the caller's last sound: what is heard until then answers nothing yet
AGENT_RMS = 250.0
NOBODY, WORDS, SOUND = 0, 1, 2  # what the caller does in a frame


@dataclass
class BargeIn:
    """The caller cut in: when the words began, and when they end, in ms on the tap's clock."""

    onset_ms: float
    end_ms: float


@dataclass
class Tap:
    """Both directions of one call, as sound and as one flag a frame: what the caller did, whether the agent was heard.

    `messages` and `offsets` tell of each frame that was heard which media message its first byte is of (in the order of
    arrival, from 1; 0: none) and where in it.
    """

    said: bytearray = field(default_factory=bytearray)
    heard: bytearray = field(default_factory=bytearray)
    caller: bytearray = field(default_factory=bytearray)
    agent: bytearray = field(default_factory=bytearray)
    messages: array[int] = field(default_factory=lambda: array("L"))
    offsets: array[int] = field(default_factory=lambda: array("L"))
    events: list[dict[str, Any]] = field(default_factory=list)
    barge_ins: list[BargeIn] = field(default_factory=list)
    frames: int = 0
    last_voiced: int = -1_000_000  # the last frame in which the agent was heard to speak
    onsets: list[int] = field(default_factory=list)  # frames in which the agent began to speak
    _ear: VoiceActivity = field(default_factory=VoiceActivity)
    _keys: KeyEar = field(default_factory=KeyEar)
    _was_voiced: bool = False

    @property
    def now_ms(self) -> float:
        return self.frames * FRAME_MS

    def add(self, said: bytes, heard: bytes, *, caller: int = NOBODY, source: tuple[int, int] = (0, 0)) -> None:
        """One frame of both. `said` is what the microphone picked up, `caller` what the caller meant by it."""
        self.said += said
        self.heard += heard
        level = rms(heard)
        self.caller.append(caller)
        self.agent.append(level > AGENT_RMS)
        self.messages.append(source[0])
        self.offsets.append(source[1])
        voiced = self._ear.hear(level)
        if voiced and not self._was_voiced:
            self.onsets.append(self.frames)
        if voiced and level > AGENT_RMS:
            self.last_voiced = self.frames
        if key := self._keys.feed(heard, level):
            self.note("tones heard", digit=key)
        self._was_voiced = voiced
        self.frames += 1

    def note(self, what: str, **facts: Any) -> None:
        """Something happened, now."""
        self.events.append({"at_ms": self.now_ms, "what": what, **facts})

    def quiet_ms(self) -> float:
        """How long the agent has not been heard."""
        return (self.frames - self.last_voiced) * FRAME_MS

    def wav(self) -> bytes:
        """Both channels: left said, right heard."""
        length = min(len(self.said), len(self.heard))
        return wav_header(length) + stereo_pcm16(bytes(self.said[:length]), bytes(self.heard[:length]))

    def overlaps(self, *, longer_ms: float = OVERLAP_MS) -> list[Span]:
        """Where the caller's words and the agent's voice were heard at once for longer than that."""
        return overlaps([one == WORDS for one in self.caller], self.agent, longer_ms=longer_ms)

    def silences(self, *, longer_ms: float = SILENCE_MS) -> list[Span]:
        """Where nobody was heard for longer than that; sounds of the caller count, a noise bed does not."""
        return silences(self.caller, self.agent, longer_ms=longer_ms)

    def measured(self) -> list[dict[str, float | None]]:
        """For each barge-in: when the agent was no longer heard, and how much stale speech came after that."""
        voiced = [loud for _, loud in loud_frames(bytes(self.heard), AGENT_RMS)]
        return [_measure(one, voiced) for one in self.barge_ins]


def _measure(one: BargeIn, voiced: list[bool]) -> dict[str, float | None]:
    start = int(one.onset_ms // FRAME_MS)
    quiet_frames = QUIET_MS // FRAME_MS
    last = start - 1  # the last frame with the agent's voice before it stopped
    for index in range(start, len(voiced)):
        if voiced[index]:
            if index - last > quiet_frames:
                break
            last = index
    silent_ms = max(one.onset_ms, (last + 1) * FRAME_MS)
    until = min(len(voiced), int((one.end_ms + TAIL_MS) // FRAME_MS))
    stale = sum(voiced[last + 1 : until]) * FRAME_MS
    return {"onset_ms": one.onset_ms, "silent_ms": silent_ms, "end_ms": one.end_ms, "stale_ms": float(stale)}


def first_loud_ms(mulaw: bytes) -> float:
    """How far into some speech its first loud frame is."""
    return next((at_ms for at_ms, loud in loud_frames(mulaw) if loud), 0.0)


def is_loud(frame: bytes) -> bool:
    """Whether the caller is heard in it."""
    return rms(frame) > ONSET_RMS
