"""The quick ear and the quick echo guard against the plain ones, on lines of every kind: each frame the same."""

from __future__ import annotations

from random import Random

import pytest

from engine.echo import EchoGuard
from engine.voice import Voice, VoiceDetector, levels, levels_db, loudness_db
from tests.engine.plain_ears import PlainEar, PlainEcho, loud


def stretch(db: float, period: int, chance: Random) -> bytes:
    """5 ms that are about so loud, with so many samples a wave."""
    codes = [min(127, max(0, round(127 - db * 16 / 6.02 + chance.uniform(-3, 3)))) for _ in range(40)]
    return bytes(code | (0x80 if at % period < period / 2 else 0) for at, code in enumerate(codes))


def line(seed: int, frames: int) -> list[bytes]:
    """Sounds of random length, loudness, pitch and unrest over a noise that changes now and then, or seldom."""
    chance = Random(seed)
    steady = seed % 2 == 1
    noise_db, unrest_db = chance.uniform(2, 22), 0.0
    made: list[bytes] = []
    while len(made) < 4 * frames:
        if chance.random() < (0.03 if steady else 0.1):
            noise_db, unrest_db = chance.uniform(2, 34), chance.choice((0.0, 0.5, 1.0, 2.0))
        loud_db = noise_db + chance.choice((0, 0, 0, 6, 8, 12, 20) if steady else (0, 0, 4, 6, 8, 12, 20))
        period = chance.choice((3, 5, 7, 9, 20, 40))
        fall_db = 0.0 if steady else chance.choice((0, 0, 0, 0.4, 1.5))
        at_least, at_most = (40, 160) if loud_db == noise_db and steady else (1, 60)
        for at in range(chance.randint(at_least, at_most)):
            made.append(stretch(max(0.0, loud_db - at * fall_db + chance.gauss(0, unrest_db)), period, chance))
    return [b"".join(made[at : at + 4]) for at in range(0, 4 * frames, 4)]


def same(ear: VoiceDetector, plain: PlainEar) -> None:
    assert (ear.speaking, ear.onset_ms_ago, ear.voiced_ms) == (plain.speaking, plain.onset_ms_ago, plain.voiced_ms)
    assert ear.loudest_db == pytest.approx(plain.loudest_db)


@pytest.mark.parametrize("seed", range(20))
def test_the_ear(seed: int) -> None:
    """Voices begin and end in the same frames, with the same onset, length and loudness; also after false alarms."""
    chance = Random(1000 + seed)
    given = {
        "onset_ms": chance.choice((10, 20, 40, 40, 60, 100)),
        "hangover_ms": chance.choice((0, 60, 160, 160)),
        "floor_db": chance.choice((4.0, 11.0, 11.0, 15.0)),
    }
    ear, plain = VoiceDetector(**given), PlainEar(**given)  # type: ignore[arg-type]
    same(ear, plain)
    starts = 0
    for number, frame in enumerate(line(seed, 500)):
        expected_db = chance.choice((0.0, 0.0, 0.0, loud(frame) - 4.4, loud(frame) - 4.6)) if seed % 3 == 0 else 0.0
        change = ear.feed(frame, expected_db)
        assert change is plain.feed(frame, expected_db), number
        same(ear, plain)
        starts += change is Voice.STARTED
        if chance.random() < (0.15 if ear.speaking else 0.01):
            ear.dismiss()
            plain.dismiss()
            same(ear, plain)
    assert starts > 1


def test_the_ear_of_a_call_without_a_word() -> None:
    """Nothing to dismiss, nothing that was voiced."""
    ear, plain = VoiceDetector(), PlainEar()
    ear.dismiss()
    same(ear, plain)
    assert (ear.voiced_ms, ear.onset_ms_ago, ear.loudest_db, ear.speaking) == (0, 0, 0.0, False)


@pytest.mark.parametrize("size", [1, 7, 40, 159, 160, 161, 515, 516, 517, 1000])
def test_loudness(size: int) -> None:
    """Of any length, by the quick sum and by the plain one."""
    chance = Random(size)
    sound = bytes(chance.randrange(256) for _ in range(size))
    assert loudness_db(sound) == pytest.approx(loud(sound))
    assert loudness_db(bytes(size)) == pytest.approx(127 * 6.02 / 16)
    halves = [loud(sound[at : at + 80]) for at in range(0, size - 79, 80)]
    assert list(levels_db(levels(sound))) == pytest.approx(halves)
    assert loudness_db(b"") == 0.0


def talk(seed: int, halves: int) -> list[float]:
    """The loudness of somebody who talks, each 10 ms: syllables and pauses."""
    chance = Random(seed)
    made: list[float] = []
    while len(made) < halves:
        peak_db = chance.choice((0.0, 0.0, 6.0, 12.0, 24.0, 34.0))
        made += [max(0.0, peak_db + chance.uniform(-3, 3)) if peak_db else 0.0 for _ in range(chance.randint(2, 16))]
    return made[:halves]


@pytest.mark.parametrize("seed", range(24))
def test_the_echo_guard(seed: int) -> None:
    """The same paths are learned, kept and forgotten, and the same loudness is expected."""
    chance = Random(2000 + seed)
    guard, plain = EchoGuard(), PlainEcho()
    delay, loss_db = chance.randint(2, 62), chance.choice((2.0, 4.0, 12.0, 18.0, 26.0, 38.0, 44.0))
    heard = talk(seed, 900)
    unrest_db = chance.choice((0.0, 1.0, 3.0, 6.0))
    said = [
        max(0.0, heard[at - delay] - loss_db + chance.uniform(-unrest_db, unrest_db)) if at >= delay else 0.0
        for at in range(900)
    ]
    if seed % 4 == 3:
        said[450:] = talk(seed + 500, 450)  # the loudspeaker is switched off, and the caller talks
    for at in range(0, 900, 10):
        for one in heard[at : at + 10 : 2]:
            assert guard.expected_db(one) == pytest.approx(plain.expected_db(one), abs=1e-6), at
        if at % 90 == 0 and at:
            learned = guard.learn(said[max(0, at - 100) : at], heard[max(0, at - 160) : at])
            assert learned == plain.learn(said[max(0, at - 100) : at], heard[max(0, at - 160) : at]), at
            assert guard.delay_ms == plain.delay_ms and guard.loss_db == pytest.approx(plain.loss_db), at
