"""Peers that keep to the letter of the rules and are a nuisance all the same: how each is served, what it may cost."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest
import trio
from websockets.frames import Frame, Opcode

from actors import twilio_leg
from actors.bridge import Bridge
from actors.media import MediaPlane
from actors.media.wire import MediaWire
from actors.ports import Upgrade, WireListener
from actors.twilio_leg import TwilioLeg
from engine.wire import twilio
from tests.actors.media.harness import REQUEST, bare_client, echo, frame, open_door, until
from tests.actors.media.test_media_slow_peers import CHUNK, narrow_client, patient_plane

CLOSE_1000 = b"\x88\x02\x03\xe8"


def said(opcode: Opcode, payload: bytes) -> bytes:
    """As the server writes it."""
    return Frame(opcode, payload).serialize(mask=False)


# ---- frames in odd places


@pytest.mark.parametrize("piece", [1, 7, 10_000], ids=["byte by byte", "in sevens", "in one packet"])
async def test_pings_within_fragments(plane: MediaPlane, piece: int) -> None:
    """Each ping is answered in its place, between the messages before and after, and the fragments become one text."""
    data = frame(Opcode.TEXT, b"first")
    for number in range(20):
        data += frame(Opcode.CONT if number else Opcode.TEXT, b"%02d," % number, fin=False)
        data += frame(Opcode.PING, b"p%d" % number)
    data += frame(Opcode.CONT, b"end") + frame(Opcode.BINARY, b"\xff") + frame(Opcode.CLOSE, b"\x03\xe8")
    async with open_door(plane, then=echo) as door, bare_client(door) as client:
        for at in range(0, len(data), piece):
            await client.stream.send_all(data[at : at + piece])
            await trio.lowlevel.checkpoint()
        text = b"".join(b"%02d," % number for number in range(20)) + b"end"
        expected = said(Opcode.TEXT, b"first") + b"".join(said(Opcode.PONG, b"p%d" % number) for number in range(20))
        expected += said(Opcode.TEXT, text) + said(Opcode.BINARY, b"\xff") + CLOSE_1000
        assert await client.read_to_end() == expected
        await until(lambda: door.last.closings)
        assert door.last.code == 1000


async def test_an_echo_leaves_before_the_close_for_what_broke_the_rules(plane: MediaPlane) -> None:
    """A good message and a bad frame in one packet: the answer to the good one still goes out."""
    async with open_door(plane, then=echo) as door, bare_client(door) as client:
        await client.stream.send_all(frame(Opcode.TEXT, b"good") + b"\x83\x80\0\0\0\0")
        assert (await client.read_to_end()).startswith(said(Opcode.TEXT, b"good") + b"\x88")
        assert door.last.code == 1002


# ---- peers that say no more, and still listen


@pytest.mark.parametrize("count", [1, 300])
async def test_a_half_closed_peer_reads_our_last_words(plane: MediaPlane, count: int) -> None:
    """Messages, a close frame and the end of its stream at once: it still gets every answer, and our close."""
    async with open_door(plane, then=echo) as door, bare_client(door) as client:
        words = [b"%d" % number for number in range(count)]
        data = b"".join(frame(Opcode.TEXT, word) for word in words) + frame(Opcode.CLOSE, b"\x03\xe8")
        assert await client.socket.send(data) == len(data)
        client.socket.shutdown(socket.SHUT_WR)  # before the plane gets to read
        expected = b"".join(said(Opcode.TEXT, word) for word in words) + CLOSE_1000
        assert await client.read_to_end() == expected
        assert door.last.closings == [(1000, "")]
        assert plane.statistics().vanished == 0


async def test_a_half_closed_peer_without_a_close_frame(plane: MediaPlane) -> None:
    """The end of its stream is the end of the wire: 1006, and the socket is not kept for what it might still read."""
    async with open_door(plane, then=echo) as door, bare_client(door) as client:
        await client.send(Opcode.TEXT, b"over and out")
        client.socket.shutdown(socket.SHUT_WR)
        await until(lambda: door.last.closings)
        assert door.last.closings == [(1006, "the peer closed the connection")]
        assert plane.statistics().sockets_now == 0
        assert await client.read_to_end() == said(Opcode.TEXT, b"over and out")


async def test_a_stuck_peer_costs_the_others_nothing() -> None:
    """One reads nothing: its queue stays within its bound, the others miss no frame, and then it is given up."""
    async with patient_plane(stall_timeout_s=2.0) as plane, open_door(plane) as door, narrow_client(door):
        stuck = door.last
        async with trio.open_nursery() as nursery:
            heard: list[list[bytes]] = []
            for _ in range(5):
                heard.append([])
                nursery.start_soon(_listen, door.port, heard[-1])
            await until(lambda: len(door.recorders) == 6)
            number, biggest = 0, 0
            assert isinstance(stuck.wire, MediaWire)
            with trio.fail_after(10):
                while not stuck.closings:
                    for ear in door.recorders:
                        ear.wire.send_binary(b"%06d" % number + CHUNK[:1594], audio_ms=20)
                    biggest = max(biggest, stuck.wire._outbox.size)
                    number += 1
                    await trio.sleep(0.005)
            for ear in door.recorders[1:]:
                ear.wire.close(1000)
        assert stuck.closings == [(1006, "the peer does not read")]
        assert plane.statistics().audio_ms_dropped > 0
        assert 50_000 < biggest < 1_200 / 20 * 1_600  # a second of audio, and what was begun
        for numbers in heard:
            assert numbers == [b"%06d" % index for index in range(number)]


async def _listen(port: int, heard: list[bytes]) -> None:
    """Read whole frames of 1600 bytes to the end, and keep their numbers."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    data = bytearray()
    await stream.send_all(REQUEST)
    async for some in stream:
        data += some
        if data.endswith(CLOSE_1000):
            await stream.send_all(frame(Opcode.CLOSE, b"\x03\xe8"))
    await trio.aclose_forcefully(stream)
    data = data[data.index(b"\r\n\r\n") + 4 :]
    heard += [bytes(data[at + 4 : at + 10]) for at in range(0, len(data) - len(CLOSE_1000), 1604)]


