"""The carrier is as exact as the reference says: marks, clear, frames, delays, losses, echo (twilio.md §9, §10)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from actors.ports import Wire
from actors.world.caller import At, Caller, CallerPlan, Step
from actors.world.carrier import Carrier, LinePlan
from actors.world.sounds import Sound, spoken
from actors.world.tap import OURS, Tap
from actors.world.timetable import Timetable
from engine.audio import SILENCE_FRAME, silence
from engine.wire import twilio

LOUD = b"\x20\xa0" * 80  # 20 ms


class Server:
    """Who listens at the other end, and notes when what came."""

    def __init__(self) -> None:
        self.came: list[tuple[float, dict[str, Any]]] = []
        self.closed: list[int] = []
        self.wire: Wire

    def on_open(self, wire: Wire) -> None:
        self.wire = wire

    def on_text(self, payload: bytes) -> None:
        self.came.append((round(trio.current_time() * 1000, 3), json.loads(payload)))

    def on_binary(self, payload: bytes) -> None: ...

    def on_closed(self, code: int, reason: str) -> None:
        self.closed.append(code)

    def marks(self) -> list[tuple[float, str]]:
        return [(at, one["mark"]["name"]) for at, one in self.came if one["event"] == "mark"]

    def frames(self) -> list[tuple[float, bytes]]:
        found = []
        for at, one in self.came:
            audio = twilio.audio_of(json.dumps(one).encode())
            if audio is not None:
                found.append((at, audio))
        return found


class Line:
    """A carrier with its caller and the server, in virtual time."""

    def __init__(self, timetable: Timetable) -> None:
        self.timetable = timetable

    def open(self, plan: LinePlan, caller: CallerPlan | None = None) -> Server:
        rng, self.tap = Random(7), Tap(phase_ms=plan.phase_ms or 0.0)
        self.caller = Caller(caller or CallerPlan(stays_ms=60_000), self.tap, rng)
        self.carrier = Carrier(self.timetable, plan, caller=self.caller, tap=self.tap, rng=rng, call_sid="CA7")
        self.server = Server()
        self.carrier.open(self.server, {"token": "t"})
        self.writer = twilio.MediaWriter(self.carrier.stream_sid)
        return self.server

    def play(self, mulaw: bytes) -> None:
        self.server.wire.send_text(self.writer.media(mulaw), 20)

    def mark(self, name: str) -> None:
        self.server.wire.send_text(self.writer.mark(name))

    def clear(self) -> None:
        self.server.wire.send_text(self.writer.clear())


@pytest.fixture
async def line(nursery: trio.Nursery) -> AsyncIterator[Line]:
    timetable = Timetable()
    nursery.start_soon(timetable.run)
    yield Line(timetable)
    nursery.cancel_scope.cancel()


async def test_a_mark_comes_back_when_all_before_it_was_heard(autojump_clock: MockClock, line: Line) -> None:
    server = line.open(LinePlan(phase_ms=5.0))
    await trio.sleep(0.1)
    line.play(LOUD * 3)
    line.mark("end")
    line.mark("end too")
    await trio.sleep(0.5)
    (run,) = line.tap.runs
    assert (run.number, run.at_ms, run.end_ms) == (OURS, 105.0, 165.0)
    assert server.marks() == [(165.0, "end"), (165.0, "end too")]
    line.mark("nothing before it")
    await trio.sleep(0.01)
    assert server.marks()[-1] == (600.0, "nothing before it")


async def test_clear_drops_all_but_the_frame_that_is_heard(autojump_clock: MockClock, line: Line) -> None:
    server = line.open(LinePlan(phase_ms=5.0))
    await trio.sleep(0.1)
    line.play(LOUD * 50)
    line.mark("never heard")
    await trio.sleep(0.11)
    line.clear()
    line.play(LOUD)
    line.mark("after")
    await trio.sleep(0.3)
    assert line.carrier.clears == [210.0]
    assert [(run.at_ms, run.end_ms) for run in line.tap.runs] == [(105.0, 245.0)], "what came after the clear follows"
    assert server.marks() == [(210.0, "never heard"), (245.0, "after")]


async def test_the_microphones_frame_leaves_when_it_is_over(autojump_clock: MockClock, line: Line) -> None:
    click = Sound("click", LOUD, 0.0, "noise")
    server = line.open(LinePlan(), CallerPlan(steps=[Step(At(51.0), click)], stays_ms=100.0))
    await trio.sleep(0.3)
    frames = server.frames()
    assert [at for at, _ in frames[:4]] == [20.0, 40.0, 60.0, 80.0]
    voiced = [at for at, frame in frames if frame != SILENCE_FRAME]
    assert voiced == [60.0, 80.0], "51 to 71 ms"
    (placed,) = line.caller.placed
    assert (placed.onset_ms, placed.end_ms) == (51.0, 71.0)
    assert bytes(line.tap.said[51 * 8 : 71 * 8]) == LOUD
    assert server.came[-1][1]["event"] == "stop" and server.closed == [1000]


async def test_jitter_delays_and_never_reorders(autojump_clock: MockClock, line: Line) -> None:
    server = line.open(LinePlan(up_ms=30, up_jitter_ms=100, down_ms=40, down_jitter_ms=50))
    for _ in range(20):
        line.play(LOUD)
    line.mark("end")
    await trio.sleep(2.0)
    chunks = [int(one["media"]["chunk"]) for _, one in server.came if one["event"] == "media"]
    assert chunks == list(range(1, len(chunks) + 1))
    lags = [at - 20 * (index + 1) for index, (at, _) in enumerate(server.frames())]
    assert min(lags) >= 30 and 60 < max(lags) <= 130
    assert sum(run.ms for run in line.tap.runs) == 400
    (end,) = server.marks()
    assert end[0] >= line.tap.runs[-1].end_ms + 30


async def test_lost_frames_are_silence(autojump_clock: MockClock, line: Line) -> None:
    music = b"\x20\xa0\x30\xb0" * 2000
    server = line.open(LinePlan(loss_percent=20.0), CallerPlan(background=music, stays_ms=4000.0))
    await trio.sleep(4.1)
    frames = [frame for _, frame in server.frames()]
    lost = frames.count(SILENCE_FRAME)
    assert len(frames) >= 199 and 20 <= lost <= 60


async def test_a_loudspeaker_is_heard_by_the_microphone(autojump_clock: MockClock, line: Line) -> None:
    line.open(LinePlan(phase_ms=0.0, echo_delay_ms=100.0, echo_loss_db=20.0))
    await trio.sleep(0.1)
    line.play(LOUD * 5)
    await trio.sleep(0.5)
    (run,) = line.tap.runs
    loud = [at for at in range(0, len(line.tap.said), 8) if line.tap.said[at : at + 8] != silence(1)]
    assert (loud[0] / 8, loud[-1] / 8 + 1) == (run.at_ms + 100, run.end_ms + 100)


async def test_an_utterance_waits_in_the_buffer_at_first(autojump_clock: MockClock, line: Line) -> None:
    line.open(LinePlan(phase_ms=0.0, start_delay_ms=60.0))
    await trio.sleep(0.101)
    line.play(LOUD * 5)
    await trio.sleep(0.05)
    line.play(LOUD * 5)
    await trio.sleep(0.5)
    assert [(run.at_ms, run.ms) for run in line.tap.runs] == [(180.0, 200.0)]


async def test_the_tap_knows_what_of_the_agent_was_heard(autojump_clock: MockClock, line: Line) -> None:
    """Whole frames, a part of a frame, a piece left out, and a sound of somebody else."""
    line.open(LinePlan(phase_ms=0.0))
    audio = spoken(0, 2)
    line.tap.agent += audio
    await trio.sleep(0.01)
    line.play(audio[:400] + audio[800:1600] + LOUD[:80])
    await trio.sleep(0.5)
    assert [(run.at_ms, run.number, run.ms) for run in line.tap.runs] == [
        (20.0, 0, 50), (70.0, 100, 100), (170.0, OURS, 10.0)
    ]  # fmt: skip
    assert line.tap.agent_heard_ms(20, 150) == 80


async def test_what_twilio_would_warn_of_is_counted(autojump_clock: MockClock, line: Line) -> None:
    server = line.open(LinePlan())
    for text in (b"{}", b'{"event":"media","streamSid":"MZ1","media":{"payload":""}}', b"\xff"):
        server.wire.send_text(text)
    server.wire.send_text(line.writer.clear().replace(b"}", b',"more":1}'))
    server.wire.send_binary(LOUD)
    await trio.sleep(0.1)
    assert sum(line.carrier.problems.values()) == 5
    assert line.carrier.clears == []
