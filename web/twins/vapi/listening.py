"""When does the caller speak, and when is a turn over? Frames in, facts out. Waits for nothing, knows no clock.

Silence is counted in frames, not on a clock: a bridge that stops sending never ends a turn (vapi.md §4.3).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from engine.audio import FRAME_MS
from web.twins.vapi.settings import VoiceActivity

__all__ = ["Listening", "TurnOver", "VoiceStarted"]

PREROLL_MS = 300
TAIL_MS = 200
"""So much silence after the last voice goes to the recogniser."""
LONGEST_TURN_MS = 30_000


@dataclass(frozen=True, slots=True)
class VoiceStarted:
    """The caller has begun to speak, `voiced_ms` ago."""

    voiced_ms: int


@dataclass(frozen=True, slots=True)
class TurnOver:
    """Silence ended the turn. `mulaw`: from a little before the first voice to a little after the last."""

    mulaw: bytes
    voiced_ms: int
    length_ms: int


class Listening:
    def __init__(self, activity: VoiceActivity, *, start_ms: int, endpoint_ms: int) -> None:
        self._activity = activity
        self._start_ms, self._endpoint_ms = max(FRAME_MS, start_ms), endpoint_ms
        self._preroll: deque[bytes] = deque(maxlen=PREROLL_MS // FRAME_MS)
        self._turn: list[bytes] = []
        self._run_ms = self._quiet_ms = self._voiced_ms = 0
        self.is_voiced = False
        """Whether the last frame was voice."""

    @property
    def in_turn(self) -> bool:
        return bool(self._turn)

    def so_far(self) -> bytes:
        """The audio of the turn that is going on."""
        return b"".join(self._turn)

    def feed(self, frame: bytes) -> VoiceStarted | TurnOver | None:
        self.is_voiced = self._activity.feed(frame)
        return self._go_on(frame) if self._turn else self._wait(frame)

    def _wait(self, frame: bytes) -> VoiceStarted | None:
        self._preroll.append(frame)
        self._run_ms = self._run_ms + FRAME_MS if self.is_voiced else 0
        if self._run_ms < self._start_ms:
            return None
        self._turn = list(self._preroll)
        self._preroll.clear()
        self._voiced_ms, self._quiet_ms = self._run_ms, 0
        return VoiceStarted(self._run_ms)

    def _go_on(self, frame: bytes) -> TurnOver | None:
        self._turn.append(frame)
        if self.is_voiced:
            self._voiced_ms += FRAME_MS
            self._quiet_ms = 0
        else:
            self._quiet_ms += FRAME_MS
        if self._quiet_ms < self._endpoint_ms and len(self._turn) * FRAME_MS < LONGEST_TURN_MS:
            return None
        drop = max(0, self._quiet_ms - TAIL_MS) // FRAME_MS
        kept = self._turn[: len(self._turn) - drop]
        over = TurnOver(b"".join(kept), self._voiced_ms, len(self._turn) * FRAME_MS)
        self._preroll.extend(self._turn)
        self._turn = []
        self._run_ms = 0
        return over
