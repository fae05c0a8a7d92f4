"""A websocket in memory: two ends, a delay each way, everything in order. And the plane that dials such wires."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

import trio

from actors.ports import Wire, WireListener
from actors.world.timetable import Ticks, Timetable


class Path:
    """One way of a connection: what is sent arrives later, in order. Never within the call that sends it."""

    def __init__(self, timetable: Timetable, rng: Random, delay_ms: float, jitter_ms: float) -> None:
        self._timetable, self._rng = timetable, rng
        self._delay_s, self._jitter_ms = delay_ms / 1000, jitter_ms
        self._last_at = 0.0
        self._on_the_way = 0
        self._has_delay = bool(delay_ms or jitter_ms)

    @property
    def is_instant(self) -> bool:
        """Whether what is sent now could as well be there already."""
        return not self._has_delay and not self._on_the_way

    def send(self, arrive: Callable[[], None]) -> None:
        self._on_the_way += 1

        def arrives() -> None:
            self._on_the_way -= 1
            arrive()

        when = self._timetable.now() + self._delay_s
        if self._jitter_ms:
            when += round(self._rng.random() * self._jitter_ms) / 1000  # whole ms: calls share their moments
        self._last_at = max(self._last_at, when)
        self._timetable.at(self._last_at, arrives)


class MemoryWire:
    """Fulfils `actors.ports.Wire` for the service; the other end is a set of functions.

    Args:
        path: from the service to the peer.
    """

    def __init__(
        self,
        path: Path,
        *,
        on_text: Callable[[bytes], None],
        on_binary: Callable[[bytes], None],
        on_close: Callable[[], None],
    ) -> None:
        self._path, self._on_text, self._on_binary, self._on_close = path, on_text, on_binary, on_close
        self.listener: WireListener | None = None
        self.owner = ""
        self.is_open = True

    # --- the service's end -------------------------------------------------------------------------------------------

    def send_text(self, payload: bytes, audio_ms: int = 0) -> None:
        if self.is_open:
            if self._path.is_instant and audio_ms:
                self._on_text(payload)  # audio is only queued there: nothing can come back of it
            else:
                self._path.send(lambda: self._on_text(payload))

    def send_binary(self, payload: bytes, audio_ms: int = 0) -> None:
        if self.is_open:
            if self._path.is_instant:
                self._on_binary(payload)
            else:
                self._path.send(lambda: self._on_binary(payload))

    def drop_unsent_audio(self) -> int:
        return 0

    def close(self, code: int = 1000, reason: str = "") -> None:
        if self.is_open:
            self.is_open = False
            self._path.send(self._on_close)
            self._path.send(lambda: self._tell_closed(code, reason))

    def abort(self) -> None:
        self.close(1006)

    # --- the peer's end ----------------------------------------------------------------------------------------------

    def receives_text(self, payload: bytes) -> None:
        if self.is_open and self.listener is not None:
            self.listener.on_text(payload)

    def receives_binary(self, payload: bytes) -> None:
        if self.is_open and self.listener is not None:
            self.listener.on_binary(payload)

    def peer_closes(self, code: int) -> None:
        if self.is_open:
            self.is_open = False
            self._on_close()
            self._tell_closed(code, "")

    def _tell_closed(self, code: int, reason: str) -> None:
        if self.listener is not None:
            self.listener.on_closed(code, reason)


class MemoryPlane:
    """Fulfils `actors.ports.Plane`.

    Args:
        pick_up: gives the wire to whoever lives at an address; None: nobody answers there; raises ConnectionError.
    """

    def __init__(self, timetable: Timetable, pick_up: Callable[[str], MemoryWire | None]) -> None:
        self._timetable, self._pick_up = timetable, pick_up
        self.ticks = Ticks(timetable)

    def clock(self) -> float:
        return self._timetable.now()

    async def dial(
        self, url: str, listener: WireListener, *, headers: Mapping[str, str] = {}, timeout_s: float = 5.0
    ) -> Wire:
        await trio.lowlevel.checkpoint()
        wire = self._pick_up(url)
        if wire is None:
            await trio.sleep(timeout_s)
            raise ConnectionError(f"no answer within {timeout_s:g} s")
        wire.listener = listener
        listener.on_open(wire)
        return wire

    def every_tick(self, callback: Callable[[float], None], *, ticks: int = 1) -> Callable[[], None]:
        return self.ticks.every_tick(callback, ticks=ticks)
