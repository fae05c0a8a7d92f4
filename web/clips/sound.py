"""Recordings made into clips: 8 kHz, no silence around, all about as loud, whole µ-law frames. Pure arithmetic.

Done once for each file while starting up: about a quarter of a second of work for three seconds at 48 kHz.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import lru_cache
from math import cos, gcd, pi, sin, sqrt
from operator import mul

from engine.audio import BYTES_PER_MS, FRAME_BYTES, SAMPLE_RATE_HZ, padded, pcm16_to_mulaw

LEVEL_DB = -18.0  # of the voice while it speaks, against full scale (RMS): what text-to-speech usually sends
MOST_PEAK = 29_204  # 1 dB under full scale: a clip with high peaks stays quieter
ACTIVE_DB = 20.0  # frames that are quieter than the loudest by more are pauses, and do not count for the level
SOUND_DB = 34.0  # … by more than this, at the edges: silence, and cut off
LEAST_SIZE = 50.0  # RMS of the loudest moment, of 32,768: what stays below is the noise of a sound card

_PASS_HZ = 3600  # half-way down the edge of the filter, which is through before 4 kHz
_HALF_WIDTH_MS = 3.5  # of the filter
_WINDOW = 5 * BYTES_PER_MS  # how finely edges are found
_KEPT_AFTER = 4  # windows of the voice's last breath


def resampled(samples: Sequence[float], rate_hz: int) -> Sequence[float]:
    """The same sound at 8 kHz: low-passed by a windowed sinc, of which each phase is worked out once."""
    if rate_hz == SAMPLE_RATE_HZ:
        return samples
    step, phases = rate_hz // gcd(rate_hz, SAMPLE_RATE_HZ), SAMPLE_RATE_HZ // gcd(rate_hz, SAMPLE_RATE_HZ)
    reach = _reach(rate_hz)
    around = [0.0] * reach
    padding = [*around, *samples, *around]
    out: list[float] = []
    for n in range(len(samples) * phases // step):
        begin, phase = divmod(n * step, phases)
        out.append(sum(map(mul, _taps(rate_hz, phase / phases), padding[begin : begin + 2 * reach + 1])))
    return out


def _reach(rate_hz: int) -> int:
    return round(_HALF_WIDTH_MS / 1000 * rate_hz)


@lru_cache(maxsize=SAMPLE_RATE_HZ)
def _taps(rate_hz: int, late: float) -> tuple[float, ...]:
    """The filter around a moment that is so many input samples (0 to 1) after one of them; passes 0 Hz unchanged."""
    reach = _reach(rate_hz)
    taps: list[float] = []
    for index in range(-reach, reach + 1):
        away = index - late
        x = 2 * pi * _PASS_HZ * away / rate_hz
        turn = pi * min(1.0, max(-1.0, away / reach))
        taps.append((sin(x) / x if x else 1.0) * (0.42 + 0.5 * cos(turn) + 0.08 * cos(2 * turn)))
    total = sum(taps)
    return tuple(tap / total for tap in taps)


def clip_of(samples: Sequence[float]) -> bytes:
    """16-bit samples at 8 kHz as a clip.

    Raises:
        ValueError: there is nothing to hear.
    """
    rest = sum(samples) / len(samples) if samples else 0.0
    voice = _trimmed([sample - rest for sample in samples])
    level = _active_level(voice)
    gain = min(32_768 * 10 ** (LEVEL_DB / 20) / level, MOST_PEAK / max(map(abs, voice)))
    return padded(pcm16_to_mulaw(array("h", [round(gain * sample) for sample in voice]).tobytes()))


def _trimmed(samples: list[float]) -> list[float]:
    """From at most 5 ms before the first sound to 20 ms after the last."""
    levels = _levels(samples, _WINDOW)
    if max(levels, default=0.0) < LEAST_SIZE:
        raise ValueError("there is nothing to hear in it")
    least = max(levels) * 10 ** (-SOUND_DB / 20)
    sounding = [index for index, level in enumerate(levels) if level >= least]
    return samples[max(0, sounding[0] - 1) * _WINDOW : (sounding[-1] + 1 + _KEPT_AFTER) * _WINDOW]


def _active_level(samples: list[float]) -> float:
    levels = _levels(samples, FRAME_BYTES)
    least = max(levels) * 10 ** (-ACTIVE_DB / 20)
    active = [level for level in levels if level >= least]
    return sqrt(sum(map(mul, active, active)) / len(active))


def _levels(samples: list[float], window: int) -> list[float]:
    """The RMS of each window of samples; the last may be short."""
    pieces = [samples[start : start + window] for start in range(0, len(samples), window)]
    return [sqrt(sum(map(mul, piece, piece)) / len(piece)) for piece in pieces]
