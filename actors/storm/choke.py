"""F28: a Twilio that does not read. What is sent waits as on the media plane: a second of audio, oldest dropped."""

from __future__ import annotations

from collections import deque

from actors.ports import Wire, WireListener
from actors.world.timetable import Timetable

MOST_WAITING_MS = 1000


class Choke:
    """A `WireListener` in front of another, whose wire can be shut for a while."""

    def __init__(self, inner: WireListener, timetable: Timetable) -> None:
        self._inner, self._timetable = inner, timetable
        self.on_text, self.on_binary, self.on_closed = inner.on_text, inner.on_binary, inner.on_closed
        self._wire: ChokedWire | None = None

    def on_open(self, wire: Wire) -> None:
        self._wire = ChokedWire(wire)
        self._inner.on_open(self._wire)

    def shut(self, at_s: float, for_ms: float) -> None:
        """Nothing is read from that moment (Trio's time) on, for so long."""

        def shut() -> None:
            if self._wire is not None:
                self._wire.is_shut = True

        def open_again() -> None:
            if self._wire is not None:
                self._wire.open_again()

        self._timetable.at(at_s, shut)
        self._timetable.at(at_s + for_ms / 1000, open_again)


class ChokedWire:
    """Fulfils `actors.ports.Wire`."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.is_shut = False
        self.dropped_ms = 0
        self.owner = ""
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._waiting_ms = 0

    @property
    def is_open(self) -> bool:
        return self._wire.is_open

    def send_text(self, payload: bytes, audio_ms: int = 0) -> None:
        if not self.is_shut:
            self._wire.send_text(payload, audio_ms)
            return
        self._waiting.append((payload, audio_ms))
        self._waiting_ms += audio_ms
        while self._waiting_ms > MOST_WAITING_MS:
            oldest = next(item for item in self._waiting if item[1])
            self._waiting.remove(oldest)
            self._waiting_ms -= oldest[1]
            self.dropped_ms += oldest[1]

    def send_binary(self, payload: bytes, audio_ms: int = 0) -> None:
        self._wire.send_binary(payload, audio_ms)

    def drop_unsent_audio(self) -> int:
        dropped, self._waiting_ms = self._waiting_ms, 0
        self._waiting = deque(item for item in self._waiting if not item[1])
        return dropped

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.open_again()
        self._wire.close(code, reason)

    def abort(self) -> None:
        self._wire.abort()

    def open_again(self) -> None:
        self.is_shut = False
        waiting, self._waiting, self._waiting_ms = self._waiting, deque(), 0
        for payload, audio_ms in waiting:
            self._wire.send_text(payload, audio_ms)
