"""One speech of the agent: its words from every source that tells them, and what is known of when each is spoken. Pure.

Before, with and after its audio come up to three texts: what goes to the voice, the transcript, and the text beside the
word times (reference/vapi.md §4.4, §7). None of them comes for every speech.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.pace import FASTEST_MS, USUAL_MS, Anchor, Time, Word, anchors_of, bare, ends_ms

MOST_CHARS = 8000  # of one source
MOST_TIMES = 8000  # with some voices each letter has one
FRAME_MS = 20.0  # the grain of everything that is heard
LONGEST_PAUSE_MS = 600.0  # between two segments of a speech
_TAG = re.compile(r"<[^<>]{0,200}>")  # `<flush />`, `<break time="1s"/>`: for the voice, not for the ear

Times = Sequence[tuple[str, float, float]]
"""Words, or letters, or stretches of several words, with start and end in ms."""


@dataclass(slots=True, eq=False)
class Speech:
    """What Vapi says in one go, between its `started` and `stopped`."""

    turn: int | None = None
    voice: str = ""  # what went to the voice: nearest to what is heard
    told: str = ""  # the transcript: finished pieces of it
    telling: str = ""  # … and the one that still grows
    named: str = ""  # the text of `assistant.speechStarted`
    timed: str = ""  # the words that have times
    times: list[Time] = field(default_factory=list)
    audio_ms: float = 0.0
    over: bool = False  # no more audio comes
    broken: bool = False  # … though there were more words
    done: bool = False  # all of it was heard, or it was dropped
    spent_ms: float = 0.0  # heard in earlier utterances …
    spent_chars: int = 0
    rests: list[Anchor] = field(default_factory=list)  # … and where those ended

    @property
    def transcript(self) -> str:
        return f"{self.told} {self.telling}".strip()

    @property
    def text(self) -> str:
        """The words as they went to the voice, or the first source that knows those and more."""
        found = self.voice
        for other in (self.transcript, self.named):
            if len(bare(other)) > len(bare(found)) and bare(found) in bare(other):
                found = other
        return found if bare(found).startswith(bare(self.timed)) else self.timed

    def fits(self, text: str) -> bool:
        """Whether this may be the text of the same speech."""
        new = bare(text)
        known = [bare(one) for one in (self.voice, self.transcript, self.telling, self.named) if one]
        return bool(new) and any(new.startswith(one) or one.startswith(new) for one in known if one)

    def may_be(self, turn: int | None) -> bool:
        return turn is None or self.turn is None or turn == self.turn

    @property
    def is_settled(self) -> bool:
        """Whether all its words are known."""
        return bool(self.voice or (self.told and not self.telling))

    def is_whole(self, words: Sequence[Word]) -> bool:
        """Whether its audio holds all its words: Vapi may break off without saying so, but nobody speaks that fast."""
        return self.over and not self.broken and bool(words) and self.audio_ms >= words[-1].ends * FASTEST_MS

    def ends_ms(self, words: Sequence[Word], unit_ms: float, *, whole: bool) -> list[float]:
        """When each word ends, on the speech's own clock: by known times, its length, and the pace of the voice."""
        if not words:
            return []
        anchors = anchors_of(words, self.times, [(0.0, 0.0), *self.rests])
        units, ms = anchors[-1]
        left = words[-1].ends - units
        if left > 0 and whole:
            unit_ms = max(FASTEST_MS, (self.audio_ms - ms) / left)
        elif left > 0 and self.voice:
            unit_ms = max(unit_ms, (self.audio_ms - ms) / left)  # so much audio is not yet all of it
        return ends_ms(words, anchors, unit_ms)

    def align(self, words: Times) -> None:
        """Find the segment's place in the text and in time. The times of each segment may begin anew, or go on."""
        segment = segment_of(words)
        new, known, cursor = bare(segment), bare(self.text), len(bare(self.timed))
        if cursor and new.startswith(bare(self.timed)) and not known.startswith(new, cursor):
            self.times.clear()  # it tells all from the beginning
            self.timed, cursor = "", 0
        gap = known.find(new, cursor) - cursor
        if gap > 0 and len(new) > 3:  # we missed a segment; a letter or two would be found anywhere
            self.timed = joined(self.timed, known[cursor : cursor + gap])
        else:
            gap = 0
        self.timed = joined(self.timed, segment)
        last_ms = self.times[-1][3] if self.times else 0.0
        base_ms = 0.0
        if words[0][1] < last_ms - FRAME_MS or gap:
            pause_ms = min(self.audio_ms - last_ms, LONGEST_PAUSE_MS + gap * USUAL_MS)
            base_ms = last_ms + max(0.0, pause_ms)
        letter = cursor + gap
        for word, start_ms, end_ms in words:
            letters = len(bare(word))
            if letters:
                self.times.append((letter, letter + letters, base_ms + start_ms, base_ms + end_ms))
                letter += letters


def segment_of(words: Times) -> str:
    """The text of words that have times; letters have the spaces among them."""
    letters = any(word.isspace() for word, _, _ in words)
    return ("" if letters else " ").join(word for word, _, _ in words)


def cleaned(text: str) -> str:
    return " ".join(_TAG.sub(" ", text).split())


def joined(before: str, text: str) -> str:
    return f"{before} {cleaned(text)}".strip()[:MOST_CHARS]
