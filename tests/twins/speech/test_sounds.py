"""Sounds and keys of a telephone: the same each time, as loud as asked, and found again."""

from __future__ import annotations

import wave
from array import array
from pathlib import Path
from random import Random

import pytest

from engine.audio import FRAME_BYTES, duration_ms, pcm16_to_mulaw, silence
from web.twins.speech.keys import KeyEar, key_tones
from web.twins.speech.sounds import SOUNDS, VOICE_RMS, bed, find_sound, louder, made, mixed
from web.twins.speech.vad import rms, voiced_spans
from web.twins.speech.voice import speak


@pytest.mark.parametrize("name", SOUNDS)
def test_each_sound_can_be_heard(name: str) -> None:
    made.cache_clear()
    sound = made(name)
    made.cache_clear()
    assert made(name) == sound, "the same each time"
    assert rms(sound) > 500 and duration_ms(sound) >= 20
    assert find_sound(name) == sound


def test_a_cough_is_shorter_than_a_sentence_and_a_hum_than_a_word() -> None:
    assert 300 < duration_ms(made("cough")) < 600
    assert 300 < duration_ms(made("uh-huh")) < 600
    assert len(voiced_spans(made("cough"))) == 1


def test_a_voice_is_as_loud_as_beds_take_it_to_be() -> None:
    """Or "20 dB under the voice" would mean something else."""
    spoken = speak("Hello, I would like a table for two tonight please.", voice="en-GB")
    frames = [spoken[at : at + FRAME_BYTES] for at in range(0, len(spoken) - FRAME_BYTES, FRAME_BYTES)]
    voiced = b"".join(frame for frame in frames if rms(frame) > 400)
    assert 0.8 < rms(voiced) / VOICE_RMS < 1.25


def test_a_bed_is_so_many_db_under_the_voice() -> None:
    for db in (20.0, 5.0):
        assert rms(bed("babble", db)) == pytest.approx(VOICE_RMS / 10 ** (db / 20), rel=0.1)
    assert len(bed("music", 10.0)) % FRAME_BYTES == 0


def test_louder_and_both() -> None:
    hum = made("uh-huh")
    assert rms(louder(hum, -12)) == pytest.approx(rms(hum) / 4, rel=0.05)
    assert louder(hum, 0) is hum
    assert mixed(hum, silence(10)) == hum
    assert rms(mixed(hum, hum)) == pytest.approx(2 * rms(hum), rel=0.1)


def test_files(tmp_path: Path) -> None:
    """WAV at any rate, µ-law as it is; and words that help when it is neither."""
    samples = array("h", [8000, 8000, -8000, -8000] * 800)
    with wave.open(str(tmp_path / "bark.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(samples.tobytes())
    assert find_sound("bark.wav", tmp_path) == pcm16_to_mulaw(samples[0::2].tobytes())
    (tmp_path / "bark.ulaw").write_bytes(b"\x20" * 160)
    assert find_sound("bark.ulaw", tmp_path) == b"\x20" * 160
    (tmp_path / "text.wav").write_text("no sound at all")
    with pytest.raises(ValueError, match="is no PCM WAV"):
        find_sound("text.wav", tmp_path)
    with pytest.raises(ValueError, match=r"one of cough.*no\.wav"):
        find_sound("no.wav", tmp_path)


def heard(mulaw: bytes) -> str:
    ear = KeyEar()
    frames = (mulaw[at : at + FRAME_BYTES] for at in range(0, len(mulaw) - FRAME_BYTES + 1, FRAME_BYTES))
    return "".join(ear.feed(frame, rms(frame)) for frame in frames)


def test_keys_are_found_wherever_the_frames_are_cut() -> None:
    keys = "0123456789*#ABCD5511"
    for offset in (0, 40, 80, 130):
        assert heard(silence(100) + b"\xff" * offset + key_tones(keys)) == keys
    assert heard(louder(key_tones("42"), -15)) == "42"
    assert heard(mixed(key_tones("77"), bed("noise", 25) * 2)) == "77"


def test_words_and_sounds_are_no_keys() -> None:
    chance = Random(3)
    words = "One two three four five. Please hold the line while I look for a table, and thank you for waiting."
    for voice in ("en-GB", "en-US", "de-DE"):
        assert heard(speak(words, voice=voice)) == ""
    for name in SOUNDS:
        assert heard(made(name)) == "", name
    assert heard(bytes(chance.randrange(256) for _ in range(16_000))) == ""


def test_what_is_no_key() -> None:
    with pytest.raises(ValueError, match="no key"):
        key_tones("1x")
    assert key_tones("w") == silence(500)
