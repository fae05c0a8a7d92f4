"""Frames that wait to be written to one socket, counted in milliseconds of audio.

A frame is dropped whole or not at all: once its first byte is written it must be finished, or the peer loses step.
"""

from __future__ import annotations

from collections import deque

__all__ = ["Outbox"]


class Outbox:
    """A queue of whole frames. Audio may be dropped, oldest first; control never is."""

    def __init__(self, limit_ms: int) -> None:
        self._frames: deque[tuple[bytes, int]] = deque()
        self._limit_ms = limit_ms
        self.audio_ms = 0
        """Milliseconds of audio that wait and may still be dropped."""
        self.size = 0
        """Bytes that wait."""

    def __bool__(self) -> bool:
        return bool(self._frames)

    def put(self, frame: bytes, audio_ms: int) -> None:
        self._frames.append((frame, audio_ms))
        self.audio_ms += audio_ms
        self.size += len(frame)

    @property
    def is_over(self) -> bool:
        return self.audio_ms > self._limit_ms

    def shed(self) -> int:
        """Drop the oldest audio until the rest is within the limit. Returns the milliseconds dropped."""
        return self._drop(self._limit_ms)

    def drop_audio(self) -> int:
        """Drop all audio of which nothing is written yet. Returns the milliseconds dropped."""
        return self._drop(0)

    def clear(self) -> None:
        self._frames.clear()
        self.audio_ms = self.size = 0

    def _drop(self, keep_ms: int) -> int:
        before = self.audio_ms
        kept: deque[tuple[bytes, int]] = deque()
        while self._frames and self.audio_ms > keep_ms:
            frame, audio_ms = self._frames.popleft()
            if audio_ms:
                self.audio_ms -= audio_ms
                self.size -= len(frame)
            else:
                kept.append((frame, audio_ms))
        self._frames.extendleft(reversed(kept))
        return before - self.audio_ms

    # ---- writing

    def next_bytes(self, at_most: int) -> bytes:
        """The next bytes to write: one frame at least, and as many whole ones as fit."""
        frames = self._frames
        first = frames[0][0]
        if len(frames) == 1 or len(first) >= at_most:
            return first
        chosen: list[bytes] = []
        total = 0
        for frame, _ in frames:
            total += len(frame)
            if chosen and total > at_most:
                break
            chosen.append(frame)
        return b"".join(chosen)

    def written(self, count: int) -> None:
        """The first `count` of those bytes are out."""
        self.size -= count
        frames = self._frames
        while count:
            frame, audio_ms = frames.popleft()
            self.audio_ms -= audio_ms
            if count < len(frame):
                frames.appendleft((frame[count:], 0))  # begun: it counts as control now
                return
            count -= len(frame)
