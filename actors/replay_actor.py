"""A journal again through the real actor: supervisor, call actor, both legs' readers, engine. In virtual time.

What is re-executed: every text message of Vapi's and Twilio's that a record stands for goes through the leg's own
reader; webhooks go to the supervisor; tools run, as stand-ins that take as long as they took and say what they said;
deadlines come from the actor itself, at the moments at which its event loop got to them. What is not: sound. The
journal has none, so what was derived from it (`CallerVoice`, `CallerQuiet`, `UtteranceStarted`, `PlaybackDone`) and the
orders of operators are posted as the facts that they were, and our own lines have no clips.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf
from typing import Any

import msgspec
import structlog
import trio
import trio.testing

from actors.call_actor import Arrival, CallActor, Services
from actors.ports import AgentCall, Wire, WireListener
from actors.replay import Difference, Replayed, fact_of, opening_of
from actors.supervisor import Admitted, Supervisor
from actors.tools import LONGEST_TOOL_S, Toolbox, ToolProblem, make_tool
from actors.twilio_leg import TwilioLeg
from actors.world.house import KeptJournal, MemoryRecorder, MemoryTwilio
from actors.world.world import seeded_scheduling
from engine import events as e
from engine.agent import Agent, Fallback, Limits
from engine.journal import Kind, Record
from engine.phases import Phase
from engine.wire import vapi

SAME_MS = 0.11  # `at_ms` has one decimal
SETTLE_S = 0.0
COMPARED = (Kind.EVENT, Kind.EFFECT, Kind.PHASE)
GIVEN_BACK = "given back to Twilio"
NEVER_READ = ("ToolAnswered", "LastToolAnswered", "ToolLate", "DeadlinePassed")  # the actor makes these by itself
POSTED = (e.CallerTranscript, e.AgentTranscript, e.AgentWords, e.UtteranceStarted, e.PlaybackDone)
CAUSED = (*NEVER_READ, "AgentConnected")  # take a step of a task before they are there


class _DeafWire:
    """Fulfils `actors.ports.Wire`; nobody is at the other end."""

    def __init__(self) -> None:
        self.owner = ""
        self.is_open = True

    def send_text(self, payload: bytes, audio_ms: int = 0) -> None:
        pass

    def send_binary(self, payload: bytes, audio_ms: int = 0) -> None:
        pass

    def drop_unsent_audio(self) -> int:
        return 0

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.is_open = False

    def abort(self) -> None:
        self.is_open = False


class _Journal(KeptJournal):
    """Says when the actor honoured a deadline, the first, the second …: what came right after it then, comes now.

    Else the actor would honour another one that is over at the same moment first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.n_deadlines = 0
        self.after_deadline: Callable[[int], None] = lambda number: None

    def append(self, record: Record) -> None:
        super().append(record)
        if record.kind is Kind.EVENT and record.name == "DeadlinePassed":
            self.n_deadlines += 1
            self.after_deadline(self.n_deadlines)


class _Outside:
    """Plane and Vapi of one replay: the agent is there when the journal says so."""

    def __init__(self, agent_call_id: str) -> None:
        self._agent_call_id = agent_call_id
        self.answers = trio.Event()
        self.agent: WireListener | None = None

    def clock(self) -> float:
        return trio.current_time()

    def every_tick(self, callback: Callable[[float], None], *, ticks: int = 1) -> Callable[[], None]:
        return lambda: None  # beats carry sound, and there is none

    async def dial(
        self, url: str, listener: WireListener, *, headers: Mapping[str, str] = {}, timeout_s: float = 5.0
    ) -> Wire:
        await trio.lowlevel.checkpoint()
        wire = _DeafWire()
        self.agent = listener
        listener.on_open(wire)
        return wire

    async def create_call(self, body: Mapping[str, Any], *, deadline_s: float) -> AgentCall:
        await self.answers.wait()
        return AgentCall(self._agent_call_id, "replay:")

    async def end_call(self, call: AgentCall) -> None:
        await trio.lowlevel.checkpoint()


def replay_actor(records: Sequence[Record]) -> Replayed:
    """The whole call again; the first record that comes out otherwise is the difference.

    Blocks until it is over.

    Raises:
        NotReplayable: the journal does not have what it takes.
    """
    again = _Again(records)
    clock = trio.testing.MockClock(rate=0.0, autojump_threshold=inf)
    with structlog.testing.capture_logs(), seeded_scheduling(0):
        trio.run(again.run, clock, clock=clock)
    return again.compare()


