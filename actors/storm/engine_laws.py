"""What must hold after every step of a call, whatever happened: I-numbers are of reference/reliability.md §3.

The laws know only what the engine was told and what it ordered, so they judge a random life and a shrunk plan alike.
What is `wild` (facts that no leg would post) is held to the laws that need no sane world.
"""

from __future__ import annotations

from math import inf

from actors.storm.engine_promises import EnginePromises
from actors.storm.law_broken import LawBroken
from engine import effects as f
from engine import events as e
from engine.call import MOST_KEPT_KEYS, MOST_WORDS, Call, Policy
from engine.phases import Phase
from engine.turns import HAND_OVER_S, LAST_WORDS_S

MOST_IDLE_DEADLINES = 60  # in a row, without a millisecond passing: a call that turns on the spot
MOST_TOOLS = 64
SLACK_S = 0.06
ASKING_S = 2.5  # the sum of the engine's own waits beside the policy's: words follow, sound follows, go on
ENDED, INTERRUPTED, SPEAKING = Phase.ENDED, Phase.INTERRUPTED, Phase.SPEAKING
TRANSFERRING, CONNECTING = Phase.TRANSFERRING, Phase.CONNECTING


class EngineLaws:
    """Watches one call. Told of every step; raises `LawBroken`."""

    __slots__ = (
        "_asked", "_ended_agent", "_farewell_s", "_gate_open", "_heard", "_heard_until", "_idle_deadlines", "_last_at",
        "_left", "_limit_s", "_line_at", "_most_keys", "_promises", "_running", "_voiced", "_wild",
    )  # fmt: skip

    def __init__(self, policy: Policy, *, wild: bool, lateness_s: float) -> None:
        self._wild, self._most_keys = wild, max(policy.digits.most, MOST_KEPT_KEYS)
        self._asked: set[str] = set()
        self._running: set[str] = set()
        self._gate_open = True
        self._heard = 0  # 1: the agent is heard, 2: a line of ours
        self._heard_until = 0.0
        self._line_at = inf
        self._voiced = False
        self._idle_deadlines = 0
        self._last_at = 0.0
        self._ended_agent = False
        self._left = 0
        self._farewell_s = LAST_WORDS_S + lateness_s + HAND_OVER_S + SLACK_S  # … and Twilio's time, if it leaves
        silence = policy.silence
        waits_ms = max(
            silence.filler_after_ms, silence.progress_after_ms, silence.unheard_after_ms, policy.turns.debounce_ms
        )
        can_speak = {"holding", "filler", "progress", "unheard"} <= set(policy.lines)
        self._promises = None if wild else EnginePromises(policy, lateness_s=lateness_s)
        self._limit_s = max(waits_ms / 1000, policy.holding_after_s) + ASKING_S + lateness_s if can_speak else inf

    def check(self, before: Call, event: e.Event, call: Call, effects: tuple[f.Effect, ...], deadline: float) -> None:  # noqa: PLR0912
        """One step was made. `deadline` is the call's next one."""
        at, kind, phase = event.at, type(event), call.phase
        if phase is ENDED:
            if before.phase is ENDED:
                if effects or call.reason != before.reason:
                    raise LawBroken("I12 the end is the end", at, f"{kind.__name__} changed an ended call")
            else:
                self._end(before, call, at, effects)
        elif before.phase is ENDED:
            raise LawBroken("I12 the end is the end", at, f"{kind.__name__} revived it as {phase}")
        elif deadline == inf:
            raise LawBroken("I13 every wait has a way out", at, f"{phase} has no deadline after {kind.__name__}")
        if at > self._last_at + 1e-4:
            self._idle_deadlines = 0
            self._last_at = at
        else:
            self._idle_deadlines += 1
            if self._idle_deadlines > MOST_IDLE_DEADLINES:
                raise LawBroken("I13 every wait has a way out", at, f"{phase} turns on the spot with {kind.__name__}")
        if not self._wild and phase is not ENDED:
            self._silence(before, at)
        self._note(event, kind, at)
        for effect in effects:
            self._effect(effect, type(effect), before, call, at)
        if self._voiced is not call.caller_voiced:
            self._voiced = call.caller_voiced
            self._heard_until = max(self._heard_until, at)
        if phase is not ENDED and phase is not TRANSFERRING and phase is not CONNECTING:
            if self._gate_open:
                if phase is INTERRUPTED and before.phase is INTERRUPTED and not effects:
                    raise LawBroken("I8 nothing stale is heard", at, f"the gate is open in {phase}")
            elif call.held_at is None and phase is not INTERRUPTED:
                raise LawBroken(
                    "I7 the gate opens again", at, f"shut in {phase} after {kind.__name__}, and nobody waits"
                )
        if call.ours and self._heard != 2 and phase in _QUIET and not self._wild:
            raise LawBroken("I7 never nothing", at, f"{phase} waits for the end of a line that was dropped")
        if call.farewell_at is not None and phase is not ENDED and at > call.farewell_at + self._farewell_s:
            raise LawBroken("the end comes", at, f"the agent said goodbye, and {phase} goes on")
        if self._promises is not None:
            self._promises.check(before, event, call, effects, deadline)
        if len(call.tools) > MOST_TOOLS or len(call.turn) > MOST_WORDS or len(call.partial) > MOST_WORDS:
            raise LawBroken("I9 a call is small", at, f"{len(call.tools)} tools, {len(call.turn)} characters of a turn")
        if len(call.agent_words) > MOST_WORDS or len(call.keys.typed) > self._most_keys:
            raise LawBroken("I9 a call is small", at, f"{len(call.keys.typed)} keys")

    # --- what the world did ------------------------------------------------------------------------------------------

    def _note(self, event: e.Event, kind: type[e.Event], at: float) -> None:
        if kind is e.UtteranceStarted:
            assert isinstance(event, e.UtteranceStarted)
            self._heard = 2 if event.ours else 1
        elif kind is e.PlaybackDone or kind is e.PlaybackDoneToolPending or kind is e.LastWordsHeard:
            if self._heard:
                self._heard, self._heard_until = 0, at
        elif kind is e.StreamStarted or (kind is e.BothLegsUp and self._line_at == inf):
            self._line_at = self._heard_until = at
        elif kind is e.ToolRequested:
            assert isinstance(event, e.ToolRequested)
            self._asked.add(event.tool_call_id)
        elif kind is e.ToolAnswered or kind is e.LastToolAnswered:
            assert isinstance(event, e.ToolAnswered | e.LastToolAnswered)
            self._running.discard(event.tool_call_id)

    def _effect(self, effect: f.Effect, kind: type[f.Effect], before: Call, call: Call, at: float) -> None:  # noqa: PLR0912
        if kind is f.Hold:
            self._gate_open = False
            self._stop_hearing(at)
        elif kind is f.Drop:
            self._gate_open = False
            self._stop_hearing(at)
            self._heard = 0
        elif kind is f.LetSpeak:
            if call.phase is INTERRUPTED:
                raise LawBroken("I8 nothing stale is heard", at, "LetSpeak while interrupted")
            self._gate_open = True
        elif kind is f.SayLine:
            assert isinstance(effect, f.SayLine)
            if self._heard == 1 and self._gate_open and not self._wild:
                raise LawBroken("never two voices", at, f"{effect.kind} is said while the agent is heard")
            if call.phase is TRANSFERRING or call.phase is ENDED:
                raise LawBroken("I12 the end is the end", at, f"{effect.kind} is said in {call.phase}")
        elif kind is f.RunTool:
            assert isinstance(effect, f.RunTool)
            if effect.tool_call_id in self._running:
                raise LawBroken("I4 a tool runs once", at, "it runs already")
            if effect.tool_call_id not in self._asked:
                raise LawBroken("I4 a tool runs once", at, "nobody asked for it")
            if self._left or call.phase is ENDED:
                raise LawBroken("I4 a tool runs once", at, f"started in {call.phase}")
            self._running.add(effect.tool_call_id)
        elif kind is f.CancelTools:
            self._running.clear()
        elif kind is f.EndAgent:
            self._ended_agent = True
        elif kind is f.DialAgent:
            raise LawBroken("I2 one agent a call", at, "dialled twice")
        elif kind is f.HandOver or kind is f.HangUp or kind is f.RescueByRest:
            self._left += 1

    def _stop_hearing(self, at: float) -> None:
        if self._heard:
            self._heard_until = max(self._heard_until, at)

    # --- laws of whole calls -----------------------------------------------------------------------------------------

    def _silence(self, before: Call, at: float) -> None:
        """I7: something is owed, nobody speaks, and it has been so for longer than the policy and our waits allow."""
        if self._voiced or before.owed_since is None or before.phase not in _QUIET:
            return
        if self._heard and self._gate_open:
            return
        quiet_s = at - max(self._heard_until, before.owed_since, before.words_at, before.talking_at, before.sound_at)
        if quiet_s > self._limit_s:
            raise LawBroken(
                "I7 never nothing", at, f"{quiet_s:.3f} s of silence in {before.phase}, owed for {before.owed_for}"
            )

    def _end(self, before: Call, call: Call, at: float, effects: tuple[f.Effect, ...]) -> None:
        if not call.reason:
            raise LawBroken("I10 one end with a reason", at, f"ended from {before.phase} without one")
        kinds = {type(effect) for effect in effects}
        if not kinds & {f.HangUp, f.RescueByRest}:
            raise LawBroken("I10 one end with a reason", at, "nothing was ordered at the end")
        if f.EndAgent not in kinds and not self._ended_agent:
            raise LawBroken("I6 every leg is closed", at, "the agent's call goes on and costs")
        if self._running and f.CancelTools not in kinds:
            raise LawBroken("I15 no task outlives its call", at, "tools go on")


_QUIET = (Phase.LISTENING, Phase.TOOL_PENDING)
