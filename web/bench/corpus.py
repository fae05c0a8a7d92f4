"""What callers and their rooms sound like, made on the spot: speech, backchannels, noises, backgrounds; and mixtures.

Everything is µ-law at 8 kHz, made from seeds: the same seed gives the same bytes, in any process. The speech is the
twins' small engine in several voices, pitches and loudnesses; the rest is arithmetic on noise and sines.
"""

from __future__ import annotations

import math
import subprocess
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from operator import mul
from random import Random
from typing import Literal

import msgspec

from engine.audio import BYTES_PER_MS, LINEAR, SAMPLE_RATE_HZ, pcm16_to_mulaw
from web.bench.noises import BACKGROUNDS, NOISES, Samples, at_level, carried, rms

Kind = Literal[
    "command", "speech", "digits", "backchannel", "cough", "click", "breath", "slam", "keyboard", "line", "background"
]

TRUE: tuple[Kind, ...] = ("command", "speech", "digits")
"""The caller wants the floor."""
NOISE_KINDS: tuple[Kind, ...] = ("cough", "click", "breath", "slam", "keyboard", "line")
"""Nobody said anything."""

COMMANDS = ("Stop.", "Wait.", "Hold on.", "No.", "Hello?", "Excuse me.")
SENTENCES = (
    "But I wanted Thursday.",
    "Can I ask you something?",
    "Wednesday, no Thursday, actually Friday.",
    "That is not what I said, I need a table for four people at eight tonight.",
    "Actually my number has changed, could you please write down the new one for me?",
)
DIGITS = ("Seven four two nine.", "Zero one five five eight.")
BACKCHANNELS = ("Uh-huh.", "Mm-hm.", "Yeah.", "Okay.", "Right.")
BABBLE = (
    "We were there on Sunday and it rained all day, so we went to the museum and had lunch in the old town.",
    "He told me that the train leaves at nine, but I am not sure that we can be there in time for it.",
    "The children are in the garden, they have been playing since this morning and nobody wants to come in.",
    "Did you see the game last night, it was really something, nobody would have thought that they could win.",
)
VOICES = ("en-GB", "en-US", "de-DE", "es-ES", "fr-FR", "it-IT")
PITCHES = (1.0, 0.86, 1.16)  # of the voice as it comes; the pace goes with it
GAINS_DB = (0.0, -6.0, -12.0)  # a voice as it comes has about -12 dBFS
SNRS_DB = (20.0, 10.0, 5.0)
BACKGROUND_S = 8.0

AUDIBLE_DB = -26.0  # so far under a sound's loud part a 5 ms stretch begins to matter: -38 dBFS at the usual -12
VOICED_DB = -20.0  # and so far under it a voiced one: as loud as a background at 20 dB
VOICED_RMS = 400.0  # but no softer than this: -38 dBFS, `noise_floor_db` of the policy and the twins' judge
_STRETCH = 5 * BYTES_PER_MS
_LASTING = 8  # stretches: `voice_ms` of the policy; the engine's "z" in "zero" hums for 25 ms, then is silent for 60
_SHORTEST_PERIOD, _LONGEST_PERIOD = SAMPLE_RATE_HZ // 400, SAMPLE_RATE_HZ // 70
_LOOK = _LONGEST_PERIOD + 20 * BYTES_PER_MS


@dataclass(frozen=True, slots=True)
class Sound:
    """Something that a caller's telephone picks up."""

    name: str  # such as "stop/en-GB/-6 dB"; with what was mixed in after a "+"
    mulaw: bytes
    onset_ms: float  # the first audible sample of what matters
    kind: Kind
    text: str = ""
    voiced_ms: float = 0.0  # the first sample of the first lasting voiced sound: after the "s" of "stop"; or the onset

    @property
    def duration_ms(self) -> float:
        """Of all of it, silence around the sound too."""
        return len(self.mulaw) / BYTES_PER_MS


def everything(seed: int = 1) -> tuple[Sound, ...]:
    """All sounds but the backgrounds."""
    return spoken(seed) + tuple(sound for kind in NOISE_KINDS for sound in noises(kind, seed))


def of_kind(*kinds: Kind, seed: int = 1) -> tuple[Sound, ...]:
    """All sounds of these kinds, each by itself without silence around it."""
    if kinds == ("background",):
        return tuple(backgrounds(seed).values())
    return tuple(sound for sound in everything(seed) if sound.kind in kinds)


