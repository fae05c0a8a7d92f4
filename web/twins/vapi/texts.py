"""Texts: `{{ name }}` filled in from variableValues (vapi.md §11.3; no other Liquid than that), words with times."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from web.twins.vapi.brain import sentences

__all__ = ["filled", "segments_of"]

_SLOT = re.compile(r"\{\{\s*([A-Za-z0-9_.]+)\s*\}\}")


def filled(text: str, variables: Mapping[str, Any]) -> str:
    """An unknown name becomes nothing, as in Liquid."""
    return _SLOT.sub(lambda slot: str(variables.get(slot[1], "")), text)


def segments_of(text: str, length_ms: float) -> list[tuple[float, dict[str, Any]]]:
    """Each sentence with its start in the speech and the `timing` of its words, in proportion to their letters.

    The times count from the start of the sentence; spaces are words too, and the last one leads over to the next
    sentence (both by the SDK's AssistantSpeechWordAlignmentTiming, which leaves the times' origin open).
    """
    pieces = sentences(text)
    ms_per_letter = length_ms / max(1, sum(map(len, pieces)) + len(pieces) - 1)
    segments: list[tuple[float, dict[str, Any]]] = []
    begins = 0
    for number, piece in enumerate(pieces):
        words = re.findall(r"\S+|\s+", piece if number == len(pieces) - 1 else piece + " ")
        edges = [0]
        for word in words:
            edges.append(edges[-1] + len(word))
        times = [round(edge * ms_per_letter, 1) for edge in edges]
        timing = {
            "type": "word-alignment",
            "words": words,
            "wordsStartTimesMs": times[:-1],
            "wordsEndTimesMs": times[1:],
        }
        segments.append((begins * ms_per_letter, timing))
        begins += edges[-1]
    return segments
