"""Keys as tones: what we send is what a telephone sends, and only tones are heard as keys."""

from __future__ import annotations

from array import array
from itertools import pairwise
from math import cos, hypot, log10, pi, sin
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.audio import FRAME_BYTES, LINEAR, SILENCE_BYTE, duration_ms, pcm16_to_mulaw, silence
from engine.tones import HIGH_HZ, KEYPAD, KEYS, LOW_HZ, dtmf, heard_digits

KEY = st.sampled_from(sorted(KEYS))
SENTENCES = (
    "Good evening, Bistro Verde, how can I help you?",
    "My number is four zero zero seven two one.",
    "Wednesday, no Thursday, actually Friday.",
    "You knew who moved the new blue moon shoes too soon.",
    "Aaah, eeee, iiii, oooo, uuuu. Mm-hm, uh huh, yeah yeah, okay.",
    "She sells sea shells by the sea shore, in sunny weather.",
    "Please hold the line while I look that up for you, it will only take a moment.",
)


def size(mulaw: bytes, hz: float) -> float:
    """The amplitude of one frequency, in 16-bit samples."""
    turn = 2 * pi * hz / 8000
    samples = [LINEAR[code] for code in mulaw]
    real = sum(sample * cos(turn * n) for n, sample in enumerate(samples))
    imaginary = sum(sample * sin(turn * n) for n, sample in enumerate(samples))
    return 2 * hypot(real, imaginary) / len(samples)


def dbm0(mulaw: bytes, hz: float) -> float:
    """Against the test sequence of G.711 (table 6): eight codes that are 1 kHz at 0 dBm0."""
    reference = size(bytes.fromhex("1e0b0b1e9e8b8b9e") * 100, 1000)
    return 20 * log10(size(mulaw, hz) / reference)


def tones(low_hz: float, high_hz: float, ms: float, *, low_db: float = 0.0, high_db: float = 0.0) -> bytes:
    """Two sines, 0 dB being an amplitude of 7,000; the second begins somewhere in its period."""
    low, high = 7000 * 10 ** (low_db / 20), 7000 * 10 ** (high_db / 20)
    samples = (
        round(low * sin(2 * pi * low_hz * n / 8000) + high * sin(2 * pi * high_hz * n / 8000 + 1))
        for n in range(round(ms * 8))
    )
    return pcm16_to_mulaw(array("h", samples).tobytes())


@pytest.mark.parametrize("key", sorted(KEYS))
def test_a_key_is_its_two_tones(key: str) -> None:
    """At -10 and -8 dBm0; every other frequency of the keypad is far below."""
    (row,) = (row for row, keys in enumerate(KEYPAD) if key in keys)
    low, high = LOW_HZ[row], HIGH_HZ[KEYPAD[row].index(key)]
    tone = dtmf(key, tone_ms=1000)[:8000]
    assert dbm0(tone, low) == pytest.approx(-10, abs=0.1)
    assert dbm0(tone, high) == pytest.approx(-8, abs=0.1)
    assert max(dbm0(tone, hz) for hz in LOW_HZ + HIGH_HZ if hz not in (low, high)) < -45


