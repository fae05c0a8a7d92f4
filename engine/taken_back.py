"""What a hold took back from Twilio, until the mark behind its `clear` tells where the caller's ear really was. Pure.

That mark and those before it come on the socket of the caller's audio, so the line's own clock dates them
(`engine.playout`): to the frame, however long the network held them all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, floor, inf

from engine.audio import BYTES_PER_MS, BYTES_PER_S, FRAME_BYTES, duration_ms
from engine.playout_moves import Cut

_NOT_YET = 0.001  # of a frame


def _slot(line_s: float) -> int:
    """Between which two of the caller's frames a moment of the line's clock lies: no jitter can change that."""
    return floor(line_s * BYTES_PER_S / FRAME_BYTES + _NOT_YET)


@dataclass(slots=True)
class TakenBack:
    """The books of one utterance as they were when it was held."""

    utterance: int
    sent_bytes: int
    taken_bytes: int
    unheard_ms: float
    zero_s: float  # by the line's clock, when the ear was at the utterance's start, …
    is_known: bool  # … by a mark, or else by our own clock
    since_bytes: int  # where in the utterance this unbroken stretch began
    marks: dict[str, int]  # that were not back: how far into the utterance
    back: list[tuple[float, int]] = field(default_factory=list)  # by the line's clock
    waits: bool = True  # it can still be put right

    def ear(self, line_s: float, rtt_s: float | None) -> tuple[int, float] | None:
        """How far into the utterance the ear was, in bytes, and when it was at the start; None if that is unknown.

        Below 0: what was still heard is what was sent before this utterance.

        Args:
            line_s: seconds of the caller's audio before the mark behind `clear`.
            rtt_s: of a mark on an empty buffer.
        """
        zero_s, is_known = self.zero_s, self.is_known
        reached, most = 0, self.sent_bytes
        line_s = min((at_s for at_s, position in self.back if position == most), default=line_s)  # `clear` sent it back
        slot = _slot(line_s)
        for at_s, position in self.back:
            if _slot(at_s) >= slot:  # together with the last one: `clear` sent it back too
                most, line_s = min(most, position), min(line_s, at_s)
            elif position > reached:
                reached = position
                if not is_known:
                    zero_s, is_known = at_s - position / BYTES_PER_S, True
        if not is_known:
            zero_s += rtt_s if rtt_s is not None else -inf
        if zero_s == -inf:
            return None
        frames = ceil((line_s - zero_s) * BYTES_PER_S / FRAME_BYTES - _NOT_YET)  # what was begun was heard to its end
        ear = min(frames * FRAME_BYTES, most)
        return (max(ear, reached) if reached else ear), zero_s

    def cut(self, ear: int, zero_s: float) -> Cut:
        """What that tells of where the utterance was cut."""
        unheard_ms = max(0.0, self.unheard_ms + duration_ms(self.sent_bytes - ear - self.taken_bytes))
        since_ms = zero_s * 1000 + self.since_bytes / BYTES_PER_MS
        return Cut(self.utterance, duration_ms(max(ear, 0)), unheard_ms, since_ms, zero_s * 1000 + ear / BYTES_PER_MS)
