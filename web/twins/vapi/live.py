"""One live call on the websocket transport, from POST /call to the end-of-call report.

The socket side (frames, control, close) comes in synchronously from the media plane; what waits (recogniser, model,
tools, voice, deadlines) are the tasks of `run`, and none outlives it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import structlog
import trio

from engine.agent import TwinPlan
from engine.audio import SILENCE_FRAME
from web.twins.vapi.caller import Caller, Said
from web.twins.vapi.clock import epoch_ms, iso
from web.twins.vapi.conversation import Conversation
from web.twins.vapi.dials import AFTER, Dials
from web.twins.vapi.line import PHONE_ONLY, Line
from web.twins.vapi.mouth import Mouth
from web.twins.vapi.report import final_facts, report_fields
from web.twins.vapi.settings import Speech
from web.twins.vapi.speaker import Speaker, Words
from web.twins.vapi.state import CallRecord, CallState
from web.twins.vapi.texts import filled
from web.twins.vapi.transcripts import Transcripts
from web.twins.vapi.webhooks import Webhooks

__all__ = ["Kit", "LiveCall"]

log = structlog.get_logger(__name__)

WATCH_S = 0.1
NEVER_CONNECTED = "call.in-progress.error-vapifault-transport-never-connected"
NO_AUDIO = "call.in-progress.error-assistant-did-not-receive-customer-audio"
DIED = "call.in-progress.error-vapifault-worker-died"
GENERATED_GREETING = "Sorry, the line dropped for a moment. Please go on."


@dataclass(frozen=True)
class Kit:
    """What all calls of a twin share."""

    dials: Dials
    speech: Speech
    plan: TwinPlan
    grammar: Any
    voice: Callable[[str], Awaitable[bytes]]
    webhooks: Webhooks
    partials: trio.CapacityLimiter


class LiveCall:
    """Fulfils `LineOwner`. `line` is what the plane gets."""

    def __init__(self, record: CallRecord, kit: Kit, chance: Random) -> None:
        assert record.audio is not None
        self.record, self._dials, self._kit = record, kit.dials, kit
        self.state = state = CallState(record, kit.dials, kit.webhooks)
        fault = record.fault.socket if record.fault else None
        self.line = Line(self, record.audio, record.timeline, is_stalled=fault == "stall")
        state.send_text = self.line.send_text
        self._mouth = Mouth(self.line.send_frame, kit.dials, chance)
        self._transcripts = transcripts = Transcripts(state)
        self._caller = Caller(
            state, kit.speech, kit.grammar, lambda: self.speaker, transcripts, partials=kit.partials, on_said=self._said
        )
        self.speaker = Speaker(
            state,
            self._mouth,
            transcripts,
            kit.voice,
            wait_until_free=self._caller.wait_until_free,
            end_call=self.end,
            say_began=self._caller.assistant_began,
        )
        self._conversation = Conversation(state, self.speaker, kit.plan)
        self._created = trio.current_time()
        self._opened, self._over = trio.Event(), trio.Event()
        self._started: float | None = None
        self._ended_ms = 0
        self._customer_muted = False

    @property
    def is_over(self) -> bool:
        return self._over.is_set()

    @property
    def is_taken(self) -> bool:
        """Whether somebody has connected; nobody else may."""
        return self._opened.is_set()

    # ---- from the socket, synchronously

    def opened(self) -> None:
        self.record.timeline.note("connected")
        self._opened.set()

    def heard_frame(self, mulaw: bytes) -> None:
        if self._started is None or self.is_over:
            return
        self._caller.feed(SILENCE_FRAME if self._customer_muted else mulaw)

    def control(self, message: Mapping[str, Any]) -> None:
        """A message of §5.2, checked; from the socket or by live control."""
        kind = message["type"]
        self.record.timeline.note("control", type=kind)
        if self.is_over:
            return
        match kind:
            case "say":
                self._say(message)
            case "add-message":
                self._conversation.told(message["message"], respond=message.get("triggerResponseEnabled", True))
            case "control":
                self._switch(message["control"])
            case "end-call":
                self.end("manually-canceled")
            case _ if kind in PHONE_ONLY:
                self.record.timeline.complain(f"{kind} does nothing on a websocket call")

    def broke_rules(self, why: str) -> None:
        """Text that Vapi does not take: the socket closes at once (§4.5)."""
        self.record.timeline.complain(f"a text frame is {why}")
        self.end("phone-call-provider-closed-websocket", close_code=1005)

    def closed(self, code: int) -> None:
        dropped = self.record.fault is not None and self.record.fault.socket == "drop_after_ms"
        self.end(DIED if dropped else "customer-ended-call")

    def pump(self, now: float) -> None:
        """The ticker's beat."""
        if self._started is not None:
            self._mouth.pump(now)

    # ---- the life

    async def run(self) -> None:
        """Live until the end; afterwards the report. A failure ends this call only."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch)
                nursery.start_soon(self._talk)
                await self._over.wait()
                nursery.cancel_scope.cancel()
        except* Exception as group:
            log.error("vapi_twin.call_failed", exc_info=group, call=self.record.id)  # noqa: TRY400
            self.end(DIED, close_code=1011)
        await trio.sleep(self._dials.report_delay_ms / 1000)
        self._report()

    def end(self, reason: str, *, close_code: int = 1000) -> None:
        """The call is over; only the first reason counts."""
        if self.is_over:
            return
        self.speaker.hush()
        self._ended_ms = epoch_ms()
        self.record.timeline.note("ended", reason=reason)
        self.record.touch(status="ended", endedReason=reason, endedAt=iso(self._ended_ms))
        self.state.tell("status-update", {"status": "ended", "endedReason": reason})
        self.line.close(close_code)
        self._caller.let_go()
        self._over.set()

    def _report(self) -> None:
        facts = final_facts(self.state)
        self.record.touch(**facts, messages=facts["artifact"]["messages"])
        self.state.tell("end-of-call-report", report_fields(self.state, facts, self._ended_ms))

    async def _talk(self) -> None:
        await self._opened.wait()
        fault = self.record.fault
        if fault is not None and fault.socket == "stall":
            return
        opened = trio.current_time()
        async with trio.open_nursery() as nursery:
            if fault is not None and fault.socket in AFTER:
                nursery.start_soon(self._break, fault.socket, getattr(fault, fault.socket))
            await trio.sleep_until(opened + self._dials.connect_ms / 1000)
            self._starts()
            nursery.start_soon(self._caller.run)
            nursery.start_soon(self._transcripts.run)
            nursery.start_soon(self.speaker.run)
            nursery.start_soon(self._conversation.run)
            await trio.sleep_until(opened + self._dials.first_message_ms / 1000)
            mode = self.record.assistant.get("firstMessageMode", "assistant-speaks-first")
            if mode != "assistant-waits-for-user":
                self._greet(GENERATED_GREETING if mode.endswith("generated-message") else "")

    def _starts(self) -> None:
        """The first frame that a client hears of us (§4.2)."""
        now_ms = epoch_ms()
        self.state.history.start_ms = now_ms
        self._started = trio.current_time()
        self.record.touch(status="in-progress", startedAt=iso(now_ms))
        self.state.tell("status-update", {"status": "in-progress"})
        assistant = self.record.assistant
        new = {name: assistant[name] for name in ("name", "firstMessage") if assistant.get(name)}
        self.state.tell("assistant.started", {"newAssistant": new})

    def _greet(self, otherwise: str) -> None:
        assistant = self.record.assistant
        text = otherwise or filled(assistant.get("firstMessage") or "", self.record.variables)
        may_interrupt = bool(assistant.get("firstMessageInterruptionsEnabled", False))
        self.speaker.say(Words(text, from_model=False, is_announced=False, can_be_interrupted=may_interrupt))

    async def _break(self, how: str, after_ms: int) -> None:
        await trio.sleep(after_ms / 1000)
        self.record.timeline.note("fault", socket=how.removesuffix("_after_ms"))
        match how:
            case "drop_after_ms":
                self.line.cut()
            case "black_hole_after_ms":
                self.line.is_stalled = True
            case "mute_after_ms":
                self.line.is_mute = True

    async def _watch(self) -> None:
        """All deadlines of a call (§10)."""
        longest = float(self.record.assistant.get("maxDurationSeconds") or 600)
        while True:
            await trio.sleep(WATCH_S)
            now, patience = trio.current_time(), self._dials.unconnected_s
            if not self.is_taken:
                if now - self._created > patience:
                    self.end(NEVER_CONNECTED)
            elif now - self.line.last_audio_s > patience:
                self.end(NO_AUDIO, close_code=1005)
            elif self._started is not None and now - self._started > longest:
                self.end("exceeded-max-duration")
            elif self._started is not None and now - self._last_voice() > self._dials.customer_silence_s:
                self.end("silence-timed-out")

    def _last_voice(self) -> float:
        if not self.speaker.is_quiet:
            return trio.current_time()
        return max(self._caller.last_voice_s, self.speaker.last_ended, self._started or 0.0)

    # ---- what is said

    def _said(self, said: Said) -> None:
        if not said.text and self._dials.mute_after_noise:
            self._conversation.noise()
        else:
            self._conversation.said(said)

    def _say(self, message: Mapping[str, Any]) -> None:
        text = str(message.get("content", message.get("message")))
        words = Words(text, from_model=False, can_be_interrupted=message.get("interruptionsEnabled", True))
        if message.get("endCallAfterSpoken"):
            words.ends_call = "assistant-ended-call-after-message-spoken"
        if message.get("interruptAssistantEnabled"):
            self.speaker.hush()
        self.speaker.say(words)

    def _switch(self, control: str) -> None:
        match control:
            case "mute-assistant" | "unmute-assistant":
                self._mouth.is_muted = control == "mute-assistant"
            case "mute-customer" | "unmute-customer":
                self._customer_muted = control == "mute-customer"
            case "say-first-message":
                self._greet("")
