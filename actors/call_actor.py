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
from actors.call_journal import CallJournal, Noted
from actors.ended_call import EndedCall
from actors.ports import AgentCall, Journal, Plane, Recorder, Recording, TwilioCalls, VapiCalls
from actors.supervision import RestartBudget
from actors.tool_runs import ToolRuns
from actors.tools import Caller, Toolbox, ToolRunner
from actors.tools.detached import Detached
from actors.tools.ledger import ToolLedger
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
from engine.outbound import VOICEMAIL
from engine.phases import Phase
from engine.step import opened, step
from engine.tones import dtmf
from engine.tools import ToolResult
from engine.turns import deadline_of, judge_for
from engine.wire import vapi
from engine.wire.vapi_calls import with_variables

log = structlog.get_logger(__name__)

INBOX_FACTS = 256  # a call has a few facts a second; more than this waiting means that its actor stands still
AGENT_DEADLINE_S = 4.0  # three jittered tries at creating the Vapi call (reference/reliability.md F6)
SOCKET_DEADLINE_S = 3.0  # F7
VAPI_STOPS_S = 0.4  # so long after an interruption Vapi takes messages again
GOODBYE_S = 3.0  # the longest that cleaning up after a call may take
VAPI_LINES = ("filler", "unheard", "idle")  # the first words of each kind of silence may be in the agent's own voice


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
    runner: ToolRunner = field(default_factory=ToolRunner, kw_only=True)
    ledger: ToolLedger | None = field(default=None, kw_only=True)  # finds tool calls of processes that died
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
    call_id: str = ""  # ours, of a call that we made; of others it is new
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)  # of a call that we made
    ordered_by: str = ""  # who had us make it

    @property
    def person_number(self) -> str:
        """Who is on the phone: who called, or was called."""
        return self.to_number if self.direction.startswith("outbound") else self.from_number


class CallActor:
    """The life of one call."""

    def __init__(
        self,
        call_id: str,
        arrival: Arrival,
        services: Services,
        *,
        on_agent_created: Callable[[CallActor, str], None],
        tool_home: Detached,
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
        self.tools = ToolRuns(
            self,
            toolbox=services.toolbox,
            runner=services.runner,
            home=tool_home,
            caller=Caller(call_id, arrival.person_number, arrival.variables),
            orders=Orders(self),
        )
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
        return await self.tools.answer(asked, deadline_s=deadline_s)

    def tell_agent(self, message: bytes) -> bool:
        """A text frame to Vapi; False when it cannot be told."""
        return self.bridge.tell_agent(message)

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
                **({"variables": dict(arrival.variables)} if arrival.variables else {}),
                **({"ordered_by": arrival.ordered_by} if arrival.ordered_by else {}),
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
            self.tools.over()
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
            self.tools.drop(fact.tool_call_id)
        self.tools.after_step()

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
        self.journal.try_note("LastResort", {"why": why})
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
                self.tools.begin(effect)
            case f.CancelTools():
                self.tools.over()
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
            body = services.agent_call_body(self.call_id, self.arrival.person_number)
            body = with_variables(body, self.arrival.variables)
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
            runs=self.tools.remembered(),
        )


class Orders:
    """Fulfils `actors.tools.CallOrders` for one call. What has to wait for a speech to be heard has waited already."""

    def __init__(self, actor: CallActor) -> None:
        self._actor = actor

    def end(self, reason: str) -> None:
        self._actor.post(e.EndOrdered(at=trio.current_time(), reason=reason))

    def transfer(self, to: str, *, words: str) -> None:
        self._actor.post(e.TransferOrdered(at=trio.current_time(), number=to, words=words))

    def press(self, keys: str) -> bool:
        return self._actor.send_keys(keys)

    def note(self, name: str, data: Mapping[str, Any]) -> None:
        self._actor.note(name, data)


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
    if call.reason == VOICEMAIL:
        return "voicemail"
    if call.next_words or call.next_number:
        return "handed over"
    return "completed" if call.line_up_at is not None and call.agent_up_at is not None else "abandoned"


def _no_such(effect: f.Effect) -> NoReturn:
    raise NotImplementedError(f"no way to carry out {type(effect).__name__}")
