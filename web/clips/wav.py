"""Reads WAV files: 16-bit PCM or µ-law, mono or stereo. The standard library's reader knows no µ-law.

Layout: Microsoft's RIFF: chunks of a four-letter name, a little-endian length and data, padded to even lengths.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator

from engine.audio import mulaw_to_pcm16

PCM, MULAW, EXTENSIBLE = 1, 7, 0xFFFE
FORMATS = {3: "floating point", 6: "A-law", 0x11: "IMA ADPCM", 0x55: "MP3"}  # whose names help more than their numbers
LEAST_HZ, MOST_HZ = 8_000, 96_000
LONGEST_S = 30
_ADVICE = "save it as 16-bit PCM or µ-law"
_UNKNOWN_LENGTH = 0xFFFFFFFF  # written by programs that could not go back


def read_wav(data: bytes) -> tuple[int, array[int]]:
    """The rate in Hz and the 16-bit samples; two channels are mixed to one.

    Raises:
        ValueError: no WAV file, or one that cannot be a line; says why.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise ValueError("it is no WAV file")
    chunks = dict(_chunks(data))
    if len(chunks.get(b"fmt ", b"")) < 16 or b"data" not in chunks:
        raise ValueError("it is a WAV file without a format or without audio")
    coding, channels, rate_hz, _, block_bytes, bits = struct.unpack_from("<HHIIHH", chunks[b"fmt "])
    if coding == EXTENSIBLE and len(chunks[b"fmt "]) >= 26:
        (coding,) = struct.unpack_from("<H", chunks[b"fmt "], 24)
    if (coding, bits) not in ((PCM, 16), (MULAW, 8)):
        raise ValueError(f"it is {bits}-bit {'PCM' if coding == PCM else FORMATS.get(coding, coding)}; {_ADVICE}")
    if channels not in (1, 2) or block_bytes != channels * bits // 8:
        raise ValueError(f"it has {channels} channels in blocks of {block_bytes} bytes; it may have one or two")
    if not LEAST_HZ <= rate_hz <= MOST_HZ:
        raise ValueError(f"it has {rate_hz} samples a second; it may have {LEAST_HZ} to {MOST_HZ}")
    audio = chunks[b"data"][: len(chunks[b"data"]) // block_bytes * block_bytes]
    if len(audio) > LONGEST_S * rate_hz * block_bytes:
        raise ValueError(f"it lasts {len(audio) / rate_hz / block_bytes:.0f} s; a line may last {LONGEST_S} s")
    samples = samples_of(mulaw_to_pcm16(audio) if coding == MULAW else audio)
    if channels == 2:
        samples = array("h", [(one + other) // 2 for one, other in zip(samples[0::2], samples[1::2], strict=True)])
    return rate_hz, samples


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 12
    while place + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, place)
        body = data[place + 8 : place + 8 + length]
        if len(body) < length != _UNKNOWN_LENGTH:
            raise ValueError(f"it is cut short: {len(body)} of {length} bytes of {name.decode('latin-1')!r}")
        yield name, body
        place += 8 + length + length % 2


def samples_of(pcm: bytes) -> array[int]:
    """Little-endian 16-bit PCM as numbers."""
    samples = array("h", pcm)
    if sys.byteorder == "big":
        samples.byteswap()
    return samples
