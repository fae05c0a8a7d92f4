"""Which words left the earpiece: the agent's by the numbers in its audio, the service's own lines by theirs. Pure.

A line of the service's is numbered audio too, with every sign turned round, so that nothing takes it for the agent's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from actors.world.agent import Speech
from actors.world.sounds import PAUSE_MS, WORD_MS, number_of, spoken
from actors.world.tap import Run, Tap
from engine.audio import BYTES_PER_MS
from engine.lines import Clip, LineBook

LOUD_MS = WORD_MS - PAUSE_MS
ENOUGH = 0.8  # of a word must be heard
_TURNED = bytes(code ^ 0x80 for code in range(256))


@dataclass(frozen=True, slots=True)
class HeardWord:
    """One word and when it was heard, in milliseconds of the tap."""

    text: str
    at_ms: float
    end_ms: float
    is_agent: bool
    source: int  # the first millisecond of the speech or line that it is of: what belongs together has the same


def numbered_lines(texts: Mapping[str, Sequence[str]]) -> tuple[LineBook, dict[str, int]]:
    """Clips of these lines, by kind, and the number at which each text begins."""
    begins: dict[str, int] = {}
    number = 0
    for text in dict.fromkeys(text for some in texts.values() for text in some):
        begins[text] = number
        number += WORD_MS * max(1, len(text.split()))
    clips = {kind: tuple(_clip(text, begins[text]) for text in some) for kind, some in texts.items()}
    return LineBook(clips), begins


def _clip(text: str, first: int) -> Clip:
    return Clip(text, spoken(first, max(1, len(text.split()))).translate(_TURNED))


def words_heard(tap: Tap, speeches: Sequence[Speech], lines: Mapping[str, int]) -> list[HeardWord]:
    """Every word that was heard, in order."""
    found: list[HeardWord] = []
    agents = [run for run in tap.runs if run.is_agent]
    for speech in speeches:
        within = [run for run in agents if run.number < speech.after and run.number + run.ms > speech.first]
        found += _words_of(speech.text, speech.first, within, is_agent=True)
    if lines:
        ours = list(_line_runs(tap))
        for text, first in lines.items():
            after = first + WORD_MS * len(text.split())
            within = [run for run in ours if run.number < after and run.number + run.ms > first]
            for times in _sayings(within):
                found += _words_of(text, first, times, is_agent=False)
    return sorted(found, key=lambda one: one.at_ms)


def _words_of(text: str, first: int, runs: Sequence[Run], *, is_agent: bool) -> Iterator[HeardWord]:
    for index, word in enumerate(text.split()):
        start = first + index * WORD_MS
        spans = []
        for run in runs:
            low, high = max(run.number, start), min(run.number + run.ms, start + LOUD_MS)
            if low < high:
                spans.append((run.at_ms + low - run.number, high - low))
        if sum(ms for _, ms in spans) >= ENOUGH * LOUD_MS:
            last_at, last_ms = spans[-1]
            yield HeardWord(word, spans[0][0], last_at + last_ms, is_agent, first)


def _line_runs(tap: Tap) -> Iterator[Run]:
    """What was heard of our own lines, millisecond by millisecond put together."""
    for run in tap.runs:
        if run.is_agent:
            continue
        start = round((run.at_ms - tap.phase_ms) * BYTES_PER_MS)
        heard = bytes(tap.heard[start : start + round(run.ms) * BYTES_PER_MS]).translate(_TURNED)
        numbers = [(at, number_of(heard, at * BYTES_PER_MS)) for at in range(len(heard) // BYTES_PER_MS)]
        known = [(at, number) for at, number in numbers if number is not None]
        for _, together in groupby(known, key=lambda one: one[1] - one[0]):
            pieces = list(together)
            yield Run(run.at_ms + pieces[0][0], pieces[0][1], len(pieces))


def _sayings(runs: Iterable[Run]) -> Iterator[list[Run]]:
    """The same line said again begins again."""
    saying: list[Run] = []
    for run in runs:
        if saying and run.number < saying[-1].number + saying[-1].ms - WORD_MS:
            yield saying
            saying = []
        saying.append(run)
    if saying:
        yield saying
