"""The earpiece: Twilio's play queue with marks in it, drained at real time. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from engine.audio import BYTES_PER_MS, FRAME_BYTES, FRAME_MS, SILENCE_BYTE

MOST_MS = 10 * 60 * 1000  # then audio is discarded with 31931 (reference/twilio.md §10)


@dataclass(slots=True)
class _Piece:
    """What is left of one media message. `number` is its place in the order of arrival; `offset` the bytes played."""

    mulaw: bytes
    number: int
    offset: int = 0


class Speaker:
    """Plays what is queued, frame by frame; silence when there is nothing.

    After each `frame`, `source` says where its first byte came from: the message's number (from 1; 0 is nobody's) and
    the offset in it.
    """

    def __init__(self) -> None:
        self._queue: deque[_Piece | str] = deque()
        self._bytes = 0
        self._is_dry = True
        self._wait_frames = 0
        self.source = (0, 0)

    @property
    def is_empty(self) -> bool:
        return not self._queue

    def play(self, mulaw: bytes, number: int = 0, *, start_delay_ms: int = 0) -> bool:
        """Queue audio; False when it was discarded because the queue is full.

        Args:
            start_delay_ms: it starts so late when nothing was playing.
        """
        if (self._bytes + len(mulaw)) > MOST_MS * BYTES_PER_MS:
            return False
        if mulaw:
            if self._is_dry and self.is_empty:
                self._wait_frames = -(-start_delay_ms // FRAME_MS)
            self._queue.append(_Piece(mulaw, number))
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
        self._is_dry = True
        return marks

    def frame(self) -> tuple[bytes, list[str]]:
        """The next 20 ms, and the marks that were reached in it."""
        out = bytearray()
        reached: list[str] = []
        self.source = (0, 0)
        if self._queue and self._wait_frames:
            self._wait_frames -= 1
            return bytes([SILENCE_BYTE]) * FRAME_BYTES, reached
        while self._queue and len(out) < FRAME_BYTES:
            item = self._queue.popleft()
            if isinstance(item, str):
                reached.append(item)
                continue
            if not out:
                self.source = (item.number, item.offset)
            taken = item.mulaw[item.offset : item.offset + FRAME_BYTES - len(out)]
            out += taken
            item.offset += len(taken)
            if item.offset < len(item.mulaw):
                self._queue.appendleft(item)
        self._bytes -= len(out)
        while self._queue and isinstance(self._queue[0], str):
            reached.append(str(self._queue.popleft()))
        self._is_dry = len(out) < FRAME_BYTES
        out += bytes([SILENCE_BYTE]) * (FRAME_BYTES - len(out))
        return bytes(out), reached
