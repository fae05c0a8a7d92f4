"""What the media tests share: a listener that remembers, a door that gives sockets to a plane, a bare client."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio
from websockets.frames import Frame, Opcode

from actors.media import MediaPlane
from actors.ports import Doorkeeper, Upgrade, Wire, WireListener

PATIENCE_S = 8.0
"""How long a test waits for something that takes milliseconds on an idle machine."""

REQUEST = (
    b"GET /media HTTP/1.1\r\nHost: calls.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"X-Twilio-Signature: LtzRDGpufrKoNYz+PpeF5YycjzI=\r\n\r\n"
)


@dataclass
class Recorder:
    """A listener that keeps everything. `then` is called with each message, to answer or to misbehave."""

    then: Callable[[Recorder, bytes], None] | None = None
    opened: int = 0
    texts: list[bytes] = field(default_factory=list)
    binaries: list[bytes] = field(default_factory=list)
    closings: list[tuple[int, str]] = field(default_factory=list)
    wires: list[Wire] = field(default_factory=list)

    @property
    def wire(self) -> Wire:
        return self.wires[-1]

    def on_open(self, wire: Wire) -> None:
        self.opened += 1
        self.wires.append(wire)

    def on_text(self, payload: bytes) -> None:
        assert not self.closings, "a message after on_closed"
        self.texts.append(payload)
        if self.then:
            self.then(self, payload)

    def on_binary(self, payload: bytes) -> None:
        assert not self.closings, "a message after on_closed"
        self.binaries.append(payload)
        if self.then:
            self.then(self, payload)

    def on_closed(self, code: int, reason: str) -> None:
        self.closings.append((code, reason))

    @property
    def code(self) -> int | None:
        assert len(self.closings) <= 1, "on_closed came twice"
        return self.closings[0][0] if self.closings else None


def echo(recorder: Recorder, payload: bytes) -> None:
    """Send every message back as what it came as."""
    if recorder.binaries and recorder.binaries[-1] is payload:
        recorder.wire.send_binary(payload)
    else:
        recorder.wire.send_text(payload)


async def until(condition: Callable[[], object], *, within_s: float = PATIENCE_S) -> None:
    """Wait for a fact that is only a plain attribute of somebody else."""
    with trio.fail_after(within_s):
        while not condition():
            await trio.sleep(0.002)


@dataclass
class Door:
    """A listening socket whose connections go straight into a plane."""

    port: int
    recorders: list[Recorder]
    upgrades: list[Upgrade]
    host: str = "127.0.0.1"

    @property
    def url(self) -> str:
        return f"ws://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}/media"

    @property
    def last(self) -> Recorder:
        return self.recorders[-1]


@asynccontextmanager
async def open_door(
    plane: MediaPlane,
    *,
    then: Callable[[Recorder, bytes], None] | None = None,
    doorkeeper: Doorkeeper | None = None,
    host: str = "127.0.0.1",
    tune: Callable[[socket.socket], None] | None = None,
) -> AsyncIterator[Door]:
    """By default everybody is let in, each with a `Recorder` of their own. `tune` gets each socket before the plane."""
    door = Door(0, [], [], host)

    def let_in(upgrade: Upgrade) -> WireListener:
        door.upgrades.append(upgrade)
        door.recorders.append(Recorder(then))
        return door.last

    async def adopt(stream: trio.SocketStream) -> None:
        sock = socket.socket(fileno=stream.socket.detach())
        if tune is not None:
            tune(sock)
        plane.adopt(sock, doorkeeper or let_in, peer="127.0.0.1:1")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(_serve, adopt, host)
        door.port = listeners[0].socket.getsockname()[1]
        yield door
        nursery.cancel_scope.cancel()


async def _serve(
    handler: Callable[[trio.SocketStream], object],
    host: str,
    *,
    task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    await trio.serve_tcp(handler, 0, host=host, task_status=task_status)  # type: ignore[arg-type]


class BareClient:
    """A client that can do all that a well-made one would not."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream, self.socket = stream, stream.socket
        self._seen = bytearray()

    async def upgrade(self) -> None:
        await self.stream.send_all(REQUEST)
        head = await self.read_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head

    async def read_until(self, mark: bytes) -> bytes:
        with trio.fail_after(PATIENCE_S):
            while mark not in self._seen:
                data = await self.stream.receive_some()
                assert data, f"closed before {mark!r}: {bytes(self._seen)!r}"
                self._seen += data
        end = self._seen.index(mark) + len(mark)
        found, self._seen = bytes(self._seen[:end]), self._seen[end:]
        return found

    async def read_to_end(self) -> bytes:
        """All that still comes. A reset counts as the end."""
        with trio.fail_after(PATIENCE_S):
            try:
                while data := await self.stream.receive_some():
                    self._seen += data
            except trio.BrokenResourceError:
                pass
        return bytes(self._seen)

    async def send(self, opcode: Opcode, payload: bytes = b"", *, fin: bool = True) -> None:
        await self.stream.send_all(frame(opcode, payload, fin=fin))


def frame(opcode: Opcode, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """A masked frame, made by the library."""
    return Frame(opcode, payload, fin).serialize(mask=True)


@asynccontextmanager
async def bare_client(door: Door, *, upgrade: bool = True) -> AsyncIterator[BareClient]:
    stream = await trio.open_tcp_stream(door.host, door.port)
    try:
        client = BareClient(stream)
        if upgrade:
            await client.upgrade()
        yield client
    finally:
        await trio.aclose_forcefully(stream)