class _Again:
    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records
        self._opening = opening_of(records)
        connected = next((one for one in records if one.name == "AgentConnected"), None)
        agent_call_id = str(connected.data.get("agent_call_id", "")) if connected is not None else "none"
        self._outside = _Outside(agent_call_id)
        self._agent_call_id = agent_call_id
        self._journal = _Journal()
        self._line: TwilioLeg | None = None
        self._sid = str(records[0].data.get("twilio_call_sid", "CA-replay"))
        self._made: list[Record] = []
        self._tool_ends = {one.data["tool_call_id"]: one for one in records if one.name == "ToolAnswered"}
        self._tool_texts = {one.data["tool_call_id"]: one.data for one in records if one.name == "ToolResult"}

    async def run(self, clock: trio.testing.MockClock) -> None:
        _jump(clock, self._opening.opened_at)
        async with trio.open_nursery() as nursery:
            self._supervisor = Supervisor(self._services(), new_id=lambda: self._records[0].call_id)
            await nursery.start(self._supervisor.run)
            data = self._records[0].data
            arrival = Arrival(self._sid, "AC-replay", str(data.get("from", "")), str(data.get("to", "")))
            admitted = self._supervisor.admit(arrival)
            assert isinstance(admitted, Admitted)
            actor = self._supervisor.live[0]
            actor.call = msgspec.structs.replace(actor.call, policy=self._opening.policy)
            await trio.testing.wait_all_tasks_blocked(SETTLE_S)
            right_after: dict[int, list[e.Event]] = {}

            def deadline_passed(number: int) -> None:
                for fact in right_after.get(number, ()):
                    self._deliver(fact, actor, admitted, nursery)

            self._journal.after_deadline = deadline_passed
            for moment in self._moments(right_after):
                _jump(clock, moment[0].at)
                for fact in moment:
                    if type(fact).__name__ not in NEVER_READ:
                        self._deliver(fact, actor, admitted, nursery)
                await trio.testing.wait_all_tasks_blocked(SETTLE_S)
            self._made = self._journal.take(actor.call_id)
            clock.autojump_threshold = 0  # what is left has deadlines
            nursery.cancel_scope.cancel()

    def _moments(self, right_after: dict[int, list[e.Event]]) -> Iterator[list[e.Event]]:
        """The facts up to the end; those that came together, with nothing of our own between them, together.

        What is only posted and came at the moment of a deadline goes to `right_after`, by the number of that deadline.
        """
        together: list[e.Event] = []
        facts = [
            (record, fact_of(record, self._opening.opened_at))
            for record in _until_closed(self._records)
            if record.kind is Kind.EVENT
        ]
        posted = _right_after_deadlines([fact for _, fact in facts], right_after)
        for index, (record, fact) in enumerate(facts):
            if index in posted:
                continue
            alone = record.name in CAUSED or record.data.get("reason") == GIVEN_BACK  # what comes next, comes after it
            if together and (alone or fact.at != together[0].at):
                yield together
                together = []
            together.append(fact)
            if alone:
                yield together
                together = []
        if together:
            yield together

    def _services(self) -> Services:
        policy = self._opening.policy
        agent = Agent(
            str(self._records[0].data.get("agent", "replay")),
            assistant_id="replay",
            turns=policy.turns,
            silence=policy.silence,
            digits=policy.digits,
            limits=Limits(max_duration_s=policy.max_duration_s, idle_s=policy.idle_s),
            fallback=Fallback(policy.fallback_words, policy.fallback_number),
        )
        return Services(
            plane=self._outside,
            journal=self._journal,
            recorder=MemoryRecorder(),
            vapi=self._outside,
            twilio=MemoryTwilio(),
            toolbox=self._toolbox(),
            agent=agent,
            next_url="https://replay.invalid/next",
            agent_call_body=lambda call_id, number: {},
        )

    def _toolbox(self) -> Toolbox:
        """A stand-in for each tool that was asked for."""
        asked = {one.data["name"]: one.data for one in self._records if one.name == "ToolRequested"}
        made = [self._stand_in(name, str(data.get("effect", "read"))) for name, data in asked.items()]
        return Toolbox({one.spec.name: one for one in made})

    def _stand_in(self, name: str, effect: str) -> Any:
        ends = [one for one in self._tool_ends.values() if self._name_of(one.data["tool_call_id"]) == name]
        waiting = iter(sorted(ends, key=lambda one: one.seq))

        async def again() -> str:
            """What it did, it did then."""
            end = next(waiting, None)
            if end is None:  # it had not answered when the call ended
                await trio.sleep(LONGEST_TOOL_S)
                return ""
            await trio.sleep_until(fact_of(end, self._opening.opened_at).at)
            text = str(self._tool_texts.get(end.data["tool_call_id"], {}).get("text", ""))
            if not end.data["ok"]:
                raise ToolProblem(text)
            return text

        return make_tool(again, effect=effect, timeout_s=LONGEST_TOOL_S, name=name)

    def _name_of(self, tool_call_id: str) -> str:
        named = (one for one in self._records if one.name == "ToolRequested")
        return next((str(one.data["name"]) for one in named if one.data["tool_call_id"] == tool_call_id), "")

    # --- the outside, again ------------------------------------------------------------------------------------------

    def _deliver(  # noqa: PLR0912 — one case a kind of fact
        self, fact: e.Event, actor: CallActor, admitted: Admitted, nursery: trio.Nursery
    ) -> None:
        """The way that this fact took then."""
        match fact:
            case e.StreamStarted() if self._line is None:
                self._start(fact, admitted)
            case e.StreamEnded():
                self._end_line(fact, actor)
            case e.DigitPressed() if self._line is not None:
                self._twilio({"event": "dtmf", "dtmf": {"track": "inbound_track", "digit": fact.digit}})
            case e.AgentConnected():
                self._outside.answers.set()
            case e.AgentLost() | e.AgentEnded() if self._outside.agent is not None:
                self._end_agent(fact, actor)
            case e.CallerHungUp():
                self._supervisor.status(self._sid, fact.status)
            case e.HandedOver():
                self._supervisor.next_step(self._sid)
            case e.ReportArrived() if self._supervisor.knows_agent_call(self._agent_call_id):
                self._supervisor.report(self._agent_call_id, fact.ended_reason)
            case e.ReportArrived():  # of an agent that was created, and whose socket never opened
                actor.report(fact.ended_reason)
            case e.ToolRequested():
                asked = [vapi.ToolCall(fact.tool_call_id, fact.name, fact.arguments)]
                nursery.start_soon(self._ask, asked)
            case _:
                frame = frame_of(fact)
                if frame is not None and self._outside.agent is not None:
                    self._outside.agent.on_text(msgspec.json.encode(frame))
                else:
                    actor.post(fact)

    async def _ask(self, asked: list[vapi.ToolCall]) -> None:
        await self._supervisor.run_tools(self._agent_call_id, asked, deadline_s=20.0)

    def _start(self, fact: e.StreamStarted, admitted: Admitted) -> None:
        self._line = TwilioLeg(
            claim=self._supervisor.claim, clock=trio.current_time, every_tick=self._outside.every_tick
        )
        self._line.on_open(_DeafWire())
        start = {
            "accountSid": "AC", "callSid": self._sid, "streamSid": fact.stream_sid, "tracks": ["inbound"],
            "customParameters": {"token": admitted.token},
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        }  # fmt: skip
        self._twilio({"event": "start", "start": start, "streamSid": fact.stream_sid})

    def _twilio(self, message: dict[str, Any]) -> None:
        assert self._line is not None
        self._line.on_text(msgspec.json.encode({"sequenceNumber": "1", "streamSid": "MZ"} | message))

    def _end_line(self, fact: e.StreamEnded, actor: CallActor) -> None:
        if self._line is not None and fact.reason == "stop":
            self._twilio({"event": "stop", "stop": {"callSid": self._sid}})
        elif self._line is not None and fact.reason == GIVEN_BACK:
            self._line.on_closed(1000, "")
        elif self._line is not None and fact.reason.startswith("socket closed "):
            self._line.on_closed(int(fact.reason.split()[2]), "")
        else:
            actor.bridge.line_closed(fact.reason, stopped=fact.stopped)

    def _end_agent(self, fact: e.AgentLost | e.AgentEnded, actor: CallActor) -> None:
        agent, why = self._outside.agent, fact.why if isinstance(fact, e.AgentLost) else fact.reason
        assert agent is not None
        if why == "closed by vapi":
            agent.on_closed(1000, "")
        elif why.startswith("socket closed "):
            code, _, reason = why.removeprefix("socket closed ").partition(" ")
            agent.on_closed(int(code), reason)
        elif vapi.ended_class(why).is_failure is not isinstance(fact, e.AgentLost):
            actor.post(fact)  # not by Vapi's word: a beat of ours found it silent
        else:
            frame = {"type": "status-update", "status": "ended", "endedReason": why}
            agent.on_text(msgspec.json.encode(frame))

    # --- then and now ------------------------------------------------------------------------------------------------

    def compare(self) -> Replayed:
        found = Replayed(self._records[0].call_id, assumed=self._opening.assumed)
        then = [one for one in _until_closed(self._records) if one.kind in COMPARED]
        now = [one for one in self._made if one.kind in COMPARED][: len(then)]
        phase, fact_ms = Phase.CONNECTING, 0.0
        for index, old in enumerate(then):
            new = now[index] if index < len(now) else None
            if old.kind is Kind.PHASE:
                phase = Phase(old.name)
            elif old.kind is Kind.EVENT:
                fact_ms = old.at_ms
            if new is None or not _same(old, new):
                told = "nothing" if new is None else f"{new.name} at {new.at_ms:.1f} ms"
                found.differences.append(
                    Difference(old.at_ms, phase, f"{old.name} at {old.at_ms:.1f} ms", told, old.seq)
                )
                break
            found.steps += old.kind is Kind.EVENT
            found.effects += old.kind is Kind.EFFECT
            found.largest_delay_ms = max(found.largest_delay_ms, old.at_ms - fact_ms)
        return found


