"""The plane as a whole: its beat, its fairness, its end, and what a listener's mistake may cost."""

from __future__ import annotations

import gc
import os
import socket
import statistics
import struct
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import trio
import trio.lowlevel
from structlog.testing import CapturingLogger
from websockets.frames import Opcode
from websockets.protocol import Protocol

import actors.media.failures
from actors.media import MediaPlane
from actors.media.session import Session
from actors.media.statistics import Lag
from actors.media.wire import MediaWire
from actors.ports import Wire
from tests.actors.media.harness import PATIENCE_S, BareClient, Recorder, bare_client, echo, frame, open_door, until


def open_fds() -> int:
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


# ---- a listener's mistakes


async def test_a_listener_that_raises_ends_only_its_own_wire(plane: MediaPlane) -> None:
    """1011 for the peer, `on_closed` once, the neighbour talks on, and the words that caused it are in no log."""

    def trip(recorder: Recorder, payload: bytes) -> None:
        if payload.startswith(b"trip"):
            raise ValueError(payload)
        echo(recorder, payload)

    async with open_door(plane, then=trip) as door, bare_client(door) as good, bare_client(door) as bad:
        good_ear, bad_ear = door.recorders
        await bad.send(Opcode.TEXT, b"trip over my secret")
        await bad.send(Opcode.TEXT, b"more")
        assert b"\x03\xf3" in await bad.read_to_end()
        await until(lambda: bad_ear.closings)
        assert bad_ear.closings == [(1011, "the listener failed")]
        assert len(bad_ear.texts) == 1
        await good.send(Opcode.TEXT, b"hello")
        await good.read_until(b"hello")
        assert not good_ear.closings
        assert plane.statistics().listener_errors == 1


