"""The scripted model: what was heard in, one of the agent file's replies out (engine/agent.py, TwinPlan). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.agent import Reply, TwinPlan

__all__ = ["Brain", "Thought", "sentences"]

_DIGITS = {
    "zero": "0", "oh": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7",
    "eight": "8", "nine": "9",
}  # fmt: skip
_WORDS = {digit: word for word, digit in _DIGITS.items() if word != "oh"}
_ONE_DIGIT = f"(?:{'|'.join(_DIGITS)})"
_SLOT = re.compile(r"<digits>|\{digits\}")


@dataclass(frozen=True, slots=True)
class Thought:
    """What the model wants to do. Without a reply nothing fitted, and `words` say so."""

    reply: Reply | None
    words: str
    digits: str = ""

    def said(self, result: str = "") -> str:
        """The words with what was heard and found filled in; digits are spoken one by one."""
        return _SLOT.sub(spelt(self.digits), self.words).replace("{result}", result)

    def arguments(self) -> dict[str, Any]:
        """The tool's arguments; `{digits}` in a text becomes figures."""
        plan = self.reply.tool if self.reply else None
        return {name: _filled(entry, self.digits) for name, entry in plan.arguments.items()} if plan else {}


class Brain:
    """One call's model. The first unused reply whose phrase fits wins, then used ones."""

    def __init__(self, plan: TwinPlan) -> None:
        self._plan = plan
        self._patterns = [[_pattern(phrase) for phrase in reply.hear] for reply in plan.replies]
        self._used: set[int] = set()

    def think(self, heard: str) -> Thought:
        text = _normal(heard)
        fitting = [
            (index, match)
            for index, patterns in enumerate(self._patterns)
            for match in [next(filter(None, (one.search(text) for one in patterns)), None)]
            if match is not None
        ]
        if not fitting:
            return Thought(None, self._plan.not_understood)
        index, match = next((one for one in fitting if one[0] not in self._used), fitting[0])
        self._used.add(index)
        reply = self._plan.replies[index]
        digits = "".join(_DIGITS[word] for word in (match[1].split() if match.re.groups else ()))
        return Thought(reply, reply.say, digits)

    def knows(self, heard: str) -> bool:
        """Whether any reply fits."""
        text = _normal(heard)
        return any(one.search(text) for patterns in self._patterns for one in patterns)

    def forget(self, thought: Thought) -> None:
        """The reply was never spoken: it counts as unused again."""
        self._used -= {index for index, reply in enumerate(self._plan.replies) if reply is thought.reply}


def spelt(digits: str) -> str:
    return " ".join(_WORDS[digit] for digit in digits)


def sentences(text: str) -> list[str]:
    """Model output comes by the sentence."""
    return [one for one in re.split(r"(?<=[.!?])\s+", text.strip()) if one]


def _normal(text: str) -> str:
    """Lower-case words with one space between, figures spelt."""
    plain = re.sub(r"[^a-z0-9']+", " ", text.lower().replace("’", "'"))
    return " ".join(spelt(word) if word.isdecimal() else word for word in plain.split())


def _pattern(phrase: str) -> re.Pattern[str]:
    """Whole words, anywhere in what was heard."""
    parts = [re.escape(_normal(part)) for part in _SLOT.split(phrase)]
    first, *others = parts
    body = first
    for number, part in enumerate(others):
        slot = rf"{_ONE_DIGIT}(?: {_ONE_DIGIT})*"
        body = " ".join(filter(None, [body, f"({slot})" if number == 0 else slot, part]))
    return re.compile(rf"(?<![a-z0-9']){body}(?![a-z0-9'])")


def _filled(entry: Any, digits: str) -> Any:
    if isinstance(entry, str):
        return entry.replace("{digits}", digits)
    if isinstance(entry, list):
        return [_filled(one, digits) for one in entry]
    if isinstance(entry, Mapping):
        return {name: _filled(one, digits) for name, one in entry.items()}
    return entry