def _right_after_deadlines(facts: Sequence[e.Event], right_after: dict[int, list[e.Event]]) -> set[int]:
    """Sorts in what came at the moment of the deadline before it; which of the facts that are."""
    number, since, found = 0, None, set[int]()
    for index, fact in enumerate(facts):
        if isinstance(fact, e.DeadlinePassed):
            number, since = number + 1, fact.at
        elif fact.at == since and isinstance(fact, POSTED):
            right_after.setdefault(number, []).append(fact)
            found.add(index)
        else:
            since = None
    return found


def _until_closed(records: Sequence[Record]) -> list[Record]:
    end = next((index for index, one in enumerate(records) if one.kind is Kind.CLOSED), len(records))
    return list(records[:end])


def _same(old: Record, new: Record) -> bool:
    """The same thing at the same moment.

    Facts have the moment at which they happened. An order has the one at which the event loop got to its fact: then
    that may have been later, when the loop stood still; today's virtual loop is never late.
    """
    same_kind = old.kind is new.kind and old.name == new.name
    same_data = all(new.data.get(key) == value for key, value in _plain(old.data).items() if key != "took_ms")
    later_ms = old.at_ms - new.at_ms
    return same_kind and same_data and -SAME_MS <= later_ms <= (inf if old.kind is Kind.EFFECT else SAME_MS)


