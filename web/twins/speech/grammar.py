"""What a recogniser may hear: a closed list of sentences, some with spoken digits in them, as a JSGF grammar. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIGITS_SLOT = "<digits>"
MOST_DIGITS = 4
_SLOT = re.compile(r"<digits>|\{digits\}")
_NOT_WORDS = re.compile(r"[^a-z' <>]+")
_DIGIT_WORDS = f"(?:{'|'.join(DIGITS)})"


def normal(text: str) -> str:
    """A sentence as the recogniser says it: lower case, no punctuation, `<digits>` for its slot."""
    slotted = _SLOT.sub(f" {DIGITS_SLOT} ", text)
    return " ".join(_NOT_WORDS.sub(" ", slotted.lower().replace("’", "'")).split())


@dataclass(frozen=True, slots=True)
class Grammar:
    """A closed list of normal sentences; with `repeat`, one or more of them in a row."""

    phrases: tuple[str, ...]
    repeat: bool = False

    @classmethod
    def of(cls, phrases: Iterable[str], *, repeat: bool = False) -> Grammar:
        """From sentences as people write them.

        Raises:
            ValueError: none at all, or words that the dictionary does not have: say them in other words.
        """
        known = tuple(dict.fromkeys(filter(None, map(normal, phrases))))
        if not known:
            raise ValueError("a grammar needs at least one sentence")
        missing = sorted({word for phrase in known for word in phrase.split() if word != DIGITS_SLOT} - dictionary())
        if missing:
            raise ValueError(f"the recogniser does not know: {', '.join(missing)}; use other words or spell them out")
        return cls(known, repeat)

    @property
    def jsgf(self) -> str:
        """The grammar as JSGF text; the same list gives the same text."""
        digit = " | ".join(DIGITS)
        slot = " | ".join(" ".join(["<digit>"] * count) for count in range(1, MOST_DIGITS + 1))
        return (
            f"#JSGF V1.0;\ngrammar callscope;\npublic <utterance> = <sentence>{'+' if self.repeat else ''};\n"
            f"<sentence> = {' | '.join(self.phrases)};\n"
            f"<digit> = {digit};\n<digits> = {slot};\n"
        )


def fits(template: str, heard: str) -> dict[str, str] | None:
    """Whether a sentence that was heard is one of this template; with the digits that stood in its slot."""
    parts = [re.escape(part.strip()) for part in normal(template).split(DIGITS_SLOT)]
    slot = rf" ?(?P<digits>{_DIGIT_WORDS}(?: {_DIGIT_WORDS})*) ?"
    match = re.fullmatch(slot.join(parts) if len(parts) == 2 else normal(template), normal(heard))
    return None if match is None else {key: value.strip() for key, value in match.groupdict().items()}


@lru_cache(maxsize=1)
def dictionary() -> frozenset[str]:
    """The words that the recogniser's dictionary holds."""
    import pocketsphinx  # noqa: PLC0415 — 29 MB of models; only where something is heard

    path = Path(pocketsphinx.get_model_path()) / "en-us" / "cmudict-en-us.dict"
    with path.open(encoding="utf-8") as lines:
        return frozenset(line.split(maxsplit=1)[0] for line in lines)
