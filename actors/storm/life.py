"""A random life of one call, as facts: a carrier, a Vapi, a caller and tools in a few lines, so that runs go deep.

The model reacts to what the engine orders: what is held stops, what is let speak goes on, a tool answers, Twilio comes
for its TwiML. Some lives are `wild`: facts of any kind at any moment are thrown in, as no leg would post them.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappush
from random import Random
from typing import Any

from actors.storm.policies import POOL, policy_of
from engine import effects as f
from engine import events as e
from engine.call import Call
from engine.phases import Phase

Thunk = Callable[[float], e.Event | None]
Item = tuple[float, int, e.Event | Thunk]

WORDS = (
    "stop", "wait a moment please", "uh-huh", "yeah", "no", "two", "a table for four at seven", "operator", "hm",
    "I would like to know whether you are open", "okay stop that", "",
    "no I mean eight and not seven and for six people and by the window if you have one there",
)  # fmt: skip
SPEECHES = (
    "Good evening, how may I help you?", "We have a table at seven by the window.", "These are the terms: read them.",
    "Just a moment.",
)  # fmt: skip
FAREWELL = "assistant-ended-call"
UTTERANCE_FOLLOWS_S = 0.12
TOOLS = ("look_up", "book", "transfer", "no_such_tool")


class Life:
    """One call's world. `heap` is what will happen; `react` is told of every step."""

    def __init__(self, seed: int) -> None:
        chance = self._chance = Random(seed)  # noqa: S311 — a storm, no secret
        self._u = u = chance.random
        self.heap: list[Item] = []
        self._n = 0
        self.policy_number = int(u() * POOL) if u() < 0.8 else 0
        self.policy = policy_of(self.policy_number)
        self.wild = u() < 0.25
        self.lateness_s = 0.0 if u() < 0.7 else (0.003, 0.03, 0.2, 1.5)[int(u() * 4)]
        self._deaf = u() < 0.05  # Vapi never answers
        self._utterance = 0
        self._token = 0  # of what is playing
        self._ends_at = 0.0  # … and until when
        self._playing = False
        self._left_s = 0.0  # of what was held
        self._pending_s = 0.0  # of what waits at the gate
        self._gate_open = True
        self._line_up = False
        self._talking = False
        self._agent_up = self._agent_over = False
        self._greets = self.policy.agent_first
        self._tools = 0
        self._turns_answered = 0
        self._phase = Phase.CONNECTING
        self.faults: list[tuple[str, Phase]] = []  # as they happened, and in which phase
        self._begin(u)

    def at(self, when: float, what: e.Event | Thunk) -> None:
        self._n += 1
        heappush(self.heap, (when, self._n, what))

    # --- what happens whatever the engine does -----------------------------------------------------------------------

    def _begin(self, u: Callable[[], float]) -> None:
        line_at = 0.1 + u()
        fate = u()
        if fate < 0.95:
            self._stream_at(line_at)
        elif fate < 0.98:
            self._late_stream(11.0 + u())
        agent_at = 0.1 + 1.5 * u() * u()
        fate = u()
        if fate < 0.9:
            self._agent_at(agent_at)
        elif fate < 0.94:
            self._agent_at(agent_at + 6 * u())
        elif fate < 0.97:
            self._fault_at(agent_at, "F6 no agent", e.AgentLost(at=agent_at, why="refused"))
        at = max(line_at, agent_at) + 4 * u() * u()
        for _ in range(int(4.5 * u())):
            at = self._act(at, u) + 2.5 * u() * u()
        at += 3 * u() * u()
        self._end(at, u)
        if self.wild:
            for _ in range(1 + int(6 * u())):
                when = at * u()
                self.at(when, self._any_fact)

    def _late_stream(self, at: float) -> None:
        self._stream_at(at, "F4 stream opens late")

    def _fault_at(self, at: float, name: str, fact: e.Event) -> None:
        def happens(now: float) -> e.Event:
            self.faults.append((name, self._phase))
            return fact

        self.at(at, happens)

    def _stream_at(self, at: float, fault: str = "") -> None:
        def up(now: float) -> e.Event:
            self._line_up = True
            if fault:
                self.faults.append((fault, self._phase))
            if self._pending_s:
                self.at(now, self._play_pending)  # what the agent said early waited for the line
            return e.StreamStarted(at=now, stream_sid="MZ")

        self.at(at, up)

    def _agent_at(self, at: float) -> None:
        def up(now: float) -> e.Event:
            self._agent_up = True
            if self._greets:
                self.at(now + 0.1 + 0.5 * self._u(), self._speak)
            return e.AgentConnected(at=now, agent_call_id="agent")

        self.at(at, up)

    def _end(self, at: float, u: Callable[[], float]) -> None:
        fate = u()
        if fate < 0.42:
            self.at(at, e.StreamEnded(at=at, reason="stop", stopped=True))
            if fate < 0.2:
                self.at(at + 0.05, e.CallerHungUp(at=at + 0.05, status="completed"))
        elif fate < 0.52:
            self.at(at, e.CallerHungUp(at=at, status="completed"))
        elif fate < 0.58:
            self._fault_at(at, "F2 line lost", e.StreamEnded(at=at, reason="socket closed 1006", stopped=False))
        elif fate < 0.64:
            self._fault_at(at, "F8 agent lost", e.AgentLost(at=at, why="socket closed 1006"))
        elif fate < 0.69:
            self._fault_at(at, "F29 crash loop", e.ActorGaveUp(at=at, why="ValueError"))
        elif fate < 0.74:
            self.at(at, e.HangUpOrdered(at=at, reason="shutdown"))
        elif fate < 0.77:
            self.at(at, e.EndOrdered(at=at, reason="the agent said goodbye"))
            self.at(at + 4, e.CallerHungUp(at=at + 4, status="completed"))
        elif fate < 0.81:
            self.at(at, e.TransferOrdered(at=at, number="+15550111", words="One moment."))
        elif fate < 0.93:
            self.at(at, e.AgentEnded(at=at, reason=FAREWELL))
        if u() < 0.3:
            self.at(at + 1 + u(), e.ReportArrived(at=at + 1, ended_reason="customer-ended-call"))

    def _act(self, at: float, u: Callable[[], float]) -> float:
        """The caller does something; returns when it is done."""
        kind = u()
        if kind < 0.12:
            for _ in range(1 + int(5 * u())):
                self.at(at, e.DigitPressed(at=at, digit="0123456789*#"[int(12 * u())]))
                at += 0.05 + 0.6 * u()
            return at
        said_s = 0.06 + 1.8 * u() * u()
        self.at(at, e.CallerVoice(at=at, onset_at=at - 0.04))
        over = at + said_s + 0.16
        self.at(over, e.CallerQuiet(at=over, voiced_ms=said_s * 1000))
        if kind < 0.3:
            return over  # a noise, or words that nobody transcribed
        text = WORDS[int(len(WORDS) * u())]
        sure = 0.92 if kind < 0.85 else u()
        heard_at = at + 0.25 + 0.4 * u()
        if kind < 0.9:
            age_s = 3.0 * u() if u() < 0.1 else None
            self.at(heard_at, e.CallerTranscript(at=heard_at, text=text, final=False, age_s=age_s))
            if u() < 0.65:
                self.at(heard_at + 0.15 * u(), self._cut_in)
        final_at = max(over, heard_at) + 0.2 + 0.6 * u()
        if kind < 0.95:
            self.at(final_at, e.CallerTranscript(at=final_at, text=text, final=True, confidence=sure))
            if not self._deaf:
                self.at(final_at + 0.02, self._answer_soon)
        if kind > 0.97:
            over = self._talk_on(over, u)
        return over

    def _talk_on(self, at: float, u: Callable[[], float]) -> float:
        """The caller talks without a pause: final transcripts in the middle of the voice."""
        self.at(at + 0.05, e.CallerVoice(at=at + 0.05, onset_at=at + 0.01))
        for _ in range(2 + int(4 * u())):
            at += 1.2
            self.at(at, e.CallerTranscript(at=at, text="and another thing is that", final=True))
        self.at(at + 1, e.CallerQuiet(at=at + 1, voiced_ms=4000.0))
        return at + 1

    # --- Vapi --------------------------------------------------------------------------------------------------------

    def _answer_soon(self, now: float) -> None:
        u = self._u
        if not self._agent_up or self._agent_over or self._talking:
            return
        at = now + 0.15 + 1.2 * u() * u()
        if u() < 0.3 and self._tools < 8:
            self._tools += 1
            tool = f"tool-{self._tools}"
            name = TOOLS[int(len(TOOLS) * u())]
            self.at(at, e.ToolRequested(at=at, tool_call_id=tool, name=name, arguments={}))
            if u() < 0.3:
                self.at(at + 0.1, self._speak)
        elif u() < 0.93:
            self.at(at, self._speak)

    def _speak(self, now: float) -> e.Event | None:
        """`speech-update` started, and the sound a little later."""
        u = self._u
        if self._talking or self._agent_over:
            return None
        self._talking = True
        length_s = 0.3 + 4 * u() * u()
        if u() < 0.5:
            self.at(now + 0.01, e.AgentWords(at=now + 0.01, text=SPEECHES[int(len(SPEECHES) * u())]))
        if u() < 0.97:
            self.at(now + UTTERANCE_FOLLOWS_S, lambda at: self._sound(at, length_s))
        self.at(now + length_s * (0.6 + 0.4 * u()), self._stop_talking)
        return e.AgentSpeechStarted(at=now)

    def _stop_talking(self, now: float) -> e.Event | None:
        if not self._talking:
            return None
        self._talking = False
        if self._u() < 0.4:
            self.at(now + 0.01, e.AgentTranscript(at=now + 0.01, text=SPEECHES[1], final=True))
        if self._u() < 0.06:
            self._agent_over = True
            self.at(now + 0.02, e.AgentEnded(at=now + 0.02, reason=FAREWELL))
        return e.AgentSpeechStopped(at=now)

    def _cut_in(self, now: float) -> e.Event | None:
        """Vapi heard the caller too, if it speaks."""
        if not self._talking or self._deaf:
            return None
        self._talking = False
        self.at(now + 0.01, e.AgentSpeechStopped(at=now + 0.01))
        return e.AgentInterrupted(at=now)

    # --- the ear -----------------------------------------------------------------------------------------------------

    def _sound(self, now: float, length_s: float) -> e.Event | None:
        if not self._gate_open or self._playing or not self._line_up:
            self._pending_s += length_s
            return None
        return self._play(now, length_s, ours=False)

    def _play(self, now: float, length_s: float, *, ours: bool) -> e.Event:
        self._utterance += 1
        self._playing = True
        self._go_on(now, length_s)
        return e.UtteranceStarted(at=now, utterance=self._utterance, ours=ours)

    def _go_on(self, now: float, length_s: float) -> None:
        self._token += 1
        token, self._ends_at = self._token, now + length_s

        def done(at: float) -> e.Event | None:
            if token != self._token:
                return None
            self._playing = False
            if self._pending_s and self._gate_open:
                self.at(at + 0.02, self._play_pending)
            if self._u() < 0.01:
                self.faults.append(("mark lost", self._phase))
                return None
            return e.PlaybackDone(at=at, utterance=self._utterance, heard_ms=1000.0)

        self.at(self._ends_at, done)

    def _play_pending(self, now: float) -> e.Event | None:
        if not self._gate_open or self._playing or not self._pending_s:
            return None
        length_s, self._pending_s = self._pending_s, 0.0
        return self._play(now, length_s, ours=False)

    def _say_line(self, now: float) -> e.Event | None:
        if self._playing or not self._gate_open or not self._line_up:
            return None
        return self._play(now, 0.3 + 0.8 * self._u(), ours=True)

    # --- orders ------------------------------------------------------------------------------------------------------

    def react(self, call: Call, event: e.Event, effects: tuple[f.Effect, ...]) -> None:  # noqa: PLR0912
        at, u, self._phase = event.at, self._u, call.phase
        for effect in effects:
            kind = type(effect)
            if kind is f.Hold:
                self._silence(at, keep=True)
            elif kind is f.Drop:
                self._silence(at, keep=False)
            elif kind is f.LetSpeak:
                self._gate_open = True
                if self._playing:
                    self._go_on(at, self._left_s)
                elif self._pending_s:
                    self.at(at + 0.001, self._play_pending)
            elif kind is f.SayLine:
                self.at(at + 0.02, self._say_line)
            elif kind is f.RunTool:
                assert isinstance(effect, f.RunTool)
                self._run_tool(at, effect.tool_call_id, u())
            elif kind is f.TellAgent:
                if u() < 0.7 and not self._deaf:
                    self.at(at + 0.3 + u(), self._speak)
            elif kind is f.StopAgent:
                self.at(at + 0.1, self._stop_talking)
            elif kind is f.EndAgent:
                self._agent_over = True
            elif kind is f.HandOver and u() < 0.93:
                self.at(at + 0.02, e.StreamEnded(at=at + 0.02, reason="given back to Twilio", stopped=True))
                if u() < 0.93:
                    self.at(at + 0.1, e.HandedOver(at=at + 0.1, how="asked"))

    def _silence(self, at: float, *, keep: bool) -> None:
        self._gate_open = False
        if self._playing:
            self._left_s = max(0.0, self._ends_at - at)
            self._token += 1
            self._playing = keep
        if not keep:
            self._pending_s = 0.0

    def _run_tool(self, at: float, tool: str, luck: float) -> None:
        if luck < 0.03:
            self.faults.append(("F24 tool never answers", self._phase))
            return
        took_s = 0.05 + 1.5 * luck * luck if luck < 0.9 else 25 * luck * self._u()
        done_at = at + took_s

        def answered(now: float) -> e.Event:
            self.at(now + 0.3, self._speak)
            if 0.6 < luck < 0.7:
                late_at, how = now + 6 * self._u(), ("say", "tell", "keep")[int(3 * self._u())]
                self.at(late_at, e.ToolLate(at=late_at, tool_call_id=tool, ok=True, took_ms=9000.0, how=how))
                return e.ToolAnswered(at=now, tool_call_id=tool, ok=True, took_ms=took_s * 1000, goes_on=True)
            return e.ToolAnswered(at=now, tool_call_id=tool, ok=luck < 0.8, took_ms=took_s * 1000)

        self.at(done_at, answered)

    # --- noise -------------------------------------------------------------------------------------------------------

    def _any_fact(self, at: float) -> e.Event:
        u = self._u
        kind, values = FACTS[int(len(FACTS) * u())]
        self.faults.append((f"stray {kind.__name__}", self._phase))
        if kind is e.PlaybackDone and u() < 0.7:
            return kind(at=at, utterance=self._utterance, heard_ms=1.0)
        if kind is e.ToolRequested:  # each once: who asks twice gets the first answer, and the engine hears nothing
            return kind(at=at, tool_call_id=f"stray-{u()}", name="book", arguments={"x": [1]})
        return kind(at=at, **values[int(len(values) * u())])