def _plain(data: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(data)
    return plain


def frame_of(fact: e.Event) -> dict[str, Any] | None:
    """The text frame of Vapi's that a fact was read from; None: it was none."""
    match fact:
        case e.AgentSpeechStarted():
            return {"type": "speech-update", "status": "started", "role": "assistant"}
        case e.AgentSpeechStopped():
            return {"type": "speech-update", "status": "stopped", "role": "assistant"}
        case e.AgentInterrupted():
            return {"type": "user-interrupted"}
        case e.AgentWords():
            return {"type": "voice-input", "input": fact.text}
        case e.AgentTranscript():
            return _transcript("assistant", fact.text, fact.final)
        case e.CallerTranscript() if fact.age_s is None:
            sure = {} if fact.confidence is None else {"confidence": fact.confidence}
            return _transcript("user", fact.text, fact.final) | sure
        case _:
            return None


def _transcript(role: str, text: str, final: bool) -> dict[str, Any]:
    kind = "final" if final else "partial"
    return {"type": "transcript", "role": role, "transcriptType": kind, "transcript": text}


def _jump(clock: trio.testing.MockClock, at: float) -> None:
    """To this moment, to the last bit: the difference of two floats is exact when neither is twice the other."""
    now = clock.current_time()
    while now > 0 and now * 2 < at:
        clock.jump(now)
        now = clock.current_time()
    while (now := clock.current_time()) < at:
        clock.jump(at - now)
