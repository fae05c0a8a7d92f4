"""Scenes of one call in virtual time: lived by Callscope or by the tutorials' bridge, and judged by what was heard.

A scene takes tens of milliseconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import msgspec

from actors.ports import AgentCall, Plane, VapiCalls, Wire
from actors.supervisor import Supervisor
from actors.tools import Toolbox
from actors.world.agent import AgentPlan, Reply
from actors.world.caller import CallerPlan, Step
from actors.world.carrier import LinePlan
from actors.world.house import FALLBACK, CallscopeHouse, House, KeptRecording, MemoryRecorder
from actors.world.sounds import Sound
from actors.world.world import CallPlan, Lived, run_calls
from engine.agent import Agent, agent_from
from tests.bench.peers.turns_naive import NaiveCall, NaiveHouse
from tests.stories.judged import LINES, Scene

DEAD_AIR_MS = 2000.0
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC).timestamp()


def words(text: str, ms: int = 800) -> Sound:
    """The caller says this."""
    return Sound(text, _buzz(ms), 0.0, "speech", text)


def murmur(text: str, ms: int = 400) -> Sound:
    """The caller utters something that is not meant to interrupt."""
    return Sound(text, _buzz(ms), 0.0, "backchannel", text)


def noise(ms: int = 120) -> Sound:
    """A cough, a click, a door: a voice to a simple ear, and no words."""
    return Sound(f"{ms} ms of noise", _buzz(ms), 0.0, "noise")


def _buzz(ms: int) -> bytes:
    return (b"\x20" * 20 + b"\xa0" * 20) * (ms // 5)


TEXT = (
    "good evening this is the bistro on the market square we have a table by the window at seven and another one in "
    "the garden at nine both are free for two hours and the garden is closed when it rains so please tell me which of "
    "these you would like to have and I will write it down for you with your name"
)


def says(n_words: int) -> str:
    """So many words of the agent's: 360 ms each."""
    return " ".join(TEXT.split()[:n_words])


# --- living one ------------------------------------------------------------------------------------------------------


class _Counted:
    """Fulfils `actors.ports.VapiCalls`, and counts."""

    def __init__(self, calls: VapiCalls) -> None:
        self._calls = calls
        self.asked: Counter[str] = Counter()

    async def create_call(self, body: Mapping[str, Any], *, deadline_s: float) -> AgentCall:
        self.asked[str(body["name"])] += 1
        return await self._calls.create_call(body, deadline_s=deadline_s)

    async def end_call(self, call: AgentCall) -> None:
        await self._calls.end_call(call)


class _Recorder(MemoryRecorder):
    def __init__(self) -> None:
        self.recordings: dict[str, KeptRecording] = {}

    def open(self, call_id: str) -> KeptRecording:
        return self.recordings.setdefault(call_id, super().open(call_id))


class SceneHouse(CallscopeHouse):
    """Callscope whose recordings are kept, with a wall clock and with lines of its own."""

    def __init__(
        self, plane: Plane, vapi_calls: VapiCalls, *, agent: Agent, toolbox: Toolbox, wall_clock_s: float
    ) -> None:
        self.recorder, self.dialled = _Recorder(), _Counted(vapi_calls)
        super().__init__(plane, self.dialled, agent=agent, toolbox=toolbox)
        services = replace(
            self.supervisor.services, recorder=self.recorder, lines=LINES, wall_clock=lambda: wall_clock_s
        )
        numbers = iter(range(1, 1 << 60))
        self.supervisor = Supervisor(services, new_id=lambda: f"call-{next(numbers):026d}")


def policy(**keys: Any) -> Agent:
    """An agent file with these keys, as YAML would give them."""
    agent = {"name": "scene", "assistant": {}, "fallback": msgspec.to_builtins(FALLBACK)}
    return agent_from(agent | keys)


def live_all(
    plans: Sequence[CallPlan],
    *,
    agent: Agent | None = None,
    toolbox: Toolbox | None = None,
    wall_clock_s: float = NOON,
    seed: int = 1,
) -> list[Scene]:
    """Live these calls at the same time; in the order in which they ended."""
    agent = agent or policy()
    houses: list[SceneHouse] = []

    def make_house(plane: Plane, vapi_calls: VapiCalls) -> House:
        house = SceneHouse(plane, vapi_calls, agent=agent, toolbox=toolbox or Toolbox(), wall_clock_s=wall_clock_s)
        houses.append(house)
        return house

    opens = (agent.assistant or {}).get("firstMessageMode", "") != "assistant-waits-for-user"
    found: list[Scene] = []

    def lived(one: Lived) -> None:
        house = houses[0]
        found.append(Scene(one, house.recorder.recordings[one.call_id], opens, house.dialled.asked[one.call_id]))

    run_calls(make_house, plans, seed=seed, at_once=len(plans), lived=lived)
    assert len(found) == len(plans)
    return found


def live(
    *steps: Step,
    agent: Agent | None = None,
    vapi: AgentPlan | None = None,
    line: LinePlan | None = None,
    stays_ms: float = 3000.0,
    **more: Any,
) -> Scene:
    """One call: what the caller does, our agent file, what Vapi does, the line."""
    return live_all([call(*steps, vapi=vapi, line=line, stays_ms=stays_ms)], agent=agent, **more)[0]


def live_naive(
    *steps: Step,
    vapi: AgentPlan | None = None,
    line: LinePlan | None = None,
    stays_ms: float = 3000.0,
    make_house: Callable[[Plane, VapiCalls], House] = NaiveHouse,
) -> Scene:
    """The same with the tutorials' bridge: it shows that the scene is one in which a caller suffers."""
    found: list[Lived] = []
    run_calls(make_house, [call(*steps, vapi=vapi, line=line, stays_ms=stays_ms)], seed=1, lived=found.append)
    return Scene(found[0])


class _WithoutClear:
    """A wire on which `clear` is never sent."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.close, self.send_binary = wire.close, wire.send_binary

    def send_text(self, payload: bytes, audio_ms: int = 0) -> None:
        if b'"clear"' not in payload:
            self._wire.send_text(payload, audio_ms)


class _StubbornCall(NaiveCall):
    def on_open(self, wire: Wire) -> None:
        super().on_open(cast(Wire, _WithoutClear(wire)))


class StubbornHouse(NaiveHouse):
    """The tutorials' bridge before somebody found out about `clear`."""

    call = _StubbornCall


def call(
    *steps: Step, vapi: AgentPlan | None = None, line: LinePlan | None = None, stays_ms: float = 3000.0, seed: int = 0
) -> CallPlan:
    """A plan of a call in which the agent speaks first, and long enough to be cut off."""
    return CallPlan(
        caller=CallerPlan(steps=steps, stays_ms=stays_ms),
        line=line or LinePlan(),
        agent=vapi or agent_plan(),
        seed=seed,
    )


def voice_input(text: str, at_ms: float) -> tuple[float, dict[str, Any]]:
    """Vapi tells what it is about to say; for `AgentPlan.script`."""
    return at_ms, {"type": "voice-input", "input": text}


def agent_plan(first_words: int = 14, answer_words: int = 6, **more: Any) -> AgentPlan:
    """An agent who greets with so many words and answers with so many: 360 ms each."""
    given: dict[str, Any] = {"first_message": says(first_words), "replies": (Reply(says(answer_words)),)}
    return AgentPlan(**(given | more))
