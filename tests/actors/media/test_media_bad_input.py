"""What a peer may not do, and what comes of it: a code for them, exactly one `on_closed` for us, no harm to others."""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from functools import partial

import pytest
import trio
import trio.testing
from websockets.frames import Opcode

from actors.media import MediaPlane
from actors.media.wire import MediaWire
from actors.ports import Refusal, Upgrade, WireListener
from tests.actors.media.harness import REQUEST, BareClient, Door, Recorder, bare_client, frame, open_door, until


async def _close_code(client: BareClient) -> int:
    """The code of the first close frame among what the server still says."""
    rest = await client.read_to_end()
    while rest:
        size = rest[1] & 0x7F
        if rest[0] == 0x88:
            return int.from_bytes(rest[2:4], "big")
        rest = rest[2 + size :]
    raise AssertionError("no close frame")


@pytest.mark.parametrize(
    ("what", "code"),
    [
        (frame(Opcode.BINARY, bytes(1_000_000)), 1009),
        (b"\x82\xff" + (1 << 40).to_bytes(8, "big"), 1009),
        (frame(Opcode.TEXT, bytes(40_000), fin=False) + frame(Opcode.CONT, bytes(40_000)), 1009),
        (b"\x81\x02hi", 1002),  # not masked
        (b"\xc1\x80\0\0\0\0", 1002),  # a reserved bit: compression that nobody agreed on
        (b"\x83\x80\0\0\0\0", 1002),  # an opcode that does not exist
        (frame(Opcode.CONT, b"x"), 1002),
        (frame(Opcode.TEXT, b"a", fin=False) + frame(Opcode.TEXT, b"b"), 1002),
        (b"\x89\xfe\x00\x7e" + bytes(4 + 126), 1002),  # a ping of 126 bytes
        (b"\x09\x80\0\0\0\0", 1002),  # a fragmented ping
        (b"\x88\x81\0\0\0\0\x03", 1002),  # half a close code
        (b"\x88\x82\0\0\0\0\x03\xee", 1002),  # 1006 may not be sent
        (frame(Opcode.TEXT, b"\xff", fin=False) + frame(Opcode.CONT, b"\xff"), 1007),
        (frame(Opcode.PING, b"x") * 150, 1008),
    ],
    ids=range(14),  # masks are random: bytes are no names
)
async def test_a_broken_rule_is_answered_with_its_code(plane: MediaPlane, what: bytes, code: int) -> None:
    """The peer reads the right code, the listener hears it once, and a neighbour notices nothing."""
    async with open_door(plane) as door, bare_client(door) as neighbour, bare_client(door) as client:
        with_neighbour, broken = door.recorders
        with trio.move_on_after(5):
            with suppress(trio.BrokenResourceError):
                await client.stream.send_all(what)
        assert await _close_code(client) == code
        await until(lambda: broken.closings)
        assert broken.code == code
        assert broken.texts == broken.binaries == []
        assert plane.statistics().protocol_errors == 1
        await neighbour.send(Opcode.TEXT, b"still here")
        await until(lambda: with_neighbour.texts)
        await until(lambda: plane.statistics().sockets_now == 1)


async def test_a_reset_is_1006(plane: MediaPlane) -> None:
    """A peer that vanishes without a word: 1006, once."""
    async with open_door(plane) as door:
        async with bare_client(door) as client:
            await client.send(Opcode.TEXT, b"hello")
            await until(lambda: door.last.texts)
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await until(lambda: door.last.closings)
        assert door.last.code == 1006
        assert plane.statistics().vanished == 1
        assert plane.statistics().sockets_now == 0


async def test_an_end_without_a_close_frame_is_1006(plane: MediaPlane) -> None:
    """The end of the stream in the middle of a frame is no message."""
    async with open_door(plane) as door:
        async with bare_client(door) as client:
            await client.stream.send_all(frame(Opcode.TEXT, b"half a message")[:-3])
        await until(lambda: door.last.closings)
        assert (door.last.code, door.last.texts) == (1006, [])