@lru_cache(maxsize=4)
def spoken(seed: int = 1) -> tuple[Sound, ...]:
    """Every phrase by every voice, sentences by every second one; pitches and loudnesses go round."""
    chance, made = Random(f"spoken/{seed}"), []  # noqa: S311 — a corpus, no secret
    variants = [(pitch, gain_db) for pitch in PITCHES for gain_db in GAINS_DB]
    for kind, number, text, voice in _cast():
        if number == 0:
            chance.shuffle(variants)
        pitch, gain_db = variants[number % len(variants)]
        name = f"{text.rstrip('.?').lower()}/{voice}/x{pitch:g}/{gain_db:g} dB"
        samples = _scaled(_resampled(_linear(said()[text, voice]), pitch), gain_db)
        made.append(_sound(name, samples, kind, text))
    return tuple(made)


@lru_cache(maxsize=1)
def said() -> dict[tuple[str, str], bytes]:
    """Every phrase by every voice that says it, as the speech engine gives it.

    A process of its own says them, always in the same order: what the engine said before colours what comes next.
    """
    child = subprocess.run([sys.executable, "-m", __name__], check=True, capture_output=True, timeout=120)
    return dict(zip(_sayings(), msgspec.msgpack.decode(child.stdout, type=list[bytes]), strict=True))


def _cast() -> Iterator[tuple[Kind, int, str, str]]:
    """Kind, number in its kind, words and voice of all that is said to the agent; a voice has half of the sentences."""
    for turn, voice in enumerate(VOICES):
        texts_of: dict[Kind, Sequence[str]] = {
            "command": COMMANDS, "speech": SENTENCES[turn % 2 :: 2], "digits": DIGITS, "backchannel": BACKCHANNELS
        }  # fmt: skip
        for kind, texts in texts_of.items():
            yield from ((kind, number, text, voice) for number, text in enumerate(texts))


def _sayings() -> list[tuple[str, str]]:
    babble = [(text, voice) for voice in VOICES[:5] for text in BABBLE]
    return [(text, voice) for _, _, text, voice in _cast()] + babble


@lru_cache(maxsize=32)
def noises(kind: Kind, seed: int = 1, many: int = 8) -> tuple[Sound, ...]:
    """So many different ones of a kind of noise."""
    make = NOISES[kind]
    return tuple(
        _sound(f"{kind}-{number}", make(Random(f"{kind}/{seed}/{number}")), kind)  # noqa: S311
        for number in range(1, many + 1)
    )


@lru_cache(maxsize=4)
def backgrounds(seed: int = 1) -> dict[str, Sound]:
    """What goes on behind the caller, by name: so much of each, at -20 dBFS."""
    length = round(BACKGROUND_S * SAMPLE_RATE_HZ)
    chance = Random(f"backgrounds/{seed}")  # noqa: S311
    made = {name: carried(make(chance, length)) for name, make in BACKGROUNDS.items()}
    made["babble"] = _babble(chance, length)
    return {
        name: Sound(name, _mulaw(at_level(samples, -20.0)), 0.0, "background") for name, samples in made.items()
    }  # fmt: skip


def alone(sound: Sound, *, lead_ms: float = 1000.0, tail_ms: float = 600.0) -> Sound:
    """The sound in a silent line: so much silence before and after it."""
    lead, tail = (bytes([0xFF]) * round(ms * BYTES_PER_MS) for ms in (lead_ms, tail_ms))
    return _later(sound, len(lead) / BYTES_PER_MS, lead + sound.mulaw + tail, sound.name)


def mixed(
    sound: Sound, background: Sound, snr_db: float, *, lead_ms: float = 2500.0, tail_ms: float = 600.0, seed: int = 0
) -> Sound:
    """The sound over a background that was there before it and goes on after it.

    `snr_db` is the level of the sound's loud parts over the background's, `seed` chooses which part of the background.
    The onset is that of the sound by itself: the background may hide the first moments.
    """
    front = _linear(sound.mulaw)
    lead, tail = round(lead_ms * BYTES_PER_MS), round(tail_ms * BYTES_PER_MS)
    behind = _repeated(background, lead + len(front) + tail, seed)
    factor = level_of(front) / 10 ** (snr_db / 20) / max(1.0, rms(behind))
    total = [factor * value for value in behind]
    total[lead : lead + len(front)] = [a + b for a, b in zip(total[lead:], front, strict=False)]
    name = f"{sound.name}+{background.name} {snr_db:g} dB"
    return _later(sound, lead / BYTES_PER_MS, _mulaw(total), name)


