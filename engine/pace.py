"""How long words take to say, as far as their letters tell: which of them were heard after so many milliseconds. Pure.

The unit is the time of one letter. The weights were fitted to six synthetic voices in five languages (what they are
worth: `tests/engine/test_pace.py`); how long a voice takes for a unit differs, and is learnt in each call.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

USUAL_MS = 56.0  # a unit at the pace of an unhurried voice
FASTEST_MS = 25.0  # nobody speaks faster
_WORD, _LETTER, _CAPITAL, _DIGIT, _SYMBOL, _IDEOGRAPH = 1.5, 1.0, 3.0, 6.0, 5.0, 3.0
_COMMA, _STOP = 9.0, 10.0
_COMMAS, _STOPS, _CLOSING = frozenset(",;:、，；："), frozenset(".?!…。？！"), "\"')]»”’"
_SPOKEN_SYMBOLS = frozenset("$€£%&@+=")
_SIGNS = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # kana and ideographs have no spaces between them: each is a word
_WORDS = re.compile(rf"([{_SIGNS}])[^\w\s]*|[^\s{_SIGNS}]+")

Anchor = tuple[float, float]
"""So many units were spoken after so many milliseconds."""
Time = tuple[int, int, float, float]
"""Letters of the text, from and to, and their milliseconds, from and to."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a text: where it stands, and when it is spoken, in units since the text began."""

    end_char: int
    first_letter: int  # letters as `bare` counts them
    end_letter: int
    starts: float
    ends: float  # without the pause after it
    ends_sentence: bool


def bare(text: str) -> str:
    """Letters and digits only, caseless: two sources may write the same words differently."""
    return "".join(char for char in text.casefold() if char.isalnum())


def words_of(text: str) -> list[Word]:
    words: list[Word] = []
    at, letter = 0.0, 0
    for found in _WORDS.finditer(text):
        said = found[0]
        last = said.rstrip(_CLOSING)[-1:]
        first_letter, letter = letter, letter + len(bare(said))
        starts, at = at, at + (_IDEOGRAPH if found[1] else _units(said))
        words.append(Word(found.end(), first_letter, letter, starts, at, last in _STOPS))
        at += _STOP if last in _STOPS else _COMMA if last in _COMMAS else 0.0
    return words


def _units(word: str) -> float:
    letters = [char for char in word if char.isalpha()]
    digits = sum(char.isdigit() for char in word)
    symbols = sum(char in _SPOKEN_SYMBOLS for char in word)
    if not (letters or digits or symbols):
        return 0.0  # a dash by itself
    spelled = len(letters) > 1 and all(char.isupper() for char in letters)
    return _WORD + len(letters) * (_CAPITAL if spelled else _LETTER) + digits * _DIGIT + symbols * _SYMBOL


def anchors_of(words: Sequence[Word], times: Iterable[Time], start: Iterable[Anchor] = ()) -> list[Anchor]:
    """Known times as anchors in this text, after those that it starts with; what falls is left out."""
    anchors: list[Anchor] = []

    def add(units: float, ms: float) -> None:
        if not anchors or (units >= anchors[-1][0] and ms >= anchors[-1][1]):
            anchors.append((units, ms))

    for anchor in start:
        add(*anchor)
    index = 0
    for first_letter, end_letter, start_ms, end_ms in times:
        for letter, past, ms in ((first_letter, 0, start_ms), (end_letter - 1, 1, end_ms)):
            while index + 1 < len(words) and words[index].end_letter <= letter:
                index += 1
            if words and words[index].first_letter <= letter < words[index].end_letter:
                add(_inside(words[index], letter + past), ms)
    return anchors


def _inside(word: Word, letter: int) -> float:
    if letter == word.end_letter:
        return word.ends  # exactly: it is looked up
    return word.starts + (word.ends - word.starts) * (letter - word.first_letter) / (
        word.end_letter - word.first_letter
    )


def ends_ms(words: Sequence[Word], anchors: Sequence[Anchor], unit_ms: float) -> list[float]:
    """When each word has been spoken: straight from anchor to anchor, and beyond the last one at the given pace.

    Args:
        anchors: not falling; two in the same place are the silence there.
    """
    known = [units for units, _ in anchors]
    found: list[float] = []
    for word in words:
        index = bisect_left(known, word.ends)
        units, ms = anchors[index - 1] if index else (0.0, 0.0)
        if index < len(anchors):
            next_units, next_ms = anchors[index]
            share = (word.ends - units) / (next_units - units) if next_units > word.ends else 1.0
            found.append(ms + share * (next_ms - ms))
        else:
            found.append(ms + (word.ends - units) * unit_ms)
    return found