def test_the_times_are_kept_to_the_sample() -> None:
    """Tone, gap, tone, gap; a pause is half a second; between tones there is nothing but 0xFF."""
    audio = dtmf("1w2,3", tone_ms=60, gap_ms=40)
    assert duration_ms(audio) == 3 * 100 + 2 * 500
    quiet = [index for index in range(0, len(audio), 160) if audio[index : index + 160] == silence(20)]
    assert [index // 160 for index in quiet] == [3, 4, *range(5, 30), 33, 34, *range(35, 60), 63, 64]
    assert heard_digits(audio) == "123"


def test_it_is_whole_frames() -> None:
    """Filled up with silence."""
    audio = dtmf("5", tone_ms=45, gap_ms=40)
    assert duration_ms(audio) == 100
    assert set(audio[45 * 8 :]) == {SILENCE_BYTE}
    assert dtmf("") == b""


@pytest.mark.parametrize(
    ("digits", "named"), [("12x4", "character 3 is 'x'"), ("W", "character 1 is 'W'"), ("1 2", "' '")]
)
def test_what_is_no_key_is_refused(digits: str, named: str) -> None:
    """The character is named; the others are the caller's business."""
    with pytest.raises(ValueError, match=named) as refused:
        dtmf(digits)
    assert digits == "W" or digits not in str(refused.value)


@pytest.mark.parametrize("times", [{"tone_ms": 39}, {"gap_ms": 39}])
def test_what_nobody_must_hear_is_refused(times: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="40 ms at least"):
        dtmf("1", **times)


@given(st.text(KEY, max_size=6), st.integers(40, 120), st.integers(40, 120), st.integers(0, 200))
def test_what_is_sent_is_heard(digits: str, tone_ms: int, gap_ms: int, late: int) -> None:
    """Wherever it begins, also the same key twice, also at the shortest times."""
    assert heard_digits(b"\xff" * late + dtmf(digits, tone_ms=tone_ms, gap_ms=gap_ms)) == digits


@given(st.text(KEY, min_size=1, max_size=4), st.integers(0, 2**32 - 1), st.integers(0, 159))
def test_noise_ten_decibels_under_it_does_no_harm(digits: str, seed: int, late: int) -> None:
    """At the level that we send."""
    chance = Random(seed)
    clean = b"\xff" * late + dtmf(digits, tone_ms=80, gap_ms=80)
    noisy = array("h", (round(LINEAR[code] + chance.gauss(0, 2550)) for code in clean))
    assert heard_digits(pcm16_to_mulaw(noisy.tobytes())) == digits


@given(KEY, st.integers(0, 159), st.integers(0, 3))
def test_a_lost_frame_does_not_make_it_two(key: str, late: int, frame: int) -> None:
    """A key of 100 ms with one of its inner frames lost is one key."""
    audio = bytearray(b"\xff" * late + dtmf(key, tone_ms=120))
    begin = late + (1 + frame) * FRAME_BYTES
    audio[begin : begin + FRAME_BYTES] = silence(20)
    assert heard_digits(bytes(audio)) == key


@pytest.mark.parametrize(("off", "heard"), [(1.015, True), (0.985, True), (1.035, False), (0.965, False)])
def test_the_tolerance_is_that_of_q24(off: float, heard: bool) -> None:
    """1.5 % is a key, 3.5 % is none."""
    for row, low in enumerate(LOW_HZ):
        for column, high in enumerate(HIGH_HZ):
            found = heard_digits(silence(30) + tones(low * off, high * off, 60))
            assert found == (KEYPAD[row][column] if heard else "")


@pytest.mark.parametrize(
    ("low_db", "high_db", "heard"),
    [(0, 3.5, "5"), (0, 5, ""), (0, -7, "5"), (0, -10, ""), (-18, -18, "5"), (-24, -24, "")],
)
def test_levels_and_twist(low_db: float, high_db: float, heard: str) -> None:
    """As Q.24 has them: 4 dB one way and 8 dB the other; -30 dBm0 (here -20 dB) is too quiet."""
    assert heard_digits(tones(770, 1336, 80, low_db=low_db, high_db=high_db)) == heard


@pytest.mark.parametrize("ms", [5, 10, 18])
def test_a_blip_is_no_key(ms: int) -> None:
    """Shorter than 20 ms."""
    assert heard_digits(silence(50) + tones(770, 1336, ms) + silence(50)) == ""


@pytest.mark.parametrize("hz", [(770,), (1336,), (770, 852), (350, 440), (480, 620), (425,), (440, 480), (1000, 1004)])
def test_other_tones_are_no_keys(hz: tuple[int, ...]) -> None:
    """One tone alone, two of a group, dial tone, busy tone, ringing."""
    assert heard_digits(tones(hz[0], hz[-1], 400)) == ""


@pytest.mark.parametrize("third_hz", [697, 1477])
def test_two_keys_at_once_are_none(third_hz: int) -> None:
    """Three tones, as loud as one another."""
    two = array("h", (LINEAR[code] for code in tones(770, 1336, 200)))
    chord = array("h", (sample + round(7000 * sin(2 * pi * third_hz * n / 8000)) for n, sample in enumerate(two)))
    assert heard_digits(pcm16_to_mulaw(two.tobytes())) == "5"
    assert heard_digits(pcm16_to_mulaw(chord.tobytes())) == ""


@given(st.binary(max_size=2000))
def test_noise_holds_no_keys(mulaw: bytes) -> None:
    """Any bytes can be listened to."""
    assert set(heard_digits(mulaw)) <= KEYS
    assert heard_digits(Random(len(mulaw)).randbytes(1600)) == ""


@pytest.mark.parametrize("voice", ["en-GB", "en-US", "de-DE", "es-ES", "fr-FR", "it-IT"])
def test_speech_holds_no_keys(voice: str) -> None:
    """Talk-off: half a minute of each synthetic voice, vowels and all."""
    speak = pytest.importorskip("web.twins.speech.voice").speak
    assert "".join(heard_digits(speak(sentence, voice=voice)) for sentence in SENTENCES) == ""


def test_the_digits_are_all_there_are() -> None:
    """Sixteen keys, and eight different frequencies that rise."""
    assert len(KEYS) == 16
    assert all(one < other for one, other in pairwise(LOW_HZ + HIGH_HZ))
