"""What one call of the twin was like, from the twin's side: for `GET /twin/calls/{id}` and for tests."""

from __future__ import annotations

from typing import Any

import trio

__all__ = ["Timeline"]

MOST_ENTRIES = 2000
GAP_S = 0.100


class Timeline:
    """Happenings with the milliseconds since the call was created, and what was counted on its socket.

    `complaints`: what the bridge did that Vapi would not like (also kept as entries).
    """

    def __init__(self) -> None:
        self._began = trio.current_time()
        self._last_frame: float | None = None
        self.entries: list[dict[str, Any]] = []
        self.left_out = 0
        self.complaints: list[str] = []
        self.frames_in = self.bytes_in = self.frames_out = self.bytes_out = self.texts_in = self.texts_out = 0
        self.gaps_in = 0
        self.longest_gap_ms = 0.0

    def note(self, what: str, **facts: Any) -> None:
        if len(self.entries) >= MOST_ENTRIES:
            self.left_out += 1
            return
        self.entries.append({"at_ms": round((trio.current_time() - self._began) * 1000, 1), "what": what, **facts})

    def complain(self, why: str) -> None:
        if len(self.complaints) < MOST_ENTRIES:
            self.complaints.append(why)
        self.note("complaint", why=why)

    def audio_in(self, payload: bytes) -> None:
        now = trio.current_time()
        if self._last_frame is not None:
            gap_s = now - self._last_frame
            self.gaps_in += gap_s > GAP_S
            self.longest_gap_ms = max(self.longest_gap_ms, gap_s * 1000)
        self._last_frame = now
        self.frames_in += 1
        self.bytes_in += len(payload)

    def audio_out(self, payload: bytes) -> None:
        self.frames_out += 1
        self.bytes_out += len(payload)

    def as_json(self) -> dict[str, Any]:
        return {
            "timeline": self.entries,
            "left_out": self.left_out,
            "complaints": self.complaints,
            "socket": {
                "frames_in": self.frames_in,
                "bytes_in": self.bytes_in,
                "gaps_in_over_100_ms": self.gaps_in,
                "longest_gap_in_ms": round(self.longest_gap_ms, 1),
                "frames_out": self.frames_out,
                "bytes_out": self.bytes_out,
                "texts_in": self.texts_in,
                "texts_out": self.texts_out,
            },
        }
