"""One call, lived: a nursery, an inbox, and the engine's orders carried out. Decides nothing; `engine.step` does.

Everything that belongs to the call runs in its one nursery: the dialling of the agent, each tool, the control loop.
When the loop is over the nursery is cancelled, so no task outlives its call. The sound runs in `actors.bridge`, on the
media plane, and goes on while the loop is restarted after a crash.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn

import msgspec
import structlog
import trio

from actors.bridge import Bridge
from actors.call_journal import CallJournal, Noted, fields_of
from actors.ended_call import OVER, EndedCall
from actors.ports import AgentCall, Journal, Plane, Recorder, Recording, TwilioCalls, VapiCalls
from actors.supervision import RestartBudget
from actors.tools import LONGEST_TOOL_S, Caller, Toolbox
from actors.vapi_leg import VapiLeg
from engine import effects as f
from engine import events as e
from engine.agent import Agent
from engine.call import Call, Policy
from engine.errors import CallscopeError, InboxFull, VendorTrouble
from engine.heard import Heard
from engine.interrupting import local_minutes
from engine.journal import Kind
from engine.lines import KINDS, LineBook
from engine.phases import Phase
from engine.step import opened, step
from engine.tones import dtmf
from engine.tools import ToolEffect, ToolResult
from engine.turns import deadline_of, judge_for
from engine.wire import vapi

log = structlog.get_logger(__name__)

INBOX_FACTS = 256  # a call has a few facts a second; more than this waiting means that its actor stands still
AGENT_DEADLINE_S = 4.0  # three jittered tries at creating the Vapi call (reference/reliability.md F6)
SOCKET_DEADLINE_S = 3.0  # F7
VAPI_STOPS_S = 0.4  # so long after an interruption Vapi takes messages again
GOODBYE_S = 3.0  # the longest that cleaning up after a call may take
VAPI_LINES = ("filler", "unheard", "idle")  # the first words of each kind of silence may be in the agent's own voice
MOST_TOOL_RUNS = 64  # remembered per call, so that a repeated webhook gets the first answer


@dataclass(frozen=True)
class Services:
    """What all calls share."""

    plane: Plane
    journal: Journal
    recorder: Recorder
    vapi: VapiCalls
    twilio: TwilioCalls
    toolbox: Toolbox
    agent: Agent
    next_url: str  # where Twilio finds its next TwiML
    wall_clock: Callable[[], float] = field(default=time.time, kw_only=True)  # seconds since 1970, for hours of the day
    noted: Noted | None = field(default=None, kw_only=True)  # is shown every note of every call
    agent_call_body: Callable[[str, str], Mapping[str, Any]]  # (our call id, caller's number) → body of POST /call
    lines: LineBook = field(
        default_factory=lambda: LineBook({}), kw_only=True
    )  # our own lines; without a holding line the fallback comes early instead


@dataclass(frozen=True)
class Arrival:
    """A call as Twilio's voice webhook announces it."""

    call_sid: str
    account_sid: str
    from_number: str = field(repr=False)
    to_number: str = field(repr=False)
    direction: str = "inbound"


@dataclass
class ToolRun:
    """One tool call of this call: asked for once, answered once, however often the webhook comes."""

    name: str
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    done: trio.Event = field(default_factory=trio.Event)
    result: ToolResult | None = None