def louder(sound: Sound, by_db: float) -> Sound:
    """The same, so much louder (or softer, if negative)."""
    return replace(sound, name=f"{sound.name} {by_db:+g} dB", mulaw=_mulaw(_scaled(_linear(sound.mulaw), by_db)))


def level_of(samples: Samples) -> float:
    """Root mean square of the loud parts: those 20 ms that are within 20 dB of the loudest; of 32767."""
    powers = [power for power in _powers(samples, 160) if power]
    loud = [power for power in powers if power >= max(powers) / 100]
    return math.sqrt(sum(loud) / len(loud)) if loud else 0.0


def _later(sound: Sound, by_ms: float, mulaw: bytes, name: str) -> Sound:
    return replace(sound, name=name, mulaw=mulaw, onset_ms=by_ms + sound.onset_ms, voiced_ms=by_ms + sound.voiced_ms)


def _sound(name: str, samples: Samples, kind: Kind, text: str = "") -> Sound:
    limit = (level_of(samples) * 10 ** (AUDIBLE_DB / 20)) ** 2
    audible = [index * _STRETCH for index, power in enumerate(_powers(samples, _STRETCH)) if power >= limit]
    onset = next(iter(audible), 0)
    voiced = onset
    if text:
        strong = max(limit * 10 ** ((VOICED_DB - AUDIBLE_DB) / 10), VOICED_RMS**2)
        strength = _powers(samples, _STRETCH)
        loud = (at for at in audible if all(power >= strong for power in strength[at // _STRETCH :][:_LASTING]))
        voiced = next((at for at in loud if _is_voiced(samples[at : at + _LOOK])), onset)
    return Sound(name, _mulaw(samples), onset / BYTES_PER_MS, kind, text, voiced / BYTES_PER_MS)


def _is_voiced(samples: Samples) -> bool:
    """Whether it repeats itself at a pitch between 70 and 400 Hz."""
    size = len(samples) - _LONGEST_PERIOD
    if size <= 0:
        return False
    here = samples[:size]
    own = sum(map(mul, here, here))
    for period in range(_SHORTEST_PERIOD, _LONGEST_PERIOD, 2):
        there = samples[period : period + size]
        alike = sum(map(mul, here, there))
        if alike > 0 and alike * alike > 0.36 * own * sum(map(mul, there, there)):
            return True
    return False


def _linear(mulaw: bytes) -> list[float]:
    return [LINEAR[code] for code in mulaw]


def _mulaw(samples: Iterable[float]) -> bytes:
    return pcm16_to_mulaw(array("h", [max(-32000, min(32000, round(value))) for value in samples]).tobytes())


def _powers(samples: Samples, size: int) -> list[float]:
    return [
        sum(value * value for value in samples[at : at + size]) / size
        for at in range(0, max(1, len(samples) - size + 1), size)
    ]


def _scaled(samples: Samples, by_db: float) -> list[float]:
    factor = 10 ** (by_db / 20)
    return [factor * value for value in samples]


def _resampled(samples: Samples, pitch: float) -> Samples:
    """Higher and shorter, or lower and longer, by straight lines between the samples."""
    if pitch == 1.0:
        return samples
    places = [number * pitch for number in range(int((len(samples) - 2) / pitch))]
    return [
        samples[int(at)] + (samples[int(at) + 1] - samples[int(at)]) * (at - int(at)) for at in places
    ]  # fmt: skip


def _repeated(background: Sound, length: int, seed: int) -> list[float]:
    """A stretch of the background that starts where the seed says."""
    whole = background.mulaw
    start = Random(f"{background.name}/{seed}").randrange(len(whole))  # noqa: S311
    return _linear((whole[start:] + whole * (length // len(whole) + 1))[:length])


def _babble(chance: Random, length: int) -> list[float]:
    """Five people at other tables, each at its own loudness, none of them stopping."""
    total = [0.0] * length
    for number, voice in enumerate(VOICES[:5]):
        texts = [BABBLE[(number + offset) % len(BABBLE)] for offset in range(len(BABBLE))]
        talk = [value for text in texts for value in _linear(said()[text, voice])]
        start, gain = chance.randrange(len(talk)), 10 ** (chance.uniform(-6, 0) / 20)
        talk = (talk[start:] + talk * (length // len(talk) + 1))[:length]
        total = [so_far + gain * value for so_far, value in zip(total, talk, strict=True)]
    return total


if __name__ == "__main__":
    from web.twins.speech.voice import speak

    sys.stdout.buffer.write(msgspec.msgpack.encode([speak(text, voice=voice) for text, voice in _sayings()]))
