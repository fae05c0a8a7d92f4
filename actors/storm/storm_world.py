"""One plan, lived: calls in memory on the real supervisor, with every fault of the plan at its moment.

Like `actors.world.world`, whose carrier, callers and agents it uses; beside them Twilio's and Vapi's webhooks come
twice, late, in another order or never, sockets break, a step crashes, and the event loop stands still.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec
import trio
import trio.testing

from actors.ports import AgentCall, WireListener
from actors.storm.choke import Choke
from actors.storm.coverage import Coverage
from actors.storm.house import StormHouse
from actors.storm.plan import MURMURS, Act, CallOfPlan, Fault, StormPlan
from actors.storm.watch import Watch
from actors.world.agent import AgentPlan, Reply, ScriptedAgent
from actors.world.caller import AfterAgent, AfterMe, At, Caller, CallerPlan, IntoSpeech, Step, When
from actors.world.carrier import Carrier, LinePlan
from actors.world.hearing import HearingPlan
from actors.world.house import KeptRecording, Ringing
from actors.world.sounds import WORD_MS, Sound
from actors.world.tap import Tap
from actors.world.timetable import Timetable
from actors.world.wires import MemoryPlane, MemoryWire, Path
from engine import events as e
from engine.audio import BYTES_PER_MS
from engine.errors import VapiTrouble
from engine.journal import Record
from engine.wire import vapi

LONGEST_S = 45.0  # then the caller hangs up
OVER_S = 60.0  # after the line: a call that is not over by then hangs
COMES_BACK_S = 0.03
DRAIN_S = 3600.0  # longer than any call
DETACHED_S = 30.0  # a tool that outlives its call has its own time-out, and no more
APART_WORDS = 400  # the agents of one world speak other milliseconds, so that no sound can be mistaken
WORDS_SAID = "a table by the window at seven or in the garden at nine these are the terms and both are free"
GARBAGE = (
    b"", b"{", b"null", b"[]", b'{"event":"media"}', b'{"event":"media","media":{"payload":"%%%"},"streamSid":"x"}',
    b'{"event":"mark","mark":{"name":"u-99.1"},"streamSid":"x","sequenceNumber":"1"}', b"\xff\xfe",
    b'{"event":"dtmf","dtmf":{"digit":"Z"},"streamSid":"x","sequenceNumber":"9"}', b'{"event":"new thing"}',
    b'{"type":"transcript"}', b'{"type":"speech-update","status":"started"}', b'{"type":7}', b"9" * 5000,
    b'{"type":"transcript","role":"user","transcriptType":"final","transcript":null}',
)  # fmt: skip
STRANGE: tuple[dict[str, Any], ...] = (
    {"type": "hang"}, {"type": "model-output", "output": "hm"}, {"type": "never heard of"},
    {"type": "speech-update", "status": "started", "role": "assistant"},
    {"type": "speech-update", "status": "stopped", "role": "assistant"},
    {"type": "speech-update", "status": "started", "role": "user"},
    {"type": "conversation-update", "messages": []}, {"type": "voice-input", "input": "these are the terms " * 40},
    {"type": "transcript", "role": "assistant", "transcriptType": "partial", "transcript": "a table"},
    {"type": "transcript", "role": "user", "transcriptType": "partial", "transcript": "o"},
)  # fmt: skip


class KeyCounter:
    """A `WireListener` in front of another: counts the keys of which Twilio tells."""

    def __init__(self, inner: WireListener, call: StormCall) -> None:
        self._inner, self._call = inner, call
        self.on_open, self.on_binary, self.on_closed = inner.on_open, inner.on_binary, inner.on_closed

    def on_text(self, payload: bytes) -> None:
        self._call.keys_sent += b'"event":"dtmf"' in payload
        self._inner.on_text(payload)


@dataclass
class StormCall:
    """One lived call, for who judges it."""

    plan: CallOfPlan
    call_sid: str
    number: int
    call_id: str = ""
    opened_at: float = 0.0
    carrier: Carrier | None = None
    caller: Caller | None = None
    agent: ScriptedAgent | None = None
    tap: Tap = field(default_factory=Tap)
    agent_closed_at: float | None = None
    twilio_words: list[str] = field(default_factory=list)
    second_audio: int = 0  # media messages on a second stream
    stalled_ms: float = 0.0
    struck: set[str] = field(default_factory=set)
    hung: bool = False
    line_over_at: float | None = None
    records: list[Record] = field(default_factory=list)
    recording: KeptRecording | None = None
    keys_sent: int = 0  # as Twilio told of them

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(fault.kind for fault in self.plan.faults)


class StormWorld:
    """The world of one plan. Fulfils `actors.ports.VapiCalls`."""

    def __init__(self, plan: StormPlan, seen: Coverage) -> None:
        self.plan, self.seen = plan, seen
        self.timetable = Timetable()
        self.plane = MemoryPlane(self.timetable, self._pick_up)
        crashes = any(fault.kind == "F29 step crashes" for call in plan.calls for fault in call.faults)
        stalls_s = sum(one.more for call in plan.calls for one in call.faults if one.kind == "F26 stall") / 1000

        def new_watch(record: Record) -> Watch:
            return Watch(record, seen, lateness_s=stalls_s + 0.05, wild=crashes)

        self.house = StormHouse(self.plane, self, plan, new_watch)
        self.house.storm_twilio.on_redirect = self._redirected
        self.calls: list[StormCall] = []
        self._by_id: dict[str, StormCall] = {}
        self._by_sid: dict[str, StormCall] = {}
        self.tasks_left = 0
        self.ticks_left = 0
        self._admitted = 0

    async def run(self) -> None:
        """Live all calls of the plan, to the last late webhook."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self.timetable.run)
            await nursery.start(self.house.run)
            async with trio.open_nursery() as callers:
                for number, one in enumerate(self.plan.calls):
                    callers.start_soon(self._live, one, number)
            with trio.move_on_after(DETACHED_S):
                # A tool that must not be cut short may outlive its call; a close is still on its way over a slow line.
                while self.house.supervisor.tasks or len(self.plane.ticks):
                    await trio.sleep(0.5)
            self.tasks_left = self.house.supervisor.tasks
            self.ticks_left = len(self.plane.ticks)
            nursery.cancel_scope.cancel()

    # --- one call ----------------------------------------------------------------------------------------------------

    async def _live(self, plan: CallOfPlan, number: int) -> None:
        await trio.sleep(plan.starts_ms / 1000)
        call = StormCall(plan, f"CA{number + 1:032d}", number)
        rng = Random(f"{self.plan.seed}/{number}")  # noqa: S311 — chance, no secret
        call.opened_at = trio.current_time()
        ringing = self.house.ring(call.call_sid)
        self._admitted += 1
        if 1 < len(self.plan.calls) == self._admitted:
            self._nursery.start_soon(self._drain)
        if ringing is None:
            return
        if "F11 webhooks twice" in call.kinds:
            ringing = self.house.ring(call.call_sid) or ringing
        call.call_id = ringing.call_id
        self.calls.append(call)
        self._by_id[call.call_id] = self._by_sid[call.call_sid] = call
        call.tap = Tap(phase_ms=rng.randrange(20))
        call.tap.agent += bytes(number * APART_WORDS * WORD_MS * BYTES_PER_MS)
        call.caller = Caller(_caller_plan(plan), call.tap, rng)
        call.carrier = Carrier(
            self.timetable, _line_plan(plan), caller=call.caller, tap=call.tap, rng=rng, call_sid=call.call_sid
        )
        call.agent = ScriptedAgent(
            self.timetable,
            _agent_plan(plan),
            source=call.carrier,
            generated=call.tap.agent,
            rng=rng,
            run_tools=lambda asked: self._run_tools(call, asked),
            start=self._nursery.start_soon,  # a webhook may come when the call is over
        )
        for fault in plan.faults:
            self.timetable.at(call.opened_at + fault.at_ms / 1000, lambda f=fault: self._strike(call, f, rng))  # type: ignore[misc]
        for order in plan.orders:
            self.timetable.at(call.opened_at + order.at_ms / 1000, lambda o=order: self._order(call, o.kind))  # type: ignore[misc]
        await self._line(call, ringing)
        await self._aftermath(call)
        call.records = self.house.take_records(call.call_id)
        call.recording = self.house.storm_recorder.kept.get(call.call_id)

    async def _drain(self) -> None:
        """A deploy, as soon as all calls are there: it has the patience to wait for the last of them."""
        await self.house.supervisor.drain(patience_s=DRAIN_S)

    async def _line(self, call: StormCall, ringing: Ringing) -> None:
        carrier = call.carrier
        assert carrier is not None
        await trio.sleep(0.03)
        if "F4 stream never opens" in call.kinds:
            self._struck(call, "F4 stream never opens")
            return
        listener: WireListener = KeyCounter(ringing.listener, call)
        if "F28 back-pressure" in call.kinds:
            choke = Choke(listener, self.timetable)
            for fault in call.plan.faults:
                if fault.kind == "F28 back-pressure":
                    choke.shut(call.opened_at + fault.at_ms / 1000, fault.more)
            listener = choke
        carrier.open(listener, ringing.parameters)
        with trio.move_on_after(LONGEST_S):
            await carrier.over.wait()
        carrier.hang_up()
        await carrier.over.wait()
        call.line_over_at = trio.current_time()

    async def _aftermath(self, call: StormCall) -> None:
        """Twilio's and Vapi's last webhooks, and the end of the call."""
        kinds, carrier = call.kinds, call.carrier
        assert carrier is not None
        lost, late = "F14 webhooks lost" in kinds, "F13 webhooks late" in kinds
        twice = 2 if "F11 webhooks twice" in kinds else 1
        if lost:
            self._struck(call, "F14 webhooks lost")
        elif late:
            self._struck(call, "F13 webhooks late")
        if "F12 webhooks in another order" in kinds:
            self._struck(call, "F12 webhooks in another order")
            self._report(call)
            self.house.hung_up(call.call_sid)
        if twice == 2:
            self._struck(call, "F11 webhooks twice")
        if not carrier.hung_up and not lost and call.line_over_at is not None:
            await trio.sleep(7.0 if late else COMES_BACK_S)
            for _ in range(twice):
                call.twilio_words.append(self.house.given_back(call.call_sid))
        if not lost and call.line_over_at is not None:
            await trio.sleep(2.0 if late else 0.02)
            for _ in range(twice):
                self.house.hung_up(call.call_sid)
        with trio.move_on_after(OVER_S) as patience:
            while self.house.actor(call.call_sid) is not None:
                await trio.sleep(0.25)
        call.hung = patience.cancelled_caught
        if not lost:
            await trio.sleep(120.0 if late else 0.3)
            for _ in range(twice):
                self._report(call)
            self.house.given_back(call.call_sid)

    def _report(self, call: StormCall) -> None:
        self.house.supervisor.report(f"agent-of-{call.call_id}", "customer-ended-call")

    def _redirected(self, call_sid: str) -> None:
        """REST had Twilio ask for its next TwiML: it closes the stream and comes."""
        call = self._by_sid[call_sid]
        if call.carrier is not None and call.carrier.is_open:
            call.carrier.wire.peer_closes(1000)
        self.timetable.after(40, lambda: call.twilio_words.append(self.house.given_back(call_sid)))

    # --- faults ------------------------------------------------------------------------------------------------------

    def _struck(self, call: StormCall, kind: str) -> None:
        watch = self.house.storm_journal.watches.get(call.call_id)
        if watch is not None:
            call.struck.add(kind)
            self.seen.faults[kind, watch.phase] += 1

    def _strike(self, call: StormCall, fault: Fault, rng: Random) -> None:  # noqa: PLR0912 — one case a fault
        carrier, agent = call.carrier, call.agent
        assert carrier is not None
        assert agent is not None
        line_up, agent_up = (
            carrier.is_open and carrier.wire.is_open,
            agent.wire.listener is not None and agent.wire.is_open,
        )
        match fault.kind:
            case "F2 stream reset" if line_up:
                self._struck(call, fault.kind)
                carrier.wire.peer_closes(1006)
            case "F2 stream closed" if line_up:
                self._struck(call, fault.kind)
                carrier.wire.peer_closes(1000)
            case "F3 second stream":
                self._second_stream(call)
            case "F8 agent's socket drops" if agent_up:
                self._struck(call, fault.kind)
                agent.wire.peer_closes(1006)
            case "F26 stall":
                self._struck(call, fault.kind)
                call.stalled_ms += fault.more
                clock = trio.lowlevel.current_clock()
                assert isinstance(clock, trio.testing.MockClock)
                clock.jump(fault.more / 1000)
            case "F28 back-pressure" | "F5 half-open" | "F9 agent mute" | "F9 agent frozen" | "F10 burst":
                if line_up or agent_up:
                    self._struck(call, fault.kind)
            case "F29 step crashes" if self.house.actor(call.call_sid) is not None:
                self._struck(call, fault.kind)
                self.house.storm_journal.poisoned[call.call_id] += int(fault.more)
            case "F34 rescue fails":
                self.house.storm_twilio.fails.add(call.call_sid)
            case "garbage from Twilio" if line_up:
                self._struck(call, fault.kind)
                carrier.wire.receives_text(rng.choice(GARBAGE))
                carrier.wire.receives_binary(b"\x00\x01")
            case "garbage from Vapi" if agent_up:
                self._struck(call, fault.kind)
                agent.wire.receives_text(rng.choice(GARBAGE))
                agent.wire.receives_binary(b"\xff" * rng.choice((0, 1, 7, 333)))
            case "strange frames" if agent_up:
                self._struck(call, fault.kind)
                for _ in range(3):
                    agent.wire.receives_text(msgspec.json.encode(rng.choice(STRANGE)))
            case "stale transcript" if agent_up:
                self._struck(call, fault.kind)
                words = {"type": "transcript", "role": "user", "transcriptType": "final", "transcript": "stop"}
                agent.wire.receives_text(msgspec.json.encode(words))
            case "interrupted for nothing" if agent_up:
                self._struck(call, fault.kind)
                agent.wire.receives_text(b'{"type":"user-interrupted"}')
            case "agent's pipeline breaks" if agent_up:
                self._struck(call, fault.kind)
                reason = rng.choice(("pipeline-error-openai-llm-failed", "worker-died", "silence-timed-out"))
                frame = {"type": "status-update", "status": "ended", "endedReason": reason}
                agent.wire.receives_text(msgspec.json.encode(frame))
                agent.wire.peer_closes(1000)
            case "F6 create refused" | "F6 create times out" | "F7 socket refused" | "F7 socket never opens":
                self._struck(call, fault.kind)
            case "marks lost" if line_up:
                self._struck(call, fault.kind)
            case _:
                pass

    def _second_stream(self, call: StormCall) -> None:
        """Twilio opens another stream for the same call, with a token of its own (a retried webhook)."""
        actor = self.house.actor(call.call_sid)
        ringing = self.house.ring(call.call_sid) if actor is not None else None
        if ringing is None or ringing.call_id != call.call_id:
            return
        self._struck(call, "F3 second stream")

        def heard(payload: bytes) -> None:
            call.second_audio += b'"media"' in payload

        path = Path(self.timetable, Random(0), 0, 0)  # noqa: S311
        wire = MemoryWire(path, on_text=heard, on_binary=heard, on_close=lambda: None)
        wire.listener = ringing.listener
        ringing.listener.on_open(wire)
        start = {
            "accountSid": "AC" + "0" * 32, "callSid": call.call_sid, "streamSid": "MZ" + "9" * 32,
            "tracks": ["inbound"], "customParameters": dict(ringing.parameters),
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        }  # fmt: skip
        message = {"event": "start", "sequenceNumber": "1", "start": start, "streamSid": "MZ" + "9" * 32}
        wire.receives_text(msgspec.json.encode(message))
        self.timetable.after(1000, lambda: wire.peer_closes(1006))

    def _order(self, call: StormCall, kind: str) -> None:
        actor = self.house.actor(call.call_sid)
        if actor is not None:
            now = trio.current_time()
            order = e.HangUpOrdered(at=now, reason="shutdown") if kind == "hang up" else None
            actor.post(order or e.TransferOrdered(at=now, number="+15550111", words="One moment."))

    # --- Vapi --------------------------------------------------------------------------------------------------------

    async def create_call(self, body: Mapping[str, Any], *, deadline_s: float) -> AgentCall:
        """Fulfils `actors.ports.VapiCalls`. The body's name is the call's id, as in production."""
        call_id = str(body["name"])
        await trio.lowlevel.checkpoint()
        call = self._by_id[call_id]
        if "F6 create times out" in call.kinds:
            await trio.sleep(deadline_s)
            raise VapiTrouble("no answer in time")
        await trio.sleep(call.plan.create_ms / 1000)
        if "F6 create refused" in call.kinds:
            raise VapiTrouble("refused", status=429)
        return AgentCall(f"agent-of-{call_id}", f"memory:{call_id}")

    async def end_call(self, call: AgentCall) -> None:
        await trio.sleep(0.05)

    def _pick_up(self, url: str) -> MemoryWire | None:
        call = self._by_id[url.partition(":")[2]]
        if "F7 socket refused" in call.kinds:
            raise ConnectionError("refused")
        agent = call.agent
        if "F7 socket never opens" in call.kinds or agent is None:
            return None
        agent.open()
        return agent.wire

    async def _run_tools(self, call: StormCall, calls: Sequence[Mapping[str, Any]]) -> list[str]:
        """The webhook, as often as the plan has it come; the first answer counts."""
        twice = "F11 webhooks twice" in call.kinds
        answers: list[list[str]] = []

        async def post(late_s: float) -> None:
            await trio.sleep(late_s)
            message = {"type": "tool-calls", "call": {"id": f"agent-of-{call.call_id}"}, "toolCallList": list(calls)}
            webhook = vapi.read_webhook(msgspec.json.encode({"message": message}))
            assert isinstance(webhook.content, vapi.ToolCalls)
            answers.append(await self.house.run_tools(webhook.call_id, webhook.content.calls))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(post, 0.0)
            if twice:
                nursery.start_soon(post, 0.0)
                nursery.start_soon(post, 0.4)
        return answers[0]


