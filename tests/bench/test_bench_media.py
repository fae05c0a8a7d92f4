"""The media bench measures what it says: a loss is seen, a delay is timed, order is judged; and the command runs."""

from __future__ import annotations

import io
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio
from rich.console import Console

import web.bench.media
from actors.media import MediaPlane
from actors.ports import Refusal, Upgrade, Wire, WireListener
from engine.wire import twilio
from web.bench.contenders import Contender
from web.bench.driver import Driver, load_generator
from web.bench.load_legs import Leg, Tally, server_frame
from web.bench.media import MediaBench, Plan
from web.bench.process import family, resident_bytes
from web.bench.report import print_media, write_json
from web.bench.soak import Minute, Soak, _judge, soak
from web.front_door import listen, serve

CORES = set(range(64))
TINY = Plan(
    rounds=1, cost_calls=20, cost_s=1.0, step_s=0.5, steps=(4, 8), small_steps=(2,), clear_s=6.0, workers=0
)  # fmt: skip


class BadBridge:
    """Relays between the generator's two sides, and may be told to lose, to double or to hold back."""

    def __init__(self) -> None:
        self.lose_every = self.double_every = 0
        self.hold_back = False
        self.clears = False
        self.plane = MediaPlane()
        self.agent_url = ""
        self.nursery: trio.Nursery
        self.count = 0
        self.held: list[tuple[Wire, bytes]] = []

    def welcome(self, upgrade: Upgrade) -> WireListener | Refusal:
        return Line(self)

    def pass_on(self, wire: Wire, audio: bytes) -> None:
        self.count += 1
        if self.lose_every and self.count % self.lose_every == 0:
            return
        if self.hold_back:
            self.held.append((wire, audio))
            if len(self.held) < 40:
                return
            wire, audio = self.held.pop(0)
        wire.send_binary(audio)
        if self.double_every and self.count % self.double_every == 0:
            wire.send_binary(audio)


class Line:
    def __init__(self, bridge: BadBridge) -> None:
        self.bridge = bridge
        self.agent: Agent | None = None
        self.writer: twilio.MediaWriter | None = None
        self.loud = 0

    def on_open(self, wire: Wire) -> None:
        self.wire = wire

    def on_text(self, payload: bytes) -> None:
        match twilio.read_media(payload):
            case twilio.Start(stream_sid=sid):
                self.writer = twilio.MediaWriter(sid)
                self.bridge.nursery.start_soon(self.dial)
            case twilio.Media(payload=audio) if self.agent is not None:
                self.bridge.pass_on(self.agent.wire, audio)
                self.loud = self.loud + 1 if audio[-1] == 0x90 else 0
                if self.loud == 2 and self.bridge.clears and self.writer is not None:
                    self.wire.send_text(self.writer.clear())
            case _:
                pass

    async def dial(self) -> None:
        agent = Agent(self)
        await self.bridge.plane.dial(self.bridge.agent_url, agent)
        self.agent = agent

    def on_binary(self, payload: bytes) -> None: ...

    def on_closed(self, code: int, reason: str) -> None:
        if self.agent is not None:
            self.agent.wire.close()


class Agent:
    def __init__(self, line: Line) -> None:
        self.line = line

    def on_open(self, wire: Wire) -> None:
        self.wire = wire

    def on_text(self, payload: bytes) -> None: ...

    def on_binary(self, payload: bytes) -> None:
        if self.line.writer is not None:
            self.line.wire.send_text(self.line.writer.media(payload))

    def on_closed(self, code: int, reason: str) -> None: ...


@asynccontextmanager
async def open_bridge(driver: Driver) -> AsyncIterator[tuple[BadBridge, Contender]]:
    bridge = BadBridge()
    bridge.agent_url = driver.agent_url
    listeners = await listen("127.0.0.1", 0)
    port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        bridge.nursery = nursery
        await nursery.start(bridge.plane.run)

        async def door() -> None:
            await serve(
                _no_app, listeners, plane=bridge.plane, doorkeeper=bridge.welcome, is_media=lambda head: True,
                shutdown_trigger=trio.sleep_forever,
            )  # fmt: skip

        nursery.start_soon(door)
        yield bridge, Contender("bad", 0, port=port)
        nursery.cancel_scope.cancel()


async def _no_app(scope: object, receive: object, send: object) -> None:
    raise RuntimeError("nobody asks for HTTP here")


async def test_loss_order_and_delay_are_seen() -> None:
    """A good bridge is found good; one that loses, doubles or holds frames back is found out, and by how much."""
    async with load_generator(cores=CORES) as driver, open_bridge(driver) as (bridge, contender):
        assert await driver.open_calls(contender, 2)
        await trio.sleep(0.3)  # until both ways flow
        good = await driver.measure(1.0)
        assert (good["lost"], good["disordered"], good["strange"], good["open"]) == (0, 0, 0, 2)
        assert good["received"] >= 150 and good["to_agent_us"]["p99"] < 200_000
        bridge.lose_every = 10
        assert (await driver.measure(1.0))["lost"] >= 5
        bridge.lose_every, bridge.double_every = 0, 10
        assert (await driver.measure(1.0))["disordered"] >= 5
        bridge.double_every, bridge.hold_back = 0, True
        await driver.measure(1.0)
        held = await driver.measure(1.0)
        assert held["to_agent_us"]["p50"] > 250_000, "forty frames of two calls are 400 ms"
        assert held["to_line_us"]["p50"] < 200_000, "the other way is not held back"