async def test_a_mistake_leaves_no_words_in_the_log(plane: MediaPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log has the kind and the place of the error, not its message."""
    monkeypatch.setattr(actors.media.failures, "log", book := CapturingLogger())

    def trip(_: Recorder, payload: bytes) -> None:
        raise ValueError(payload)

    async with open_door(plane, then=trip) as door, bare_client(door) as client:
        await client.send(Opcode.TEXT, b"my number is 4711")
        await until(lambda: door.last.closings)
    assert "ValueError" in repr(book.calls)
    assert "4711" not in repr(book.calls)


class ClumsyAtTheEnds(Recorder):
    """Raises when it is told of the beginning and of the end."""

    def on_open(self, wire: Wire) -> None:
        super().on_open(wire)
        raise RuntimeError

    def on_closed(self, code: int, reason: str) -> None:
        super().on_closed(code, reason)
        raise RuntimeError


async def test_a_listener_that_raises_at_both_ends(plane: MediaPlane) -> None:
    """Even then it is told of the end exactly once, and the plane goes on."""
    clumsy = ClumsyAtTheEnds()
    async with open_door(plane, doorkeeper=lambda _: clumsy) as door, bare_client(door) as client:
        assert b"\x03\xf3" in await client.read_to_end()
        await until(lambda: clumsy.closings)
        await until(lambda: plane.statistics().sockets_now == 0)
        assert (clumsy.opened, clumsy.code) == (1, 1011)
        assert plane.statistics().listener_errors == 2


async def test_a_listener_may_do_anything_from_inside(plane: MediaPlane) -> None:
    """Abort itself, abort another, close twice, send after the end: everybody hears of it once."""
    ears: list[Recorder] = []

    def riot(recorder: Recorder, payload: bytes) -> None:
        for other in ears:
            other.wire.send_text(b"before")
            other.wire.close(1000)
            other.wire.abort()
            other.wire.close(1001)
            other.wire.send_binary(b"after", audio_ms=20)
            assert other.wire.drop_unsent_audio() == 0
            assert not other.closings, "told from inside of another's call"

    async with open_door(plane, then=riot) as door, bare_client(door), bare_client(door), bare_client(door) as third:
        ears = door.recorders
        await third.stream.send_all(frame(Opcode.TEXT, b"1") + frame(Opcode.TEXT, b"2"))
        await until(lambda: all(ear.closings for ear in ears))
        assert [ear.code for ear in ears] == [1006, 1006, 1006]
        assert ears[2].texts == [b"1"]
        assert plane.statistics().sockets_now == 0


# ---- the beat


async def test_the_beat_is_steady(plane: MediaPlane) -> None:
    """Fifty ticks take about a second, and the typical gap is about 20 ms."""
    beats: list[float] = []
    unregister = plane.every_tick(beats.append)
    await until(lambda: len(beats) >= 50)
    unregister()
    gaps = [(later - earlier) * 1000 for earlier, later in pairwise(beats)]
    assert 17 < statistics.median(gaps) < 25
    assert 0.9 < beats[49] - beats[0] < 2.5
    counted = len(beats)
    await trio.sleep(0.1)
    assert len(beats) == counted


async def test_the_beat_goes_on_under_load(plane: MediaPlane) -> None:
    """Sockets that are busy all the time do not stop the ticks, nor the other tasks."""
    beats: list[float] = []
    async with open_door(plane, then=echo) as door, bare_client(door) as client, trio.open_nursery() as nursery:

        async def flood() -> None:
            data = frame(Opcode.TEXT, b"x" * 100) * 50
            while True:
                await client.stream.send_all(data)

        async def drain() -> None:
            while True:
                await client.stream.receive_some()

        nursery.start_soon(flood)
        nursery.start_soon(drain)
        unregister = plane.every_tick(beats.append)
        await until(lambda: len(beats) >= 30)
        unregister()
        nursery.cancel_scope.cancel()
    assert statistics.median(later - earlier for earlier, later in pairwise(beats)) < 0.06


async def test_a_tick_that_raises_is_dropped_alone(plane: MediaPlane) -> None:
    """The others are called on, and may come and go while being called."""
    beats: list[float] = []
    failed: list[float] = []

    def trip(now: float) -> None:
        failed.append(now)
        raise RuntimeError

    def once(now: float) -> None:
        leave()

    plane.every_tick(trip)
    leave = plane.every_tick(once)
    stop = plane.every_tick(beats.append)
    await until(lambda: len(beats) >= 5)
    stop()
    stop()
    assert len(failed) == 1


async def test_a_stall_is_counted_and_not_made_up_for(plane: MediaPlane) -> None:
    """After a stall the beat goes on; it does not gallop."""
    beats: list[float] = []
    stop = plane.every_tick(beats.append)
    await until(lambda: len(beats) >= 3)
    time.sleep(0.25)  # noqa: ASYNC251
    counted = len(beats)
    await until(lambda: len(beats) > counted + 4)
    stop()
    assert plane.statistics().late_ticks >= 1
    assert beats[counted + 4] - beats[counted] > 0.04


# ---- many, and fair


async def test_many_sockets_at_once(in_place: bool) -> None:
    """A hundred wires, twenty messages each: every echo goes to its own."""
    plane = MediaPlane(in_place=in_place)

    async def talk(door_port: int, name: int) -> None:
        client = BareClient(await trio.open_tcp_stream("127.0.0.1", door_port))
        await client.upgrade()
        for number in range(20):
            await client.send(Opcode.TEXT, b"<%d:%d>" % (name, number))
            assert (await client.read_until(b">")).endswith(b"<%d:%d>" % (name, number))
        await trio.aclose_forcefully(client.stream)

    async with trio.open_nursery() as nursery:
        await nursery.start(plane.run)
        async with open_door(plane, then=echo) as door:
            async with trio.open_nursery() as talkers:
                for name in range(100):
                    talkers.start_soon(talk, door.port, name)
            await until(lambda: plane.statistics().sockets_now == 0)
            assert plane.statistics().opened == 100
            assert plane.statistics().frames_in == plane.statistics().frames_out == 2000
            assert all(len(recorder.closings) == 1 for recorder in door.recorders)
        nursery.cancel_scope.cancel()


async def test_a_flood_does_not_starve_the_others(plane: MediaPlane) -> None:
    """While one peer sends tiny fragments as fast as it can, another's words come through promptly."""
    tiny = frame(Opcode.BINARY, b"", fin=False) + frame(Opcode.CONT, b"a", fin=False) * 500 + frame(Opcode.CONT, b"")
    async with open_door(plane) as door, bare_client(door) as flooder, bare_client(door) as caller:
        ear = door.recorders[1]

        async def flood() -> None:
            while True:
                await flooder.stream.send_all(tiny)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            delays: list[float] = []
            for _ in range(30):
                began, ear.texts[:] = trio.current_time(), []
                await caller.send(Opcode.TEXT, b"x")
                await until(lambda: ear.texts)
                delays.append(trio.current_time() - began)
            assert door.recorders[0].binaries
            assert statistics.median(delays) < 0.1
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("said", ["a few words", "more than one read", "more frames than a turn"])
@pytest.mark.parametrize("ends", ["goes on", "with the last byte", "reset"])
async def test_nothing_that_is_told_once_is_missed(plane: MediaPlane, said: str, ends: str) -> None:
    """Epoll tells of an arrival only once: all of it is read, and the end behind it is seen, without another word."""
    messages = {
        "a few words": [b"one", b"two"],
        "more than one read": [bytes([65 + number]) * 50_000 for number in range(8)],
        "more frames than a turn": [b"%d" % number for number in range(1000)],
    }[said]
    stream = b"".join(frame(Opcode.TEXT, message) for message in messages)

    def is_all_there() -> bool:
        return len(door.last.texts) == len(messages)

    async with open_door(plane) as door, bare_client(door) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1_000_000)
        # While this thread writes, the plane cannot read: all lies ready before it looks, its end too.
        raw = socket.socket(fileno=os.dup(client.socket.fileno()))
        while stream:
            try:
                stream = stream[raw.send(stream) :]
            except BlockingIOError:
                await trio.lowlevel.checkpoint()
        raw.close()
        if ends == "with the last byte":
            client.socket.shutdown(socket.SHUT_WR)
        await until(is_all_there)
        assert door.last.texts == messages
        if ends == "reset":
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.socket.close()
        if ends == "goes on":
            await client.send(Opcode.TEXT, b"still here")
            await until(lambda: door.last.texts[-1] == b"still here")
        else:
            await until(lambda: door.last.closings)
            assert door.last.code == 1006


