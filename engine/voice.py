"""Speech detection on µ-law bytes: cheap enough to run on every frame of every call. Pure; a frame in, a change out.

A µ-law code is nearly the logarithm of its sample's size (16 codes are 6 dB), so the mean code of a frame is a loudness
on a decibel-like scale, and costs one `translate` and one `sum`. The noise floor adapts: falls at once, rises slowly.
"""

from __future__ import annotations

from enum import Enum
from zlib import adler32

from engine.audio import FRAME_MS

CODES_PER_DB = 16 / 6.02
_MOST_AT_ONCE = 65_520 // 0x7F
_LOUDNESS = bytes(0x7F - (code & 0x7F) for code in range(256))


def loudness_db(mulaw: bytes) -> float:
    """Mean loudness over the smallest that µ-law can tell, in decibels: 0 is digital silence, about 48 full scale."""
    if 0 < len(mulaw) <= _MOST_AT_ONCE:
        # The lower half of Adler-32 is one more than the sum of the bytes, modulo a prime that so few cannot reach: the
        # quickest sum of bytes that the standard library has.
        return ((adler32(mulaw.translate(_LOUDNESS)) & 0xFFFF) - 1) / len(mulaw) / CODES_PER_DB
    return sum(mulaw.translate(_LOUDNESS)) / len(mulaw) / CODES_PER_DB if mulaw else 0.0


def is_silent(mulaw: bytes) -> bool:
    """Whether this is digital silence, or within one step of it: nothing that an ear could find."""
    return not mulaw.strip(b"\xff\x7f\xfe\x7e")


class Voice(Enum):
    """What one more frame changed."""

    NOTHING = 0
    STARTED = 1
    STOPPED = 2


class VoiceDetector:
    """The caller's voice, from 20 ms frames.

    `onset_ms` of voiced frames in a row start it, `hangover_ms` of others end it. `onset_frames_ago` then tells how
    long before the present frame's end the voice began.
    """

    __slots__ = ("_floor_db", "_hangover", "_onset", "_quiet_frames", "_voiced_frames", "onset_ms", "speaking")

    OVER_FLOOR_DB = 9.0
    AT_LEAST_DB = 11.0  # under this it is line noise, however quiet the line was before
    FLOOR_RISE_DB = 0.03  # a frame: 1.5 dB a second
    FLOOR_MOST_DB = 22.0  # a line noisier than this needs a shout

    def __init__(self, *, onset_ms: int = 40, hangover_ms: int = 160) -> None:
        self._onset = max(1, onset_ms // FRAME_MS)
        self._hangover = max(1, hangover_ms // FRAME_MS)
        self.onset_ms = self._onset * FRAME_MS
        self._floor_db = self.FLOOR_MOST_DB / 2
        self._voiced_frames = 0
        self._quiet_frames = 0
        self.speaking = False

    def feed(self, frame: bytes) -> Voice:
        """One frame of the caller."""
        heard_db = loudness_db(frame)
        if heard_db > self.AT_LEAST_DB and heard_db > self._floor_db + self.OVER_FLOOR_DB:
            return self._voiced(heard_db)
        if heard_db < self._floor_db:
            self._floor_db = heard_db
        elif self._floor_db < self.FLOOR_MOST_DB:
            self._floor_db = min(self._floor_db + self.FLOOR_RISE_DB, self.FLOOR_MOST_DB)
        self._voiced_frames = 0
        if not self.speaking:
            return Voice.NOTHING
        self._quiet_frames += 1
        if self._quiet_frames < self._hangover:
            return Voice.NOTHING
        self.speaking = False
        return Voice.STOPPED

    def _voiced(self, heard_db: float) -> Voice:
        if self.speaking:  # the floor rises under a voice too, or a louder line would be one for ever
            self._floor_db = min(self._floor_db + self.FLOOR_RISE_DB, self.FLOOR_MOST_DB)
        self._voiced_frames += 1
        self._quiet_frames = 0
        if self.speaking or self._voiced_frames < self._onset:
            return Voice.NOTHING
        self.speaking = True
        return Voice.STARTED
