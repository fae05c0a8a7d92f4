"""The earpiece: Twilio's play queue with marks in it, drained at real time. Pure."""

from __future__ import annotations

from collections import deque

from engine.audio import BYTES_PER_MS, FRAME_BYTES, SILENCE_BYTE

MOST_MS = 10 * 60 * 1000  # then audio is discarded with 31931 (reference/twilio.md §10)


class Speaker:
    """Plays what is queued, frame by frame; silence when there is nothing."""

    def __init__(self) -> None:
        self._queue: deque[bytes | str] = deque()
        self._bytes = 0

    @property
    def is_empty(self) -> bool:
        return not self._queue

    def play(self, mulaw: bytes) -> bool:
        """Queue audio; False when it was discarded because the queue is full."""
        if (self._bytes + len(mulaw)) > MOST_MS * BYTES_PER_MS:
            return False
        if mulaw:
            self._queue.append(mulaw)
            self._bytes += len(mulaw)
        return True

    def mark(self, name: str) -> list[str]:
        """Queue a mark. Returns it at once when nothing is before it."""
        if not self._queue:
            return [name]
        self._queue.append(name)
        return []

    def clear(self) -> list[str]:
        """Drop the audio. Returns all marks that still waited."""
        marks = [item for item in self._queue if isinstance(item, str)]
        self._queue.clear()
        self._bytes = 0
        return marks

    def frame(self) -> tuple[bytes, list[str]]:
        """The next 20 ms, and the marks that were reached in it."""
        out = bytearray()
        reached: list[str] = []
        while self._queue and len(out) < FRAME_BYTES:
            item = self._queue.popleft()
            if isinstance(item, str):
                reached.append(item)
                continue
            room = FRAME_BYTES - len(out)
            out += item[:room]
            if len(item) > room:
                self._queue.appendleft(item[room:])
        self._bytes -= len(out)
        while self._queue and isinstance(self._queue[0], str):
            reached.append(str(self._queue.popleft()))
        out += bytes([SILENCE_BYTE]) * (FRAME_BYTES - len(out))
        return bytes(out), reached
