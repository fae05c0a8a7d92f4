"""Vapi's side of one call on the raw-audio websocket, scripted and reactive (reference/vapi.md §4).

It speaks in numbered audio (`actors.world.sounds`) at real time in clumps, hears by ground truth (`hearing`), answers,
is interrupted, calls tools, and fails in every way that a plan names.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Literal

import msgspec

from actors.world.hearing import Hearing, HearingPlan, Source, Turn
from actors.world.sounds import WORD_MS, spoken
from actors.world.timetable import Timetable
from actors.world.wires import MemoryWire, Path
from engine.audio import BYTES_PER_MS


@dataclass(frozen=True, slots=True)
class Reply:
    """What the agent says to one turn of the caller's."""

    text: str
    tool: str = ""  # asked for first, by webhook; its answer is awaited
    arguments: dict[str, Any] = field(default_factory=dict)
    ends_call: bool = False
    meanwhile: str = ""  # said while the tool runs
    think_ms: float = 0.0  # so much longer than `answer_ms`
    # With `brain`: what is said once the tool has answered.
    said: Callable[[str], str] | None = None


Brain = Callable[[str], Reply]
"""One call's model: what was heard in, a reply out."""


@dataclass(frozen=True, slots=True)
class AgentPlan:
    """A scripted agent. Milliseconds; moments count from the open socket."""

    first_message: str = "Good evening, this is the Bistro, my name is Ada. How may I help you today?"
    replies: Sequence[Reply] = (Reply("Certainly, let me see what I can do for you, that should not be a problem."),)
    hearing: HearingPlan = field(default_factory=HearingPlan)
    connect_ms: int = 140
    first_message_ms: int = 300
    answer_ms: int = 400  # from the final transcript to the first audio
    backoff_ms: int = 200  # after an interruption it is silent at least so long
    clump_ms: int = 50
    ahead_ms: int = 0  # audio comes so much ahead of real time
    delay_ms: float = 0.0  # of everything it sends
    jitter_ms: float = 0.0
    create: Literal["ok", "hang", "refuse"] = "ok"
    create_ms: int = 50
    socket: Literal["ok", "never opens", "refuse"] = "ok"
    mute_after_ms: float | None = None  # texts go on, audio does not
    hole_after_ms: float | None = None  # nothing comes any more, nothing is heard
    drop_after_ms: float | None = None  # the socket is cut
    script: Sequence[tuple[float, dict[str, Any]]] = ()  # text frames of any kind, at these moments
    brain: Callable[[], Brain] | None = None  # made anew for each call; answers instead of `replies`


@dataclass(slots=True)
class Speech:
    """Something that the agent said: milliseconds `first` to `after` of its audio."""

    text: str
    first: int
    planned_ms: int
    sent_ms: int = 0
    began_at: float = 0.0
    interrupted: bool = False
    answers: int = 0  # which turn of the caller's; 0: none, the agent began by itself
    ends_call: bool = False
    unsent_ms: int = 0  # of `sent_ms`, what never left because the plan made it mute

    @property
    def after(self) -> int:
        """The number after its last millisecond that left."""
        return self.first + self.sent_ms - self.unsent_ms


RunTools = Callable[[list[dict[str, Any]]], Awaitable[list[str]]]
Start = Callable[[Callable[[], Awaitable[None]]], None]


