"""Text to µ-law speech, by the small engine that comes in a wheel (py-nanotts: SVOX Pico, 16 kHz, Apache-2.0).

About 10 ms a sentence; holds the GIL meanwhile, so it belongs in a twin's process or a start-up, not in a live service.
"""

from __future__ import annotations

from array import array
from functools import lru_cache
from threading import Lock

from py_nanotts import NanoTTS, Voice

from engine.audio import BYTES_PER_MS, pcm16_to_mulaw

LOUDNESS = 0.6  # Pico peaks at full scale; µ-law wants room
PACE = 0.9  # a little slower than Pico's own: better understood over the telephone
EDGE_MS = 20  # of silence kept at both ends
_EDGE_SILENCE = 300  # of 32767: what counts as silence when trimming
# Half-band low pass, 15 taps: 16 kHz to 8 kHz. Symmetric; every second tap but the middle one is zero.
_CENTRE, _SIDES = 0.5, (0.3133, -0.0917, 0.0398, -0.0114)

_ENGINE = NanoTTS()
_LOCK = Lock()


def voices() -> tuple[str, ...]:
    """The voices that the wheel holds."""
    return tuple(voice.value for voice in Voice)


@lru_cache(maxsize=2048)
def speak(text: str, *, voice: str = "en-US") -> bytes:
    """The text spoken, as µ-law 8 kHz, without silence around it. The same text gives the same bytes.

    Raises:
        ValueError: no such voice, or nothing to say.
    """
    if voice not in voices():
        raise ValueError(f"no voice {voice!r}; there are {', '.join(voices())}")
    if not text.strip():
        raise ValueError("nothing to say")
    with _LOCK:
        _warm_up()
        # What was said before colours what comes next, by a few samples: the same word before each makes it repeatable.
        _ENGINE.speak("One.", voice=voice, speed=PACE)
        pcm = _ENGINE.speak(text, voice=voice, speed=PACE)
    return _trimmed(_halved(pcm))


@lru_cache(maxsize=1)
def _warm_up() -> None:
    """The engine's very first words in a process come out otherwise than all later ones."""
    for _ in range(2):
        _ENGINE.speak("One, two, three. Hello there, goodbye.", voice="en-US", speed=PACE)


def _halved(pcm: bytes) -> array[int]:
    """16 kHz samples low-passed and every second one kept."""
    source = array("h", pcm)
    padding = array("h", [0] * 8)
    padded = padding + source + padding
    middle = padded[8 : 8 + len(source) : 2]
    total = [_CENTRE * sample for sample in middle]
    for index, weight in enumerate(_SIDES):
        offset = 2 * index + 1
        before = padded[8 - offset : 8 - offset + len(source) : 2]
        after = padded[8 + offset : 8 + offset + len(source) : 2]
        total = [so_far + weight * (left + right) for so_far, left, right in zip(total, before, after, strict=True)]
    return array("h", [max(-32768, min(32767, round(LOUDNESS * value))) for value in total])


def _trimmed(samples: array[int]) -> bytes:
    loud = [index for index, sample in enumerate(samples) if abs(sample) > _EDGE_SILENCE]
    if not loud:
        return pcm16_to_mulaw(samples.tobytes())
    edge = EDGE_MS * BYTES_PER_MS
    kept = samples[max(0, loud[0] - edge) : loud[-1] + edge]
    return pcm16_to_mulaw(kept.tobytes())