async def test_stale_frames_after_a_clear_are_seen() -> None:
    """A bridge that sends `clear` and goes on with the old utterance is found out."""
    async with load_generator(cores=CORES) as driver, open_bridge(driver) as (bridge, contender):
        bridge.clears = True
        await driver.open_calls(contender, 2)
        seen = await driver.measure(4.0, interrupt_every_s=2.0)
        assert seen["interruptions"] >= 2 and seen["cleared"] >= 2
        assert seen["clear_us"]["p50"] < 200_000
        assert seen["stale"] > 0, "until Vapi notices, 200 ms later, it goes on"


def test_frames_cut_anywhere_are_read_the_same() -> None:
    """The generator's own reader: a frame in pieces, and several at once."""

    class Ear(Leg):
        heard: list[tuple[int, bytes]]

        def frame(self, opcode: int, data: bytes, start: int, end: int, mask: bytes, now: int) -> None:
            self.heard.append((opcode, data[start:end]))

    stream = b"".join(server_frame(2, bytes([n]) * size) for n, size in enumerate((1, 125, 126, 160, 70_000)))
    for step in (1, 7, 1000, len(stream)):
        ear = Ear.__new__(Ear)
        ear.heard, ear.rest, ear.is_open, ear.tally = [], b"", True, Tally()
        for at in range(0, len(stream), step):
            ear.take(ear.rest + stream[at : at + step])
        assert [(opcode, len(payload)) for opcode, payload in ear.heard] == [
            (2, 1), (2, 125), (2, 126), (2, 160), (2, 70_000),
        ]  # fmt: skip


@pytest.mark.slow
async def test_the_whole_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A very short run with every peer that is here: the keys of the report, and no frame lost by us."""
    monkeypatch.setattr(web.bench.media, "SETTLE_S", 0.3)
    monkeypatch.setattr(web.bench.media, "SMALL", {"naive": 4, "pipecat": 4})
    result = await MediaBench(TINY, peers=("floor", "node", "naive", "pipecat")).run()
    assert {"us_per_frame", "calls_per_core", "kb_per_call", "clear_ms_p99", "latency_ms_p99"} <= set(result.ours)
    assert result.ours["us_per_frame"] > 1 and result.ours["calls_per_core"] in (0, 4, 8)
    assert result.ours["stale_frames"] == 0 and result.ours["cleared"] > 0
    assert {name for name in result.ratio if "_" not in name} | set(result.skipped) == {
        "floor", "node", "naive", "pipecat",
    }  # fmt: skip
    assert result.ratio["naive"] < 1
    for reading in result.readings:
        if reading["name"] == "callscope":
            assert (reading["lost"], reading["disordered"]) == (0, 0)
    write_json(result, tmp_path / "bench.json")
    assert msgspec.json.decode((tmp_path / "bench.json").read_bytes())["ours"] == result.ours


async def test_what_cannot_run_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without peers there are no ratios, and the reason stands in the report."""
    monkeypatch.setattr(web.bench.media, "find_peer", lambda name: f"no {name} here")
    monkeypatch.setattr(web.bench.media, "SETTLE_S", 0.3)
    plan = Plan(rounds=1, cost_calls=2, cost_s=0.2, step_s=0.2, steps=(2,), clear_s=0.5, workers=0)
    result = await MediaBench(plan, peers=("floor", "node")).run()
    assert result.skipped == {"floor": "no floor here", "node": "no node here"} and result.ratio == {}
    console = Console(record=True, width=120, file=io.StringIO())
    print_media(result, console)
    assert "skipped node: no node here" in console.export_text()


def minute(number: int, **changed: float) -> Minute:
    given: dict[str, float] = {
        "resident_mb": 80.0, "tasks": 100, "calls": 50, "sockets": 100, "open_files": 150, "remembered": 10,
        "calls_so_far": 60, "lost": 0, "disordered": 0, "stale": 0, "p99_ms": 1.0, "blocks": 1000, **changed,
    }  # fmt: skip
    return Minute(minute=number, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "word"),
    [({"resident_mb": 83.0}, "memory"), ({"tasks": 160}, "tasks"), ({"open_files": 220}, "open_files"),
     ({"sockets": 160}, "sockets"), ({"blocks": 1040}, "blocks"), ({"lost": 1}, "lost"), ({"stale": 1}, "stale")],
)  # fmt: skip
def test_a_soak_finds_what_grows(changed: dict[str, float], word: str) -> None:
    good, bad = (Soak("", {}, 50, minutes=[minute(1), minute(2), last]) for last in (minute(3), minute(3, **changed)))
    _judge(good)
    _judge(bad)
    assert good.problems == []
    assert bad.problems and all(word in problem for problem in bad.problems)


@pytest.mark.slow
async def test_a_short_soak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two short minutes: calls come and go, and nothing is left of them."""
    said: list[str] = []
    monkeypatch.setattr("web.bench.soak.PIECES_A_MINUTE", 1)
    monkeypatch.setattr("web.bench.soak.PIECE_S", 3.0)
    result = await soak(6, 2, said.append)
    assert len(said) == 2 and [one.calls for one in result.minutes] == [6, 6]
    assert result.minutes[-1].calls_so_far > 6
    assert {name: value for name, value in result.left_at_the_end.items() if name != "resident_mb"} == {
        "calls_live": 0, "call_tasks": 0, "media_sockets": 0,
    }  # fmt: skip


def test_a_process_and_its_children_are_one() -> None:
    assert family(os.getpid())[0] == os.getpid()
    assert resident_bytes(os.getpid()) > 10_000_000
