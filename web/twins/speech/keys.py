"""The tones of a telephone's keys (DTMF, ITU-T Q.23): made, and found again in what is heard. Pure."""

from __future__ import annotations

from array import array
from math import cos, pi, sin, tau
from operator import mul

from engine.audio import FRAME_BYTES, SAMPLE_RATE_HZ, mulaw_to_pcm16, pcm16_to_mulaw, silence

TONE_MS = 100
GAP_MS = 100
PAUSE_MS = 500  # what a `w` is
LOW_HZ, HIGH_HZ = (697, 770, 852, 941), (1209, 1336, 1477, 1633)
KEYS = ("123A", "456B", "789C", "*0#D")
AMPLITUDE = 9000
SURE_FRAMES = 2  # so many frames in a row, and it was a key: 60 ms of tone are always enough
LEAST_RMS = 400.0
PURE_SHARE = 0.8  # so much of the sound must be in the two tones
APART = 4.0  # each of the two is so much stronger than the others of its group
PEAKS = 1.65, 2.2  # two sines peak at up to twice their RMS, on both sides; speech seldom does
TWIST = 6.0  # and the two are not further apart than that (8 dB)


def key_tones(keys: str) -> bytes:
    """The keys one after the other, with pauses; a `w` waits.

    Raises:
        ValueError: not a key.
    """
    out = bytearray()
    for key in keys:
        if key in "wW":
            out += silence(PAUSE_MS)
        else:
            out += _tone(key) + silence(GAP_MS)
    return bytes(out)


def _tone(key: str) -> bytes:
    row = next((row for row, four in enumerate(KEYS) if key in four), None)
    if row is None or len(key) != 1:
        raise ValueError(f"{key!r} is no key of a telephone")
    low, high = LOW_HZ[row], HIGH_HZ[KEYS[row].index(key)]
    samples = [
        round(AMPLITUDE * (sin(tau * low * index / SAMPLE_RATE_HZ) + sin(tau * high * index / SAMPLE_RATE_HZ)))
        for index in range(TONE_MS * SAMPLE_RATE_HZ // 1000)
    ]
    return pcm16_to_mulaw(array("h", samples).tobytes())


_WAVES = {
    hz: tuple(
        array("d", [wave(2 * pi * hz * index / SAMPLE_RATE_HZ) for index in range(FRAME_BYTES)]) for wave in (cos, sin)
    )
    for hz in (*LOW_HZ, *HIGH_HZ)
}


class KeyEar:
    """Finds keys in a channel, frame by frame."""

    __slots__ = ("_frames", "_key")

    def __init__(self) -> None:
        self._key, self._frames = "", 0

    def feed(self, frame: bytes, level: float) -> str:
        """The key that is now sure to be heard, once for each time it is pressed; else nothing. `level`: its RMS."""
        key = _key(frame, level) if level > LEAST_RMS else ""
        self._frames = self._frames + 1 if key and key == self._key else 1
        self._key = key
        return key if key and self._frames == SURE_FRAMES else ""


def _key(frame: bytes, level: float) -> str:
    """The key whose tones this frame is. Goertzel's sums, over exact frequencies, for the few frames that may be."""
    samples = array("h", mulaw_to_pcm16(frame))
    least, most = PEAKS
    if not (least <= max(samples) / level <= most and least <= -min(samples) / level <= most):
        return ""
    powers = {hz: sum(sum(map(mul, samples, wave)) ** 2 for wave in waves) for hz, waves in _WAVES.items()}
    found: list[int] = []
    for group in (LOW_HZ, HIGH_HZ):
        first, second = sorted(group, key=powers.__getitem__, reverse=True)[:2]
        if powers[first] < APART * powers[second]:
            return ""
        found.append(first)
    low, high = found
    share = 2 * (powers[low] + powers[high]) / (len(samples) ** 2 * level**2)
    if share < PURE_SHARE or not 1 / TWIST < powers[low] / powers[high] < TWIST:
        return ""
    return KEYS[LOW_HZ.index(low)][HIGH_HZ.index(high)]
