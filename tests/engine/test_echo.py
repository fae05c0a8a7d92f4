"""The agent's own audio coming back: learned, expected, forgotten; and its own words known again."""

from __future__ import annotations

import math
import random
import struct
from array import array

import pytest

from engine.audio import FRAME_BYTES, LINEAR, pcm16_to_mulaw, silence
from engine.echo import EchoGuard, is_echo_text
from engine.voice import Voice, VoiceDetector, levels, loudness_db
from engine.voice import levels_db as in_db


def mulaw(samples: list[float]) -> bytes:
    return pcm16_to_mulaw(struct.pack(f"<{len(samples)}h", *[max(-32000, min(32000, round(s))) for s in samples]))


def babbling(seed: int, ms: int, amplitude: float = 6000.0) -> bytes:
    """Something with the rhythm of speech: syllables of 80 to 260 ms at several pitches and loudnesses, with gaps."""
    chance, samples = random.Random(seed), list[float]()
    while len(samples) < ms * 8:
        length, hz, size = chance.randint(640, 2080), chance.uniform(120, 400), amplitude * chance.uniform(0.2, 1.0)
        samples += [
            size * math.sin(math.pi * n / length) * math.sin(2 * math.pi * hz * n / 8000) for n in range(length)
        ]
        samples += [0.0] * chance.choice((0, 160, 400, 1200))
    return mulaw(samples[: ms * 8])


def echo_of(heard: bytes, delay_ms: float, loss_db: float, seed: int = 1) -> bytes:
    """What a loudspeaker gives back: later, softer, duller, with some noise of the room."""
    chance, factor, dull = random.Random(seed), 10 ** (-loss_db / 20), 0.0
    samples = list[float]()
    for code in silence(delay_ms) + heard:
        dull += 0.7 * (LINEAR[code] - dull)
        samples.append(factor * dull + chance.gauss(0, 20))
    return mulaw(samples[: len(heard)])


def levels_db(mulaw: bytes) -> array[float]:
    return in_db(levels(mulaw))


def is_known(guard: EchoGuard) -> bool:
    return guard.delay_ms is not None


def added(*sounds: bytes) -> bytes:
    return mulaw([float(sum(LINEAR[code] for code in codes)) for codes in zip(*sounds, strict=True)])


def frames(sound: bytes) -> list[bytes]:
    return [sound[at : at + FRAME_BYTES] for at in range(0, len(sound), FRAME_BYTES)]


def starts(said: bytes, heard: bytes, guard: EchoGuard | None) -> list[int]:
    """The ms at which a voice started, with and without the guard."""
    detector, found = VoiceDetector(), []
    for index, (here, there) in enumerate(zip(frames(said), frames(heard), strict=True)):
        expected_db = guard.expected_db(loudness_db(there)) if guard else 0.0
        if detector.feed(here, expected_db) is Voice.STARTED:
            found.append((index + 1) * 20)
    return found


@pytest.mark.parametrize("delay_ms", [45, 130, 310, 590])
@pytest.mark.parametrize("loss_db", [6.0, 12.0, 20.0])
def test_the_path_is_learned_and_its_echo_starts_no_voice(delay_ms: int, loss_db: float) -> None:
    """From one second of it; what then comes back is expected, whatever the agent says."""
    first, later = babbling(1, 1600, amplitude=14000), babbling(2, 4000, amplitude=14000)
    guard = EchoGuard()
    assert guard.learn(levels_db(echo_of(first, delay_ms, loss_db)[-8000:]), levels_db(first))
    assert guard.delay_ms is not None and abs(guard.delay_ms - delay_ms) <= 20
    assert abs(guard.loss_db - loss_db) < 4
    said = echo_of(later, delay_ms, loss_db, seed=2)
    assert starts(said, later, guard) == []
    assert starts(said, later, None), "without the guard the agent interrupts itself"


@pytest.mark.parametrize("loss_db", [10.0, 16.0])
def test_the_caller_is_heard_over_the_echo(loss_db: float) -> None:
    """As loud as usual, in the midst of what comes back."""
    first, later = babbling(1, 1600), babbling(2, 4000)
    guard = EchoGuard()
    assert guard.learn(levels_db(echo_of(first, 200, loss_db)[-8000:]), levels_db(first))
    caller = silence(2000) + babbling(3, 1000, amplitude=10000) + silence(1000)
    found = starts(added(echo_of(later, 200, loss_db), caller), later, guard)
    assert found and 2000 <= found[0] <= 2120


def test_other_speech_is_no_echo() -> None:
    """Two people who speak at once are not taken for an echo, with 400 pairs of seeds."""
    speech = [babbling(seed, 1600) for seed in range(100, 121)]
    pairs = [(one, other) for one in speech for other in speech if one is not other]
    wrong = sum(EchoGuard().learn(levels_db(one[-8000:]), levels_db(other)) for one, other in pairs)
    print(f"seeds 100-120: {wrong} of {len(pairs)} pairs taken for an echo")
    assert wrong <= len(pairs) // 100


def test_a_steady_sound_proves_nothing() -> None:
    """A fan beside the caller and music on hold are both even: no echo."""
    hum = mulaw([5000 * math.sin(n / 5) for n in range(12800)])
    assert not EchoGuard().learn(levels_db(hum[-8000:]), levels_db(hum))


def test_a_path_is_forgotten_when_its_echo_does_not_come() -> None:
    """The caller took up the handset: what was due is not there. A cough over the echo proves nothing."""
    first = babbling(1, 1600)
    guard = EchoGuard()
    back = echo_of(first, 200, 10.0)
    assert guard.learn(levels_db(back[-8000:]), levels_db(first))
    cough = silence(600) + babbling(7, 400, amplitude=20000) + silence(600)
    guard.learn(levels_db(added(back, cough)[-8000:]), levels_db(first))
    assert is_known(guard)
    assert not guard.learn(levels_db(silence(1000)), levels_db(first))
    assert not is_known(guard) and guard.expected_db(30.0) == 0.0


@pytest.mark.parametrize(("said", "heard"), [(b"", b""), (silence(1000), silence(1600)), (silence(20), b"")])
def test_nothing_proves_nothing(said: bytes, heard: bytes) -> None:
    """Empty or silent stretches, and stretches of different lengths."""
    guard = EchoGuard()
    assert not guard.learn(levels_db(said), levels_db(heard))
    assert not guard.learn(levels_db(babbling(1, 1000)), levels_db(silence(1600)))
    assert not is_known(guard)


AGENT = "Good news, a table for two at eight is free, and I've noted it for you. Is it yes or no?"


@pytest.mark.parametrize(
    ("words", "echo"),
    [
        ("a table for two at eight", True),
        ("table for two", True),
        ("A table for two at eight is free and Ive noted it", True),
        ("a cable for two at eight is free", True),  # misheard
        ("a table for two eight is free", True),  # one word lost
        ("yes", False),
        ("yes or", False),
        ("no", False),
        ("a table for four at eight", False),  # a correction
        ("no a table for two", False),
        ("I want a table for two", False),
        ("can you make it nine please", False),
        ("", False),
        ("…", False),
    ],
)
def test_the_agents_own_words_are_known(words: str, echo: bool) -> None:
    """A run of what it just said is its echo; an answer or a correction is the caller's."""
    assert is_echo_text(words, AGENT) is echo


def test_all_of_a_short_line_is_an_echo() -> None:
    """Two words are enough if the agent said no more; one word is always the caller's."""
    assert is_echo_text("one moment", "One moment.")
    assert not is_echo_text("hello", "Hello?")
    assert not is_echo_text("one moment please", "")