async def test_the_reason_is_read_though_writing_has_failed(plane: MediaPlane) -> None:
    """A peer says why it closes and is gone at once, while we speak: its words and code are heard, not 1006."""
    async with open_door(plane) as door, bare_client(door) as client:
        ear = door.last
        ear.wire.send_text(b"unread")  # so that the closing becomes a reset
        await trio.testing.wait_all_tasks_blocked(0.02)
        raw = socket.socket(fileno=os.dup(client.socket.fileno()))
        await trio.aclose_forcefully(client.stream)
        raw.send(frame(Opcode.TEXT, b"by the way") + frame(Opcode.CLOSE, b"\x0f\xa1bye"))
        raw.close()
        for _ in range(3):
            ear.wire.send_text(b"hello?")
            assert isinstance(ear.wire, MediaWire)
            ear.wire.flush()  # before the plane gets to read
        await until(lambda: ear.closings)
        assert ear.texts == [b"by the way"]
        assert ear.closings == [(4001, "bye")]
        await until(lambda: plane.statistics().sockets_now == 0)


async def test_a_peer_that_does_not_answer_our_close(plane: MediaPlane) -> None:
    """The socket is gone at the deadline, whatever the peer does."""
    async with open_door(plane) as door, bare_client(door) as client:
        door.last.wire.close(1001, "bye")
        await until(lambda: door.last.closings)
        assert door.last.code == 1006
        assert plane.statistics().sockets_now == 0
        assert await _close_code(client) == 1001


async def test_a_peer_that_closes_but_keeps_the_line_open(plane: MediaPlane) -> None:
    """The listener hears of it at once; the socket goes at the deadline."""
    async with open_door(plane) as door, bare_client(door) as client:
        await client.send(Opcode.CLOSE, b"\x03\xe8bye")
        await until(lambda: door.last.closings)
        assert door.last.closings == [(1000, "bye")]
        await until(lambda: plane.statistics().sockets_now == 0)
        assert await _close_code(client) == 1000


async def test_nothing_is_heard_after_close(plane: MediaPlane) -> None:
    """Messages behind a close frame, or after our own `close`, are not messages any more."""

    def close_at_once(recorder: Recorder, _: bytes) -> None:
        recorder.wire.close(1000)
        assert not recorder.wire.is_open

    async with open_door(plane, then=close_at_once) as door, bare_client(door) as client:
        await client.stream.send_all(
            frame(Opcode.TEXT, b"1") + frame(Opcode.TEXT, b"2") + frame(Opcode.CLOSE, b"\x03\xe8")
        )
        await until(lambda: door.last.closings)
        assert door.last.texts == [b"1"]
        assert door.last.code == 1000


@pytest.mark.parametrize("status", [401, 403, 404, 409, 503])
async def test_a_refusal_is_an_http_answer(plane: MediaPlane, status: int) -> None:
    """The doorkeeper's status and words, then the end of the connection; nothing was opened."""
    seen: list[Upgrade] = []

    def refuse(upgrade: Upgrade) -> WireListener | Refusal:
        seen.append(upgrade)
        return Refusal(status, "no")

    async with open_door(plane, doorkeeper=refuse) as door, bare_client(door, upgrade=False) as client:
        await client.stream.send_all(REQUEST)
        answer = await client.read_to_end()
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert b"connection: close" in head.lower()
        assert body == b"no"
        assert seen[0].path == "/media"
        assert seen[0].headers["x-twilio-signature"] == "LtzRDGpufrKoNYz+PpeF5YycjzI="
    await until(lambda: plane.statistics().sockets_now == 0)
    assert plane.statistics().refused == 1
    assert plane.statistics().opened == 0


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (REQUEST.replace(b"GET", b"POST"), 405),
        (REQUEST.replace(b"Version: 13", b"Version: 8"), 400),
        (REQUEST.replace(b"Upgrade: websocket\r\n", b""), 426),
        (REQUEST.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"short"), 400),
        (b"GET /media HTTP/1.1\r\nX: " + b"a" * 20_000, 431),
        (b"GET /media HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
    ],
)
async def test_what_is_no_upgrade(plane: MediaPlane, request_bytes: bytes, status: int) -> None:
    """Not a websocket request: an HTTP answer, and the doorkeeper is not even asked."""
    async with open_door(plane) as door, bare_client(door, upgrade=False) as client:
        await client.stream.send_all(request_bytes)
        assert (await client.read_to_end()).startswith(b"HTTP/1.1 %d " % status)
        assert door.upgrades == []
    await until(lambda: plane.statistics().sockets_now == 0)


