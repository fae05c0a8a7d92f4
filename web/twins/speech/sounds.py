"""What comes out of a telephone beside words: made here, always the same bytes; or read from a file. µ-law, 8 kHz."""

from __future__ import annotations

import wave
from array import array
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from math import cos, exp, pi, sin
from pathlib import Path
from random import Random

from engine.audio import FRAME_BYTES, LINEAR, SAMPLE_RATE_HZ, mulaw_to_pcm16, pcm16_to_mulaw
from web.twins.speech.vad import rms

VOICE_RMS = 7000.0  # of 32767: the voiced frames of `speak`; what "so many dB under the voice" means
BED_MS = 4000  # a noise bed begins anew after so long
MULAW_ENDINGS = (".ulaw", ".mulaw", ".ul")

Wave = list[float]


def find_sound(name: str, folder: Path | None = None) -> bytes:
    """A sound by its name, or from a file in `folder`.

    Raises:
        ValueError: neither; or a file that is no PCM WAV. Says what there is.
    """
    if name in _MADE:
        return made(name)
    path = Path(name) if folder is None else folder / name
    if not path.is_file():
        raise ValueError(f"no sound {name!r}: neither one of {', '.join(_MADE)} nor a WAV or .ulaw file at {path}")
    return path.read_bytes() if path.suffix in MULAW_ENDINGS else _from_wav(path)


@lru_cache(maxsize=16)
def made(name: str) -> bytes:
    """One of the built-in sounds."""
    make, level = _MADE[name]
    return _levelled(make(Random(f"callscope {name}")), level)  # noqa: S311 — always the same sound


