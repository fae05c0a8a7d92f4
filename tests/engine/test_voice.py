"""Speech detection on made sounds; real speech is in the twins' tests."""

from __future__ import annotations

import math
import random
import struct

from engine.audio import SILENCE_FRAME, pcm16_to_mulaw
from engine.voice import Voice, VoiceDetector, is_silent, loudness_db


def tone(amplitude: int, frames: int, hz: int = 220) -> list[bytes]:
    samples = [round(amplitude * math.sin(2 * math.pi * hz * n / 8000)) for n in range(160 * frames)]
    mulaw = pcm16_to_mulaw(struct.pack(f"<{len(samples)}h", *samples))
    return [mulaw[at : at + 160] for at in range(0, len(mulaw), 160)]


def noise(amplitude: int, frames: int, seed: int) -> list[bytes]:
    chance = random.Random(seed)
    samples = [round(chance.gauss(0, amplitude)) for _ in range(160 * frames)]
    mulaw = pcm16_to_mulaw(struct.pack(f"<{len(samples)}h", *[max(-32000, min(32000, s)) for s in samples]))
    return [mulaw[at : at + 160] for at in range(0, len(mulaw), 160)]


def changes(detector: VoiceDetector, frames: list[bytes]) -> list[tuple[int, Voice]]:
    told = [(index, detector.feed(frame)) for index, frame in enumerate(frames)]
    return [(index, change) for index, change in told if change is not Voice.NOTHING]


def test_a_voice_is_noticed_within_two_frames() -> None:
    """Two frames of voice are a voice; eight without are its end."""
    detector = VoiceDetector(onset_ms=40, hangover_ms=160)
    frames = [SILENCE_FRAME] * 25 + tone(4000, 20) + [SILENCE_FRAME] * 20
    assert changes(detector, frames) == [(26, Voice.STARTED), (52, Voice.STOPPED)]


def test_a_click_is_no_voice() -> None:
    """One loud frame is not enough."""
    assert changes(VoiceDetector(), [SILENCE_FRAME] * 5 + tone(9000, 1) + [SILENCE_FRAME] * 10) == []


def test_a_noisy_line_is_not_taken_for_a_voice_and_does_not_hide_one() -> None:
    """The floor follows the line's noise; a voice over it is still heard."""
    detector = VoiceDetector()
    assert changes(detector, noise(60, 200, seed=1)) == []
    heard = changes(detector, tone(3000, 15))
    assert heard[:1] == [(1, Voice.STARTED)]


def test_loudness_is_on_a_decibel_scale() -> None:
    """Twice the amplitude is six decibels more, over most of the range."""
    quiet, loud = (loudness_db(tone(amplitude, 1)[0]) for amplitude in (2000, 4000))
    assert 5 < loud - quiet < 7
    assert loudness_db(SILENCE_FRAME) == 0
    assert is_silent(b"\xff\x7f\xfe\x7e") and not is_silent(b"\xff\x20")
