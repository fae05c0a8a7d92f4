"""Sounds of a world: what a caller can utter, agent audio whose every millisecond is numbered, and µ-law mixing. Pure.

The numbers let a referee say by content alone which part of which speech was heard, lost or heard twice.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from functools import lru_cache

from engine.audio import BYTES_PER_MS, LINEAR, SILENCE_BYTE, duration_ms, mulaw_to_pcm16, pcm16_to_mulaw
from engine.voice import loudness_db

WORD_MS = 360  # the agent's pace: a word and the pause after it
PAUSE_MS = 60
MOST_NUMBERED_MS = 1 << 20  # 17 minutes of one agent

_STRETCH_BYTES = 5 * BYTES_PER_MS
_FAINT_DB, _SOFTER_DB = 6.0, 20.0  # on the scale of `engine.voice`
_SIGNS = bytes([0x00, 0x00, 0x80, 0x80, 0x00, 0x80, 0x00, 0x80])  # of a millisecond's samples: unlike itself shifted
_LOUD = (0x20, 0x10, 0x20, 0x30)  # µ-law segments over a word; lower codes are louder
_SOFT = 0x60
_NUMBER_BITS = 20
_CHECK_FACTOR = 0x9E5


@dataclass(frozen=True, slots=True)
class Word:
    """A word in a sound, in milliseconds from the sound's beginning."""

    text: str
    start_ms: float
    end_ms: float


@dataclass(frozen=True, slots=True)
class Sound:
    """Something that a caller's phone picks up: words, a cough, a door.

    `kind`: `speech` is meant to be heard and answered; anything else (`backchannel`, `noise`, …) is not.
    """

    name: str
    mulaw: bytes = field(repr=False)
    onset_ms: float = 0.0  # the first audible sample of what matters
    kind: str = "speech"
    text: str = field(default="", repr=False)
    end_ms: float | None = None  # the last audible one; None: found in the sound

    @property
    def is_speech(self) -> bool:
        return self.kind == "speech"

    @property
    def audible_end_ms(self) -> float:
        return self.end_ms if self.end_ms is not None else _audible_end_ms(self.mulaw)

    def words(self) -> tuple[Word, ...]:
        """The words by proportion of their letters, over the audible part."""
        texts = self.text.split()
        letters = sum(len(text) + 1 for text in texts)
        per_letter_ms = (self.audible_end_ms - self.onset_ms) / max(1, letters)
        words: list[Word] = []
        at_ms = self.onset_ms
        for text in texts:
            end_ms = at_ms + (len(text) + 1) * per_letter_ms
            words.append(Word(text, at_ms, end_ms))
            at_ms = end_ms
        return tuple(words)


@lru_cache(maxsize=1024)
def _audible_end_ms(mulaw: bytes) -> float:
    """The end of the last stretch that is not much softer than the loudest."""
    stretches = [loudness_db(mulaw[at : at + _STRETCH_BYTES]) for at in range(0, len(mulaw), _STRETCH_BYTES)]
    audible_db = max(_FAINT_DB, max(stretches, default=0.0) - _SOFTER_DB)
    last = max((index for index, db in enumerate(stretches) if db >= audible_db), default=-1)
    return duration_ms(min((last + 1) * _STRETCH_BYTES, len(mulaw)))


# --- numbered audio -------------------------------------------------------------------------------------------------


def numbered_ms(number: int, segment: int) -> bytes:
    """One millisecond of audio at that loudness that says which one it is: 20 bits and 4 to check them by."""
    bits = number << 4 | _check(number)
    return bytes(_SIGNS[i] | segment | (bits >> 3 * i & 0x07) for i in range(BYTES_PER_MS))


def number_of(mulaw: bytes, offset: int = 0) -> int | None:
    """The number of the millisecond that begins at this byte; None when none does."""
    if offset + BYTES_PER_MS > len(mulaw):
        return None
    segment, bits = mulaw[offset] & 0x70, 0
    for i in range(BYTES_PER_MS):
        code = mulaw[offset + i]
        if code & 0xF8 != _SIGNS[i] | segment:
            return None
        bits |= (code & 0x07) << 3 * i
    number = bits >> 4
    return number if bits & 0x0F == _check(number) else None


def _check(number: int) -> int:
    mixed = number * _CHECK_FACTOR + 0x5
    return (mixed ^ mixed >> 7 ^ mixed >> 13) & 0x0F


def spoken(first_number: int, n_words: int) -> bytes:
    """Numbered audio with the loudness of so many words.

    Raises:
        ValueError: the number is not a multiple of `WORD_MS`: words are cached.
    """
    word, rest = divmod(first_number, WORD_MS)
    if rest:
        raise ValueError(f"a speech begins at a multiple of {WORD_MS}, not at {first_number}")
    return b"".join(_spoken_word(word + index) for index in range(n_words))


@lru_cache(maxsize=4096)
def _spoken_word(word: int) -> bytes:
    """Loud and less loud, and a pause."""
    loud_ms = WORD_MS - PAUSE_MS
    quarter_ms = loud_ms // len(_LOUD)
    segments = [_LOUD[at_ms // quarter_ms] if at_ms < loud_ms else _SOFT for at_ms in range(WORD_MS)]
    return b"".join(numbered_ms(word * WORD_MS + at_ms, segment) for at_ms, segment in enumerate(segments))


# --- mixing ---------------------------------------------------------------------------------------------------------


def mixed(one: bytes, other: bytes) -> bytes:
    """Both at once; as long as the first, the second is cut or followed by silence."""
    first, second = _samples(one), _samples(other[: len(one)])
    for index, sample in enumerate(second):
        first[index] = max(-32768, min(32767, first[index] + sample))
    return pcm16_to_mulaw(_pcm(first))


@lru_cache(maxsize=64)
def _quieter_table(loss_db: float) -> bytes:
    factor = 10 ** (-loss_db / 20)
    return pcm16_to_mulaw(_pcm(array("h", [round(sample * factor) for sample in LINEAR])))


def quieter(mulaw: bytes, loss_db: float) -> bytes:
    """The same, so many decibels quieter."""
    return mulaw.translate(_quieter_table(loss_db))


def looped(mulaw: bytes, start: int, n_bytes: int) -> bytes:
    """So many bytes of a sound that repeats for ever, from that byte on; silence when there is none."""
    if not mulaw:
        return bytes([SILENCE_BYTE]) * n_bytes
    start %= len(mulaw)
    again = (start + n_bytes) // len(mulaw) + 1
    return (mulaw * again)[start : start + n_bytes]


def _samples(mulaw: bytes) -> array[int]:
    samples = array("h")
    samples.frombytes(mulaw_to_pcm16(mulaw))  # little-endian, as all machines that this runs on
    return samples


def _pcm(samples: array[int]) -> bytes:
    return samples.tobytes()