class ScriptedAgent:
    """One call's agent.

    Args:
        source: the carrier, whose frames it hears.
        generated: where all its audio is kept (`Tap.agent`).
        run_tools: the webhook.
        start: runs a function in the background of the call.
    """

    def __init__(
        self,
        timetable: Timetable,
        plan: AgentPlan,
        *,
        source: Source,
        generated: bytearray,
        rng: Random,
        run_tools: RunTools,
        start: Start,
    ) -> None:
        self._timetable, self.plan, self._generated = timetable, plan, generated
        self._run_tools, self._start = run_tools, start
        self._path = Path(timetable, rng, plan.delay_ms, plan.jitter_ms)
        self.wire = MemoryWire(
            Path(timetable, rng, 0, 0), on_text=self._control, on_binary=self._audio, on_close=self._closed
        )
        self.hearing = Hearing(
            timetable, plan.hearing, source, tell=self.tell, is_speaking=lambda: self._speech is not None,
            interrupt=self._interrupted, began=self._caller_began, over=self._caller_over,
        )  # fmt: skip
        self.speeches: list[Speech] = []
        self.told: list[dict[str, Any]] = []  # text frames that the service sent
        self.turns: list[Turn] = []
        self._speech: Speech | None = None
        self._waiting: list[Reply] = []  # to be said after the present speech
        self._pending = 0  # the number of the answer that is being thought of
        self._answers = self._asked = 0
        self._brain = plan.brain() if plan.brain is not None else None
        self._quiet_until = 0.0
        self._opened_at = 0.0
        self._open = False

    def open(self) -> None:
        """The socket is open: soon a status, and the first message."""
        self._opened_at, self._open = self._timetable.now(), True
        plan = self.plan
        self._timetable.after(plan.connect_ms, lambda: self.tell("status-update", status="in-progress"))
        if plan.first_message:
            self._timetable.after(plan.first_message_ms, lambda: self._say(Reply(plan.first_message)))
        if plan.drop_after_ms is not None:
            self._timetable.after(plan.drop_after_ms, lambda: self.wire.peer_closes(1006))
        for at_ms, frame in plan.script:
            self._timetable.after(at_ms, partial(self._send_text, frame))

    def tell(self, kind: str, **more: Any) -> None:
        """A text frame to the service."""
        self._send_text({"type": kind, **more})

    # --- speaking ----------------------------------------------------------------------------------------------------

    def _say(self, reply: Reply, *, answers: int = 0) -> None:
        if not self._open or self._speech is not None or not reply.text:
            return
        first = -(-len(self._generated) // BYTES_PER_MS // WORD_MS) * WORD_MS
        n_words = len(reply.text.split())
        self._generated += bytes(first * BYTES_PER_MS - len(self._generated)) + spoken(first, n_words)
        now = self._timetable.now()
        self._speech = speech = Speech(
            reply.text, first, n_words * WORD_MS, began_at=now, answers=answers, ends_call=reply.ends_call
        )
        self.speeches.append(speech)
        self.tell("speech-update", status="started", role="assistant")
        self._clump(speech)

    def _clump(self, speech: Speech) -> None:
        """What is due by now leaves."""
        if self._speech is not speech:
            return
        plan = self.plan
        gone_ms = round((self._timetable.now() - speech.began_at) * 1000)
        due_ms = min(speech.planned_ms, max(speech.sent_ms, gone_ms + plan.clump_ms + plan.ahead_ms))
        if due_ms > speech.sent_ms:
            start, end = speech.first + speech.sent_ms, speech.first + due_ms
            speech.sent_ms = due_ms
            if self._is_past(plan.mute_after_ms) or self._is_past(plan.hole_after_ms):
                speech.unsent_ms += end - start
            else:
                mulaw = bytes(self._generated[start * BYTES_PER_MS : end * BYTES_PER_MS])
                self._path.send(lambda: self.wire.receives_binary(mulaw))
        if due_ms < speech.planned_ms:
            self._timetable.after(plan.clump_ms, lambda: self._clump(speech))
        else:
            self._timetable.after(plan.clump_ms, lambda: self._spoken(speech))

    def _spoken(self, speech: Speech) -> None:
        """All of it was generated."""
        if self._speech is not speech:
            return
        self._speech = None
        self.tell("speech-update", status="stopped", role="assistant")
        self._tell_said(speech)
        if speech.ends_call:
            self._end("assistant-ended-call")
        elif self._waiting:
            self._answer(self._waiting.pop(0))

    def _interrupted(self) -> None:
        """The caller cut in: no more of this speech."""
        if self._speech is not None:
            self._waiting.clear()
            self._quiet_until = self._timetable.now() + self.plan.backoff_ms / 1000
            self.tell("user-interrupted")
            self._stop()

    def _stop(self) -> None:
        """What is being said ends here."""
        speech, self._speech = self._speech, None
        if speech is not None:
            speech.interrupted = True
            self.tell("speech-update", status="stopped", role="assistant")
            self._tell_said(speech)

    def _tell_said(self, speech: Speech) -> None:
        text = " ".join(speech.text.split()[: -(-speech.sent_ms // WORD_MS)])
        self.tell("transcript", role="assistant", transcriptType="final", transcript=text)

    # --- answering ---------------------------------------------------------------------------------------------------

    def _caller_began(self) -> None:
        self._pending += 1  # what was being thought of is not said

    def _caller_over(self, turn: Turn) -> None:
        self.turns.append(turn)
        if not turn.text:
            return
        if self._speech is None:
            self._answer(self._next_reply(turn.text))
        elif not self.plan.hearing.is_acknowledgement(turn.text):
            self._waiting.append(self._next_reply(turn.text))

    def _next_reply(self, heard: str) -> Reply:
        if self._brain is not None:
            return self._brain(heard)
        replies = self.plan.replies
        self._answers += 1
        return replies[(self._answers - 1) % len(replies)] if replies else Reply("")

    def _answer(self, reply: Reply) -> None:
        self._pending += 1
        number, answers = self._pending, len(self.turns)

        def speak() -> None:
            if number == self._pending:
                self._say(reply, answers=answers)

        async def ask_first() -> None:
            if number != self._pending:
                return
            self._asked += 1
            call = {"id": f"tool-{self._asked}", "function": {"name": reply.tool, "arguments": reply.arguments}}
            if reply.meanwhile:
                self._say(Reply(reply.meanwhile), answers=answers)
            (result,) = await self._run_tools([call])
            text = reply.said(result) if reply.said is not None else reply.text
            words = Reply(text, ends_call=reply.ends_call)
            if number == self._pending and self._speech is not None:
                self._waiting.insert(0, words)
            elif number == self._pending:
                self._say(words, answers=answers)

        now = self._timetable.now()
        when = max(now + (self.plan.answer_ms + reply.think_ms) / 1000, self._quiet_until)

        def ask() -> None:
            if self._open:  # a call that is over has nobody who would wait for the tool
                self._start(ask_first)

        self._timetable.at(when, ask if reply.tool else speak)

    # --- the socket --------------------------------------------------------------------------------------------------

    def _audio(self, mulaw: bytes) -> None:
        if self._open and not self._is_past(self.plan.hole_after_ms):
            self.hearing.feed(mulaw)

    def _control(self, payload: bytes) -> None:
        """A text frame of the service's (§4.5)."""
        order = msgspec.json.decode(payload)
        self.told.append(order)
        if not self._open or self._is_past(self.plan.hole_after_ms):
            return
        match order.get("type"):
            case "end-call":
                self._end("manually-canceled")
            case "say":
                reply = Reply(order["content"], ends_call=order.get("endCallAfterSpoken", False))
                if self._speech is not None and not order.get("interruptAssistantEnabled", False):
                    self._waiting.append(reply)
                else:
                    self._stop()
                    self._say(reply)
            case "add-message" if order.get("triggerResponseEnabled", True):
                reply = self._next_reply(str(order["message"]["content"]))
                if self._speech is None:
                    self._answer(reply)
                else:
                    self._waiting.append(reply)  # kept: answered when this speech is over

    def _send_text(self, frame: dict[str, Any]) -> None:
        if self._open and not self._is_past(self.plan.hole_after_ms):
            payload = msgspec.json.encode(frame)
            self._path.send(lambda: self.wire.receives_text(payload))

    def _end(self, reason: str) -> None:
        self.tell("status-update", status="ended", endedReason=reason)
        self._open = False
        self._path.send(lambda: self.wire.peer_closes(1000))

    def _closed(self) -> None:
        self._open = False
        self._speech = None

    def _is_past(self, ms: float | None) -> bool:
        return ms is not None and (self._timetable.now() - self._opened_at) * 1000 >= ms
