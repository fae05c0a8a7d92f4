"""The referee: what really happened in a call, by what was heard and by the truth about the caller. Pure.

It knows nothing of the engine but its certificates (`Interruption` notes), and those it checks against the tap.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from math import inf

from actors.world.agent import Speech
from actors.world.caller import Placed
from actors.world.certificates import CertificateCheck, check_certificates
from actors.world.heard import Heard, is_whole
from actors.world.tap import Run
from actors.world.world import Lived
from engine.audio import FRAME_MS

HOLD_DUE_MS = 200.0  # after so much of the caller's speech, and the line's delays, nobody else may be heard
QUIET_MS = 100.0  # nothing heard for so long: the agent has fallen silent
FINISHED_MS = 200.0  # a speech that had no more than this to go ended by itself
WORD_HEARD = 0.8  # of its frames must have come
SETTLED_MS = 700.0  # after the end of what the caller said
DECIDED_MS = 3000.0  # after so long a noise has been decided about
CAUSE_MS = 700.0  # what breaks off so long after a sound may have been broken off by it
CERTIFIED_MS = 500.0  # a certificate's onset and the true one are no further apart


class Fate(StrEnum):
    """What became of the speech that a sound fell into."""

    NOTHING = "nothing"  # nobody spoke
    FINISHED = "finished"  # it was as good as over
    UNTOUCHED = "untouched"  # it went on as if nothing had been heard
    RESUMED = "resumed"  # it fell silent, and went on
    ENDED = "ended"  # it fell silent for good
    OVERTAKEN = "overtaken"  # it was held until something else decided


@dataclass(frozen=True, slots=True)
class Ruling:
    """About one sound of the caller's."""

    name: str
    kind: str
    is_speech: bool
    onset_ms: float
    fate: Fate
    silent_ms: float | None = None  # from the onset to the end of the last thing heard; None: nothing to silence
    lost_ms: float | None = None  # of a speech that went on: lost (or, if negative, heard twice)
    words_lost: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """About one call."""

    rulings: tuple[Ruling, ...]
    overlaps: tuple[tuple[float, float], ...]  # both voices, from and until, in ms
    silences: tuple[tuple[float, float], ...]  # nobody's voice, while something was owed
    lost_ms: tuple[float, ...]  # at every break within a speech: lost, or heard twice if negative
    gaps_ms: tuple[float, ...]  # breaks in a speech that no `clear` explains
    certificates: tuple[CertificateCheck, ...]
    uncertified: int  # speeches that were cut or held without a certificate
    causeless_held: int  # times that the agent fell silent in the middle of a speech, and nobody had made a sound
    causeless_ended: int  # … and never went on

    @property
    def longest_silence_ms(self) -> float:
        return max((end - start for start, end in self.silences), default=0.0)


def judge(lived: Lived) -> Report:
    """Everything that can be said about a call."""
    referee = _Referee(lived)
    rulings = tuple(referee.rule(placed) for placed in lived.placed)
    certificates = tuple(check_certificates(referee.heard))
    causeless = list(referee.causeless())
    return Report(
        rulings=rulings,
        overlaps=tuple(referee.overlaps()),
        silences=tuple(referee.silences()),
        lost_ms=tuple(referee.breaks()),
        gaps_ms=tuple(referee.gaps()),
        certificates=certificates,
        uncertified=_uncertified(rulings, certificates),
        causeless_held=causeless.count(False),
        causeless_ended=causeless.count(True),
    )