# ---- the end


async def test_the_end_of_the_plane_closes_everything() -> None:
    """Every listener is told 1001, every peer reads it, half-made handshakes and dials too; no descriptor is left."""
    before = open_fds()
    plane = MediaPlane()
    failures: list[str] = []

    async def dial_in_vain(port: int) -> None:
        try:
            await plane.dial(f"ws://127.0.0.1:{port}/", Recorder(), timeout_s=PATIENCE_S)
        except ConnectionError as error:
            failures.append(str(error))

    async with trio.open_nursery() as nursery:
        silent: list[trio.SocketListener] = await nursery.start(trio.serve_tcp, _keep_silent, 0)
        running = await nursery.start(_run_in_scope, plane)
        async with open_door(plane) as door:
            nursery.start_soon(dial_in_vain, silent[0].socket.getsockname()[1])
            async with bare_client(door) as first, bare_client(door) as second, bare_client(door, upgrade=False):
                await until(lambda: plane.statistics().handshakes_now == 2)
                running.cancel()
                for client in (first, second):
                    assert b"\x03\xe9" in await client.read_to_end()
                await until(lambda: failures)
        assert [ear.code for ear in door.recorders] == [1001, 1001]
        assert failures == ["the media plane stopped"]
        assert plane.statistics().sockets_now == 0
        nursery.cancel_scope.cancel()
    assert open_fds() <= before


