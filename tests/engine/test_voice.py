"""Speech detection on made sounds; real speech is in the twins' tests."""

from __future__ import annotations

import math
import random
import struct

import pytest

from engine.audio import LINEAR, SILENCE_FRAME, pcm16_to_mulaw
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


def scaled_noise(db: float, frames: int, seed: int) -> list[bytes]:
    """Noise that is so loud on the detector's scale."""
    amplitude = 132 * (2 ** (db / 6.02) - 1) * 1.78
    return noise(round(amplitude), frames, seed)


@pytest.mark.parametrize("seed", range(3))
def test_a_noisy_line_settles_within_two_seconds(seed: int) -> None:
    """Noise that comes up suddenly and stays is a voice for two seconds at most, and hides no louder one."""
    detector = VoiceDetector()
    changes(detector, [SILENCE_FRAME] * 100)
    hiss = scaled_noise(25, 300, seed)
    assert 24 < sum(map(loudness_db, hiss)) / 300 < 26
    speaking = [detector.feed(frame) is not Voice.NOTHING or detector.speaking for frame in hiss]
    assert not any(speaking[100:]), "speaking after 2 s"
    assert any(change is Voice.STARTED for _, change in changes(detector, tone(16000, 5)))


def test_a_rumbling_line_settles_too() -> None:
    """A hum that is loud and low is taken for a voice at first, and no more after two seconds."""
    detector = VoiceDetector()
    changes(detector, [SILENCE_FRAME] * 50)
    heard = changes(detector, tone(2500, 200, hz=120))
    assert [change for _, change in heard] == [Voice.STARTED, Voice.STOPPED]
    assert heard[1][0] < 100


def test_twenty_seconds_of_speech_do_not_make_the_speaker_inaudible() -> None:
    """Syllables and short gaps for 20 s: the next word is still found within two frames."""
    detector = VoiceDetector()
    for _ in range(100):
        changes(detector, tone(5000, 8) + tone(60, 2))
    changes(detector, [SILENCE_FRAME] * 10)
    assert not detector.speaking
    assert changes(detector, tone(5000, 5))[:1] == [(1, Voice.STARTED)]


@pytest.mark.parametrize("frames", [1, 2])
def test_what_dies_away_at_once_is_a_click(frames: int) -> None:
    """As loud as it may be: a knock that rings for one or two frames does not start a voice."""
    ring = b"".join(tone(30000, frames, hz=900))
    faded = [round(LINEAR[code] * math.exp(-n / 60)) for n, code in enumerate(ring)]
    knock = pcm16_to_mulaw(struct.pack(f"<{len(faded)}h", *faded))
    for late in range(0, 160, 20):
        mulaw = SILENCE_FRAME * 10 + SILENCE_FRAME[:late] + knock + SILENCE_FRAME * 10
        frames_in = [mulaw[at : at + 160] for at in range(0, len(mulaw) - 159, 160)]
        assert changes(VoiceDetector(), frames_in) == [], late


def test_a_breath_is_no_voice() -> None:
    """A rush of air in a calm line crosses zero too often for a voice that begins."""
    detector = VoiceDetector()
    changes(detector, [SILENCE_FRAME] * 100)
    rush = scaled_noise(15, 40, seed=1)
    assert changes(detector, rush) == []
    assert changes(detector, tone(8000, 4))[:1] == [(1, Voice.STARTED)]


@pytest.mark.parametrize("late_ms", range(0, 20, 2))
def test_the_onset_is_told_finer_than_a_frame(late_ms: int) -> None:
    """Wherever in a frame a clear voice begins: found by the third frame's end, its onset known to 5 ms and a bit."""
    detector = VoiceDetector()
    mulaw = SILENCE_FRAME * 10 + SILENCE_FRAME[: late_ms * 8] + b"".join(tone(6000, 6, hz=300))
    frames = [mulaw[at : at + 160] for at in range(0, len(mulaw) - 159, 160)]
    index = next(index for index, frame in enumerate(frames) if detector.feed(frame) is Voice.STARTED)
    latency_ms = (index + 1) * 20 - 200 - late_ms
    assert latency_ms <= 45
    assert abs(detector.onset_ms_ago - latency_ms) <= 7
    assert detector.voiced_ms == detector.onset_ms_ago
    detector.feed(frames[index + 1])
    assert detector.voiced_ms == detector.onset_ms_ago + 20
    assert detector.loudest_db > 20


def test_what_the_echo_explains_is_no_voice() -> None:
    """The same loudness as expected is silence; the caller over it is a voice."""
    detector, echo = VoiceDetector(), tone(2000, 50)
    expected = loudness_db(echo[1])
    assert all(detector.feed(frame, expected) is Voice.NOTHING for frame in echo)
    over = [detector.feed(frame, expected) for frame in tone(6000, 5)]
    assert Voice.STARTED in over[:2]


def test_a_loud_line_is_configured() -> None:
    """`floor_db`: quieter than this is never a voice."""
    soft = [SILENCE_FRAME] * 20 + tone(1500, 10)
    assert changes(VoiceDetector(), soft) and not changes(VoiceDetector(floor_db=22.0), soft)


def test_a_dismissed_voice_makes_it_wary_for_some_seconds() -> None:
    """After a false alarm the same needs longer, after a second longer still; what is clearly louder does not."""

    def frames_to_start(amplitude: int, dismissals: int, rest: int = 20) -> int:
        detector = VoiceDetector()
        for _ in range(dismissals):
            changes(detector, [SILENCE_FRAME] * 20 + tone(3000, 5) + [SILENCE_FRAME] * 10)
            detector.dismiss()
        changes(detector, [SILENCE_FRAME] * rest)
        return next(index for index, frame in enumerate(tone(amplitude, 20)) if detector.feed(frame) is Voice.STARTED)

    same = [frames_to_start(3000, dismissals) for dismissals in range(4)]
    assert same == sorted(set(same)), same
    assert frames_to_start(9000, 2) == same[0]
    assert frames_to_start(3000, 2, rest=400) == same[0]


def test_a_dismissed_background_starts_no_more() -> None:
    """Music that goes on after it was dismissed is not a voice again; a voice louder than it is."""
    detector = VoiceDetector()
    changes(detector, [SILENCE_FRAME] * 20)
    music = [frame for _ in range(20) for frame in tone(2500, 3) + tone(1200, 2)]
    assert changes(detector, music[:40])[0][1] is Voice.STARTED
    detector.dismiss()
    assert not detector.speaking
    assert changes(detector, music) == []
    assert changes(detector, tone(12000, 5))[:1] == [(1, Voice.STARTED)]


def test_pieces_that_are_no_whole_frame_do_no_harm() -> None:
    """The last piece of a call may be short, or empty."""
    detector = VoiceDetector()
    for piece in (b"", b"\xff" * 7, tone(8000, 1)[0][:50], b"\x00" * 400):
        detector.feed(piece)
