"""A scenario as the plans of a world: what the caller, the line and the agent do. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from actors.world.agent import AgentPlan, Brain
from actors.world.caller import AfterAgent, AfterMe, At, CallerPlan, IntoSpeech, Step, When
from actors.world.carrier import LinePlan
from actors.world.hearing import HearingPlan
from actors.world.sounds import Sound
from actors.world.world import CallPlan
from engine import scenario as s
from engine.agent import Agent, Reply, ToolCallPlan, TwinPlan, spoken_plan
from engine.audio import FRAME_MS, duration_ms
from engine.interrupting import in_force, local_minutes
from engine.outbound import filled
from engine.phrases import normalise
from engine.wire.vapi_calls import stop_speaking_plan

WORD_MS, BEFORE_WORDS_MS = 260, 140  # how fast a caller speaks, if the file does not say
MURMUR_MS, COUGH_MS = 400, 300
INTO_MS, AFTER_MS, FIRST_MS = 1000.0, 900.0, 600.0  # the moments of moves that name none
PATIENCE_S = 45.0  # the moment did not come for so long: the move is left out, and the scenario fails
STAYS_MS, LONGEST_S = 60_000.0, 900.0
STREAM_MS, PHASE_MS = (
    40,
    0.0,
)  # microphone, earpiece and the plane's beat share their moments: half the jumps of the clock
GREETING = "Hello. How can I help you?"  # of an assistant that the agent file only names
SPEECH, CUT_IN, MURMUR, COUGH, NOISE = "words", "cut in", "murmur", "cough", "noise"


def twin_plan(scenario: s.Scenario, agent: Agent) -> TwinPlan:
    """What the agent answers: what the scenario says first, then what the agent file's own twin says."""
    own = [_reply(move) for move in scenario.vapi if isinstance(move, s.Hears)]
    plan = msgspec.structs.replace(agent.twin, replies=[*own, *agent.twin.replies])
    return spoken_plan(plan, scenario.variables)


def machine_ms(scenario: s.Scenario) -> float | None:
    """When machine detection says that a machine answered."""
    return next((move.at_ms + STREAM_MS for move in scenario.twilio if isinstance(move, s.HearsAMachine)), None)


def _reply(move: s.Hears) -> Reply:
    return Reply(
        hear=[move.hears] if isinstance(move.hears, str) else list(move.hears),
        say=move.says,
        tool=ToolCallPlan(move.calls, dict(move.with_)) if move.calls else None,
        before_tool=move.meanwhile_says,
        think_ms=round(move.thinks_ms),
        end=move.hangs_up,
    )


def greeting(scenario: s.Scenario, agent: Agent) -> str:
    """What the agent says by itself when the call is connected."""
    given = [move.greets for move in scenario.vapi if isinstance(move, s.Greets)]
    if given:
        return given[-1]
    assistant = agent.assistant
    if assistant is None:
        return GREETING
    waits = assistant.get("firstMessageMode") == "assistant-waits-for-user"
    return "" if waits else filled(str(assistant.get("firstMessage") or ""), scenario.variables)


def call_plan(
    scenario: s.Scenario, agent: Agent, *, brain: Any, lines: Mapping[str, int], wall_s: float = 0.0
) -> CallPlan:
    """The whole call.

    Args:
        wall_s: when it comes in, in seconds since 1970.
        brain: makes the model of one call (`actors.world.agent.Brain`).
        lines: our own lines, as `actors.world.words.numbered_lines` numbers them.
    """
    greets = greeting(scenario, agent)
    return CallPlan(
        caller=CallerPlan(steps=list(steps_of(scenario.caller, greets=bool(greets))), stays_ms=STAYS_MS),
        line=_line(scenario),
        agent=_agent_plan(scenario, greets, brain, _ears(agent, wall_s)),
        seed=scenario.seed,
        longest_s=LONGEST_S,
        stream_ms=STREAM_MS,
        webhooks=2 if scenario.network.webhooks == "twice" else 1,
        comes_back=not any(isinstance(move, s.NeverComesBack) for move in scenario.twilio),
        lines=lines,
    )


# --- the caller ------------------------------------------------------------------------------------------------------


def steps_of(moves: Sequence[s.CallerMove], *, greets: bool) -> list[Step]:
    steps: list[Step] = []
    before: s.CallerMove | None = None
    for move in moves:
        when = _when(move, before, greets=greets)
        step = Step(when, patience_s=PATIENCE_S)
        match move:
            case s.Says():
                step = replace(step, say=utterance(move.says, SPEECH, move.for_ms))
            case s.CutsIn():
                step = replace(step, say=utterance(move.cuts_in, CUT_IN, move.for_ms))
            case s.Murmurs():
                step = replace(step, say=utterance(move.murmurs, MURMUR, move.for_ms or MURMUR_MS))
            case s.Coughs():
                step = replace(step, say=_noise(COUGH, COUGH_MS))
            case s.MakesNoise():
                step = replace(step, say=_noise(NOISE, move.makes_noise_ms))
            case s.Presses():
                step = replace(step, press=move.presses)
            case s.HangsUp():
                step = replace(step, hang_up=True)
            case s.Waits():
                if _has_moment(move):
                    steps.append(step)
                step = Step(AfterMe(move.waits_ms), patience_s=PATIENCE_S)
        steps.append(step)
        before = move
    return steps


def _has_moment(move: s.Move) -> bool:
    return any(one is not None for one in (move.after_ms, move.into_ms, move.pause_ms, move.at_ms, move.after_hearing))