async def _keep_silent(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


async def _run_in_scope(plane: MediaPlane, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
    with trio.CancelScope() as scope:
        task_status.started(scope)
        await plane.run()


async def test_no_descriptor_leaks_through_all_the_ways_to_end(plane: MediaPlane) -> None:
    """Refused, reset, closed, aborted, too slow: after each, the socket is really gone."""
    async with open_door(plane, then=lambda ear, word: getattr(ear.wire, word.decode())()) as door:
        await until(lambda: plane.statistics().sockets_now == 0)
        before = open_fds()
        for word in (b"close", b"abort", b"no_such_thing"):
            async with bare_client(door) as client:
                await client.send(Opcode.TEXT, word)
                await client.read_to_end()
        async with bare_client(door):
            pass
        async with bare_client(door, upgrade=False) as client:
            await client.stream.send_all(b"nonsense\r\n\r\n")
            await client.read_to_end()
        async with bare_client(door, upgrade=False) as client:
            await client.read_to_end()
        await until(lambda: plane.statistics().sockets_now == 0)
        assert plane.statistics().handshakes_now == 0
        assert open_fds() <= before


async def test_what_ended_is_freed_at_once(plane: MediaPlane) -> None:
    """By reference counts alone, however it ended: what waits for the collector is memory that grows."""
    ours = (MediaWire, Session, Protocol, BaseException)

    def alive() -> int:
        return sum(isinstance(one, ours) for one in gc.get_objects())

    async with open_door(plane, then=echo) as door:
        gc.collect()
        gc.disable()
        try:
            before = alive()
            for number in range(12):
                async with bare_client(door) as client:
                    await client.send(Opcode.TEXT, b"hello")
                    await client.read_until(b"hello")
                    if number % 2:
                        door.last.wire.close(1000, "bye")
                        await client.read_until(b"bye")
                dialled = await plane.dial(door.url, Recorder())
                (dialled.abort, dialled.close, door.last.wire.close)[number % 3]()
                del dialled
            await until(lambda: plane.statistics().sockets_now == 0)
            door.recorders.clear()
            await until(lambda: alive() <= before + 1)  # one may be held by the round that is just over
        finally:
            gc.enable()


def test_lag_is_counted_as_prometheus_wants_it() -> None:
    """Cumulative buckets with upper bounds, the last without; a value on the bound is within it."""
    lag = Lag()
    for late_s in (0.0, 0.001, 0.0011, 0.3, 7.0):
        lag.note(late_s)
    buckets = dict(lag.buckets())
    assert (buckets["0.001"], buckets["0.002"], buckets["0.2"], buckets["0.5"], buckets["+Inf"]) == (2, 3, 3, 4, 5)
    assert lag.sum_s == pytest.approx(7.3021) and lag.most_s == 7.0


async def test_ticks_measure_what_holds_the_loop(plane: MediaPlane) -> None:
    """Somebody blocks the loop for 60 ms: the next tick is that late, and the histogram has it."""
    ticked = trio.Event()
    plane.every_tick(lambda now: ticked.set())
    await ticked.wait()
    time.sleep(0.06)  # noqa: ASYNC251 — this is the culprit
    await until(lambda: plane.lag.most_s > 0.03)
    assert dict(plane.lag.buckets())["0.02"] < dict(plane.lag.buckets())["+Inf"]


async def test_seldom_ticks_are_seldom(plane: MediaPlane) -> None:
    """Every fifth tick for who wants no more, and none after it has left."""
    often: list[float] = []
    seldom: list[float] = []
    stop_often = plane.every_tick(often.append)
    stop_seldom = plane.every_tick(seldom.append, ticks=5)
    await until(lambda: len(often) >= 20)
    assert len(often) // 5 - 1 <= len(seldom) <= len(often) // 5 + 1
    stop_seldom()
    stop_often()
    counts = (len(often), len(seldom))
    await trio.sleep(0.1)
    assert (len(often), len(seldom)) == counts


async def test_under_load_frames_gather_and_nobody_starves(plane: MediaPlane) -> None:
    """Many sockets are ready at once: all are served, in order, and another task still gets its turn."""
    async with open_door(plane, then=echo) as door:
        recorders = [Recorder() for _ in range(12)]
        wires = [await plane.dial(door.url, recorder) for recorder in recorders]
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            for number in range(50):
                for wire in wires:
                    wire.send_binary(number.to_bytes(1, "big") * 160)
                await trio.sleep(0.001)
            await until(lambda: all(len(recorder.binaries) == 50 for recorder in recorders))
            nursery.cancel_scope.cancel()
        for recorder in recorders:
            assert [payload[0] for payload in recorder.binaries] == list(range(50))
        assert turns > 50


async def test_a_tool_call_is_not_kept_waiting_for_frames_to_gather(
    plane: MediaPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under load the thread stands still for moments; not while the plane gives way, and no sound is lost for it."""
    kept: list[float] = []
    stand_still = time.sleep

    def noticed(seconds: float) -> None:
        kept.append(seconds)
        stand_still(seconds)

    monkeypatch.setattr(time, "sleep", noticed)
    async with open_door(plane, then=echo) as door:
        recorders = [Recorder() for _ in range(12)]
        wires = [await plane.dial(door.url, recorder) for recorder in recorders]
        sent = 0

        async def talk_until(condition: Callable[[], object]) -> None:
            nonlocal sent
            while not condition():
                for wire in wires:
                    wire.send_binary(bytes(160))
                sent += 1
                await until(lambda: {len(recorder.binaries) for recorder in recorders} == {sent})  # noqa: B023

        with trio.fail_after(PATIENCE_S):
            await talk_until(lambda: kept)
            plane.give_way(PATIENCE_S)
            kept.clear()
            await talk_until(lambda: sent % 50 == 0)
            assert not kept
            plane.give_way(0.0)
            await talk_until(lambda: kept)
