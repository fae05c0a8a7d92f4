"""A whole call in memory: real supervisor, actor, bridge and legs; fake sockets, vendors and disk.

A test takes `autojump_clock` itself, and before `house`: pytest-trio looks for the clock among a test's own arguments.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio

from actors.call_actor import Arrival, CallActor, Services
from actors.journal_memory import MemoryJournal
from actors.supervisor import Admitted, Supervisor
from actors.tools import Toolbox, make_tool
from actors.twilio_leg import TwilioLeg
from engine.agent import Agent, Fallback
from engine.audio import SILENCE_FRAME
from engine.journal import Record
from engine.lines import KINDS, Clip, LineBook
from engine.phases import Phase
from tests.fakes.vendors import FakeRecorder, FakeTwilio, FakeVapi
from tests.fakes.wires import FakePlane, FakeWire

VOICED = (b"\x20" * 20 + b"\xa0" * 20) * 4  # 200 Hz: a voice, not a hiss
FALLBACK = Fallback(words="Sorry, please call again.", number="+15550100")


async def check_availability(party: int, time: str) -> str:
    """Look up whether a table is free."""
    await trio.sleep(0.5)
    return f"free for {party} at {time}"


async def never_answers() -> str:
    """Hang."""
    await trio.sleep_forever()


async def breaks() -> str:
    """Break."""
    raise RuntimeError("wires crossed")


@dataclass
class House:
    """The service in memory."""

    supervisor: Supervisor
    plane: FakePlane
    vapi: FakeVapi
    twilio: FakeTwilio
    journal: MemoryJournal
    recorder: FakeRecorder
    nursery: trio.Nursery
    callers: list[Caller] = field(default_factory=list)

    async def ring(self, sid: str = "CA1", *, greet: bool = True) -> Caller:
        """A call comes in and its stream opens; Vapi says that it is there."""
        admitted = self.supervisor.admit(Arrival(sid, "AC1", "+15550123", "+15550199"))
        assert isinstance(admitted, Admitted)
        caller = Caller(self, sid, admitted)
        self.callers.append(caller)
        caller.open_stream(admitted.token)
        await trio.sleep(0.2)
        if greet and self.plane.dialled:
            caller.agent_frame(type="status-update", status="in-progress")
        return caller

    async def records(self, call_id: str) -> Sequence[Record]:
        return await self.journal.read(call_id)


class Caller:
    """Twilio and the person behind it, on a fake wire."""

    def __init__(self, house: House, sid: str, admitted: Admitted) -> None:
        self.house, self.sid, self.call_id = house, sid, admitted.call_id
        self.actor: CallActor = next(a for a in house.supervisor.live if a.arrival.call_sid == sid)
        self.wire = FakeWire()
        self.stream_sid = "MZ" + sid[2:].rjust(32, "0")
        self._speaking: trio.CancelScope | None = None

    @property
    def agent(self) -> FakeWire:
        return next(wire for url, wire in self.house.plane.dialled if url.split("/")[-2] == self._number)

    @property
    def _number(self) -> str:
        assert self.actor.agent_call is not None
        return self.actor.agent_call.id.removeprefix("agent-")

    @property
    def phase(self) -> Phase:
        return self.actor.call.phase

    def open_stream(self, token: str) -> None:
        leg = TwilioLeg(
            claim=self.house.supervisor.claim, clock=trio.current_time, every_tick=self.house.plane.every_tick
        )
        self.wire.listener = self.leg = leg
        leg.on_open(self.wire)
        self.send(event="connected", protocol="Call", version="1.0.0")
        start = {
            "accountSid": "AC1", "callSid": self.sid, "streamSid": self.stream_sid, "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"token": token},
        }  # fmt: skip
        self.send(event="start", sequenceNumber="1", streamSid=self.stream_sid, start=start)
        self.house.nursery.start_soon(self._stay_on_the_line)

    async def _stay_on_the_line(self) -> None:
        """Twilio sends a frame each 20 ms, also of silence."""
        with trio.CancelScope() as self._line:
            while self.wire.is_open:
                self.say(SILENCE_FRAME)
                await trio.sleep(0.02)

    def send(self, **message: Any) -> None:
        if self.wire.is_open:
            self.leg.on_text(json.dumps(message).encode())

    def say(self, mulaw: bytes) -> None:
        payload = base64.b64encode(mulaw).decode()
        media = {"track": "inbound", "chunk": "1", "timestamp": "1", "payload": payload}
        self.send(event="media", sequenceNumber="2", streamSid=self.stream_sid, media=media)

    async def speak(self, ms: int) -> None:
        """Speak instead of being silent."""
        self._line.cancel()
        for _ in range(ms // 20):
            self.say(VOICED)
            await trio.sleep(0.02)
        self.house.nursery.start_soon(self._stay_on_the_line)

    def vanish(self) -> None:
        """No more frames, no close: the cable was cut."""
        self._line.cancel()

    def hang_up(self) -> None:
        self.send(event="stop", sequenceNumber="9", streamSid=self.stream_sid, stop={"callSid": self.sid})
        self.wire.peer_closes()

    def return_marks(self) -> None:
        for text in self.wire.texts():
            if text["event"] == "mark":
                self.send(event="mark", streamSid=self.stream_sid, sequenceNumber="3", mark=text["mark"])

    def agent_says(self, ms: int, *, more: bool = False) -> None:
        """Vapi speaks."""
        listener = self.agent.listener
        assert listener is not None
        self.agent_frame(type="speech-update", status="started", role="assistant")
        for _ in range(ms // 20):
            listener.on_binary(VOICED)
        if not more:
            self.agent_frame(type="speech-update", status="stopped", role="assistant")

    def agent_frame(self, **frame: Any) -> None:
        assert self.agent.listener is not None
        self.agent.listener.on_text(json.dumps(frame).encode())


async def until(condition: Callable[[], bool], within_s: float = 30.0) -> None:
    """Wait in virtual time until it is so."""
    with trio.fail_after(within_s):
        while not condition():
            await trio.sleep(0.01)


@pytest.fixture
async def house(nursery: trio.Nursery) -> AsyncIterator[House]:
    numbers = iter(range(1, 10_000))
    plane, vapi, twilio = FakePlane(), FakeVapi(), FakeTwilio()
    journal, recorder = MemoryJournal(), FakeRecorder()
    tools = [make_tool(one, effect="read") for one in (check_availability, never_answers, breaks)]
    services = Services(
        plane=plane,
        journal=journal,
        recorder=recorder,
        vapi=vapi,
        twilio=twilio,
        toolbox=Toolbox({one.spec.name: one for one in tools}),
        agent=Agent("bistro", assistant_id="a", fallback=FALLBACK),
        next_url="https://calls.example.com/webhook/twilio/next",
        agent_call_body=lambda call_id, number: {"name": call_id},
        lines=LineBook({kind: (Clip(kind, VOICED * 40),) for kind in KINDS}),
    )
    supervisor = Supervisor(services, new_id=lambda: f"call-{next(numbers):026d}")
    nursery.start_soon(plane.run)
    await nursery.start(supervisor.run)
    yield House(supervisor, plane, vapi, twilio, journal, recorder, nursery)
    nursery.cancel_scope.cancel()