async def test_a_doorkeeper_that_raises(plane: MediaPlane) -> None:
    """Our own mistake at the door is a 500, not the end of the plane."""

    def trip(_: Upgrade) -> WireListener:
        raise ZeroDivisionError

    async with open_door(plane, doorkeeper=trip) as door, bare_client(door, upgrade=False) as client:
        await client.stream.send_all(REQUEST)
        assert (await client.read_to_end()).startswith(b"HTTP/1.1 500 ")


async def test_a_header_that_came_twice_matches_nothing(plane: MediaPlane) -> None:
    """Two signatures are not one of them."""
    twice = REQUEST.replace(b"\r\n\r\n", b"\r\nX-Twilio-Signature: other\r\n\r\n")
    async with open_door(plane) as door, bare_client(door, upgrade=False) as client:
        await client.stream.send_all(twice)
        await client.read_until(b"\r\n\r\n")
        assert door.upgrades[0].headers["x-twilio-signature"] == "LtzRDGpufrKoNYz+PpeF5YycjzI=, other"


async def test_the_slow_handshake(plane: MediaPlane) -> None:
    """A byte now and then does not keep a socket: the whole upgrade has one deadline."""
    async with open_door(plane) as door, bare_client(door, upgrade=False) as client:
        with trio.fail_after(5):
            with pytest.raises(trio.BrokenResourceError):
                for byte in REQUEST * 10:
                    await client.stream.send_all(bytes([byte]))
                    await trio.sleep(0.05)
        assert plane.statistics().sockets_now == 0
        assert plane.statistics().refused == 1
        assert door.upgrades == []


async def test_only_so_many_may_be_at_the_door() -> None:
    """Half-made handshakes are a small pool of their own."""
    plane = MediaPlane(max_handshakes=3)
    async with trio.open_nursery() as nursery:
        await nursery.start(plane.run)
        async with open_door(plane) as door:
            clients = [await trio.open_tcp_stream("127.0.0.1", door.port) for _ in range(5)]
            await until(lambda: plane.statistics().refused == 2)
            assert plane.statistics().handshakes_now == 3
            for client in clients:
                await trio.aclose_forcefully(client)
            await until(lambda: plane.statistics().handshakes_now == 0)
        nursery.cancel_scope.cancel()


def _has_two(door: Door) -> bool:
    return bool(door.recorders) and len(door.last.texts) == 2


async def test_the_upgrade_and_the_first_messages_in_one_packet(plane: MediaPlane) -> None:
    """An eager client's first frames are not lost, however the packet is cut."""
    data = REQUEST + frame(Opcode.TEXT, b"connected") + frame(Opcode.TEXT, b"start")
    for cut in (len(data), len(REQUEST) - 2, len(REQUEST) + 3, 1):
        async with open_door(plane) as door, bare_client(door, upgrade=False) as client:
            await client.stream.send_all(data[:cut])
            await trio.sleep(0.01)
            await client.stream.send_all(data[cut:])
            await until(partial(_has_two, door))
            assert door.last.texts == [b"connected", b"start"]


async def test_pings_are_answered_and_pongs_are_ignored(plane: MediaPlane) -> None:
    """A ping's words come back; a pong nobody asked for does nothing."""
    async with open_door(plane) as door, bare_client(door) as client:
        await client.send(Opcode.PONG, b"?")
        await client.send(Opcode.PING, b"there?")
        assert await client.read_until(b"there?") == b"\x8a\x06there?"
        await client.send(Opcode.TEXT, b"x")
        await until(lambda: door.last.texts)