def _when(move: s.CallerMove, before: s.CallerMove | None, *, greets: bool) -> When:
    if move.at_ms is not None:
        return At(move.at_ms)
    if move.pause_ms is not None:
        return AfterMe(move.pause_ms)
    if move.into_ms is not None:
        return IntoSpeech(move.into_ms)
    if move.after_hearing is not None:
        after_ms = AFTER_MS if move.after_ms is None else move.after_ms
        return AfterAgent(after_ms, hearing=normalise(move.after_hearing))
    if move.after_ms is not None:
        return AfterAgent(move.after_ms, ours_counts=False)
    if isinstance(before, s.Waits):
        return AfterMe(0.0)
    if isinstance(move, s.CutsIn | s.Coughs | s.Murmurs | s.MakesNoise):
        return IntoSpeech(INTO_MS)
    return AfterAgent(AFTER_MS, ours_counts=False) if greets or before is not None else At(FIRST_MS)


def utterance(text: str, kind: str, for_ms: float | None = None) -> Sound:
    """Words, as a sound that lasts as long as they take. Only the name tells how they are meant."""
    ms = for_ms if for_ms is not None else BEFORE_WORDS_MS + WORD_MS * len(text.split())
    mulaw = _spoken(ms)
    return Sound(kind, mulaw, 0.0, "backchannel" if kind == MURMUR else "speech", text, duration_ms(len(mulaw)))


def _noise(name: str, ms: float) -> Sound:
    mulaw = _buzz(ms)
    return Sound(name, mulaw, 0.0, "noise", "", duration_ms(len(mulaw)))


def _spoken(ms: float) -> bytes:
    """Words: loud for most of their time, softer between them."""
    return b"".join(_frame(number, soft=number % 13 >= 11) for number in range(max(1, round(ms / FRAME_MS))))


def _buzz(ms: float) -> bytes:
    return b"".join(_frame(number) for number in range(max(1, round(ms / FRAME_MS))))


def _frame(number: int, *, soft: bool = False) -> bytes:
    """20 ms that differ from the 63 before them, so that an ear can tell which of them is missing."""
    high, low = (0x48, 0xC8) if soft else (0x20, 0xA0)
    return (bytes([high + number % 8]) * 10 + bytes([low + number // 8 % 8]) * 10) * 8


# --- the line and the agent ------------------------------------------------------------------------------------------


def _line(scenario: s.Scenario) -> LinePlan:
    network = scenario.network
    line = LinePlan(
        phase_ms=PHASE_MS,
        up_ms=network.delay_ms,
        down_ms=network.delay_ms,
        up_jitter_ms=network.jitter_ms,
        down_jitter_ms=network.jitter_ms,
        loss_percent=network.loss,
        echo_loss_db=network.echo_db,
        echo_delay_ms=60.0,
    )
    for move in scenario.twilio:
        match move:
            case s.LosesMarks():
                line = replace(line, returns_marks=False)
            case s.PlaysLate():
                line = replace(line, start_delay_ms=move.plays_late_ms)
            case s.LosesTheLine():
                line = replace(line, vanishes_at_ms=move.at_ms)
    return line


def _ears(agent: Agent, wall_s: float) -> HearingPlan:
    """When Vapi stops for the caller: as the assistant says, or as we tell it to at that hour."""
    keywords = agent.turns.keywords
    at_night = keywords is not None and in_force(keywords, local_minutes(wall_s, keywords.timezone))
    plan = {
        **stop_speaking_plan(agent.turns, by_keyword=at_night),
        **((agent.assistant or {}).get("stopSpeakingPlan") or {}),
    }
    return HearingPlan(
        num_words=int(plan["numWords"]),
        voice_ms=round(float(plan["voiceSeconds"]) * 1000),
        acknowledgements=tuple(plan["acknowledgementPhrases"]),
        interruptions=tuple(plan["interruptionPhrases"]),
    )


def _agent_plan(  # noqa: PLR0912 — one case a move
    scenario: s.Scenario, greets: str, brain: Any, ears: HearingPlan
) -> AgentPlan:
    plan = AgentPlan(first_message=greets, replies=(), brain=brain, hearing=ears)
    plan = replace(plan, delay_ms=scenario.network.vapi_delay_ms, jitter_ms=scenario.network.vapi_jitter_ms)
    for move in scenario.vapi:
        hearing = plan.hearing
        match move:
            case s.DropsTheLine():
                plan = replace(plan, drop_after_ms=move.at_ms)
            case s.FallsSilent():
                plan = replace(plan, mute_after_ms=move.at_ms)
            case s.Freezes():
                plan = replace(plan, hole_after_ms=move.at_ms)
            case s.RefusesTheCall():
                plan = replace(plan, create="refuse")
            case s.NeverAnswers():
                plan = replace(plan, create="hang")
            case s.NeverConnects():
                plan = replace(plan, socket="never opens")
            case s.ConnectsAfter():
                plan = replace(plan, create_ms=round(move.connects_after_ms))
            case s.AnswersAfter():
                plan = replace(plan, answer_ms=round(move.answers_after_ms))
            case s.TalksOn():
                plan = replace(plan, hearing=replace(hearing, deaf=True))
            case s.HearsLate():
                plan = replace(plan, hearing=replace(hearing, late_ms=round(move.hears_late_ms)))
            case s.HearsNoWords():
                plan = replace(plan, hearing=replace(hearing, transcribes=False))
            case s.HearsNoise():
                plan = replace(plan, hearing=replace(hearing, hears_noise=True, num_words=0))
            case s.IsSure():
                plan = replace(plan, hearing=replace(hearing, confidence=round(move.is_sure / 100, 4)))
            case s.Sends():
                plan = replace(plan, script=(*plan.script, (move.at_ms, move.sends)))
    return plan


__all__ = ["Brain", "call_plan", "greeting", "twin_plan", "utterance"]
