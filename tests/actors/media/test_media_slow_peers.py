"""A peer that does not read gets late audio dropped, never control, and is given up after a while (reliability F28)."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio
import trustme
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from actors.media import MediaPlane
from actors.media.outbox import Outbox
from tests.actors.media.harness import BareClient, Door, Recorder, open_door, until

CHUNK = b"\xff" * 8_000
"""One second of audio, as big as one second is in µ-law."""


@asynccontextmanager
async def narrow_client(door: Door) -> AsyncIterator[BareClient]:
    """A client whose receive window is small, so that not reading is felt soon."""
    sock = trio.socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await sock.connect(("127.0.0.1", door.port))
    stream = trio.SocketStream(sock)
    try:
        client = BareClient(stream)
        await client.upgrade()
        yield client
    finally:
        await trio.aclose_forcefully(stream)


@asynccontextmanager
async def patient_plane(**limits: float) -> AsyncIterator[MediaPlane]:
    plane = MediaPlane(**limits)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        await nursery.start(plane.run)
        yield plane
        nursery.cancel_scope.cancel()


async def fill(plane: MediaPlane, door: Door) -> None:
    """Send audio until the socket takes no more and the queue is full."""
    number = 0
    with trio.fail_after(5):
        while plane.statistics().audio_ms_dropped == 0:
            number += 1
            door.last.wire.send_binary(b"%06d" % number + CHUNK[:1594], audio_ms=200)
            await trio.lowlevel.checkpoint()


async def test_late_audio_is_dropped_and_control_is_kept() -> None:
    """What the slow reader gets at last: whole frames, in order, a gap in the audio, every mark."""
    async with patient_plane(stall_timeout_s=30) as plane, open_door(plane) as door, narrow_client(door) as client:
        await fill(plane, door)
        for number in range(20):
            door.last.wire.send_text(b"mark-%02d" % number)
            door.last.wire.send_binary(b"%06d" % (900_000 + number) + CHUNK[:1594], audio_ms=200)
        assert plane.statistics().audio_ms_dropped >= 20 * 200
        door.last.wire.close(1000)
        messages = parse(await client.read_to_end())
        marks = [payload for opcode, payload in messages if opcode == 1]
        audio = [int(payload[:6]) for opcode, payload in messages if opcode == 2]
        assert marks == [b"mark-%02d" % number for number in range(20)]
        assert audio == sorted(set(audio))
        assert audio[-5:] == [900_015, 900_016, 900_017, 900_018, 900_019]
        assert all(number < 900_000 for number in audio[:-5])


async def test_what_waits_is_told_for_each_call() -> None:
    """`statistics()` names the calls whose audio waits, and how much; a neighbour with none is left out."""
    async with patient_plane(stall_timeout_s=30) as plane, open_door(plane) as door, narrow_client(door) as client:
        await fill(plane, door)
        slow = door.last.wire
        slow.owner = "call-slow"
        async with narrow_client(door):
            await until(lambda: len(door.recorders) == 2 and door.last.opened)
            door.last.wire.owner = "call-quick"
            counts = plane.statistics()
        assert set(counts.queued_ms_by_call) == {"call-slow"}
        assert counts.queued_ms_now == counts.queued_ms_most == counts.queued_ms_by_call["call-slow"]
        assert 600 <= counts.queued_ms_now <= 1000, "bounded"
        slow.drop_unsent_audio()
        assert plane.statistics().queued_ms_by_call == {}
        slow.close()
        await client.read_to_end()


async def test_a_barge_in_forgets_what_waits() -> None:
    """`drop_unsent_audio` says how much it dropped, and the next thing the peer reads after the old is the new."""
    async with patient_plane(stall_timeout_s=30) as plane, open_door(plane) as door, narrow_client(door) as client:
        await fill(plane, door)
        before = plane.statistics().audio_ms_dropped
        assert 600 <= door.last.wire.drop_unsent_audio() <= 1000
        assert door.last.wire.drop_unsent_audio() == 0
        door.last.wire.send_text(b"clear")
        door.last.wire.close()
        messages = parse(await client.read_to_end())
        assert messages[-1] == (1, b"clear")
        assert plane.statistics().audio_ms_dropped == before


async def test_a_peer_that_never_reads_is_given_up(plane: MediaPlane) -> None:
    """After the stall time the wire ends with 1006, whatever still waits."""
    async with open_door(plane) as door, narrow_client(door):
        await fill(plane, door)
        began = trio.current_time()
        await until(lambda: door.last.closings)
        assert 0.4 < trio.current_time() - began < 3
        assert door.last.closings == [(1006, "the peer does not read")]
        assert plane.statistics().stalled == 1
        assert plane.statistics().sockets_now == 0


async def test_too_much_control_ends_the_wire() -> None:
    """Control is never dropped, so it must not grow without end either."""
    async with patient_plane(max_queue_bytes=50_000) as plane, open_door(plane) as door, narrow_client(door):
        with trio.fail_after(5):
            while not door.last.closings:
                door.last.wire.send_text(CHUNK)
                await trio.lowlevel.checkpoint()
        assert door.last.code == 1006
        assert plane.statistics().stalled == 1


async def test_a_slow_reader_is_not_a_dead_one(plane: MediaPlane) -> None:
    """Somebody who reads a little now and then is kept."""
    async with open_door(plane) as door, narrow_client(door) as client:
        await fill(plane, door)
        for _ in range(15):
            await trio.sleep(0.05)
            with trio.move_on_after(0.05):
                await client.stream.receive_some(65_536)
            door.last.wire.send_binary(CHUNK, audio_ms=1000)
        assert door.last.wire.is_open


async def test_a_burst_that_the_socket_takes_is_not_dropped(plane: MediaPlane) -> None:
    """Three seconds of audio handed over in one go (Twilio buffers) are written, not shed, when the line is free."""
    async with open_door(plane) as door:
        stream = await trio.open_tcp_stream("127.0.0.1", door.port)
        client = BareClient(stream)
        await client.upgrade()
        for number in range(150):
            door.last.wire.send_text(b"%03d" % number + b"x" * 300, audio_ms=20)
        door.last.wire.close()
        messages = parse(await client.read_to_end())
        await trio.aclose_forcefully(stream)
        assert plane.statistics().audio_ms_dropped == 0
        assert [int(payload[:3]) for _, payload in messages] == list(range(150))


async def test_a_slow_reader_behind_tls() -> None:
    """The same through TLS: what is encrypted is committed, what is not can be dropped, and no record is torn."""
    authority, wake = trustme.CA(), trio.Event()
    server_tls, client_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server_tls)
    authority.configure_trust(client_tls)
    heard: list[Frame] = []

    async def sleep_then_read(stream: trio.SSLStream[trio.SocketStream]) -> None:
        protocol = ServerProtocol()
        protocol.receive_data(await stream.receive_some())
        request = protocol.events_received()[0]
        assert isinstance(request, Request)
        protocol.send_response(protocol.accept(request))
        await stream.send_all(b"".join(protocol.data_to_send()))
        await wake.wait()
        while protocol.close_rcvd is None:
            protocol.receive_data(await stream.receive_some())
            heard.extend(event for event in protocol.events_received() if isinstance(event, Frame))
        await stream.send_all(b"".join(protocol.data_to_send()))

    async with patient_plane(stall_timeout_s=30) as plane, trio.open_nursery() as nursery:
        listen = partial(trio.serve_ssl_over_tcp, sleep_then_read, 0, server_tls, host="127.0.0.1")
        (listener,) = await nursery.start(listen)
        listener.transport_listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        port = listener.transport_listener.socket.getsockname()[1]
        ear = Recorder()
        wire = await plane.dial(f"wss://127.0.0.1:{port}/", ear, ssl_context=client_tls)
        number = 0
        while plane.statistics().audio_ms_dropped < 2_000:
            wire.send_binary(b"%06d" % number + CHUNK[:1594], audio_ms=200)
            wire.send_text(b"%06d" % number)
            number += 1
            await trio.lowlevel.checkpoint()
        wake.set()
        wire.close(1000)
        await until(lambda: ear.closings)
        nursery.cancel_scope.cancel()
    marks = [int(bytes(frame.data)) for frame in heard if frame.opcode is Opcode.TEXT]
    audio = [int(bytes(frame.data[:6])) for frame in heard if frame.opcode is Opcode.BINARY]
    assert marks == list(range(number))
    assert audio == sorted(set(audio))
    assert audio[-1] == number - 1
    assert len(audio) == number - plane.statistics().audio_ms_dropped // 200
    assert ear.code == 1000


def parse(data: bytes) -> list[tuple[int, bytes]]:
    """Unmasked frames up to the close frame. Fails when a frame is cut."""
    messages: list[tuple[int, bytes]] = []
    at = 0
    while True:
        opcode, size, start = data[at] & 15, data[at + 1], at + 2
        if size == 126:
            size, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
        payload = data[start : start + size]
        assert len(payload) == size
        if opcode == 8:
            return messages
        messages.append((opcode, payload))
        at = start + size


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.integers(1, 40), st.sampled_from([0, 0, 20, 60])),
            st.tuples(st.just("write"), st.integers(1, 80), st.just(0)),
            st.tuples(st.just("shed"), st.just(0), st.just(0)),
            st.tuples(st.just("drop"), st.just(0), st.just(0)),
        ),
        max_size=60,
    )
)
def test_the_outbox_against_a_model(steps: list[tuple[str, int, int]]) -> None:
    """Frames leave whole and in order; only unbegun audio is dropped, oldest first; the sums are right."""
    box = Outbox(100)
    waiting: list[tuple[bytes, int]] = []
    put: list[tuple[bytes, int]] = []
    out = b""
    for number, (what, size, audio_ms) in enumerate(steps):
        if what == "put":
            frame = bytes([number]) * size
            box.put(frame, audio_ms)
            put.append((frame, audio_ms))
            waiting.append((frame, audio_ms))
        elif what == "write" and box:
            taken = box.next_bytes(50)[:size]
            out += taken
            box.written(len(taken))
            left = len(taken)
            while left:
                frame, _ = waiting.pop(0)
                if len(frame) > left:
                    waiting.insert(0, (frame[left:], 0))
                left -= min(left, len(frame))
        elif what in ("shed", "drop"):
            keep = 100 if what == "shed" else 0
            expected = 0
            while sum(ms for _, ms in waiting) > keep:
                oldest = next(entry for entry in waiting if entry[1])
                waiting.remove(oldest)
                expected += oldest[1]
            assert (box.shed() if what == "shed" else box.drop_audio()) == expected
        assert box.audio_ms == sum(ms for _, ms in waiting)
        assert box.size == sum(len(frame) for frame, _ in waiting)
        assert bool(box) == bool(waiting)
    while box:
        data = box.next_bytes(50)
        out += data
        box.written(len(data))
    assert_whole_and_in_order(out, put)


def assert_whole_and_in_order(out: bytes, put: list[tuple[bytes, int]]) -> None:
    for frame, audio_ms in put:
        if out.startswith(frame):
            out = out[len(frame) :]
        else:
            assert audio_ms, "control was dropped"
    assert not out