class CallActor:
    """The life of one call."""

    def __init__(
        self,
        call_id: str,
        arrival: Arrival,
        services: Services,
        *,
        on_agent_created: Callable[[CallActor, str], None],
    ) -> None:
        self.arrival, self.services = arrival, services
        self._on_agent_created = on_agent_created
        self.call, self._first_orders = opened(call_id, _policy(services), trio.current_time())
        self.journal = CallJournal(services.journal, call_id, opened_at=self.call.opened_at, noted=services.noted)
        self.agent_call: AgentCall | None = None
        self.over = trio.Event()
        self.handed_over = False
        self._post_end, self._inbox = trio.open_memory_channel[e.Event](INBOX_FACTS)
        self._recording: Recording = services.recorder.open(call_id)
        self.bridge = Bridge(
            call_id=call_id,
            clock=services.plane.clock,
            began_at=self.call.opened_at,
            post=self.post,
            note=self.journal.try_note,
            turns=services.agent.turns,
            tap=self._recording,
        )
        self._budget = RestartBudget(most=1, within_s=30.0)
        self._runs: dict[str, ToolRun] = {}
        self._reported = False
        self._overflowed = False
        self._log = log.bind(call=call_id)

    @property
    def call_id(self) -> str:
        return self.call.call_id

    # --- what the doors call ---------------------------------------------------------------------------------------

    def post(self, fact: e.Event) -> None:
        """Tell the call a fact. Never blocks. A full inbox is a fault of ours and ends this call."""
        try:
            self._post_end.send_nowait(fact)
        except trio.WouldBlock:
            self._overflowed = True
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.journal.late(fact)

    def note(self, name: str, data: Mapping[str, Any]) -> None:
        """Keep something in the journal that no rule acts on."""
        self.journal.note(name, data)

    def report(self, ended_reason: str) -> bool:
        """The end-of-call report; False for a copy of one that was consumed already."""
        if self._reported:
            return False
        self._reported = True
        self.post(e.ReportArrived(at=trio.current_time(), ended_reason=ended_reason))
        return True

    def send_keys(self, keys: str) -> bool:
        """Press keys on this call, as tones in the line (reference/twilio.md §9: a stream cannot order Twilio to).

        Returns False when they could not be heard now: the agent speaks, or the line is not there.

        Raises:
            ValueError: not keys (`engine.tones.dtmf`).
        """
        tones = dtmf(keys)
        sent = self.bridge.play_line(tones)
        self.note("KeysSent", {"keys": len(keys), "sent": sent})  # which ones is nobody's business
        return sent

    async def run_tools(self, asked: Sequence[vapi.ToolCall], *, deadline_s: float) -> list[ToolResult]:
        """Answers for Vapi's `tool-calls`, in order, one for each, within the deadline."""
        runs = [self._tool_run(one) for one in asked]
        with trio.move_on_after(deadline_s):
            for run in runs:
                await run.done.wait()
        return [
            run.result or ToolResult(one.id, one.name, f"{one.name} is still working.", ok=False)
            for one, run in zip(asked, runs, strict=True)
        ]

    def _tool_run(self, asked: vapi.ToolCall) -> ToolRun:
        run = self._runs.get(asked.id)
        if run is not None:
            self.note("ToolRepeated", {"tool_call_id": asked.id})
            return run
        run = ToolRun(asked.name)
        if len(self._runs) >= MOST_TOOL_RUNS or self.over.is_set():
            self._answer(asked.id, run, ToolResult(asked.id, asked.name, OVER, ok=False))
            return run
        self._runs[asked.id] = run
        if asked.problem is not None:
            self._answer(asked.id, run, ToolResult(asked.id, asked.name, asked.problem, ok=False))
            return run
        now = trio.current_time()
        self.post(e.ToolRequested(at=now, tool_call_id=asked.id, name=asked.name, arguments=dict(asked.arguments)))
        return run

    # --- life ------------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Live the call from its admission to its end."""
        arrival = self.arrival
        self.journal.keep(
            Kind.OPENED,
            "Opened",
            self.call.opened_at,
            {
                "agent": self.services.agent.name,
                "direction": arrival.direction,
                "from": arrival.from_number,
                "to": arrival.to_number,
                "twilio_call_sid": arrival.call_sid,
                "opened_at_s": self.call.opened_at,
                "call_version": self.call.v,
                "policy": msgspec.to_builtins(self.call.policy),  # so that a replay knows by what was decided
            },
        )
        untick = self.services.plane.every_tick(self.bridge.tick)
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for order in self._first_orders:
                    self._perform(order)
                task_status.started()
                await self._live()
                nursery.cancel_scope.cancel()
        finally:
            self.over.set()
            untick()
            self._close_inbox()
            with trio.move_on_after(GOODBYE_S, shield=True):
                await self._clean_up()
            self.bridge.outlive(self.journal.late)

    def _close_inbox(self) -> None:
        """No more steps: what still waits, and what comes later, is kept in the journal only."""
        self._post_end.close()
        while True:
            try:
                self.journal.late(self._inbox.receive_nowait())
            except (trio.WouldBlock, trio.EndOfChannel):
                return

    async def _live(self) -> None:
        """The control loop, started again after a crash as often as the budget allows."""
        while self.call.phase is not Phase.ENDED:
            try:
                await self._take_facts()
            except Exception as crash:
                self._log.exception("call crashed", phase=str(self.call.phase))
                now = trio.current_time()
                why = type(crash).__name__
                if not self._budget.allows(now):
                    self._give_up(why)
                    continue
                self.journal.try_note("Restarted", {"after": why})

    async def _take_facts(self) -> None:
        while self.call.phase is not Phase.ENDED:
            self._take(await self._next_fact())
            if self._overflowed:
                self._overflowed = False
                raise InboxFull(f"{INBOX_FACTS} facts wait")

    async def _next_fact(self) -> e.Event:
        """What happened comes before what is due: a deadline that passes while facts wait may be none by then."""
        await trio.lowlevel.checkpoint_if_cancelled()
        with suppress(trio.WouldBlock):
            return self._inbox.receive_nowait()
        with trio.move_on_at(deadline_of(self.call)):
            return await self._inbox.receive()
        return e.DeadlinePassed(at=trio.current_time())

    def _take(self, fact: e.Event) -> None:
        """One step, kept and carried out. Sync: between fact and orders nothing else happens in this call."""
        before = self.call.phase
        self.journal.fact(fact)
        self.call, effects = step(self.call, fact)
        if self.call.phase is not before:
            self.journal.keep(Kind.PHASE, self.call.phase, fact.at, {"from": before})
        for effect in effects:
            self.journal.keep(Kind.EFFECT, type(effect).__name__, trio.current_time(), msgspec.to_builtins(effect))
            self._perform(effect)
        if isinstance(fact, e.ToolRequested) and not any(isinstance(effect, f.RunTool) for effect in effects):
            self._drop_tool(fact)

    def _give_up(self, why: str) -> None:
        """More crashes than the budget allows: the engine says what to do, and if that crashes too we just hang up."""
        self.journal.try_note("GaveUp", {"why": why})
        try:
            self._take(e.ActorGaveUp(at=trio.current_time(), why=why))
        except Exception:
            self._log.exception("giving up crashed too")
            self._last_resort(why)

    def _last_resort(self, why: str) -> None:
        """Leave by hand what the rules could not: the words are set, the stream closes, Twilio comes for them."""
        now = trio.current_time()
        policy = self.call.policy
        self.call = msgspec.structs.replace(
            self.call,
            phase=Phase.ENDED,
            entered_at=now,
            reason=f"crashed: {why}",
            next_words=policy.fallback_words,
            next_number=policy.fallback_number,
        )
        self.bridge.end_agent()
        self.bridge.close_line()

    async def _clean_up(self) -> None:
        for tool_call_id, run in self._runs.items():
            if run.result is None:
                self._answer(tool_call_id, run, ToolResult(tool_call_id, run.name, OVER, ok=False))
        self.bridge.end_agent()
        self.bridge.close_line()
        data: dict[str, Any] = {}
        self.bridge.settle()
        try:
            data["recording"] = dict(await self.services.recorder.close(self._recording))
        except Exception:
            self._log.exception("recording could not be closed")
        data |= {
            "reason": self.call.reason,
            "outcome": _outcome(self.call),
            "duration_ms": round((trio.current_time() - self.call.opened_at) * 1000),
            "audio": self.bridge.statistics(),
        }
        try:
            self.journal.keep(Kind.CLOSED, "Closed", trio.current_time(), data)
        except Exception:
            self._log.exception("end of call not kept")
        if self.agent_call is not None and self.call.agent_up_at is None:
            try:
                await self.services.vapi.end_call(self.agent_call)
            except CallscopeError as trouble:
                self._log.warning("unused agent call could not be ended", why=str(trouble))

    # --- orders ----------------------------------------------------------------------------------------------------

    def _perform(self, effect: f.Effect) -> None:  # noqa: PLR0912 — one case an effect
        """Start what the engine ordered; never wait for it."""
        match effect:
            case f.DialAgent():
                self._nursery.start_soon(self._dial_agent)
            case f.SayLine():
                self._say_line(effect)
            case f.Hold():
                self.bridge.hold()
            case f.Drop():
                self._tell_heard(self.bridge.drop(effect.reason, effect.words, guard_s=effect.guard_s))
            case f.StopAgent():
                text = self.services.agent.silence.filler[0]  # a few words: an empty `say` is not documented
                if not self.bridge.tell_agent(vapi.say(text, interrupt=True)):
                    self.note("NotTold", {"role": "say"})
            case f.Keep():
                self.bridge.keep()
            case f.LetSpeak():
                self.bridge.let_speak(effect.reason)
            case f.TakeTurn():
                pass  # it is in the journal
            case f.RunTool():
                self._nursery.start_soon(self._run_tool, effect)
            case f.CancelTools():
                for run in self._runs.values():
                    run.scope.cancel()
            case f.TellAgent():
                words = vapi.add_message(effect.role, effect.content, respond=effect.respond)
                if not self.bridge.tell_agent(words):
                    self.note("NotTold", {"role": effect.role})
            case f.EndAgent():
                self.bridge.end_agent()
            case f.HandOver() | f.HangUp():
                self.bridge.close_line()
            case f.RescueByRest():
                self._nursery.start_soon(self._rescue)
            case _:
                _no_such(effect)

    def _tell_heard(self, heard: Heard | None) -> None:
        """Vapi's idea of the conversation is kept to what the caller heard (reference/vapi.md §4.5)."""
        turns = self.services.agent.turns
        if heard is None or not heard.cut or not heard.generated:
            return
        policy = judge_for(turns, None).heard_policy(heard.generated)
        if policy == "again":
            words = f"The caller has not heard this: “{heard.unheard or heard.generated}” Say it again when it fits."
        elif policy == "truncate" and turns.tell_heard:
            words = f"The caller cut in. Of your last words they heard only: “{heard.text}”"
        else:
            return
        self._nursery.start_soon(self._tell_soon, vapi.add_message("system", words, respond=False))

    async def _tell_soon(self, message: bytes) -> None:
        """A message in the middle of a turn is easily lost: wait until Vapi has stopped (reference/vapi.md §4.5)."""
        await trio.sleep(VAPI_STOPS_S)
        if not self.bridge.tell_agent(message):
            self.note("NotTold", {"role": "system"})

    def _say_line(self, order: f.SayLine) -> None:
        """One of our own lines: a clip, or Vapi's voice where the agent file wants that and Vapi can be told."""
        clip = self.services.lines.pick(order.kind, order.n)
        texts: tuple[str, ...] = getattr(self.services.agent.silence, order.kind)
        by_vapi = self.services.agent.silence.fillers == "vapi" and order.kind in VAPI_LINES
        if by_vapi and texts:
            text = texts[order.n % len(texts)]
            if self.bridge.tell_agent(vapi.say(text)):
                self.note("Line", {"kind": order.kind, "text": text, "how": "vapi"})
                return
        if clip is not None and self.bridge.play_line(clip.mulaw):
            self.note("Line", {"kind": order.kind, "text": clip.text, "how": "clip"})

    async def _dial_agent(self) -> None:
        """Create the Vapi call and open its socket. Every failure becomes a fact."""
        services = self.services
        try:
            body = services.agent_call_body(self.call_id, self.arrival.from_number)
            self.agent_call = await services.vapi.create_call(body, deadline_s=AGENT_DEADLINE_S)
            self._on_agent_created(self, self.agent_call.id)
            self.note("AgentCreated", {"agent_call_id": self.agent_call.id})
            leg = VapiLeg(self.bridge, self.agent_call.id)
            await services.plane.dial(self.agent_call.websocket_url, leg, timeout_s=SOCKET_DEADLINE_S)
        except (VendorTrouble, ConnectionError) as trouble:
            self._log.warning("no agent", why=str(trouble))
            self.post(e.AgentLost(at=trio.current_time(), why=str(trouble)))
        except Exception as crash:
            self._log.exception("dialling the agent crashed")
            self.post(e.AgentLost(at=trio.current_time(), why=type(crash).__name__))

    async def _run_tool(self, order: f.RunTool) -> None:
        """One tool in a scope of its own. A tool that commits is not cancelled once it has begun."""
        run = self._runs[order.tool_call_id]
        known = self.services.toolbox.tools.get(order.name)
        changes_the_world = known is not None and known.spec.effect in (ToolEffect.COMMIT, ToolEffect.TERMINAL)
        began = trio.current_time()
        result: ToolResult | None = None
        try:
            with run.scope:
                if changes_the_world:
                    await self.journal.commit("ToolIntent", began, fields_of(order))
                caller = Caller(self.call_id, self.arrival.from_number)
                # Once begun, what changes the world is not cut short by a hang-up; its own time-out still holds.
                with trio.move_on_after(LONGEST_TOOL_S, shield=changes_the_world):
                    result = await self.services.toolbox.run(order.tool_call_id, order.name, order.arguments, caller)
        except Exception as crash:
            self._log.exception("tool crashed", tool=order.name)
            text = f"{order.name} failed ({type(crash).__name__})."
            result = ToolResult(order.tool_call_id, order.name, text, ok=False)
        if result is None:
            result = ToolResult(order.tool_call_id, order.name, OVER, ok=False)
        now = trio.current_time()
        if changes_the_world:
            await self._make_durable(result)
        self._answer(order.tool_call_id, run, result)
        self.post(
            e.ToolAnswered(
                at=now, tool_call_id=order.tool_call_id, ok=result.ok, took_ms=round((now - began) * 1000, 1)
            )
        )

    async def _make_durable(self, result: ToolResult) -> None:
        """What has changed the world is on disk before anybody is told of it."""
        done = {"tool_call_id": result.tool_call_id, "name": result.name, "ok": result.ok}
        try:
            with trio.CancelScope(shield=True):  # the journal's own patience is the deadline
                await self.journal.commit("ToolDone", trio.current_time(), done)
        except CallscopeError as trouble:
            self._log.error("tool result is not durable", tool=result.name, why=str(trouble))

    def _answer(self, tool_call_id: str, run: ToolRun, result: ToolResult) -> None:
        """Settle a run: the result is in the journal before anybody is told."""
        run.result = result
        self.journal.try_note(
            "ToolResult",
            {"tool_call_id": tool_call_id, "name": result.name, "ok": result.ok, "text": result.text},
        )
        run.done.set()

    def _drop_tool(self, fact: e.ToolRequested) -> None:
        run = self._runs.get(fact.tool_call_id)
        if run is not None and run.result is None:
            gone = ToolResult(fact.tool_call_id, fact.name, OVER, ok=False)
            self._answer(fact.tool_call_id, run, gone)

    async def _rescue(self) -> None:
        """Twilio never came for its TwiML: push the call there through REST."""
        try:
            with trio.move_on_after(GOODBYE_S, shield=True):
                alive = await self.services.twilio.redirect(self.arrival.call_sid, url=self.services.next_url)
                self.note("Rescued", {"alive": alive})
        except VendorTrouble as trouble:
            self._log.warning("rescue failed", why=str(trouble))
            self.note("RescueFailed", {"why": str(trouble)})

    def ended(self) -> EndedCall:
        """What is to be remembered of this call, which is over."""
        return EndedCall(
            call_id=self.call_id,
            call_sid=self.arrival.call_sid,
            agent_call_id=self.agent_call.id if self.agent_call is not None else None,
            journal=self.journal,
            words=self.call.next_words,
            number=self.call.next_number,
            handed_over=self.handed_over,
            reported=self._reported,
            answers={asked: run.result for asked, run in self._runs.items() if run.result is not None},
        )


def _policy(services: Services) -> Policy:
    agent = services.agent
    kinds = {kind for kind in KINDS if services.lines.pick(kind, 0) is not None}
    if agent.silence.fillers == "vapi":
        kinds |= {kind for kind in VAPI_LINES if getattr(agent.silence, kind)}
    elif agent.silence.fillers == "off":
        kinds -= {"filler", "progress", "unheard"}
    keywords = agent.turns.keywords
    policy = Policy.of(
        agent,
        lines=tuple(sorted(kinds)),
        local_minutes=local_minutes(services.wall_clock(), keywords.timezone) if keywords is not None else None,
    )
    if "holding" in kinds:
        return policy
    # Without a clip to bridge the wait with, the fallback words must themselves come within 2 s.
    return msgspec.structs.replace(policy, holding_after_s=0.0, agent_patience_s=policy.holding_after_s)


def _outcome(call: Call) -> str:
    if call.next_words or call.next_number:
        return "handed over"
    return "completed" if call.line_up_at is not None and call.agent_up_at is not None else "abandoned"


def _no_such(effect: f.Effect) -> NoReturn:
    raise NotImplementedError(f"no way to carry out {type(effect).__name__}")
