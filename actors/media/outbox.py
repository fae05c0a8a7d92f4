"""Frames that wait to be written to one socket, counted in milliseconds of audio.

A frame is dropped whole or not at all: once its first byte is written it must be finished, or the peer loses step.
"""

from __future__ import annotations

__all__ = ["Outbox"]


class Outbox:
    """A queue of whole frames. Audio may be dropped, oldest first; control never is.

    Nearly always just one frame waits, for the end of the round in which it came: it has a place of its own, `only`.
    """

    __slots__ = ("_audio_ms", "_frames", "_limit_ms", "only", "only_ms", "queued_bytes")

    def __init__(self, limit_ms: int) -> None:
        self._frames: list[tuple[bytes, int]] = []  # short as a rule: a list weighs a tenth of a deque
        self._limit_ms = limit_ms
        self._audio_ms = 0  # of the queue proper, without `only`
        self.queued_bytes = 0
        """As that: 0 while nothing is queued but perhaps `only`."""
        self.only: bytes | None = None
        """The one frame that waits; whoever writes the whole of it sets this to None. Where nothing at all waits, a
        frame may be put here, and its length in time into `only_ms`, just as `put` would."""
        self.only_ms = 0

    def __bool__(self) -> bool:
        return self.only is not None or bool(self._frames)

    @property
    def audio_ms(self) -> int:
        """Milliseconds of audio that wait and may still be dropped."""
        return self._audio_ms + (self.only_ms if self.only is not None else 0)

    @property
    def size(self) -> int:
        """Bytes that wait."""
        return self.queued_bytes + (len(self.only) if self.only is not None else 0)

    def put(self, frame: bytes, audio_ms: int) -> bool:
        """Queue a frame; whether there are several now, so that limits are to be looked at."""
        if self.only is None and not self.queued_bytes:
            self.only, self.only_ms = frame, audio_ms
            return False
        self.spread()
        self._frames.append((frame, audio_ms))
        self._audio_ms += audio_ms
        self.queued_bytes += len(frame)
        return True

    def spread(self) -> None:
        """Put the only frame into the queue proper: it is to be dropped, written in part, or no longer the only one."""
        if self.only is not None:
            frame, self.only = self.only, None
            self._frames.append((frame, self.only_ms))
            self._audio_ms += self.only_ms
            self.queued_bytes += len(frame)

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
        self.only = None
        self._audio_ms = self.queued_bytes = 0

    def _drop(self, keep_ms: int) -> int:
        self.spread()
        before = self._audio_ms
        kept: list[tuple[bytes, int]] = []
        for number, (frame, audio_ms) in enumerate(self._frames):
            if self._audio_ms <= keep_ms:
                kept += self._frames[number:]
                break
            if audio_ms:
                self._audio_ms -= audio_ms
                self.queued_bytes -= len(frame)
            else:
                kept.append((frame, audio_ms))
        self._frames = kept
        return before - self._audio_ms

    # ---- writing

    def next_bytes(self, at_most: int) -> bytes:
        """The next bytes to write: one frame at least, and as many whole ones as fit."""
        self.spread()
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
        self.queued_bytes -= count
        whole = 0
        for frame, audio_ms in self._frames:
            if not count:
                break
            self._audio_ms -= audio_ms
            if count < len(frame):
                self._frames[whole] = (frame[count:], 0)  # begun: it counts as control now
                break
            count -= len(frame)
            whole += 1
        del self._frames[:whole]
