"""Callscope itself in a world: the real supervisor and actors, with a journal, a recorder and vendors in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

import trio

from actors.call_actor import Arrival, Services
from actors.ports import JournalStatistics, Plane, Recording, VapiCalls, WireListener
from actors.supervisor import Admitted, Supervisor
from actors.tools import Toolbox, ToolRunner
from actors.twilio_leg import TwilioLeg
from engine.agent import Agent, Fallback
from engine.journal import Record
from engine.lines import KINDS, Clip, LineBook
from engine.wire import vapi

OVER_S = 30.0  # a call that is not over so long after its line is one that hangs
TOOL_S = 20.0
FALLBACK = Fallback(words="Sorry, please call again.", number="+15550100")
CLIP = b"\x18\x98\x28\xa8" * 20 * 60  # 600 ms of a buzz: one of our own lines
LINES = LineBook({kind: (Clip(kind, CLIP),) for kind in KINDS})


@dataclass(frozen=True)
class Ringing:
    """The call is taken: who listens on Twilio's socket, and what the TwiML passes to it."""

    call_id: str
    listener: WireListener
    parameters: Mapping[str, str]


class House(Protocol):
    """What answers the calls of a world: Callscope, or something to compare it with."""

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None: ...

    def ring(self, call_sid: str) -> Ringing | None:
        """A call comes in; None when it is declined."""

    def given_back(self, call_sid: str) -> str:
        """The service closed the stream: the words that Twilio shall say now."""

    def hung_up(self, call_sid: str) -> None:
        """The call is over at Twilio."""

    async def run_tools(self, agent_call_id: str, calls: Sequence[vapi.ToolCall]) -> list[str]:
        """Vapi's `tool-calls` webhook."""

    async def wait_over(self, call_sid: str) -> None:
        """Until nothing of the call lives any more."""

    def take_records(self, call_id: str) -> list[Record]:
        """The journal of an ended call; asked for once."""


class KeptJournal:
    """Fulfils `actors.ports.Journal`: the records themselves, until they are taken."""

    def __init__(self) -> None:
        self._records: dict[str, list[Record]] = {}
        self._appended = 0

    def append(self, record: Record) -> None:
        self._appended += 1
        self._records.setdefault(record.call_id, []).append(record)

    async def commit(self, record: Record) -> None:
        self.append(record)
        await trio.lowlevel.checkpoint()

    async def flush(self) -> None:
        await trio.lowlevel.checkpoint()

    async def read(self, call_id: str) -> Sequence[Record]:
        await trio.lowlevel.checkpoint()
        return list(self._records.get(call_id, ()))

    def take(self, call_id: str) -> list[Record]:
        return self._records.pop(call_id, [])

    def statistics(self) -> JournalStatistics:
        return JournalStatistics(self._appended, self._appended, lost=0, waiting=0)


@dataclass
class KeptRecording:
    """Both channels of one call."""

    caller: bytearray = field(default_factory=bytearray)
    heard: bytearray = field(default_factory=bytearray)

    def tap(self, caller_mulaw: bytes, heard_mulaw: bytes) -> None:
        self.caller += caller_mulaw
        self.heard += heard_mulaw


class MemoryRecorder:
    """Fulfils `actors.ports.Recorder`; a recording is forgotten when it is closed."""

    def open(self, call_id: str) -> KeptRecording:
        return KeptRecording()

    async def close(self, recording: Recording) -> Mapping[str, Any]:
        await trio.lowlevel.checkpoint()
        return {"path": "memory.wav", "problem": None}


@dataclass
class MemoryTwilio:
    """Fulfils `actors.ports.TwilioCalls`."""

    redirected: list[str] = field(default_factory=list)

    async def redirect(self, call_sid: str, *, url: str) -> bool:
        await trio.lowlevel.checkpoint()
        self.redirected.append(call_sid)
        return True


class CallscopeHouse:
    """Fulfils `House` with the production's own parts.

    Args:
        agent: whose policy decides.
        toolbox: what the scripted agents may call.
    """

    def __init__(
        self, plane: Plane, vapi_calls: VapiCalls, *, agent: Agent | None = None, toolbox: Toolbox | None = None
    ) -> None:
        numbers = iter(range(1, 1 << 60))
        self.plane, self.journal, self.twilio = plane, KeptJournal(), MemoryTwilio()
        services = Services(
            plane=plane,
            journal=self.journal,
            recorder=MemoryRecorder(),
            vapi=vapi_calls,
            twilio=self.twilio,
            toolbox=toolbox or Toolbox(),
            agent=agent or Agent("world", assistant_id="scripted", fallback=FALLBACK),
            next_url="https://calls.example.com/webhook/twilio/next",
            agent_call_body=lambda call_id, number: {"name": call_id},
            lines=LINES,
            runner=ToolRunner(rng=Random(0)),  # noqa: S311 — a world is repeatable
        )
        self.supervisor = Supervisor(services, new_id=lambda: f"call-{next(numbers):026d}")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await self.supervisor.run(task_status=task_status)

    def arrival(self, call_sid: str) -> Arrival:
        """The call as Twilio announces it."""
        return Arrival(call_sid, "AC1", "+15550123", "+15550199")

    def ring(self, call_sid: str) -> Ringing | None:
        admitted = self.supervisor.admit(self.arrival(call_sid))
        if not isinstance(admitted, Admitted):
            return None
        leg = TwilioLeg(claim=self.supervisor.claim, clock=self.plane.clock, every_tick=self.plane.every_tick)
        return Ringing(admitted.call_id, leg, {"token": admitted.token})

    def given_back(self, call_sid: str) -> str:
        return self.supervisor.next_step(call_sid).words

    def hung_up(self, call_sid: str) -> None:
        self.supervisor.status(call_sid, "completed")

    async def run_tools(self, agent_call_id: str, calls: Sequence[vapi.ToolCall]) -> list[str]:
        results = await self.supervisor.run_tools(agent_call_id, calls, deadline_s=TOOL_S)
        return [one.text for one in results]

    async def wait_over(self, call_sid: str) -> None:
        with trio.fail_after(OVER_S):
            while any(actor.arrival.call_sid == call_sid for actor in self.supervisor.live):
                await trio.sleep(0.1)

    def take_records(self, call_id: str) -> list[Record]:
        return self.journal.take(call_id)
