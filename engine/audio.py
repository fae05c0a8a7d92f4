"""G.711 µ-law at 8 kHz: bytes, milliseconds and samples. Pure arithmetic; knows nothing of sockets or calls.

One byte is one sample, 8 bytes are 1 ms, 160 bytes are the 20 ms frame that Twilio sends (reference/twilio.md §9).
CPython 3.13 has no `audioop`, so the codec is here, built on `bytes.translate`, which runs at C speed.
"""

from __future__ import annotations

import sys
from array import array

SAMPLE_RATE_HZ = 8000
BYTES_PER_S = SAMPLE_RATE_HZ
BYTES_PER_MS = BYTES_PER_S // 1000
FRAME_MS = 20
FRAME_BYTES = FRAME_MS * BYTES_PER_MS
SILENCE_BYTE = 0xFF  # what Twilio sends for silence; 0x00 would be a full-scale pop
SILENCE_FRAME = bytes([SILENCE_BYTE]) * FRAME_BYTES

_BIAS = 0x84
_CLIP = 32635


def _expand(code: int) -> int:
    """One µ-law byte as a signed 16-bit sample (G.711)."""
    code = ~code & 0xFF
    magnitude = ((code & 0x0F) << 3) + _BIAS << ((code & 0x70) >> 4)
    return _BIAS - magnitude if code & 0x80 else magnitude - _BIAS


def _compress(sample: int) -> int:
    """One signed 16-bit sample as a µ-law byte (G.711)."""
    sign = 0x80 if sample < 0 else 0
    magnitude = min(abs(sample), _CLIP) + _BIAS
    exponent = magnitude.bit_length() - 8
    return ~(sign | exponent << 4 | (magnitude >> exponent + 3) & 0x0F) & 0xFF


LINEAR: tuple[int, ...] = tuple(_expand(code) for code in range(256))
"""The 16-bit sample of each µ-law byte."""

_LOW_BYTE = bytes(sample & 0xFF for sample in LINEAR)
_HIGH_BYTE = bytes(sample >> 8 & 0xFF for sample in LINEAR)
# Indexed by the sample's upper 14 bits as an unsigned number: µ-law keeps no finer step than 4 of 16 bits.
_MULAW_OF_14_BITS = bytes(_compress((i if i < 0x2000 else i - 0x4000) << 2) for i in range(0x4000))


def mulaw_to_pcm16(mulaw: bytes) -> bytes:
    """µ-law bytes as little-endian signed 16-bit PCM: twice as many bytes, same number of samples."""
    pcm = bytearray(2 * len(mulaw))
    pcm[0::2] = mulaw.translate(_LOW_BYTE)
    pcm[1::2] = mulaw.translate(_HIGH_BYTE)
    return bytes(pcm)


def pcm16_to_mulaw(pcm: bytes) -> bytes:
    """Little-endian signed 16-bit PCM as µ-law bytes.

    Raises:
        ValueError: an odd number of bytes; keep the odd byte for the next piece.
    """
    if len(pcm) % 2:
        raise ValueError(f"16-bit PCM needs an even number of bytes, got {len(pcm)}")
    samples = array("H", pcm)
    if sys.byteorder == "big":
        samples.byteswap()
    table = _MULAW_OF_14_BITS
    return bytes([table[sample >> 2] for sample in samples])


def stereo_pcm16(left_mulaw: bytes, right_mulaw: bytes) -> bytes:
    """Two µ-law channels of equal length interleaved as little-endian 16-bit stereo PCM.

    Raises:
        ValueError: the channels differ in length.
    """
    if len(left_mulaw) != len(right_mulaw):
        raise ValueError(f"channels differ: {len(left_mulaw)} and {len(right_mulaw)} samples")
    pcm = bytearray(4 * len(left_mulaw))
    pcm[0::4] = left_mulaw.translate(_LOW_BYTE)
    pcm[1::4] = left_mulaw.translate(_HIGH_BYTE)
    pcm[2::4] = right_mulaw.translate(_LOW_BYTE)
    pcm[3::4] = right_mulaw.translate(_HIGH_BYTE)
    return bytes(pcm)


def duration_ms(mulaw: bytes | int) -> float:
    """How long so many µ-law bytes last."""
    return (mulaw if isinstance(mulaw, int) else len(mulaw)) / BYTES_PER_MS


def silence(ms: float) -> bytes:
    """µ-law silence of that length, to the sample."""
    return bytes([SILENCE_BYTE]) * round(ms * BYTES_PER_MS)


def padded(mulaw: bytes) -> bytes:
    """The same audio, its last frame filled up with silence: Twilio wants whole frames (reference/twilio.md §10)."""
    return mulaw + bytes([SILENCE_BYTE]) * (-len(mulaw) % FRAME_BYTES)
