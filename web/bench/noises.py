"""Noises of rooms, throats and lines, by arithmetic on noise and sines: samples at 8 kHz for `web.bench.corpus`.

Each maker draws what varies from the `Random` that it is given: the same seed gives the same sound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random

from engine.audio import BYTES_PER_MS, SAMPLE_RATE_HZ

Samples = Sequence[float]  # of 32767, not yet rounded


def white(chance: Random, length: int) -> list[float]:
    return [chance.gauss(0, 1) for _ in range(length)]


def _resonant(samples: Samples, hz: float, width_hz: float) -> list[float]:
    """Two poles: what is near this frequency, the rest weaker."""
    radius = math.exp(-math.pi * width_hz / SAMPLE_RATE_HZ)
    first, second = 2 * radius * math.cos(2 * math.pi * hz / SAMPLE_RATE_HZ), -radius * radius
    before, last = 0.0, 0.0
    out = []
    for value in samples:
        before, last = last, value + first * last + second * before
        out.append(last)
    return out


def _smooth(samples: Samples, keep: float) -> list[float]:
    """One pole: slow changes stay."""
    value, out = 0.0, []
    for sample in samples:
        value = keep * value + (1 - keep) * sample
        out.append(value)
    return out


def carried(samples: Samples) -> list[float]:
    """What a telephone carries: less and less below 250 Hz."""
    for _ in range(2):
        samples = [value - slow for value, slow in zip(samples, _smooth(samples, 0.82), strict=True)]
    return list(samples)


def _faded(samples: Samples, tau_ms: float) -> list[float]:
    """Dying away: after `tau_ms` a third is left."""
    step = math.exp(-1 / (tau_ms * BYTES_PER_MS))
    size, out = 1.0, []
    for value in samples:
        out.append(size * value)
        size *= step
    return out


def rms(samples: Samples) -> float:
    return math.sqrt(sum(value * value for value in samples) / max(1, len(samples)))


def at_level(samples: Samples, dbfs: float) -> list[float]:
    factor = 32767 * 10 ** (dbfs / 20) / max(1e-9, rms(samples))
    return [factor * value for value in samples]


def pink(chance: Random, length: int) -> list[float]:
    """White noise through three one-pole filters (Paul Kellet's economy filter)."""
    a = b = c = 0.0
    out = []
    for fresh in white(chance, length):
        a = 0.99765 * a + fresh * 0.0990460
        b = 0.96300 * b + fresh * 0.2965164
        c = 0.57000 * c + fresh * 1.0526913
        out.append(a + b + c + fresh * 0.1848)
    return out


def road(chance: Random, length: int) -> list[float]:
    """Rumble with a little tyre noise, swelling slowly as cars go by."""
    rumble, tyres = _smooth(white(chance, length), 0.93), _resonant(white(chance, length), 900, 900)
    swell, turn = chance.uniform(0, 6), 2 * math.pi / SAMPLE_RATE_HZ / 5.0
    return [
        (1 + 0.35 * math.sin(turn * number + swell)) * (6 * low + 0.25 * high)
        for number, (low, high) in enumerate(zip(rumble, tyres, strict=True))
    ]


def fan(chance: Random, length: int) -> list[float]:
    """Steady rush with the hum of its motor."""
    hum = 2 * math.pi * 120 / SAMPLE_RATE_HZ
    return [
        value + 0.8 * math.sin(hum * number) for number, value in enumerate(_smooth(white(chance, length), 0.6))
    ]  # fmt: skip


def music(chance: Random, length: int) -> list[float]:
    """Chords of four notes with two partials each, struck anew twice a second."""
    beat = SAMPLE_RATE_HZ // 2
    out: list[float] = []
    while len(out) < length:
        root = 110 * 2 ** (chance.choice((0, 3, 5, 7, 8, 10)) / 12)
        notes = [root * 2 ** (step / 12) for step in chance.choice(((0, 4, 7, 12), (0, 3, 7, 12), (0, 5, 9, 12)))]
        turns = [(2 * math.pi * hz * part / SAMPLE_RATE_HZ, 1 / part) for hz in notes for part in (1, 2)]
        out += [
            math.exp(-number / (0.8 * SAMPLE_RATE_HZ)) * sum(size * math.sin(turn * number) for turn, size in turns)
            for number in range(beat)
        ]
    return out[:length]


def cough(chance: Random) -> list[float]:
    """One to three bursts: a hard start, throaty noise, a little voice at the end."""
    out: list[float] = []
    for _ in range(chance.randint(1, 3)):
        length = round(chance.uniform(120, 260) * BYTES_PER_MS)
        throat = _resonant(white(chance, length), chance.uniform(500, 1100), 500)
        period = SAMPLE_RATE_HZ / chance.uniform(110, 180)
        voice = _resonant([1.0 if number % period < 1 else 0.0 for number in range(length)], 600, 200)
        body = [
            noise + 3 * tone * (number / length) for number, (noise, tone) in enumerate(zip(throat, voice, strict=True))
        ]
        out += at_level(_faded(body, length / BYTES_PER_MS / 2), chance.uniform(-16, -9))
        out += [0.0] * round(chance.uniform(120, 300) * BYTES_PER_MS)
    return out


def click(chance: Random) -> list[float]:
    """A hard knock on the handset or the line: a few milliseconds, as loud as can be; sometimes two."""
    out: list[float] = []
    for _ in range(chance.randint(1, 2)):
        length = round(chance.uniform(2, 24) * BYTES_PER_MS)
        ring = _resonant([1.0, *([0.0] * length)], chance.uniform(500, 3000), 120)
        body = _faded([a + 0.3 * chance.gauss(0, 1) for a in ring], length / BYTES_PER_MS / 3)
        out += at_level(body, chance.uniform(-14, -5)) + [0.0] * round(chance.uniform(90, 250) * BYTES_PER_MS)
    return out


def breath(chance: Random) -> list[float]:
    """Air on the microphone, rising and falling."""
    length = round(chance.uniform(500, 1300) * BYTES_PER_MS)
    air = _resonant(white(chance, length), chance.uniform(800, 1700), 1200)
    shaped = [math.sin(math.pi * number / length) * value for number, value in enumerate(air)]
    return at_level(carried(shaped), chance.uniform(-40, -30))


def slam(chance: Random) -> list[float]:
    """A door: a crack and a boom that dies away."""
    length = round(chance.uniform(250, 450) * BYTES_PER_MS)
    boom = _resonant(white(chance, length), chance.uniform(90, 220), 80)
    crack = _faded(white(chance, length), 6)
    loudest = max(map(abs, boom))
    both = [a / loudest + 0.5 * b for a, b in zip(boom, crack, strict=True)]
    return at_level(carried(_faded(both, chance.uniform(40, 110))), chance.uniform(-20, -12))


def keyboard(chance: Random) -> list[float]:
    """Someone types while listening."""
    out: list[float] = []
    for _ in range(chance.randint(8, 14)):
        body = _resonant(white(chance, round(chance.uniform(4, 9) * BYTES_PER_MS)), chance.uniform(1500, 2800), 900)
        out += at_level(body, chance.uniform(-30, -18)) + [0.0] * round(chance.uniform(60, 200) * BYTES_PER_MS)
    return out


def line(chance: Random) -> list[float]:
    """A bad line: hiss, hum and crackle."""
    length, hum = 3 * SAMPLE_RATE_HZ, 2 * math.pi * chance.choice((50, 60)) / SAMPLE_RATE_HZ
    hiss, strength = chance.uniform(40, 120), chance.uniform(20, 150)
    crackle = chance.uniform(0.0002, 0.001)
    return [
        chance.gauss(0, hiss) + strength * math.sin(hum * number)
        + (chance.uniform(-8000, 8000) if chance.random() < crackle else 0.0)
        for number in range(length)
    ]  # fmt: skip


NOISES: dict[str, Callable[[Random], list[float]]] = {
    "cough": cough, "click": click, "breath": breath, "slam": slam, "keyboard": keyboard, "line": line
}  # fmt: skip
BACKGROUNDS: dict[str, Callable[[Random, int], list[float]]] = {
    "white": white, "pink": pink, "road": road, "fan": fan, "music": music
}  # fmt: skip