class _Referee:
    def __init__(self, lived: Lived) -> None:
        self.lived, self.heard = lived, Heard(lived)
        self.runs = lived.tap.runs

    # --- one sound ---------------------------------------------------------------------------------------------------

    def rule(self, placed: Placed) -> Ruling:
        fate, silent_ms, lost_ms = self._fate(placed)
        words_lost = _words_lost(placed) if placed.sound.is_speech else 0
        sound = placed.sound
        return Ruling(sound.name, sound.kind, sound.is_speech, placed.onset_ms, fate, silent_ms, lost_ms, words_lost)

    def _fate(self, placed: Placed) -> tuple[Fate, float | None, float | None]:
        onset_ms = placed.onset_ms
        index = self._heard_at(onset_ms)
        if index is None:
            return self._fate_of_held(placed)
        last = self._until_quiet(index)
        silent_ms = max(0.0, last.end_ms - onset_ms)
        speech = self.heard.speech_of(last)
        if speech is None:
            return Fate.NOTHING, silent_ms, None  # a line of our own: it may be cut anywhere
        if last.end_ms > self._next_onset(placed):
            return Fate.UNTOUCHED, silent_ms, None  # what then silenced it was not this sound
        if is_whole(last, speech) and not speech.interrupted:
            if silent_ms <= FINISHED_MS:
                return Fate.FINISHED, None, None
            return Fate.UNTOUCHED, silent_ms, None
        return self._what_next(placed, speech, last, silent_ms)

    def _fate_of_held(self, placed: Placed) -> tuple[Fate, float | None, float | None]:
        """Nobody is heard: perhaps because a speech is held already."""
        before = [run for run in self.runs if run.end_ms <= placed.onset_ms]
        speech = self.heard.speech_of(before[-1]) if before else None
        if speech is None or is_whole(before[-1], speech):
            return Fate.NOTHING, None, None
        ended_before = any(
            one.sound.is_speech and before[-1].end_ms - QUIET_MS < one.end_ms and one.onset_ms < placed.onset_ms
            for one in self.lived.placed
            if one is not placed
        )
        if ended_before:
            return Fate.NOTHING, None, None
        fate, _, lost_ms = self._what_next(placed, speech, before[-1], 0.0)
        return fate, None, lost_ms

    def _what_next(
        self, placed: Placed, speech: Speech, last: Run, silent_ms: float
    ) -> tuple[Fate, float, float | None]:
        again = [run for run in self.heard.pieces(speech) if run.at_ms >= last.end_ms]
        later = [one.onset_ms for one in self.lived.placed if one.onset_ms > placed.onset_ms and one.sound.is_speech]
        overtaken_ms = min(later, default=inf)
        if placed.sound.is_speech and again:  # it may go on for a moment, and be silenced by the same words
            rest = again[-1]
            if rest.end_ms < placed.end_ms + SETTLED_MS and not is_whole(rest, speech):
                again = []
        if again and again[0].at_ms < overtaken_ms:
            return Fate.RESUMED, silent_ms, again[0].number - (last.number + last.ms)
        if not placed.sound.is_speech and overtaken_ms < placed.end_ms + DECIDED_MS:
            return Fate.OVERTAKEN, silent_ms, None
        return Fate.ENDED, silent_ms, None

    def _next_onset(self, placed: Placed) -> float:
        return min((one.onset_ms for one in self.lived.placed if one.onset_ms > placed.onset_ms), default=inf)

    def _heard_at(self, onset_ms: float) -> int | None:
        """The run that is heard at this moment or begins before it could be held."""
        for index, run in enumerate(self.runs):
            if run.end_ms > onset_ms:
                return index if run.at_ms < onset_ms + HOLD_DUE_MS else None
        return None

    def _until_quiet(self, index: int) -> Run:
        """The last run before the agent fell silent."""
        runs = self.runs
        while index + 1 < len(runs) and runs[index + 1].at_ms - runs[index].end_ms < QUIET_MS:
            index += 1
        return runs[index]

    # --- the whole call ----------------------------------------------------------------------------------------------

    def overlaps(self) -> Iterator[tuple[float, float]]:
        """Where somebody was heard although the caller had been speaking for long enough."""
        for placed in self.lived.placed:
            if placed.sound.is_speech:
                line = self.lived.plan.line
                there_and_back_ms = line.up_ms + line.up_jitter_ms + line.down_ms + line.down_jitter_ms
                start_ms, end_ms = placed.onset_ms + HOLD_DUE_MS + there_and_back_ms, placed.end_ms
                spans = [(max(run.at_ms, start_ms), min(run.end_ms, end_ms)) for run in self.runs]
                yield from _merged([span for span in spans if span[0] < span[1]], QUIET_MS)

    def silences(self) -> Iterator[tuple[float, float]]:
        """Where nobody was heard and the agent owed something: an answer, its greeting, the rest of a held speech."""
        voices = [(run.at_ms, run.end_ms) for run in self.runs]
        voices += [(placed.onset_ms, placed.end_ms) for placed in self.lived.placed]
        at_ms = 0.0
        for start_ms, end_ms in [*_merged(sorted(voices), 0.0), (self.lived.ended_ms, self.lived.ended_ms)]:
            if start_ms > at_ms and self._is_owed(at_ms):
                yield at_ms, start_ms
            at_ms = max(at_ms, end_ms)

    def _is_owed(self, at_ms: float) -> bool:
        before = [run for run in self.runs if run.end_ms <= at_ms]
        agents = [run for run in before if run.is_agent]
        asked = [one for one in self.lived.placed if one.sound.is_speech and one.end_ms <= at_ms]
        if not agents:
            return True
        speech = self.heard.speech_of(agents[-1])
        assert speech is not None
        if asked and (speech.began_at - self.lived.began_at) * 1000 < asked[-1].onset_ms:
            return True
        rest = [run for run in self.heard.pieces(speech) if run.at_ms >= at_ms]
        return bool(rest) or not is_whole(agents[-1], speech)

    def breaks(self) -> Iterator[float]:
        for speech in self.lived.speeches:
            runs = self.heard.pieces(speech)
            for before, after in pairwise(runs):
                yield after.number - (before.number + before.ms)

    def gaps(self) -> Iterator[float]:
        clears = self.lived.clears
        for runs in self.heard.by_speech.values():
            for before, after in pairwise(runs):
                gap_ms = after.at_ms - before.end_ms
                cleared = any(before.end_ms - 2 * FRAME_MS <= one <= after.at_ms for one in clears)
                if gap_ms > 0 and not cleared:
                    yield gap_ms

    def causeless(self) -> Iterator[bool]:
        """For each time that a speech broke off and the caller was silent: whether it ended there."""
        for speech in self.lived.speeches:
            runs = self.heard.pieces(speech)
            for index, run in enumerate(runs):
                ended = index + 1 == len(runs)
                if is_whole(run, speech) or run.end_ms > self.lived.ended_ms - 2 * FRAME_MS:
                    continue
                if not ended and runs[index + 1].at_ms - run.end_ms < QUIET_MS:
                    continue
                near = (one for one in self.lived.placed if one.at_ms - FRAME_MS <= run.end_ms <= one.end_ms + CAUSE_MS)
                if next(near, None) is None:
                    yield ended


def _uncertified(rulings: Iterable[Ruling], certificates: Sequence[CertificateCheck]) -> int:
    """Speeches that a sound silenced, and no certificate near it."""
    cut = [one.onset_ms for one in rulings if one.fate in (Fate.RESUMED, Fate.ENDED) and one.silent_ms is not None]
    return sum(not any(abs(one.onset_ms - onset_ms) < CERTIFIED_MS for one in certificates) for onset_ms in cut)


def _words_lost(placed: Placed) -> int:
    lost = 0
    for number, word in enumerate(placed.words):
        frames = int(word.end_ms // FRAME_MS) - int(word.start_ms // FRAME_MS) + 1
        lost += placed.got_frames.get(number, 0) < WORD_HEARD * frames
    return lost


def _merged(spans: Iterable[tuple[float, float]], within_ms: float) -> list[tuple[float, float]]:
    """Spans in order, those close together as one."""
    merged: list[tuple[float, float]] = []
    for start, end in spans:
        if merged and start - merged[-1][1] <= within_ms:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
