"""Every call of this process: admits them, finds them, ends them. A call that crashes ends itself and nothing else.

The doors (`web`) talk to the supervisor only, and never wait for a call except where Vapi waits for a tool.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog
import trio

from actors.bridge import Bridge
from actors.call_actor import Arrival, CallActor, Services
from actors.ended_call import EndedCall
from actors.spending import NOTE, Spending, per_call_s
from actors.tools.detached import Detached
from actors.tools.ledger_replay import LedgerReplay
from engine import events as e
from engine.errors import Refused
from engine.outbound import VOICEMAIL, words_for_machine
from engine.phases import Phase
from engine.tools import ToolResult
from engine.wire import twilio, vapi

log = structlog.get_logger(__name__)

# Ended calls that late webhooks can still find. Vapi's report comes within a minute, and nobody retries for longer;
# what is found among them lies scattered over memory that would else be free.
MOST_ENDED, REMEMBERED_S = 2_000, 300.0
TOKEN_LIFE_S = 30.0
FINAL_STATUSES = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})


@dataclass(frozen=True)
class Admitted:
    """The call is ours: connect its stream with this token."""

    call_id: str
    token: str = field(repr=False)


@dataclass(frozen=True)
class NextStep:
    """What Twilio shall do with a call that is no longer ours: words, then a person or the end."""

    words: str = ""
    number: str | None = None


@dataclass
class Statistics:
    """Counts since the start, for `/metrics`."""

    admitted: int = 0
    declined: int = 0
    ended: int = 0
    crashed: int = 0
    refused_streams: int = 0
    unknown_webhooks: int = 0


class Supervisor:
    """The calls of this process.

    Args:
        new_id: makes call ids; given in, so that tests are repeatable.
        spending: what calls cost; of its own, if none is given.
    """

    def __init__(
        self, services: Services, *, new_id: Callable[[], str] | None = None, spending: Spending | None = None
    ) -> None:
        self.services = services  # of the calls that come; those that live keep what they began with
        self.spending = spending or Spending(wall_clock=services.wall_clock)
        self.statistics = Statistics()
        self.draining = False
        self._new_id = new_id or (lambda: f"call-{secrets.token_hex(13)}")
        self._live: dict[str, CallActor] = {}  # by Twilio's CallSid
        self._ended: OrderedDict[str, EndedCall] = OrderedDict()
        self._by_agent: dict[str, CallActor | EndedCall] = {}  # by Vapi's call id
        self._tokens: dict[str, tuple[CallActor, float]] = {}
        self._empty = trio.Event()
        self._empty.set()
        self._nursery: trio.Nursery | None = None
        self._tool_home = Detached()
        self._replay = LedgerReplay(
            services.ledger,
            journal=services.journal,
            toolbox=lambda: self.services.toolbox,
            runner=services.runner,
            home=self._tool_home,
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the calls until cancelled. Cancelling ends them all; `drain` first, to end them kindly."""
        async with trio.open_nursery() as home:
            await home.start(self._tool_home.run)
            async with trio.open_nursery() as calls:
                self._nursery = calls
                task_status.started()
                await trio.sleep_forever()

    @property
    def live(self) -> tuple[CallActor, ...]:
        return tuple(self._live.values())

    @property
    def tasks(self) -> int:
        """How many tasks live for calls, all the way down: none when no call lives."""
        return self._tool_home.running + (0 if self._nursery is None else _tasks_in(self._nursery))

    @property
    def remembered(self) -> int:
        """Ended calls that late webhooks still find."""
        return len(self._ended)

    def call(self, call_id: str) -> CallActor | EndedCall | None:
        """A call by our own id: live, or ended not long ago."""
        live = (actor for actor in self._live.values() if actor.call_id == call_id)
        return next(live, None) or next((ended for ended in self._ended.values() if ended.call_id == call_id), None)

    # --- Twilio's doors --------------------------------------------------------------------------------------------

    def admit(self, arrival: Arrival) -> Admitted | NextStep:
        """A call rings. The same CallSid again (a retried webhook) gets the same call, with a fresh token.

        Returns:
            where to connect it, or what Twilio shall say instead when there is no room or we are closing.
        """
        known = self._live.get(arrival.call_sid)
        if known is not None:
            return Admitted(known.call_id, self._new_token(known))
        agent = self.services.agent
        is_full = self.draining or len(self._live) >= agent.limits.concurrent_calls
        if self._nursery is None or is_full or not self._affords(call_id := arrival.call_id or self._new_id()):
            self.statistics.declined += 1
            return NextStep(agent.fallback.words, agent.fallback.number)
        try:
            actor = CallActor(call_id, arrival, self.services, on_agent_created=self._index, tool_home=self._tool_home)
        except BaseException:
            self.spending.closed(call_id, used=False)
            raise
        self._live[arrival.call_sid] = actor
        self._empty = trio.Event()
        self.statistics.admitted += 1
        self._nursery.start_soon(self._isolated, actor)
        if (affordable_s := per_call_s(agent.limits)) is not None:
            self._nursery.start_soon(self._end_when_spent, actor, affordable_s)
        return Admitted(actor.call_id, self._new_token(actor))

    def knows(self, call_sid: str) -> bool:
        """Whether the call is this process's: live, or ended not long ago."""
        return self._find(call_sid) is not None

    def claim(self, start: twilio.Start) -> Bridge:
        """The bridge of the call that a stream's `start` names.

        Raises:
            Refused: no such token, used, too old, or of another call.
        """
        now = trio.current_time()
        actor, expires_at = self._tokens.pop(start.custom_parameters.get("token", ""), (None, 0.0))
        if actor is None or now > expires_at or actor.arrival.call_sid != start.call_sid:
            self.statistics.refused_streams += 1
            raise Refused("no call for this token")
        if actor.call.line_up_at is not None:
            self.statistics.refused_streams += 1
            raise Refused("the call has its stream already")
        return actor.bridge

    def next_step(self, call_sid: str) -> NextStep:
        """Twilio has the call back (`<Connect action>`): what now. Asked again for the same call: nothing more."""
        actor = self._find(call_sid)
        fallback = self.services.agent.fallback
        if actor is None:
            return NextStep(fallback.words, fallback.number)  # another process's call, or one from before a restart
        if actor.handed_over:
            return NextStep()
        actor.handed_over = True
        words, number = fallback.words, fallback.number
        if isinstance(actor, EndedCall):
            words, number = actor.words, actor.number
        elif actor.call.phase in (Phase.TRANSFERRING, Phase.ENDED):
            words, number = actor.call.next_words, actor.call.next_number
        actor.post(e.HandedOver(at=trio.current_time(), how="asked for the next TwiML"))
        return NextStep(words, number)

    def status(self, call_sid: str, status: str) -> None:
        """A status callback. Only final ones end a call; twice is once."""
        actor = self._live.get(call_sid)
        if actor is not None and status in FINAL_STATUSES:
            actor.post(e.CallerHungUp(at=trio.current_time(), status=status))

    def answered_by(self, call_sid: str, answered_by: str) -> None:
        """What answering machine detection found on a call of ours (reference/twilio.md §14): a machine ends it."""
        actor = self._live.get(call_sid)
        if actor is None:
            return
        actor.note("AnsweredBy", {"by": answered_by})
        words = words_for_machine(actor.services.agent.outbound, answered_by, actor.arrival.variables)
        if words is not None:
            actor.post(e.HangUpOrdered(at=trio.current_time(), reason=VOICEMAIL, words=words))

    def stream_status(self, call_sid: str, event: str, error: str) -> None:
        """A stream status callback: for the reader of the journal; the socket itself tells the rest."""
        actor = self._find(call_sid)
        if actor is not None:
            actor.note("StreamStatus", {"event": event, "error": error} if error else {"event": event})

    # --- Vapi's door -----------------------------------------------------------------------------------------------

    async def run_tools(
        self, agent_call_id: str, asked: Sequence[vapi.ToolCall], *, deadline_s: float
    ) -> list[ToolResult]:
        """Answers for `tool-calls`: one for each, in order, whatever happens."""
        actor = self._by_agent_call(agent_call_id)
        if actor is None:
            self.statistics.unknown_webhooks += 1
            return await self._replay.answer(agent_call_id, asked, deadline_s=deadline_s)
        return await actor.run_tools(asked, deadline_s=deadline_s)

    def report(self, agent_call_id: str, ended_reason: str, *, cost_usd: float | None = None) -> bool:
        """The end-of-call report; False for a copy, or for a call that is not known."""
        actor = self._by_agent_call(agent_call_id)
        if actor is None:
            self.statistics.unknown_webhooks += 1
            return False
        if self.spending.reported(actor.call_id, cost_usd) and isinstance(actor, EndedCall):
            self._note_spent(actor, cost_usd or 0.0, "report")
        return actor.report(ended_reason)

    def knows_agent_call(self, agent_call_id: str) -> bool:
        """Whether this Vapi call is one of this process's: live, or ended not long ago."""
        return agent_call_id in self._by_agent

    def heard_of(self, agent_call_id: str, kind: str) -> None:
        """Any other webhook: kept, and ignored."""
        actor = self._by_agent_call(agent_call_id)
        if actor is None:
            self.statistics.unknown_webhooks += 1
        else:
            actor.note("Webhook", {"type": kind})

    async def wait_tools(self) -> None:
        """Until no tool runs any more: some outlive their call, and some take back what it did."""
        await self._tool_home.wait_idle()

    # --- the end ---------------------------------------------------------------------------------------------------

    async def drain(self, *, patience_s: float, goodbye_s: float = 10.0) -> None:
        """Admit nobody, let calls finish for `patience_s`, then end the rest with words."""
        self.draining = True
        with trio.move_on_after(patience_s):
            await self._empty.wait()
        for actor in self.live:
            actor.post(e.HangUpOrdered(at=trio.current_time(), reason="shutdown"))
        with trio.move_on_after(goodbye_s):
            await self._empty.wait()
            await self._tool_home.wait_idle()

    async def _isolated(self, actor: CallActor) -> None:
        """Run one call; whatever it dies of stays here. Its caller still gets the fallback words from `next_step`."""
        try:
            await actor.run()
        except* Exception as group:
            self.statistics.crashed += 1
            log.exception("call lost", call=actor.call_id, exc_info=group)
        finally:
            self._live.pop(actor.arrival.call_sid, None)
            charge = self.spending.closed(actor.call_id, used=actor.agent_call is not None)
            self._note_spent(actor, charge.usd, "report" if charge.reported else "estimate")
            self._tokens = {token: held for token, held in self._tokens.items() if held[0] is not actor}
            self._remember(actor.ended())
            self.statistics.ended += 1
            if not self._live:
                self._empty.set()

    def _affords(self, call_id: str) -> bool:
        affords = self.spending.admit(call_id, self.services.agent.limits)
        if not affords:
            log.warning("declined: the money of this day is spent", usd=round(self.spending.today_usd, 2))
        return affords

    async def _end_when_spent(self, actor: CallActor, after_s: float) -> None:
        with trio.move_on_after(after_s):
            await actor.over.wait()
            return
        actor.post(e.HangUpOrdered(at=trio.current_time(), reason="spend limit"))

    def _note_spent(self, call: CallActor | EndedCall, usd: float, how: str) -> None:
        """Vapi's figure always, for whoever adds it up; ours for the next process, where money is limited at all."""
        limits = self.services.agent.limits
        if how == "report" or limits.spend_usd_per_call is not None or limits.spend_usd_per_day is not None:
            call.journal.try_note(NOTE, {"usd": round(usd, 6), "how": how})

    def _remember(self, ended: EndedCall) -> None:
        now = trio.current_time()
        self._ended[ended.call_sid] = ended
        if ended.agent_call_id is not None:
            self._by_agent[ended.agent_call_id] = ended
        while len(self._ended) > MOST_ENDED or next(iter(self._ended.values())).ended_at < now - REMEMBERED_S:
            _, forgotten = self._ended.popitem(last=False)
            if forgotten.agent_call_id is not None:
                self._by_agent.pop(forgotten.agent_call_id, None)

    def _new_token(self, actor: CallActor) -> str:
        token = secrets.token_urlsafe(16)
        self._tokens[token] = (actor, trio.current_time() + TOKEN_LIFE_S)
        return token

    def _find(self, call_sid: str) -> CallActor | EndedCall | None:
        return self._live.get(call_sid) or self._ended.get(call_sid)

    def _index(self, actor: CallActor, agent_call_id: str) -> None:
        self._by_agent[agent_call_id] = actor

    def _by_agent_call(self, agent_call_id: str) -> CallActor | EndedCall | None:
        return self._by_agent.get(agent_call_id)


def _tasks_in(nursery: trio.Nursery) -> int:
    return sum(1 + sum(map(_tasks_in, task.child_nurseries)) for task in nursery.child_tasks)
