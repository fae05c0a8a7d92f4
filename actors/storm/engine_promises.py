"""What callers are promised, beside the laws of safety in `engine_laws`: who is heard, when, and for how long at most.

Reckoned from the policy and from what was told and ordered, in words of its own: a rule that is wrong is wrong there
and not here. What is `wild` has no sane world in which a promise could be kept.
"""

from __future__ import annotations

from math import inf

from actors.storm.law_broken import LawBroken
from engine import effects as f
from engine import events as e
from engine.call import ANSWERED_MS, Call, Policy
from engine.phases import Phase
from engine.turns import (
    BACKGROUND_QUIET_S,
    GIVE_UP_TIMES,
    LAST_WORDS_S,
    MOST_UNHEARD,
    SOUND_FOLLOWS_S,
    STREAM_PATIENCE_S,
)

SLACK_S = 0.06
FOLLOWS_S = 2.5  # as in `engine_laws`: the engine's own waits beside the policy's
MURMURS = frozenset({"uh-huh", "yeah", "okay", "right", "hm"})  # "okay stop" is none
SPEAKING, LISTENING, CONNECTING = Phase.SPEAKING, Phase.LISTENING, Phase.CONNECTING
CUTS = (e.CallerVoice, e.CallerSpoke, e.AgentInterrupted, e.DigitPressed, e.KeysTyped)
CALLS_OFF = (e.CallerSpoke, e.AgentInterrupted, e.DigitPressed, e.KeysTyped)
SPARED = (e.VoiceNoted, e.AgentFellSilent, e.KeyKept)
REMINDED_AT = 2  # the second line of ours in a row


