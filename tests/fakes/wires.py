"""A websocket that is only a list, and a media plane that only ticks: legs in memory, for virtual time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import trio

from actors.ports import Wire, WireListener
from engine.audio import FRAME_MS


class FakeWire:
    """Remembers what was sent, with its time; the other end is the test."""

    def __init__(self) -> None:
        self.sent: list[tuple[float, str | bytes]] = []
        self.is_open = True
        self.owner = ""
        self.closed: tuple[int, str] | None = None
        self.listener: WireListener | None = None

    def send_text(self, payload: bytes, audio_ms: int = 0) -> None:
        if self.is_open:
            self.sent.append((trio.current_time(), payload.decode()))

    def send_binary(self, payload: bytes, audio_ms: int = 0) -> None:
        if self.is_open:
            self.sent.append((trio.current_time(), payload))

    def drop_unsent_audio(self) -> int:
        return 0

    def close(self, code: int = 1000, reason: str = "") -> None:
        if self.is_open:
            self.is_open = False
            self.closed = (code, reason)
            if self.listener is not None:
                self.listener.on_closed(code, reason)

    def abort(self) -> None:
        self.close(1006)

    # --- what a test asks and does ---

    def texts(self) -> list[dict[str, Any]]:
        return [json.loads(payload) for _, payload in self.sent if isinstance(payload, str)]

    def events(self) -> list[str]:
        return [text.get("event", text.get("type", "?")) for text in self.texts()]

    def audio(self) -> bytes:
        return b"".join(payload for _, payload in self.sent if isinstance(payload, bytes))

    def peer_closes(self, code: int = 1000) -> None:
        self.close(code)


class FakePlane:
    """Dials into memory and ticks in virtual time.

    Args:
        answer: what a dial does: connect (default), hang for ever, or raise.
    """

    def __init__(self, answer: Callable[[str], Exception | None] = lambda url: None) -> None:
        self._answer = answer
        self._callbacks: dict[int, tuple[int, Callable[[float], None]]] = {}
        self._number = self._ticks = 0
        self.dialled: list[tuple[str, FakeWire]] = []

    async def run(self) -> None:
        while True:
            await trio.sleep(FRAME_MS / 1000)
            self._ticks += 1
            for ticks, callback in list(self._callbacks.values()):
                if self._ticks % ticks == 0:
                    callback(trio.current_time())

    def clock(self) -> float:
        return trio.current_time()

    async def dial(
        self, url: str, listener: WireListener, *, headers: Mapping[str, str] = {}, timeout_s: float = 5.0
    ) -> Wire:
        await trio.lowlevel.checkpoint()
        trouble = self._answer(url)
        if trouble is not None:
            raise trouble
        wire = FakeWire()
        wire.listener = listener
        self.dialled.append((url, wire))
        listener.on_open(wire)
        return wire

    def every_tick(self, callback: Callable[[float], None], *, ticks: int = 1) -> Callable[[], None]:
        self._number += 1
        number = self._number
        self._callbacks[number] = (ticks, callback)
        return lambda: self._callbacks.pop(number, None) and None

    @property
    def ticking(self) -> int:
        return len(self._callbacks)