@pytest.mark.parametrize("size", [3_000, 70_000, 500_000])
async def test_a_socket_that_takes_little_at_a_time(size: int) -> None:
    """The smallest send buffer there is, and a reader in small sips: every frame arrives whole."""

    def narrow(sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)

    payloads = [bytes((index * 31 + number) % 251 for index in range(size)) for number in range(3)]
    expected = b"".join(said(Opcode.BINARY, payload) for payload in payloads) + CLOSE_1000
    async with (
        patient_plane(max_queue_bytes=4_000_000) as plane,
        open_door(plane, tune=narrow) as door,
        narrow_client(door) as client,
    ):
        for payload in payloads:
            door.last.wire.send_binary(payload)
        door.last.wire.close(1000)
        got = bytearray()
        with trio.fail_after(10):
            while len(got) < len(expected):
                some = await client.stream.receive_some(1_000 + size // 50)
                assert some
                got += some
        assert got == expected


# ---- the door


async def test_one_byte_a_second() -> None:
    """Thirty of them go at the deadline, and one who knocks properly meanwhile is let in at once."""
    plane = MediaPlane(handshake_timeout_s=2.2)
    async with trio.open_nursery() as nursery:
        await nursery.start(plane.run)
        async with open_door(plane) as door:
            gone: list[float] = []
            for _ in range(30):
                nursery.start_soon(_drip, door.port, gone)
            await until(lambda: plane.statistics().handshakes_now == 30)
            async with bare_client(door) as client:
                await client.send(Opcode.TEXT, b"hello")
                await until(lambda: door.last.texts)
                assert plane.statistics().handshakes_now == 30
                await until(lambda: len(gone) == 30)
                assert plane.statistics().sockets_now == 1
        assert all(2.0 < lasted_s < 5.0 for lasted_s in gone)
        assert plane.statistics().refused == 30
        nursery.cancel_scope.cancel()


async def _drip(port: int, gone: list[float]) -> None:
    """Send the request a byte a second until the server ends it; note how long that was."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            for byte in REQUEST:
                await stream.send_all(bytes([byte]))
                await trio.sleep(1)

        nursery.start_soon(send)
        with suppress(trio.BrokenResourceError):
            assert await stream.receive_some() == b""
        gone.append(trio.current_time() - began)
        nursery.cancel_scope.cancel()
    await trio.aclose_forcefully(stream)


@pytest.mark.parametrize(
    "offer",
    [
        b"permessage-deflate",
        b"permessage-deflate; client_max_window_bits; server_no_context_takeover",
        b"x-webkit-deflate-frame, permessage-deflate, permessage-bzip2",
        b'permessage-deflate; nonsense="quoted"',
    ],
)
async def test_compression_is_offered_and_not_taken(plane: MediaPlane, offer: bytes) -> None:
    """The wire opens without it; a frame compressed all the same breaks the rules."""
    request = REQUEST.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: " + offer + b"\r\n\r\n")
    async with open_door(plane, then=echo) as door, bare_client(door, upgrade=False) as client:
        await client.stream.send_all(request)
        head = await client.read_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"sec-websocket-extensions" not in head.lower()
        await client.send(Opcode.TEXT, b"plain")
        assert await client.read_until(b"plain") == said(Opcode.TEXT, b"plain")
        await client.stream.send_all(b"\xc1\x87\0\0\0\0\xf2\x48\xcd\xc9\xc9\x07\x00")
        assert b"\x88" in await client.read_to_end()
        assert (door.last.code, door.last.texts) == (1002, [b"plain"])


async def test_an_upgrade_and_then_nothing_of_use(plane: MediaPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who opens `/media` and does not say `start` in time is sent away, silent or chattering."""
    monkeypatch.setattr(twilio_leg, "START_PATIENCE_S", 0.4)

    def claim(start: twilio.Start) -> Bridge:
        raise AssertionError("nobody said start")

    def let_in(_: Upgrade) -> WireListener:
        return TwilioLeg(claim=claim, clock=trio.current_time, every_tick=plane.every_tick)

    async with (
        open_door(plane, doorkeeper=let_in) as door,
        bare_client(door) as silent,
        bare_client(door) as chattering,
    ):
        began = trio.current_time()

        async def chatter() -> None:
            while True:
                await chattering.send(Opcode.TEXT, b'{"event":"connected","protocol":"Call","version":"1.0.0"}')
                await chattering.send(Opcode.PING)
                await trio.sleep(0.05)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(chatter)
            assert await silent.read_until(b"no start") == b"\x88\x0a\x03\xf0no start"
            assert (await chattering.read_until(b"no start")).endswith(b"\x88\x0a\x03\xf0no start")
            nursery.cancel_scope.cancel()
        assert 0.4 < trio.current_time() - began < 3
    await until(lambda: plane.statistics().sockets_now == 0)
