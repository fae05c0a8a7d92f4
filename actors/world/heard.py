"""What was heard of which speech: the tap's runs beside the agent's speeches. Pure."""

from __future__ import annotations

from actors.world.agent import Speech
from actors.world.tap import Run
from actors.world.world import Lived


class Heard:
    """One call's runs, by speech."""

    def __init__(self, lived: Lived) -> None:
        self.lived = lived
        self.runs = lived.tap.runs
        self.admitted_ms = (lived.opened_at - lived.began_at) * 1000  # the journal's 0 on the tap's clock
        self.by_speech: dict[int, list[Run]] = {}  # by the number of the speech's first millisecond
        for run in self.runs:
            speech = self.speech_of(run)
            if speech is not None:
                self.by_speech.setdefault(speech.first, []).append(run)

    def speech_of(self, run: Run) -> Speech | None:
        """The speech that a run is of; None for one of the service's own lines."""
        for speech in reversed(self.lived.speeches):
            if run.is_agent and run.number >= speech.first:
                return speech
        return None

    def pieces(self, speech: Speech) -> list[Run]:
        """The runs of a speech, in order."""
        return self.by_speech.get(speech.first, [])

    def ms_between(self, since_ms: float, until_ms: float) -> float:
        """How much was heard of anybody between two moments."""
        return sum(max(0.0, min(run.end_ms, until_ms) - max(run.at_ms, since_ms)) for run in self.runs)


def is_whole(last: Run, speech: Speech) -> bool:
    """Whether this run ends where the speech ends."""
    return last.number + last.ms >= speech.after
