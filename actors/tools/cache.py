"""What reading tools answered, for as long as their policy says. Bounded; for all calls of the process."""

from __future__ import annotations

from collections import OrderedDict

MOST_ANSWERS = 2000  # of at most 4,000 characters each

Key = tuple[str, bytes, str]  # tool, canonical arguments, the caller's number where the tool knows who calls


class ResultCache:
    __slots__ = ("_answers", "hits")

    def __init__(self) -> None:
        self._answers: OrderedDict[Key, tuple[float, str]] = OrderedDict()
        self.hits = 0

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: Key, now: float) -> str | None:
        until, text = self._answers.get(key, (0.0, ""))
        if now >= until:
            self._answers.pop(key, None)
            return None
        self.hits += 1
        return text

    def put(self, key: Key, text: str, until: float) -> None:
        self._answers[key] = (until, text)
        self._answers.move_to_end(key)
        while len(self._answers) > MOST_ANSWERS:
            self._answers.popitem(last=False)
