"""Media Streams as Twilio speaks them: dials the server, sends a frame each 20 ms, judges strictly what comes back.

The socket is trio-websocket's, another implementation of the wire than the media plane's. It lives in the twin's own
nursery, never in the document that runs, so that its last words (`stop`) go out when the document is cancelled.

Frames that are lost on the caller's way are silence here, not gaps: the loss is on the RTP side of Twilio, whose stream
to us goes on evenly all the same (reference/twilio.md §9), so that no `chunk` or `timestamp` is missing.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from binascii import Error as NoBase64
from collections import deque
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import trio
from trio_websocket import (
    CloseReason,
    ConnectionClosed,
    ConnectionRejected,
    HandshakeError,
    WebSocketConnection,
    wrap_client_stream,
)
from twilio.request_validator import RequestValidator

from engine.audio import FRAME_MS, SILENCE_FRAME
from web.twins.twilio.call import TwinCall
from web.twins.twilio.settings import Faults
from web.twins.twilio.spec import StreamSpec
from web.twins.twilio.way import Way

CONNECT_S = 5.0
CLOSE_S = 1.0
SLACK_S = 0.1
MOST_WAITING = 500  # frames: ten seconds during which a server does not read
FIRST_TIMESTAMP_MS = 62
Carrier = trio.SocketStream | trio.SSLStream[trio.SocketStream]
_FIELDS = {
    "media": {"event", "streamSid", "media"},
    "mark": {"event", "streamSid", "mark"},
    "clear": {"event", "streamSid"},
}


@dataclass
class Stream:
    """One media stream of one call."""

    call: TwinCall
    spec: StreamSpec
    auth_token: str = field(repr=False)
    opened: trio.Event = field(default_factory=trio.Event)
    closed: trio.Event = field(default_factory=trio.Event)
    error_code: int | None = None
    close_code: int | None = None

    def __post_init__(self) -> None:
        self._send, self._queue = trio.open_memory_channel[tuple[float, str | bytes | None]](MOST_WAITING)
        self._up, self._down = Way(self.call.chance), Way(self.call.chance)
        self._coming: deque[tuple[float, str | bytes]] = deque()
        self._sequence = 0
        self._chunk = 0
        self._late: list[str] = []
        self._reported: set[int] = set()
        self._live = False
        self._finished = False  # hung up, perhaps before it was live

    @property
    def faults(self) -> Faults:
        """As they are now."""
        return self.call.faults()

    # --- what the call tells it -----------------------------------------------------------------------------------

    def caller_frame(self, mulaw: bytes) -> None:
        """The caller's next 20 ms."""
        if not self._live or self.faults.vanish:
            return
        if self.call.chance.random() * 100 < self.faults.uplink_loss_percent:
            mulaw = SILENCE_FRAME
        self._chunk += 1
        timestamp = FIRST_TIMESTAMP_MS + (self._chunk - 1) * FRAME_MS
        media = {
            "track": "inbound",
            "chunk": str(self._chunk),
            "timestamp": str(timestamp),
            "payload": b64encode(mulaw).decode(),
        }
        message = self._message("media", media=media)
        self._late.append(message)
        if len(self._late) * FRAME_MS > self.faults.jitter_ms:
            for waiting in self._late:
                self._put(waiting)
            self._late.clear()

    def take_what_has_come(self) -> None:
        """What the server sent and what has been on its way for long enough acts now."""
        now = trio.current_time()
        while self._coming and self._coming[0][0] <= now:
            self._judge(self._coming.popleft()[1])

    def return_mark(self, name: str, *, cleared: bool) -> None:
        """A mark was reached, or cleared: the two look alike on the wire."""
        self.call.tap.note("mark", name=name, cleared=cleared)
        self._put(self._message("mark", mark={"name": name}))

    def press(self, digit: str) -> None:
        """The caller presses a key."""
        self._put(self._message("dtmf", dtmf={"track": "inbound_track", "digit": digit}))

    def finish(self) -> None:
        """The stream is over on Twilio's side: `stop`, then close; at once, if its handshake is under way."""
        self._finished = True
        if not self._live:
            return
        if not self.faults.no_stop:
            self._put(self._message("stop", stop={"accountSid": self.call.account_sid, "callSid": self.call.sid}))
        self._put(None)
        self._live = False

    # --- the socket -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Open, live and close the socket; `closed` is set at the end whatever happens."""
        try:
            await self._run()
        except* (HandshakeError, ConnectionClosed) as group:  # trio-websocket raises some of them in its reader task
            self.error_code = 31903 if self.opened.is_set() else 31920
            self.call.tap.note("socket failed", why=type(group.exceptions[0]).__name__)
        finally:
            self._live = False
            self.opened.set()
            self.closed.set()

    async def _run(self) -> None:
        parts = urlsplit(self.spec.url)
        port = parts.port or (443 if parts.scheme == "wss" else 80)
        try:
            with trio.fail_after(CONNECT_S):
                plain = await trio.open_tcp_stream(parts.hostname or "", port)
        except trio.TooSlowError:
            self.error_code = 31901
            return
        except OSError:
            self.error_code = 31902
            return
        stream: Carrier = plain
        try:
            if parts.scheme == "wss":
                import ssl  # noqa: PLC0415 — not on loopback, where the twin usually lives

                stream = trio.SSLStream(plain, ssl.create_default_context(), server_hostname=parts.hostname)
            async with trio.open_nursery() as nursery:
                await self._shake_hands(nursery, stream, parts.netloc, parts.path or "/")
                nursery.cancel_scope.cancel()
        finally:
            await trio.aclose_forcefully(stream)

    async def _shake_hands(self, nursery: trio.Nursery, stream: Carrier, host: str, path: str) -> None:
        signature = RequestValidator(self.auth_token).compute_signature(self.spec.url, {})
        headers = [(b"user-agent", b"Twilio.TmeWs/1.0"), (b"x-twilio-signature", signature.encode())]
        try:
            with trio.fail_after(CONNECT_S):
                socket = await wrap_client_stream(nursery, stream, host, path, extra_headers=headers)
        except trio.TooSlowError:
            self.error_code = 31901
        except ConnectionRejected as rejected:
            self.error_code = 31920
            self.call.tap.note("handshake refused", status=rejected.status_code)
        except (HandshakeError, ConnectionClosed):
            self.error_code = 31920
        else:
            await self._talk(socket)

    async def _talk(self, socket: WebSocketConnection) -> None:
        self._live = True
        self.call.tap.note("stream started", stream_sid=self.spec.sid)
        self._put(json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}))
        for _ in range(2 if self.faults.duplicate_start else 1):
            self._put(self._message("start", start=self._start()))
        if self.faults.junk_text:
            self._put('{"event": "surprise", "media": 5')
        if self.faults.junk_binary:
            self._put(b"\x00\x01\x02")
        self.opened.set()
        if self._finished:
            self.finish()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, socket, nursery.cancel_scope)
            nursery.start_soon(self._read, socket, nursery.cancel_scope)
        with trio.move_on_after(CLOSE_S, shield=True):
            if not self.faults.no_stop:
                await socket.aclose()

    def _start(self) -> dict[str, Any]:
        return {
            "accountSid": self.call.account_sid,
            "streamSid": self.spec.sid,
            "callSid": self.call.sid,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": dict(self.spec.parameters),
        }

    async def _write(self, socket: WebSocketConnection, scope: trio.CancelScope) -> None:
        """The only task that sends: a send that is cancelled half-way would spoil the stream (stack.md A.3 no. 15)."""
        try:
            async for due, message in self._queue:
                if due > trio.current_time():
                    await trio.sleep_until(due)
                if message is None:
                    break
                await socket.send_message(message)
        except ConnectionClosed as closed:
            await self._closes(closed.reason)  # the writer may meet the close before the reader does
        scope.cancel()

    async def _read(self, socket: WebSocketConnection, scope: trio.CancelScope) -> None:
        try:
            while True:
                self._arrives(await socket.get_message())
        except ConnectionClosed as closed:
            await self._closes(closed.reason)
        scope.cancel()

    def _arrives(self, message: str | bytes) -> None:
        now, delay_ms = trio.current_time(), self.faults.downlink_delay_ms
        if delay_ms or self._coming:
            self._coming.append((self._down.due(now, delay_ms), message))
        else:
            self._judge(message)

    async def _closes(self, reason: CloseReason | None) -> None:
        """The server has closed. What it sent before is on its way, and acts first."""
        if self._coming:
            await self.call.until(lambda: not self._coming, self._coming[-1][0] - trio.current_time() + SLACK_S)
        self._note_close(reason)

    def _note_close(self, reason: CloseReason | None) -> None:
        if not self._live:
            return  # our own close
        self._live = False
        self.close_code = reason.code if reason is not None else None
        if self.close_code is None or self.close_code == 1006:
            self.error_code = 31903
        elif self.close_code != 1000:
            self.error_code = 31921
        self.call.tap.note("stream closed by server", code=self.close_code)

    # --- what the server sends --------------------------------------------------------------------------------------

    def _judge(self, message: str | bytes) -> None:
        """Strict: the shapes of §10 and nothing else."""
        if isinstance(message, bytes):
            self._report(31950, "binary")
            return
        try:
            said = json.loads(message)
        except ValueError:
            self._report(31950, "not JSON")
            return
        event = said.get("event") if isinstance(said, dict) else None
        if event not in _FIELDS or set(said) != _FIELDS[event] or said["streamSid"] != self.spec.sid:
            self._report(31951, f"{event}: {sorted(said) if isinstance(said, dict) else type(said).__name__}"[:120])
            return
        if event == "media":
            self._play(said["media"])
        elif event == "mark":
            self._mark(said["mark"])
        else:
            self.call.tap.note("clear")
            for name in self.call.speaker.clear():
                self.return_mark(name, cleared=True)

    def _play(self, media: Any) -> None:
        if not isinstance(media, dict) or set(media) != {"payload"}:
            self._report(31951, "media fields")
            return
        try:
            mulaw = b64decode(media["payload"], validate=True)
        except (ValueError, TypeError, NoBase64):
            self._report(31951, "media payload")
            return
        self.call.media_messages += 1
        number, delay_ms = self.call.media_messages, self.faults.start_delay_ms
        if not self.call.speaker.play(mulaw, number, start_delay_ms=delay_ms):
            self._report(31931, "queue full")

    def _mark(self, mark: Any) -> None:
        if not isinstance(mark, dict) or set(mark) != {"name"} or not isinstance(mark["name"], str):
            self._report(31951, "mark name")
            return
        for name in self.call.speaker.mark(mark["name"]):
            self.return_mark(name, cleared=False)

    def _report(self, code: int, detail: str) -> None:
        """Once per stream and code: so one early mistake hides later ones, as at Twilio."""
        if code not in self._reported:
            self._reported.add(code)
            self.call.error(code, detail)

    def _message(self, event: str, **more: Any) -> str:
        self._sequence += 1
        body = {"event": event, "sequenceNumber": str(self._sequence), **more, "streamSid": self.spec.sid}
        return json.dumps(body, separators=(",", ":"))

    def _put(self, message: str | bytes | None) -> None:
        due = self._up.due(trio.current_time(), self.faults.uplink_delay_ms, self.faults.uplink_jitter_ms)
        try:
            self._send.send_nowait((due, message))
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            self.call.tap.note("frame dropped")