class EnginePromises:
    """Watches one call. Told of every step; raises `LawBroken`."""

    __slots__ = ("_idle_s", "_lateness_s", "_lines", "_patience_s", "_policy", "_sign_by", "_sign_of")

    def __init__(self, policy: Policy, *, lateness_s: float) -> None:
        self._policy, self._lines = policy, frozenset(policy.lines)
        self._lateness_s = lateness_s + SLACK_S
        longest = (policy.idle_s, policy.silence.give_up_s * GIVE_UP_TIMES, LAST_WORDS_S, BACKGROUND_QUIET_S)
        self._idle_s = max(*longest, policy.turns.longest_hold_ms / 1000) + SLACK_S
        self._patience_s = GIVE_UP_TIMES * policy.silence.give_up_s + self._lateness_s
        self._sign_by = inf  # something must be heard by then, or the caller goes on
        self._sign_of = ""

    def check(self, before: Call, event: e.Event, call: Call, effects: tuple[f.Effect, ...], deadline: float) -> None:
        """One step was made. `deadline` is the call's next one."""
        at, phase = event.at, before.phase
        if phase is SPEAKING:
            self._interruption(before, event, call, effects)
        elif phase is CONNECTING:
            self._connects(before, at)
        elif phase is LISTENING:
            self._goes_on(before, at)
        if at > self._sign_by:
            raise LawBroken("I7 never nothing", at, f"no sign of life: {self._sign_of}")
        self._sign(before, event, call, effects)
        kind = type(event)
        if kind is e.CallerSpoke and event.text.strip().lower() in MURMURS:  # type: ignore[attr-defined]
            raise LawBroken("a murmur is no interruption", at, f"in {phase}")
        if (kind is e.ToolAnswered or kind is e.LastToolAnswered) and event.tool_call_id in call.tools:  # type: ignore[attr-defined]
            raise LawBroken("I4 a tool that answered is over", at, f"it is still waited for in {call.phase}")
        if kind is e.ProgressDue and call.lines_said == REMINDED_AT:
            self._reminds(call, at, effects)
        heard = call.caller_voiced or call.ours  # the end of either is told
        if call.phase is LISTENING and not heard and deadline > max(at, call.active_at, call.entered_at) + self._idle_s:
            raise LawBroken("nobody is left alone", at, f"the next deadline is {deadline - at:.1f} s away")

    # --- who may cut in ----------------------------------------------------------------------------------------------

    def _interruption(self, before: Call, event: e.Event, call: Call, effects: tuple[f.Effect, ...]) -> None:
        """What is protected is heard out; all else is silenced by a voice."""
        protected = self._is_protected(before)
        if protected is None:
            return
        if protected and isinstance(event, CUTS) and any(isinstance(one, f.Hold | f.Drop) for one in effects):
            raise LawBroken("what is protected is heard out", event.at, f"cut by {type(event).__name__}")
        if protected:
            return
        if isinstance(event, SPARED) and (self._policy.turns.hold or not isinstance(event, e.VoiceNoted)):
            raise LawBroken("the caller may cut in", event.at, f"{type(event).__name__}, and nothing is protected")
        leaving = before.closing or before.end_ordered
        if leaving and isinstance(event, CALLS_OFF) and (call.closing or call.end_ordered):
            raise LawBroken(
                "the goodbye can be called off", event.at, f"{type(event).__name__} cut in, and it is still the end"
            )

    def _is_protected(self, call: Call) -> bool | None:
        """None: by its words, perhaps, and those are not judged here."""
        policy = self._policy
        if call.closing:
            return not policy.turns.interruptible_goodbye
        if call.ours:
            return False
        if policy.greeting_protected and not call.greeted:
            return True
        return None if policy.turns.uninterruptible else False

    # --- how long at most --------------------------------------------------------------------------------------------

    def _connects(self, before: Call, at: float) -> None:
        up_at = before.line_up_at
        last_s = before.opened_at + STREAM_PATIENCE_S if up_at is None else up_at + self._policy.agent_patience_s
        if at > last_s + self._lateness_s:
            raise LawBroken("I13 every wait has a way out", at, f"still connecting, {at - last_s:.1f} s too long")

    def _goes_on(self, before: Call, at: float) -> None:
        """An agent that owes something is waited for so long, then the caller is told the truth."""
        if before.owed_since is None or before.caller_voiced:
            return
        last_s = max(before.owed_since + self._patience_s, before.voice_at + self._lateness_s)
        if at > max(last_s, before.entered_at + self._lateness_s):
            owed_s = at - before.owed_since
            raise LawBroken("an agent that is gone is given up", at, f"{owed_s:.1f} s, owed for {before.owed_for}")

    def _sign(self, before: Call, event: e.Event, call: Call, effects: tuple[f.Effect, ...]) -> None:
        """After a voice without words, and at the beginning, something happens soon."""
        said = any(isinstance(one, f.SayLine | f.TellAgent | f.Drop) for one in effects)
        if call.phase is not LISTENING or said or not isinstance(event, _MEANS_NOTHING):
            self._sign_by = inf
        elif isinstance(event, e.AgentSpeechStarted):
            self._sign_by = max(self._sign_by, event.at + SOUND_FOLLOWS_S + self._lateness_s)
        if call.phase is not LISTENING or call.ours or call.caller_voiced:
            return
        if isinstance(event, e.BothLegsUp) and self._policy.agent_first and "progress" in self._lines:
            self._due(event.at, self._policy.holding_after_s, "the agent has not begun")
        elif isinstance(event, e.CallerQuiet) and self._is_worth_a_question(before, event):
            self._due(event.at, self._policy.silence.unheard_after_ms / 1000, "nobody knows what was said")

    def _due(self, at: float, after_s: float, what: str) -> None:
        self._sign_by, self._sign_of = at + after_s + FOLLOWS_S + self._lateness_s, what

    def _is_worth_a_question(self, before: Call, quiet: e.CallerQuiet) -> bool:
        unknown = before.words_at < before.onset_at and not before.partial and not before.turn
        fresh = before.owed_since is None and not before.dismissed and before.unheard < MOST_UNHEARD
        return unknown and fresh and quiet.voiced_ms >= ANSWERED_MS and "unheard" in self._lines

    def _reminds(self, call: Call, at: float, effects: tuple[f.Effect, ...]) -> None:
        forgotten = call.owed_for == "words" and call.onset_at > call.words_at
        if forgotten and not any(isinstance(one, f.TellAgent) for one in effects):
            raise LawBroken(
                "who may have forgotten is reminded", at, "the second line of ours, and no word to the agent"
            )


_MEANS_NOTHING = (
    e.CallerQuiet, e.CallerMurmured, e.DebouncePassed, e.LateMark, e.ReportArrived, e.AgentTranscript, e.AgentWords,
    e.AgentSpeechStarted, e.AgentSpeechStopped, e.PlaybackDone,
)  # fmt: skip
