"""Media over ASGI: the same legs on a Quart websocket, for hosts where the media plane cannot have the socket.

One task reads, one writes from a bounded queue; the leg interface stays synchronous. Slower than the plane, and a peer
that does not read is only got rid of by the server's own time-outs (stack.md A.3).
"""

from __future__ import annotations

from collections import deque

import structlog
import trio
from quart import Response, websocket
from quart_trio import QuartTrio

from actors.ports import Doorkeeper, Refusal, Upgrade, WireListener

log = structlog.get_logger(__name__)

AUDIO_QUEUE_MS = 1_000
MOST_CONTROLS = 256
CLOSE_S = 2.0
NORMAL, VANISHED, CRASHED = 1000, 1006, 1011


class AsgiWire:
    """A `Wire` whose messages wait here for the writer task. Audio over the limit drops its oldest."""

    def __init__(self) -> None:
        self.is_open, self.owner = True, ""
        self.closing: tuple[int, str] | None = None
        self.dropped_ms = 0
        self._waiting: deque[tuple[str | bytes, int]] = deque()
        self._audio_ms = 0
        self._wake = trio.Event()

    def send_text(self, payload: bytes, audio_ms: int = 0) -> None:
        self._put(payload.decode(), audio_ms)

    def send_binary(self, payload: bytes, audio_ms: int = 0) -> None:
        self._put(payload, audio_ms)

    def drop_unsent_audio(self) -> int:
        dropped, self._audio_ms = self._audio_ms, 0
        self._waiting = deque(item for item in self._waiting if not item[1])
        return dropped

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        if self.is_open:
            self.is_open = False
            self.closing = (code, reason)
            self._wake.set()

    def abort(self) -> None:
        self.close(CRASHED)

    async def next_message(self) -> str | bytes | None:
        """What to send next; None when nothing is left and the wire closes."""
        while not self._waiting:
            if self.closing is not None:
                return None
            self._wake = trio.Event()
            await self._wake.wait()
        payload, audio_ms = self._waiting.popleft()
        self._audio_ms -= audio_ms
        return payload

    def _put(self, payload: str | bytes, audio_ms: int) -> None:
        if not self.is_open:
            return
        if not audio_ms and len(self._waiting) > MOST_CONTROLS + AUDIO_QUEUE_MS:
            self.abort()  # a peer that never reads
            return
        self._waiting.append((payload, audio_ms))
        self._audio_ms += audio_ms
        while self._audio_ms > AUDIO_QUEUE_MS:
            oldest = next(index for index, item in enumerate(self._waiting) if item[1])
            self._audio_ms -= self._waiting[oldest][1]
            self.dropped_ms += self._waiting[oldest][1]
            del self._waiting[oldest]
        self._wake.set()


def add_asgi_media(app: QuartTrio, doorkeeper: Doorkeeper) -> None:
    """The websocket route `/media`."""

    @app.websocket("/media")
    async def media() -> Response | None:
        headers = {name.lower(): value for name, value in websocket.headers.items()}
        peer = str(websocket.remote_addr or "")
        decided = doorkeeper(Upgrade(path=websocket.path, headers=headers, peer=peer))
        if isinstance(decided, Refusal):
            return Response(decided.body, decided.status)
        await websocket.accept()
        await _carry(decided)
        return None


async def _carry(listener: WireListener) -> None:
    """Live one websocket. The call does not live here: it hears `on_closed`, whatever ends the handler."""
    wire = AsgiWire()
    code, reason = VANISHED, ""
    try:
        listener.on_open(wire)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_write, wire, nursery.cancel_scope)
            while True:
                message = await websocket.receive()
                if isinstance(message, str):
                    listener.on_text(message.encode())
                elif message:
                    listener.on_binary(message)
    except* Exception as group:
        if not wire.closing:
            log.info("media over ASGI ended", why=type(group.exceptions[0]).__name__)
    finally:
        if wire.closing is not None:
            code, reason = wire.closing
        wire.is_open = False
        listener.on_closed(code, reason)


async def _write(wire: AsgiWire, reading: trio.CancelScope) -> None:
    while (message := await wire.next_message()) is not None:
        await websocket.send(message)
    assert wire.closing is not None
    with trio.move_on_after(CLOSE_S):
        await websocket.close(*wire.closing)
    reading.cancel()
