"""Numbered audio says which millisecond it is, whatever was done around it; sounds mix as they should."""

from __future__ import annotations

from random import Random

import pytest

from actors.world.sounds import (
    MOST_NUMBERED_MS,
    WORD_MS,
    Sound,
    looped,
    mixed,
    number_of,
    numbered_ms,
    quieter,
    spoken,
)
from engine.audio import BYTES_PER_MS, silence
from engine.voice import loudness_db


def test_every_millisecond_has_its_number() -> None:
    """Also when it is read by itself, and at any loudness."""
    chance = Random(1)
    for _ in range(2000):
        number, segment = chance.randrange(MOST_NUMBERED_MS), chance.choice((0x10, 0x20, 0x30, 0x60))
        assert number_of(numbered_ms(number, segment)) == number


def test_between_two_milliseconds_there_is_no_number() -> None:
    audio = spoken(0, 20)
    found = [number_of(audio, at) for at in range(len(audio)) if at % BYTES_PER_MS]
    assert set(found) == {None}


def test_other_sounds_have_no_numbers() -> None:
    chance = Random(2)
    noise = bytes(chance.randrange(256) for _ in range(80_000))
    assert sum(number_of(noise, at) is not None for at in range(len(noise))) <= 1
    assert number_of(silence(1)) is None


def test_speech_is_as_loud_as_speech_with_pauses() -> None:
    audio = spoken(WORD_MS, 1)
    levels = [loudness_db(audio[at : at + 160]) for at in range(0, len(audio), 160)]
    assert max(levels) > 30 and levels[-1] < 15
    with pytest.raises(ValueError, match="multiple"):
        spoken(7, 1)


def test_mixing_adds_and_clips() -> None:
    loud = b"\x80\x00" * 80
    assert mixed(loud, loud) == loud, "already as loud as can be"
    assert mixed(loud, silence(10)) == loud
    assert len(mixed(loud, b"\x80")) == len(loud)
    assert loudness_db(quieter(loud, 20.0)) < loudness_db(loud) - 15
    assert looped(b"abc", 2, 5) == b"cabca"
    assert looped(b"", 2, 3) == b"\xff\xff\xff"


def test_words_lie_in_the_audible_part() -> None:
    sound = Sound("x", silence(100) + b"\x20\xa0" * 1600 + silence(300), 100.0, text="no thank you")
    words = sound.words()
    assert [word.text for word in words] == ["no", "thank", "you"]
    assert words[0].start_ms == 100.0 and words[-1].end_ms == pytest.approx(500.0)
    assert words[1].end_ms - words[1].start_ms == pytest.approx(400 * 6 / 13)