@lru_cache(maxsize=32)
def bed(name: str, under_voice_db: float) -> bytes:
    """A sound in whole frames, so many dB under a usual voice, to be repeated without end.

    Raises:
        ValueError: there is no such sound, or it is silent.
    """
    mulaw = find_sound(name)
    level = rms(mulaw)
    if not level:
        raise ValueError(f"{name} is silent")
    samples = [
        sample / 32768 for sample in array("h", mulaw_to_pcm16(mulaw[: len(mulaw) // FRAME_BYTES * FRAME_BYTES]))
    ]
    return _levelled(samples, VOICE_RMS * 10 ** (-under_voice_db / 20))


def louder(mulaw: bytes, db: float) -> bytes:
    """The same, so many dB louder; clipped at full scale."""
    return mulaw.translate(_table(db)) if db else mulaw


@lru_cache(maxsize=64)
def _table(db: float) -> bytes:
    gain = 10 ** (db / 20)
    return pcm16_to_mulaw(array("h", [_clipped(gain * sample) for sample in LINEAR]).tobytes())


def mixed(one: bytes, other: bytes) -> bytes:
    """Both at once; as long as the first."""
    samples = zip(array("h", mulaw_to_pcm16(one)), array("h", mulaw_to_pcm16(other)), strict=False)
    both = array("h", [_clipped(left + right) for left, right in samples])
    return pcm16_to_mulaw(both.tobytes()) + one[len(both) :]


# --- the sounds themselves ------------------------------------------------------------------------------------------


def _cough(chance: Random) -> Wave:
    """Two bursts: breath that breaks out, a rough voice under its tail."""
    out: Wave = []
    for length_ms, gain in ((240, 1.0), (60, 0.0), (200, 0.7)):
        count = _samples(length_ms)
        burst = _resonant([chance.gauss(0, 1) for _ in range(count)], 900, 500)
        tail = _resonant(_pulses(count, 140, 90), 600, 200)
        out += [
            gain * (noise * exp(-index / 500) + 0.4 * voice * exp(-abs(index - count / 2) / 400))
            for index, (noise, voice) in enumerate(zip(burst, tail, strict=True))
        ]
    return out


def _click(chance: Random) -> Wave:
    return [exp(-index / 12) * chance.choice((-1, 1)) for index in range(_samples(20))]


def _breath(chance: Random) -> Wave:
    count = _samples(600)
    air = _resonant([chance.gauss(0, 1) for _ in range(count)], 1400, 1200)
    return [sample * sin(pi * index / count) ** 2 for index, sample in enumerate(air)]


def _noise(chance: Random) -> Wave:
    return [chance.gauss(0, 1) for _ in range(_samples(BED_MS))]


def _uh_huh(_: Random) -> Wave:
    """Two hums, the second higher: agreement, no word."""
    out: Wave = []
    for length_ms, from_hz, to_hz in ((160, 120, 105), (70, 0, 0), (240, 125, 165)):
        count = _samples(length_ms)
        hum = _resonant(_pulses(count, from_hz, to_hz), 450, 120) if from_hz else [0.0] * count
        out += [sample * sin(pi * (index + 0.5) / count) for index, sample in enumerate(hum)]
    return out


def _music(_: Random) -> Wave:
    """Four chords, plucked: as from a radio, or on hold."""
    beat = _samples(BED_MS) // 16
    out = [0.0] * (16 * beat)
    for step in range(16):
        root = (220.0, 174.6, 261.6, 196.0)[step // 4]
        hz = root * (1, 1.25, 1.5, 2)[step % 4]
        for index in range(3 * beat):
            pluck = exp(-index / beat)
            tone = sum(sin(2 * pi * hz * part * index / SAMPLE_RATE_HZ) / part for part in (1, 2, 3))
            out[(step * beat + index) % len(out)] += pluck * tone
    return out


def _babble(chance: Random) -> Wave:
    """Six people who talk at once in another room: vowels without words."""
    out = [0.0] * _samples(BED_MS)
    for _ in range(6):
        at, pitch = chance.randrange(2000), chance.uniform(90, 220)
        while at < len(out):
            count = min(_samples(chance.uniform(90, 260)), len(out) - at)
            bend = chance.uniform(0.85, 1.15)
            vowel = _resonant(_pulses(count, pitch, pitch * bend), chance.uniform(300, 800), 100)
            bright = _resonant(vowel, chance.uniform(900, 2200), 150)
            for index in range(count):
                out[at + index] += (vowel[index] + 3 * bright[index]) * sin(pi * index / count)
            at += count + _samples(chance.uniform(10, 160))
    return out


_MADE: dict[str, tuple[Callable[[Random], Wave], float]] = {
    "cough": (_cough, 4500),
    "click": (_click, 5000),
    "breath": (_breath, 900),
    "uh-huh": (_uh_huh, 4000),
    "music": (_music, 3500),
    "babble": (_babble, 3500),
    "noise": (_noise, 3500),
}
SOUNDS = tuple(_MADE)


def _samples(ms: float) -> int:
    return round(ms * SAMPLE_RATE_HZ / 1000)


def _pulses(count: int, from_hz: float, to_hz: float) -> Wave:
    """The source of a voice: a pulse for each swing of the vocal cords."""
    out, phase = [], 0.0
    for index in range(count):
        phase += (from_hz + (to_hz - from_hz) * index / count) / SAMPLE_RATE_HZ
        out.append(1.0 if phase >= 1 else 0.0)
        phase %= 1
    return out


def _resonant(source: Sequence[float], hz: float, width_hz: float) -> Wave:
    """Through one formant: a two-pole resonance."""
    radius = exp(-pi * width_hz / SAMPLE_RATE_HZ)
    first, second = 2 * radius * cos(2 * pi * hz / SAMPLE_RATE_HZ), -radius * radius
    last = before = 0.0
    out = []
    for sample in source:
        last, before = (1 - radius) * sample + first * last + second * before, last
        out.append(last)
    return out


def _levelled(samples: Iterable[float], level: float) -> bytes:
    """At that root mean square over all of it."""
    wanted = list(samples)
    power = (sum(sample * sample for sample in wanted) / len(wanted)) ** 0.5
    return pcm16_to_mulaw(array("h", [_clipped(sample * level / power) for sample in wanted]).tobytes())


def _clipped(sample: float) -> int:
    return max(-32768, min(32767, round(sample)))


def _from_wav(path: Path) -> bytes:
    """The first channel of a PCM WAV at any rate, by the nearest samples."""
    try:
        with wave.open(str(path), "rb") as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            raw = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as problem:
        raise ValueError(f"{path} is no PCM WAV file ({problem})") from problem
    if width not in (1, 2):
        raise ValueError(f"{path} has {8 * width} bits a sample; 8 or 16 are taken")
    samples = array("h", raw) if width == 2 else array("h", [(byte - 128) << 8 for byte in raw])
    first = samples[0::channels]
    count = len(first) * SAMPLE_RATE_HZ // rate
    return pcm16_to_mulaw(array("h", [first[index * rate // SAMPLE_RATE_HZ] for index in range(count)]).tobytes())
