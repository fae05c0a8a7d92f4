"""The keys of a telephone as tones in the audio: made for the far end, and found again. Pure; µ-law at 8 kHz.

A stream cannot order Twilio to send digits (reference/twilio.md §9, `dtmf`), so that keys go out as sound. Frequencies
are those of ITU-T Q.23; levels, lengths and tolerances keep within Q.24.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from math import cos, pi, sin

from engine.audio import BYTES_PER_MS, LINEAR, SAMPLE_RATE_HZ, padded, pcm16_to_mulaw, silence

LOW_HZ = (697, 770, 852, 941)
HIGH_HZ = (1209, 1336, 1477, 1633)
KEYPAD = ("123A", "456B", "789C", "*0#D")  # a row is a low tone, a column a high one
KEYS = frozenset("".join(KEYPAD))
PAUSES = frozenset("w,")
PAUSE_MS = 500
SHORTEST_MS = 40  # of a tone, and of the gap after it: what every receiver must hear (Q.24)

LOW_DBM0, HIGH_DBM0 = -10.0, -8.0  # the line takes more from the high group, so it starts 2 dB louder
_FULL_DBM0, _FULL_SIZE = 3.17, 4 * 8159  # a sine that just fills the µ-law range, in 16-bit samples (G.711)


def _amplitude(dbm0: float) -> float:
    return float(_FULL_SIZE * 10 ** ((dbm0 - _FULL_DBM0) / 20))


def dtmf(digits: str, *, tone_ms: int = 100, gap_ms: int = 100) -> bytes:
    """The keys as µ-law, each followed by exact silence; whole frames.

    Args:
        digits: 0-9, `*`, `#`, A-D in either case; `w` or `,` is half a second of silence.
        tone_ms: of each key.
        gap_ms: after each key.

    Raises:
        ValueError: another character, or a tone or a gap under 40 ms. The message does not tell the other characters.
    """
    if min(tone_ms, gap_ms) < SHORTEST_MS:
        raise ValueError(f"a tone and its gap last {SHORTEST_MS} ms at least, not {tone_ms} and {gap_ms} ms")
    pieces: list[bytes] = []
    for place, character in enumerate(digits, 1):
        if character in PAUSES:
            pieces.append(silence(PAUSE_MS))
        elif character.upper() in KEYS:
            pieces += (_tone(character.upper(), tone_ms), silence(gap_ms))
        else:
            raise ValueError(
                f"character {place} is {character!r}, which is no key: use 0-9 * # A-D, w or , for a pause"
            )
    return padded(b"".join(pieces))


def _tone(key: str, ms: int) -> bytes:
    (row,) = (row for row, keys in enumerate(KEYPAD) if key in keys)
    low = 2 * pi * LOW_HZ[row] / SAMPLE_RATE_HZ
    high = 2 * pi * HIGH_HZ[KEYPAD[row].index(key)] / SAMPLE_RATE_HZ
    low_size, high_size = _amplitude(LOW_DBM0), _amplitude(HIGH_DBM0)
    samples = (round(low_size * sin(low * n) + high_size * sin(high * n)) for n in range(ms * BYTES_PER_MS))
    return pcm16_to_mulaw(array("h", samples).tobytes())


# The decoder looks at blocks of 12.75 ms, each beginning half a block after the one before. With these numbers tones
# that are 2 % off are keys and those 3.5 % off are not (Q.24: 1.5 and 3.5 %), and no block of speech looks like one.
_BLOCK = 102
_HOP = _BLOCK // 2
_HITS = 4  # blocks in a row that make a key: about 30 ms of tone
_MISSES = 5  # blocks in a row that end it: a frame lost in its middle does not make it two, a gap of 40 ms does
_QUIETEST_DBM0 = -30.0  # of each tone (Q.24: -25 must be heard)
_PURITY = 0.6  # of a block's energy, at least so much is in its two tones
_HIGH_LOUDER, _LOW_LOUDER = 10**0.4, 10**0.8  # twist: 4 dB one way, 8 dB the other (Q.24)
_NEIGHBOUR = 10**0.6  # a tone is 6 dB over the others of its group

_SQUARES = tuple(sample * sample for sample in LINEAR)
_LEAST_ENERGY = _BLOCK * _amplitude(_QUIETEST_DBM0) ** 2  # two sines of that size
_TURNS = tuple(2 * cos(2 * pi * hz / SAMPLE_RATE_HZ) for hz in LOW_HZ + HIGH_HZ)


def heard_digits(mulaw: bytes) -> str:
    """The keys whose tones are in this audio, in order. Some 4 ms of work for a second of sound."""
    heard: list[str] = []
    last = sounding = ""
    hits = misses = 0
    for key in _keys_of_blocks(mulaw):
        hits = hits + 1 if key == last else 1
        last = key
        misses = 0 if key == sounding else misses + 1
        if misses == _MISSES:
            sounding = ""
        if key not in ("", sounding) and hits == _HITS:
            heard.append(key)
            sounding, misses = key, 0
    return "".join(heard)


def _keys_of_blocks(mulaw: bytes) -> Iterator[str]:
    for start in range(0, len(mulaw) - _BLOCK + 1, _HOP):
        block = mulaw[start : start + _BLOCK]
        energy = sum(map(_SQUARES.__getitem__, block))
        yield _key_of(block, energy) if energy >= _LEAST_ENERGY else ""


def _key_of(block: bytes, energy: int) -> str:
    """The key whose two tones are nearly all of this block; empty when there is none."""
    samples = [LINEAR[code] for code in block]
    powers = [_power(samples, turn) for turn in _TURNS]
    low_powers, high_powers = powers[: len(LOW_HZ)], powers[len(LOW_HZ) :]
    low, next_low = sorted(low_powers, reverse=True)[:2]
    high, next_high = sorted(high_powers, reverse=True)[:2]
    if (
        (low + high) * 2 / _BLOCK < _PURITY * energy
        or high > low * _HIGH_LOUDER
        or low > high * _LOW_LOUDER
        or low < next_low * _NEIGHBOUR
        or high < next_high * _NEIGHBOUR
    ):
        return ""
    return KEYPAD[low_powers.index(low)][high_powers.index(high)]


def _power(samples: list[int], turn: float) -> float:
    """The squared size of one frequency in these samples (Goertzel)."""
    before = last = 0.0
    for sample in samples:
        before, last = last, sample + turn * last - before
    return last * last + before * before - turn * last * before