# --- plans of the world's parts --------------------------------------------------------------------------------------


def _caller_plan(plan: CallOfPlan) -> CallerPlan:
    return CallerPlan(steps=[step_of(act) for act in plan.acts], stays_ms=plan.stays_ms)


def step_of(act: Act) -> Step:
    """What the world's caller does for an act."""
    moments: dict[str, Callable[[], When]] = {
        "at": lambda: At(act.ms),
        "into": lambda: IntoSpeech(act.ms),
        "after agent": lambda: AfterAgent(act.ms),
        "after me": lambda: AfterMe(act.ms),
    }
    sound = None
    if act.sound_ms or act.say:
        kind = "backchannel" if act.say in MURMURS else "speech" if act.say else "noise"
        sound = Sound(act.say or kind, buzz(act.sound_ms or 400), 0.0, kind, act.say)
    return Step(moments[act.when](), sound, act.press, act.hang_up, act.patience_s)


def buzz(ms: int) -> bytes:
    """Loud; each frame unlike its neighbours, so that an ear can tell which is missing."""
    frames = max(1, ms // 20)
    return b"".join((bytes([0x20 + n % 8]) * 10 + bytes([0xA0 + n // 8 % 8]) * 10) * 8 for n in range(frames))


def _line_plan(plan: CallOfPlan) -> LinePlan:
    faults = {fault.kind: fault for fault in plan.faults}
    half_open = faults.get("F5 half-open")
    return LinePlan(
        up_ms=plan.up_ms,
        down_ms=plan.down_ms,
        up_jitter_ms=plan.jitter_ms,
        down_jitter_ms=plan.jitter_ms,
        loss_percent=plan.loss_percent,
        returns_marks="marks lost" not in faults,
        vanishes_at_ms=half_open.at_ms if half_open is not None else None,
    )


def _agent_plan(plan: CallOfPlan) -> AgentPlan:
    faults = {fault.kind: fault for fault in plan.faults}
    mute, frozen, burst = faults.get("F9 agent mute"), faults.get("F9 agent frozen"), faults.get("F10 burst")
    return AgentPlan(
        first_message=says(plan.greeting_words),
        replies=[
            Reply(says(one.n_words), one.tool, {"what": str(n)}, one.ends_call) for n, one in enumerate(plan.answers)
        ],
        hearing=HearingPlan(
            num_words=plan.num_words,
            deaf=plan.deaf,
            hears_noise=plan.hears_noise,
            transcribes=plan.transcribes,
            confidence=plan.confidence,
            late_ms=plan.late_ms,
        ),
        connect_ms=plan.connect_ms,
        answer_ms=plan.answer_ms,
        ahead_ms=int(burst.more) if burst is not None else 0,
        jitter_ms=plan.agent_jitter_ms,
        mute_after_ms=mute.at_ms if mute is not None else None,
        hole_after_ms=frozen.at_ms if frozen is not None else None,
        script=((plan.connect_ms + 10, {"type": "voice-input", "input": says(plan.greeting_words)}),)
        if plan.tells_words
        else (),
    )


def says(n_words: int) -> str:
    return " ".join(WORDS_SAID.split()[:n_words])
