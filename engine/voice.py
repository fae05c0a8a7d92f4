"""Speech detection on µ-law bytes: cheap enough to run on every frame of every call. Pure; a frame in, a change out.

A µ-law code is nearly the logarithm of its sample's size (16 codes are 6 dB), so the mean code of a frame is a loudness
on a decibel-like scale, and costs one `translate` and one sum. The signs of the codes tell a rush of air from a voice.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from enum import Enum
from functools import lru_cache
from zlib import adler32

from engine.audio import BYTES_PER_MS, FRAME_BYTES, FRAME_MS

CODES_PER_DB = 16 / 6.02
_MOST_AT_ONCE = 65_520 // 0x7F
_STRETCH_MS = 5
_STRETCH = _STRETCH_MS * BYTES_PER_MS
_LOUDNESS = bytes(0x7F - (code & 0x7F) for code in range(256))
_SIGN = bytes(code >> 7 for code in range(256))
_UP = b"\x00\x01"
_DB_OF_FRAME = 1 / FRAME_BYTES / CODES_PER_DB


def loudness_db(mulaw: bytes) -> float:
    """Mean loudness over the smallest that µ-law can tell, in decibels: 0 is digital silence, about 48 full scale."""
    if 0 < len(mulaw) <= _MOST_AT_ONCE:
        # The lower half of Adler-32 is one more than the sum of the bytes, modulo a prime that so few cannot reach: the
        # quickest sum of bytes that the standard library has.
        return ((adler32(mulaw.translate(_LOUDNESS)) & 0xFFFF) - 1) / len(mulaw) / CODES_PER_DB
    return sum(mulaw.translate(_LOUDNESS)) / len(mulaw) / CODES_PER_DB if mulaw else 0.0


def levels(mulaw: bytes, step_bytes: int = FRAME_BYTES // 2) -> array[int]:
    """The loudness of each 10 ms, as `levels_db` takes it: a row of numbers, cheap to make and to keep.

    What is less than a step is left out.
    """
    return array("I", map(adler32, map(mulaw.translate(_LOUDNESS).__getitem__, _steps(len(mulaw), step_bytes))))


def levels_db(row: Iterable[int], step_bytes: int = FRAME_BYTES // 2) -> array[float]:
    """Those in decibels. A frame's is the mean of its two halves'."""
    scale = 1 / step_bytes / CODES_PER_DB
    return array("f", [((level & 0xFFFF) - 1) * scale for level in row])


@lru_cache(maxsize=4)
def _steps(size: int, step_bytes: int) -> tuple[slice, ...]:
    return tuple(slice(at, at + step_bytes) for at in range(0, size - step_bytes + 1, step_bytes))


def is_silent(mulaw: bytes) -> bool:
    """Whether this is digital silence, or within one step of it: nothing that an ear could find."""
    return not mulaw.strip(b"\xff\x7f\xfe\x7e")


class Voice(Enum):
    """What one more frame changed."""

    NOTHING = 0
    STARTED = 1
    STOPPED = 2


_NOTHING = Voice.NOTHING  # looking it up in the class takes a tenth of a frame's work


class VoiceDetector:
    """The caller's voice, from 20 ms frames.

    A voice is what is louder than `floor_db`, than the line's own noise by a margin that grows with the noise's
    unrest, and than the echo that the caller of `feed` expects. `onset_ms` of it in a row start it, five eighths of
    that if it is clear; what dies away at once (clicks) or rushes (breath) does not. `hangover_ms` of anything else end
    it.
    """

    __slots__ = (
        "_before", "_block_left", "_calm_db", "_dismissals", "_floor_db", "_hangover", "_least_db", "_limit_db",
        "_lows_db", "_noise_db", "_peak_db", "_quiet_frames", "_run_ms", "_spread_db", "_sum_db", "_voiced_frames",
        "_wary_blocks", "_wary_db", "_wary_of_db", "loudest_db", "onset_ms", "onset_ms_ago", "speaking",
    )  # fmt: skip

    OVER_NOISE_DB = (4.5, 7.0)  # least on a steady line, most on a restless one
    OVER_ECHO_DB = 4.5
    CLEAR_DB = 3.0  # so far over the limit a voice needs less time
    UNDER_LIMIT_DB = 3.0  # 5 ms may be so much softer than the 20 ms that they are of
    DYING_DB = 8.0  # so far under its own peak it is not a voice that begins
    RUSH_CROSSINGS = 22  # upward, in a frame: 1100 Hz and more; a voice that begins has under 17
    LOUD_RUSH_DB = 8.0  # a rush so far over the limit counts a quarter of its time
    OVER_RUSH_DB = 10.0  # only what is so far over the calm line has crossings of its own
    WARY_MS = 20  # more, for each dismissal
    AFTER_NOISE_DB = -18.0  # coughs are louder than their coughers speak
    CLEARLY_LOUDER_DB = 6.0  # … unless it is so much louder than what was dismissed
    NOISE_MOST_DB = 30.0  # a line noisier than this needs a shout
    BLOCK = 8  # frames after which the limit follows the noise
    BLOCKS = 10  # in which nothing was quieter: that is the noise now, 1.6 s after it began

    def __init__(self, *, onset_ms: int = 40, hangover_ms: int = 160, floor_db: float = 11.0) -> None:
        self.onset_ms = max(FRAME_MS, onset_ms)
        self._hangover = max(1, hangover_ms // FRAME_MS)
        self._floor_db = floor_db
        self._noise_db = floor_db
        self._calm_db = 0.0  # the quietest frame of the last 1.6 s
        self._spread_db = 1.0
        self._limit_db = floor_db + self.OVER_NOISE_DB[0]
        self._least_db = 99.0
        self._lows_db = [0.0] * self.BLOCKS
        self._block_left = self.BLOCK
        self._before = b""
        self._run_ms = 0
        self._peak_db = 0.0
        self._quiet_frames = 0
        self._voiced_frames = 0
        self._sum_db = 0.0
        self._dismissals = 0
        self._wary_blocks = 0
        self._wary_db = 0.0
        self._wary_of_db = 0.0
        self.speaking = False
        self.onset_ms_ago = 0
        """How long before the end of the frame that started it the voice began."""
        self.loudest_db = 0.0
        """The loudest frame of the present or last voice."""

    def feed(self, frame: bytes, expected_db: float = 0.0) -> Voice:
        """One frame of the caller; `expected_db` is the loudness that the agent's own echo explains in it."""
        if len(frame) == FRAME_BYTES:
            heard_db = ((adler32(frame.translate(_LOUDNESS)) & 0xFFFF) - 1) * _DB_OF_FRAME
        else:
            heard_db = loudness_db(frame)
        limit_db = self._limit_db
        if expected_db > 0.0:
            limit_db = max(limit_db, expected_db + self.OVER_ECHO_DB)
        else:  # an echo tells nothing about the line's noise
            if heard_db < self._least_db:  # noqa: PLR1730 — half the time of `min`
                self._least_db = heard_db
            self._block_left -= 1
            if not self._block_left:
                self._follow_noise()
            if heard_db <= limit_db:
                away_db = heard_db - self._noise_db
                self._noise_db += 0.06 * away_db
                self._spread_db += 0.03 * ((away_db if away_db > 0.0 else -away_db) - self._spread_db)
        if heard_db > limit_db:
            self._quiet_frames = 0
            if self.speaking:
                self._voiced_frames += 1
                self._sum_db += heard_db
                if heard_db > self.loudest_db:  # noqa: PLR1730
                    self.loudest_db = heard_db
                return _NOTHING
            return self._rising(frame, heard_db, limit_db)
        self._before = frame
        self._run_ms = 0
        if not self.speaking:
            return _NOTHING
        self._quiet_frames += 1
        if self._quiet_frames < self._hangover:
            return _NOTHING
        self.speaking = False
        return Voice.STOPPED

    @property
    def voiced_ms(self) -> int:
        """Voiced audio of the present or last voice, from its onset; gaps do not count."""
        return self.onset_ms_ago + (self._voiced_frames - 1) * FRAME_MS if self._voiced_frames else 0

    def dismiss(self) -> None:
        """The voice that started last was none: for some seconds it takes more, and yet more after a second time.

        After a short noise a voice must last longer, after two it must also be nearly as loud; what still goes on is
        background, and only what is louder starts a voice. What is clearly louder starts it at once. `speaking` ends
        without a `STOPPED`.
        """
        if not self._voiced_frames:
            return
        self._dismissals = min(self._dismissals + 1, 3)
        self._wary_of_db = self._sum_db / self._voiced_frames
        over_db = (1.0 if self.speaking else self.AFTER_NOISE_DB) + 2.0 * self._dismissals
        self._wary_db = self._wary_of_db + over_db if self.speaking or self._dismissals > 1 else 0.0
        self._wary_blocks = (2 + self._dismissals) * 1000 // (self.BLOCK * FRAME_MS)
        self._limit_db = max(self._limit_db, self._wary_db)
        self.speaking = False
        self._run_ms = self._quiet_frames = 0

    def _rising(self, frame: bytes, heard_db: float, limit_db: float) -> Voice:
        """A frame that is loud enough for a voice, while there is none."""
        if not self._begins(frame, heard_db, limit_db):
            return _NOTHING
        self.speaking = True
        self.onset_ms_ago = self._run_ms
        self._voiced_frames = 1
        self._sum_db = self.loudest_db = heard_db
        return Voice.STARTED

    def _begins(self, frame: bytes, heard_db: float, limit_db: float) -> bool:
        """Whether a voice has begun by the end of this frame, which is loud enough for one."""
        if not self._run_ms:
            self._run_ms, self._peak_db = _loud_end(self._before, limit_db - self.UNDER_LIMIT_DB)
        if heard_db > self._calm_db + self.OVER_RUSH_DB and frame.translate(_SIGN).count(_UP) >= self.RUSH_CROSSINGS:
            if heard_db > limit_db + self.LOUD_RUSH_DB:
                self._run_ms += _STRETCH_MS
            return self._run_ms >= self.onset_ms
        loud_ms, peak_db = _loud_end(frame, limit_db - self.UNDER_LIMIT_DB)
        self._run_ms = self._run_ms + loud_ms if loud_ms == FRAME_MS else loud_ms
        self._peak_db = max(self._peak_db, peak_db)
        needed_ms = self.onset_ms
        if heard_db > limit_db + self.CLEAR_DB:
            needed_ms = needed_ms * 5 // 8
        if self._wary_blocks and heard_db < self._wary_of_db + self.CLEARLY_LOUDER_DB:
            needed_ms += self.WARY_MS * self._dismissals
        if self._run_ms < needed_ms:
            return False
        last_db = loudness_db(frame[-_STRETCH:])
        return last_db > self._peak_db - self.DYING_DB or self._run_ms >= 2 * self.onset_ms

    def _follow_noise(self) -> None:
        """Every 160 ms: the limit for what comes, from the noise up to now."""
        self._block_left = self.BLOCK
        self._lows_db.append(self._least_db)
        del self._lows_db[0]
        self._least_db = 99.0
        self._calm_db = min(self._lows_db)
        self._noise_db = min(max(self._noise_db, self._calm_db + 1.0), self.NOISE_MOST_DB)
        least_db, most_db = self.OVER_NOISE_DB
        over_db = min(max(least_db, 2.5 + 3.5 * self._spread_db), most_db)
        self._limit_db = max(self._floor_db, self._noise_db + over_db)
        if self._wary_blocks:
            self._limit_db = max(self._limit_db, self._wary_db)
            self._wary_blocks -= 1
            if not self._wary_blocks:
                self._dismissals = 0


def _loud_end(frame: bytes, limit_db: float) -> tuple[int, float]:
    """How many milliseconds at the end of a frame are louder than that, in steps of 5, and the loudest of them."""
    loud_ms, peak_db = 0, 0.0
    for end in range(len(frame), 0, -_STRETCH):
        db = loudness_db(frame[max(0, end - _STRETCH) : end])
        if db <= limit_db:
            break
        loud_ms += _STRETCH_MS
        peak_db = max(peak_db, db)
    return loud_ms, peak_db
