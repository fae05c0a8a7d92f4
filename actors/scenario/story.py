"""One scenario, lived: everything its expectations ask about, on one clock (milliseconds since the stream). Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from actors.scenario.plays import ToolRuns
from actors.world.caller import Placed
from actors.world.heard import Heard
from actors.world.referee import Fate, Ruling, judge
from actors.world.tap import Run
from actors.world.words import HeardWord, words_heard
from actors.world.world import Lived
from engine.journal import Kind, Record
from engine.phrases import normalise

HOLD_DUE_MS = 200.0  # the referee's: so much of the caller's speech, and the line's delays, and nobody else is heard
DEAD_AIR_MS = 2000.0


class Facts:
    """What the journal and the line say of a call, wherever it was made."""

    records: Sequence[Record]
    admitted_ms: float  # the journal's 0 on the caller's clock
    hung_up: bool  # by the caller
    ended_ms: float
    told: Sequence[Mapping[str, Any]]  # messages to Vapi
    runs: ToolRuns

    def ms_of(self, record: Record) -> float:
        """When a record was made, on the caller's clock."""
        return record.at_ms + self.admitted_ms

    def at(self, ms: float) -> str:
        """A moment as the transcript writes it: seconds since the call was admitted."""
        return f"{(ms - self.admitted_ms) / 1000:.3f}"

    def notes(self, name: str) -> list[dict[str, Any]]:
        return [record.data for record in self.records if record.name == name]

    def phases(self) -> list[str]:
        changes = [record for record in self.records if record.kind is Kind.PHASE]
        return [str(changes[0].data.get("from", "")), *(one.name for one in changes)] if changes else []

    def closed(self) -> Mapping[str, Any]:
        return next((record.data for record in reversed(self.records) if record.kind is Kind.CLOSED), {})


class Story(Facts):
    """What happened in a world."""

    def __init__(
        self, lived: Lived, runs: ToolRuns, documents: Sequence[str], crashed: int, lines: Mapping[str, int]
    ) -> None:
        self.lived, self.runs, self.crashed, self.lines = lived, runs, crashed, lines
        self.documents = documents  # TwiML, in order
        self.report, self.heard = judge(lived), Heard(lived)
        self.words = words_heard(lived.tap, lived.speeches, lines)
        self.records, self.told = lived.records, lived.told
        self.admitted_ms, self.hung_up, self.ended_ms = self.heard.admitted_ms, lived.hung_up, lived.ended_ms

    # --- sounds ------------------------------------------------------------------------------------------------------

    def sounds(self, after: str) -> list[tuple[str, Placed, Ruling]]:
        """The caller's sounds that `cut in 2`, or `cut in` for all of them, means; each with its name."""
        name, _, number = after.rpartition(" ")
        kind, wanted = (name, int(number)) if number.isdecimal() else (after, 0)
        found: list[tuple[str, Placed, Ruling]] = []
        for placed, ruling in zip(self.lived.placed, self.report.rulings, strict=True):
            if placed.sound.name == kind:
                found.append((f"{kind} {len(found) + 1}", placed, ruling))
        return found if not wanted else found[wanted - 1 : wanted]

    def line_ms(self) -> float:
        """What the caller's line takes there and back, at most."""
        line = self.lived.plan.line
        return line.up_ms + line.up_jitter_ms + line.down_ms + line.down_jitter_ms

    def spoken_at(self, placed: Placed) -> Run | None:
        """What was heard of the agent last before this sound could silence it."""
        before = [run for run in self.lived.tap.runs if run.at_ms < placed.onset_ms + HOLD_DUE_MS and run.is_agent]
        return before[-1] if before else None

    def next_agent_ms(self, since_ms: float) -> float | None:
        """When the agent is first heard from that moment on; at once if it is heard then."""
        return next(
            (max(run.at_ms, since_ms) for run in self.lived.tap.runs if run.is_agent and run.end_ms > since_ms), None
        )

    # --- words -------------------------------------------------------------------------------------------------------

    def utterances(self) -> list[tuple[float, bool, str]]:
        """What was heard, piece by piece: when it began, whether it is the agent's, its words."""
        found: list[tuple[float, bool, list[str], int]] = []
        for word in self.words:
            if found and found[-1][3] == word.source and word.is_agent is found[-1][1]:
                found[-1][2].append(word.text)
            else:
                found.append((word.at_ms, word.is_agent, [word.text], word.source))
        return [(at_ms, is_agent, " ".join(texts)) for at_ms, is_agent, texts, _ in found]

    def moments_of(self, phrase: str, since_ms: float = float("-inf")) -> list[tuple[float, float]]:
        """When these words were heard in a row, from and until. A pause or a line of ours in between is none."""
        wanted = normalise(phrase).split()
        found: set[tuple[float, float]] = set()
        for row in self._rows():
            told = [part for word in row if word.at_ms >= since_ms for part in _parts(word)]
            texts = [text for text, _ in told]
            for start in range(len(texts) - len(wanted) + 1):
                if wanted and texts[start : start + len(wanted)] == wanted:
                    found.add((told[start][1].at_ms, told[start + len(wanted) - 1][1].end_ms))
        return sorted(found)

    def _rows(self) -> Iterator[list[HeardWord]]:
        yield [word for word in self.words if word.is_agent]
        yield [word for word in self.words if not word.is_agent]

    def stale(self) -> Iterator[tuple[float, float]]:
        """Where a speech was heard although the caller's words had ended it."""
        for placed, ruling in zip(self.lived.placed, self.report.rulings, strict=True):
            if not placed.sound.is_speech or ruling.fate is not Fate.ENDED or ruling.silent_ms is None:
                continue
            last = self.spoken_at(placed)
            speech = self.heard.speech_of(last) if last is not None else None
            due_ms = placed.onset_ms + HOLD_DUE_MS + self.line_ms()
            for run in self.heard.pieces(speech) if speech is not None else ():
                if run.end_ms > due_ms:
                    yield max(run.at_ms, due_ms), run.end_ms


def _parts(word: HeardWord) -> list[tuple[str, HeardWord]]:
    """A word as it sounds; a dash sounds like nothing, and "half-past" like two."""
    return [(part, word) for part in normalise(word.text).split()]
