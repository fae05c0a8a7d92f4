"""Callscope in a scenario: the production's parts, with every TwiML document kept, numbered lines and a given hour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Protocol

import trio

from actors.call_actor import Arrival
from actors.ports import Plane, VapiCalls
from actors.supervisor import NextStep, Supervisor
from actors.tools import Toolbox, ToolRunner
from actors.world.house import CallscopeHouse, Ringing
from engine.agent import Agent
from engine.lines import LineBook

TOOLS_S = 60.0  # the longest that tools may run on after a call
REDIRECTED_MS = 120  # from a redirect through REST to Twilio's request for the next TwiML


class Twiml(Protocol):
    """How our answers to Twilio's webhooks are written."""

    def connect(self) -> str:
        """To a call that comes in and is taken."""

    def go_on(self, step: NextStep) -> str:
        """To Twilio, which has the call back."""


class ScenarioHouse(CallscopeHouse):
    """Fulfils `actors.world.house.House`.

    Args:
        variables: the service makes the call, with these.
        machine_ms: so long after it was connected, machine detection says that a machine answered.
    """

    def __init__(
        self,
        plane: Plane,
        vapi_calls: VapiCalls,
        *,
        agent: Agent,
        toolbox: Toolbox,
        lines: LineBook,
        wall_s: float,
        twiml: Twiml,
        variables: Mapping[str, str] | None = None,
        machine_ms: float | None = None,
    ) -> None:
        super().__init__(plane, vapi_calls, agent=agent, toolbox=toolbox)
        self._twiml, self._variables, self._machine_ms = twiml, variables or {}, machine_ms
        self._nursery: trio.Nursery | None = None
        self.documents: list[str] = []  # in the order in which Twilio got them
        services = replace(
            self.supervisor.services,
            lines=lines,
            wall_clock=lambda: wall_s,
            twilio=self,
            runner=ToolRunner(rng=Random(0)),  # noqa: S311 — chance, no secret
        )
        numbers = iter(range(1, 1 << 60))
        self.supervisor = Supervisor(services, new_id=lambda: f"call-{next(numbers):026d}")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await nursery.start(super().run)
            task_status.started()

    def arrival(self, call_sid: str) -> Arrival:
        usual = super().arrival(call_sid)
        if not self._variables:
            return usual
        return replace(
            usual,
            from_number=usual.to_number,
            to_number=usual.from_number,
            direction="outbound-api",
            variables=self._variables,
        )

    async def _hear_machine(self, call_sid: str, after_ms: float) -> None:
        await trio.sleep(after_ms / 1000)
        self.supervisor.answered_by(call_sid, "machine_end_beep")

    def ring(self, call_sid: str) -> Ringing | None:
        if self._machine_ms is not None and self._nursery is not None and not self.supervisor.knows(call_sid):
            self._nursery.start_soon(self._hear_machine, call_sid, self._machine_ms)
        ringing = super().ring(call_sid)
        agent = self.supervisor.services.agent
        declined = NextStep(agent.fallback.words, agent.fallback.number)
        self.documents.append(self._twiml.go_on(declined) if ringing is None else self._twiml.connect())
        return ringing

    def given_back(self, call_sid: str) -> str:
        step = self.supervisor.next_step(call_sid)
        self.documents.append(self._twiml.go_on(step))
        return step.words

    async def wait_over(self, call_sid: str) -> None:
        """The call is over when nothing is done for it any more."""
        await super().wait_over(call_sid)
        with trio.move_on_after(TOOLS_S):
            await self.supervisor.wait_tools()

    async def redirect(self, call_sid: str, *, url: str) -> bool:
        """Fulfils `actors.ports.TwilioCalls`: a live call comes for its next TwiML at once."""
        await trio.sleep(REDIRECTED_MS / 1000)
        self.given_back(call_sid)
        return True