FACTS: tuple[tuple[type[e.Event], tuple[dict[str, Any], ...]], ...] = (
    (e.StreamStarted, ({"stream_sid": "MZ2"},)),
    (e.StreamEnded, ({"reason": "x", "stopped": True}, {"reason": "x", "stopped": False})),
    (e.CallerHungUp, ({"status": "failed"},)),
    (e.DigitPressed, ({"digit": "#"}, {"digit": "x"}, {"digit": "7"})),
    (e.HandedOver, ({"how": "twice"},)),
    (e.AgentConnected, ({"agent_call_id": "other"},)),
    (e.AgentLost, ({"why": "x"},)),
    (e.AgentEnded, ({"reason": "x"},)),
    (e.AgentSpeechStarted, ({},)),
    (e.AgentSpeechStopped, ({},)),
    (e.AgentInterrupted, ({},)),
    (e.AgentTranscript, ({"text": "x" * 2000, "final": True}, {"text": "", "final": False})),
    (e.CallerTranscript, ({"text": "y" * 2000, "final": True}, {"text": "stop", "final": False, "age_s": -1.0})),
    (e.AgentWords, ({"text": "the terms " * 200}, {"text": ""})),
    (e.ToolRequested, ({},)),
    (e.ToolAnswered, ({"tool_call_id": "nobody", "ok": True, "took_ms": 0.0},)),
    (e.ToolLate, ({"tool_call_id": "nobody", "ok": True, "took_ms": 0.0, "how": "tell"},)),
    (e.EndOrdered, ({"reason": "x"},)),
    (e.ReportArrived, ({"ended_reason": "x"},)),
    (e.UtteranceStarted, ({"utterance": 99}, {"utterance": 1, "ours": True})),
    (e.PlaybackDone, ({"utterance": 1, "heard_ms": 0.0}, {"utterance": 2, "heard_ms": 9e9})),
    (e.CallerVoice, ({"onset_at": 0.0}, {"onset_at": 1e6})),
    (e.CallerQuiet, ({"voiced_ms": 0.0}, {"voiced_ms": 1e6})),
    (e.HangUpOrdered, ({"reason": "x"},)),
    (e.TransferOrdered, ({"number": "+15550111", "words": ""},)),
    (e.ActorGaveUp, ({"why": "x"},)),
)
