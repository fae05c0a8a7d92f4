"""The certificate of one interruption: when the caller's voice began, when the agent fell silent, and why. Pure.

Nobody else measures this at the carrier's edge (reference/field-bugs.md 2.1 no. 10): the proof is a mark that is sent
right behind `clear`, on what is then an empty buffer, and so comes back as soon as the caller hears nothing any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.playout_moves import Cut

PROOF_S = 1.0  # a proof mark later than this is not waited for


@dataclass(slots=True)
class Certificate:
    """One hold, or one drop without a hold before it. Times are seconds on the call's clock.

    Args:
        n: counts the call's interruptions, from 1.
        onset_at: when the caller's voice began; the moment of the cut where there was none (a key, Vapi's word).
        cut_at: when `clear` was sent.
        held: the agent was held first; otherwise dropped at once.
        began_at: when the call began.
        audible_ms: so much of the agent was heard between the onset and the cut.
        audible_before_ms: as much of it as an earlier cut, after the same onset, has told.
        onset_line_ms: the onset by the line's own clock (`engine.playout`).
        cut: what of the agent's speech was heard and what was not, at that moment.
    """

    n: int
    onset_at: float
    cut_at: float
    cut: Cut
    held: bool = True
    began_at: float = 0.0
    audible_ms: float = 0.0
    onset_line_ms: float = 0.0
    audible_before_ms: float = 0.0
    silent_at: float | None = None
    marks_back: int = 0
    decided_at: float | None = None
    decision: str = ""
    reason: str = ""
    words: str = ""

    @property
    def proof_mark(self) -> str:
        """The name of the mark behind `clear`."""
        return f"c-{self.n}"

    def proved(self, at: float, marks_back: int, cut: Cut | None) -> None:
        """The mark behind `clear` is back, and with it the better knowledge of what had been heard."""
        self.silent_at, self.marks_back = at, marks_back
        if cut is None:
            self.audible_ms += (at - self.cut_at) * 500  # half of the way there and back
            return
        self.cut = cut
        if cut.since_line_ms is not None and cut.until_line_ms is not None:
            heard_ms = cut.until_line_ms - max(self.onset_line_ms, cut.since_line_ms)
            self.audible_ms = self.audible_before_ms + max(0.0, heard_ms)

    def decide(self, at: float, decision: str, reason: str, words: str = "") -> None:
        """What became of it; only the first decision counts."""
        if self.decided_at is None:
            self.decided_at, self.decision, self.reason, self.words = at, decision, reason, words

    def is_complete(self, now: float) -> bool:
        """Whether it can be written down."""
        if self.decided_at is None:
            return False
        return self.silent_at is not None or now >= self.cut_at + PROOF_S

    def data(self) -> dict[str, Any]:
        """As the journal keeps it; `*_ms` are milliseconds since the onset, but for the last three."""

        def since(at: float | None) -> float | None:
            return None if at is None else round((at - self.onset_at) * 1000, 1)

        silent_ms = since(self.silent_at)
        return {
            "n": self.n,
            "utterance": self.cut.utterance,
            "onset_at": round(self.onset_at - self.began_at, 4),
            "onset_line_ms": round(self.onset_line_ms, 1),
            "hold_ms": since(self.cut_at) if self.held else None,
            "clear_ms": since(self.cut_at),
            "silent_ms": silent_ms,
            "marks_back": self.marks_back,
            "decided_ms": since(self.decided_at),
            "decision": self.decision,
            "reason": self.reason,
            "words": self.words,
            "heard_ms": round(self.cut.heard_ms, 1),
            "unheard_ms": round(self.cut.unheard_ms, 1),
            "still_heard_ms": round(self.audible_ms, 1),
        }
