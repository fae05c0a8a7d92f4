"""What nobody may read in a log, a journal or an error: the values that came in through `${…}` of an agent file.

One list for the process, and one place that takes them out of a text. Values are only ever added: a secret that was
replaced by a reload may still stand in a call that lives. It cannot help against a secret that is cut in two.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

__all__ = ["HIDDEN", "Hidden"]

SHOWN = "•••"
SHORTEST_CHARS = 6  # what is shorter stands in many words by chance


class Hidden:
    """A set of texts that are to be shown as `•••`."""

    def __init__(self) -> None:
        self._texts: tuple[str, ...] = ()
        self._bytes: tuple[bytes, ...] = ()

    def __repr__(self) -> str:
        return f"Hidden({len(self._texts)} texts)"

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, values: Iterable[str]) -> None:
        """Hide these from now on, as they are and as JSON spells them; what is shorter than six characters is not."""
        spelt = {form for value in values if len(value) >= SHORTEST_CHARS for form in _forms(value)}
        # The longest first: one secret may be the beginning of another.
        self._texts = tuple(sorted(spelt.union(self._texts), key=len, reverse=True))
        self._bytes = tuple(text.encode() for text in self._texts)

    def out_of(self, text: str) -> str:
        """The text without them."""
        for hidden in self._texts:
            if hidden in text:
                text = text.replace(hidden, SHOWN)
        return text

    def out_of_bytes(self, line: bytes) -> bytes:
        """The same for UTF-8."""
        for hidden in self._bytes:
            if hidden in line:
                line = line.replace(hidden, SHOWN.encode())
        return line


def _forms(value: str) -> tuple[str, ...]:
    return value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1]


HIDDEN = Hidden()
