"""Callscope as a storm besieges it: the real supervisor with a journal that watches, and vendors that may fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import trio

from actors.call_actor import CallActor
from actors.ports import Plane, VapiCalls
from actors.storm.plan import StormPlan, ToolPlan
from actors.storm.policies import agent_of
from actors.storm.watch import Watch
from actors.supervisor import Supervisor
from actors.tools import Toolbox, ToolContext, ToolProblem, make_tool
from actors.world.house import CallscopeHouse, KeptJournal, KeptRecording, MemoryRecorder, MemoryTwilio
from engine.call import Call
from engine.errors import TwilioTrouble
from engine.journal import Kind, Record
from engine.phases import Phase
from engine.tools import ToolEffect
from engine.wire import vapi

HUGE_CHARS = 200_000
NEVER_S = 90.0
WALL_S = 1_772_452_800.0  # noon of a day in 2026, everywhere in a storm


class InjectedCrash(RuntimeError):
    """A step of an actor crashes because a plan says so."""


class StormJournal(KeptJournal):
    """Shows every record to the watch of its call; refuses facts where a plan wants a step to crash."""

    def __init__(self, new_watch: Callable[[Record], Watch]) -> None:
        super().__init__()
        self.watches: dict[str, Watch] = {}
        self.poisoned: Counter[str] = Counter()  # call id → facts that shall crash
        self._new_watch = new_watch

    def append(self, record: Record) -> None:
        call_id = record.call_id
        if record.kind is Kind.EVENT and self.poisoned[call_id]:
            watch = self.watches.get(call_id)
            if watch is None or not watch.closed:
                self.poisoned[call_id] -= 1
                if watch is not None:
                    watch.skip()
                raise InjectedCrash("by plan")
        if record.kind is Kind.OPENED:
            self.watches[call_id] = self._new_watch(record)
        self.watches[call_id].take(record)
        super().append(record)


class StormRecorder(MemoryRecorder):
    """Keeps what was recorded, for who compares it with what was heard."""

    def __init__(self) -> None:
        self.kept: dict[str, KeptRecording] = {}

    def open(self, call_id: str) -> KeptRecording:
        return self.kept.setdefault(call_id, super().open(call_id))


@dataclass
class StormTwilio(MemoryTwilio):
    """REST: pushes a call to its next TwiML, or fails."""

    fails: set[str] = field(default_factory=set)
    on_redirect: Callable[[str], None] = lambda call_sid: None

    async def redirect(self, call_sid: str, *, url: str) -> bool:
        await trio.sleep(0.05)
        if call_sid in self.fails:
            raise TwilioTrouble("no answer", status=503)
        self.redirected.append(call_sid)
        self.on_redirect(call_sid)
        return True


@dataclass
class ToolEffects:
    """What tools did to the world, and what was asked of them."""

    asked: Counter[str] = field(default_factory=Counter)  # by name: different ids
    begun: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    too_soon: list[tuple[str, float, str]] = field(default_factory=list)  # name, when (Trio's time), in which phase
    call_now: Callable[[str], Call | None] = lambda call_id: None
    keys: Counter[tuple[str, str]] = field(default_factory=Counter)  # done, of what changes the world: name, key


def toolbox_of(tools: Sequence[ToolPlan], effects: ToolEffects) -> Toolbox:
    made = [_tool(one, effects) for one in tools]
    return Toolbox({one.spec.name: one for one in made})


def _tool(plan: ToolPlan, effects: ToolEffects) -> Any:
    async def act(context: ToolContext, what: str = "") -> Any:
        """Do what the plan says."""
        effects.begun[plan.name] += 1
        call = effects.call_now(context.caller.call_id) if plan.effect in CHANGES else None
        if call is not None and (call.held_at is not None or call.phase is Phase.INTERRUPTED):
            since_s = call.entered_at if call.held_at is None else call.held_at
            if since_s < trio.current_time():  # else the caller began as it did
                effects.too_soon.append((plan.name, trio.current_time() - call.opened_at, str(call.phase)))
        await trio.sleep((NEVER_S * 1000 if plan.how == "never answers" else plan.takes_ms) / 1000)
        if plan.how == "crashes":
            raise ZeroDivisionError("by plan")
        effects.done[plan.name] += 1
        match plan.how:
            case "says why not":
                raise ToolProblem("Not today.")
            case _ if plan.effect in CHANGES:
                effects.keys[plan.name, context.idempotency_key] += 1
        match plan.how:
            case "is huge":
                return "x" * HUGE_CHARS
            case "is garbage":
                return object()
        return "It is done."

    return make_tool(act, effect=str(plan.effect), timeout_s=6.0, name=plan.name)


CHANGES = frozenset({ToolEffect.COMMIT, ToolEffect.TERMINAL})


class StormHouse(CallscopeHouse):
    """One world's Callscope."""

    def __init__(
        self, plane: Plane, vapi_calls: VapiCalls, plan: StormPlan, new_watch: Callable[[Record], Watch]
    ) -> None:
        self.effects = ToolEffects()
        self._asked_ids: set[tuple[str, str]] = set()
        super().__init__(plane, vapi_calls, agent=agent_of(plan.agent), toolbox=toolbox_of(plan.tools, self.effects))
        self.storm_journal = StormJournal(new_watch)
        self.effects.call_now = self._call_now
        self.storm_twilio = StormTwilio()
        self.storm_recorder = StormRecorder()
        self.journal, self.twilio = self.storm_journal, self.storm_twilio
        services = replace(
            self.supervisor.services,
            journal=self.storm_journal,
            twilio=self.storm_twilio,
            recorder=self.storm_recorder,
            wall_clock=lambda: WALL_S,
        )
        numbers = iter(range(1, 1 << 60))
        self.supervisor = Supervisor(services, new_id=lambda: f"call-{next(numbers):026d}")

    def _call_now(self, call_id: str) -> Call | None:
        return next((one.call for one in self.supervisor.live if one.call_id == call_id), None)

    def actor(self, call_sid: str) -> CallActor | None:
        """The call, while it lives."""
        return next((one for one in self.supervisor.live if one.arrival.call_sid == call_sid), None)

    async def run_tools(self, agent_call_id: str, calls: Sequence[vapi.ToolCall]) -> list[str]:
        for one in calls:
            if (agent_call_id, one.id) not in self._asked_ids:
                self._asked_ids.add((agent_call_id, one.id))
                self.effects.asked[one.name] += 1
        return await super().run_tools(agent_call_id, calls)


def nothing(_: Mapping[str, Any]) -> None:
    """For who need not hear."""
