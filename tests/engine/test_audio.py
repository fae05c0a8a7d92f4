"""G.711 and its arithmetic."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import audio


def test_known_values() -> None:
    """The corners of the G.711 table: silence is 0xFF and 0x7F, 0x00 is the loudest negative sample."""
    decoded = struct.unpack("<5h", audio.mulaw_to_pcm16(b"\xff\x7f\x00\x80\xf0"))
    assert decoded == (0, 0, -32124, 32124, 120)


def test_every_code_survives_the_way_there_and_back() -> None:
    """Decoding and encoding again gives the same byte, but for the two names of zero."""
    codes = bytes(range(256))
    again = audio.pcm16_to_mulaw(audio.mulaw_to_pcm16(codes))
    assert [c for c in codes if again[c] != c] == [0x7F]


@given(st.integers(-32768, 32767))
def test_encoding_is_as_near_as_the_code_allows(sample: int) -> None:
    """The chosen code is off by no more than a step of its segment: a sixteenth of the sample."""
    (code,) = audio.pcm16_to_mulaw(struct.pack("<h", sample))
    clipped = max(-32635, min(32635, sample))
    assert abs(audio.LINEAR[code] - clipped) <= abs(clipped) // 16 + 8


def test_stereo_keeps_the_sides_apart() -> None:
    """Left stays left."""
    assert struct.unpack("<4h", audio.stereo_pcm16(b"\xff\x00", b"\x80\xff")) == (0, 32124, -32124, 0)
    with pytest.raises(ValueError, match="channels differ"):
        audio.stereo_pcm16(b"\xff", b"")


def test_odd_pcm_is_refused() -> None:
    with pytest.raises(ValueError, match="even number"):
        audio.pcm16_to_mulaw(b"\x00")


@given(st.integers(0, 1000))
def test_padding_fills_whole_frames(length: int) -> None:
    """Twilio gets whole frames, and no more silence than needed."""
    filled = audio.padded(b"\x80" * length)
    assert len(filled) % audio.FRAME_BYTES == 0
    assert 0 <= len(filled) - length < audio.FRAME_BYTES
    assert audio.duration_ms(audio.silence(30)) == 30
