"""A storm's call as a scenario file: what the format can say of it, and in words what it cannot. Pure.

The scenario stands in a folder of its own, beside the agent file and the tools that it is played with and the plan,
which has everything: `callscope test FOLDER` shows the bug to somebody who knows nothing of the storm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from actors.storm.plan import MURMURS, Act, CallOfPlan, Fault, StormPlan, ToolPlan
from actors.storm.policies import FALLBACK, agent_file
from actors.storm.storm_world import says
from engine import scenario as s

ANSWERED = "we are open every evening until midnight but our kitchen closes soon"
OVER_SLACK_MS = 5000.0  # a call that is over closes within this
NOT_NOTHING_MS = 2300.0  # actors.storm.actor_laws: 2 s, and what an ear and a frame need
USUAL_CONFIDENCE, USUAL_ANSWER_MS, USUAL_CREATE_MS = 0.92, 400, 50


def answered(n_words: int, *, agent: int) -> str:
    """What the agent answers: other words than its greeting's, so that an ear knows which of the two it hears.

    A policy out of the pool may hang on a word of `says`; the usual one does not.
    """
    return says(n_words) if agent else " ".join(ANSWERED.split()[:n_words])


@dataclass(frozen=True)
class AsScenario:
    """A plan's call for people."""

    scenario: s.Scenario
    agent: dict[str, Any]  # the keys of the agent file beside it
    tools: str  # the Python file beside it; empty: none
    left_out: tuple[str, ...]  # what only the plan has


def as_scenario(
    plan: StormPlan,
    *,
    law: str,
    what: str,
    number: int = 0,
    closed_ms: float = 0.0,
    missed: Sequence[Act] = (),
    stale: str = "",
) -> AsScenario:
    """The call of a plan that broke a law.

    Args:
        law: the name of the law that broke; what of it the format can say becomes an expectation.
        what: how it broke.
        number: which call of the plan's.
        closed_ms: when it was over.
        missed: acts of the caller's that never had their moment: a scenario would complain of them.
        stale: words that were heard although the agent had been cut, as `answered` and `says` tell them.
    """
    call = plan.calls[number]
    left_out = [f"call {n + 1} beside it" for n in range(len(plan.calls)) if n != number]
    vapi, twilio = list(_usual_vapi(call, agent=plan.agent)), list[s.TwilioMove]()
    for fault in call.faults:
        moves = _fault(fault, call)
        if moves is None and fault.kind != "F11 webhooks twice":
            left_out.append(f"{fault.kind} at {fault.at_ms:g} ms")
        for move in moves or ():
            (twilio if isinstance(move, s.TwilioMove) else vapi).append(move)  # type: ignore[arg-type]
    left_out += [f"an order to {order.kind} at {order.at_ms:g} ms" for order in call.orders]
    if call.up_ms != call.down_ms:
        left_out.append(f"a line of {call.up_ms:g} ms there and {call.down_ms:g} ms back: here as long both ways")
    if call.confidence is None:
        left_out.append("transcripts that do not say how sure they are")
    expectations = tuple(_expected(law, what, call, closed_ms, stale, usual=not plan.agent))
    if not _is_sayable(law) or (law.startswith("I8") and plan.agent and not stale):
        left_out.append(f"the law itself: “{law}” has no word in a scenario")
    scenario = s.Scenario(
        scenario=f"Storm {plan.seed}: {law}",
        seed=plan.seed,
        caller=tuple(_caller(call, missed)),
        vapi=tuple(vapi),
        twilio=tuple(twilio),
        network=_network(call),
        tools={tool.name: play for tool in plan.tools if (play := _play(tool)) is not None},
        expect=expectations,
    )
    return AsScenario(scenario, _agent(plan, call), _tools_file(plan.tools), tuple(left_out))


# --- the caller ------------------------------------------------------------------------------------------------------


def _caller(call: CallOfPlan, missed: Sequence[Act]) -> Iterator[s.CallerMove]:
    acts = [act for act in call.acts if act not in missed]
    for index, act in enumerate(acts):
        yield _move(act, _moment(act.when, act.ms, first=not index))
    if not any(act.hang_up for act in acts):
        yield s.HangsUp(**_moment("after me", call.stays_ms, first=not acts))


def _moment(when: str, ms: float, *, first: bool) -> dict[str, Any]:
    if when == "after me" and first:
        return {"at_ms": ms}
    return {{"at": "at_ms", "into": "into_ms", "after agent": "after_ms", "after me": "pause_ms"}[when]: ms}


def _move(act: Act, moment: dict[str, Any]) -> s.CallerMove:
    for_ms = float(act.sound_ms or 400)
    if act.hang_up:
        return s.HangsUp(**moment)
    if act.say in MURMURS:
        return s.Murmurs(murmurs=act.say, for_ms=for_ms, **moment)
    if act.say:
        over_agent = act.when == "into"
        return (
            s.CutsIn(cuts_in=act.say, for_ms=for_ms, **moment)
            if over_agent
            else s.Says(says=act.say, for_ms=for_ms, **moment)
        )
    if act.press:
        return s.Presses(presses=act.press, **moment)
    return s.MakesNoise(makes_noise_ms=for_ms, **moment)


# --- Vapi, Twilio, the network ---------------------------------------------------------------------------------------


def _usual_vapi(call: CallOfPlan, *, agent: int) -> Iterator[s.VapiMove]:
    yield s.Greets(greets=says(call.greeting_words))
    spoken = [act.say for act in call.acts if act.say and act.say not in MURMURS]
    for number, heard in enumerate(spoken if call.answers else ()):
        which = number % len(call.answers)
        answer = call.answers[which]
        yield s.Hears(
            hears=heard,
            says=answered(answer.n_words, agent=agent),
            calls=answer.tool,
            with_={"what": str(which)} if answer.tool else {},
            hangs_up=answer.ends_call,
        )
    if call.create_ms != USUAL_CREATE_MS:
        yield s.ConnectsAfter(connects_after_ms=call.create_ms)
    if call.answer_ms != USUAL_ANSWER_MS:
        yield s.AnswersAfter(answers_after_ms=call.answer_ms)
    if call.deaf:
        yield s.TalksOn()
    if call.hears_noise:
        yield s.HearsNoise()
    if not call.transcribes:
        yield s.HearsNoWords()
    if call.late_ms:
        yield s.HearsLate(hears_late_ms=call.late_ms)
    if call.confidence not in (None, USUAL_CONFIDENCE):
        yield s.IsSure(is_sure=(call.confidence or 0.0) * 100)
    if call.tells_words:
        frame = {"type": "voice-input", "input": says(call.greeting_words)}
        yield s.Sends(sends=frame, at_ms=call.connect_ms + 10)


def _fault(fault: Fault, call: CallOfPlan) -> list[s.VapiMove | s.TwilioMove] | None:
    """The moves that are this fault; None: the format cannot say it. Vapi's moments count from its open socket."""
    open_ms = max(0.0, fault.at_ms - call.create_ms)
    match fault.kind:
        case "F5 half-open":
            return [s.LosesTheLine(at_ms=fault.at_ms)]
        case "F6 create refused":
            return [s.RefusesTheCall()]
        case "F6 create times out":
            return [s.NeverAnswers()]
        case "F7 socket never opens":
            return [s.NeverConnects()]
        case "F8 agent's socket drops":
            return [s.DropsTheLine(at_ms=open_ms)]
        case "F9 agent mute":
            return [s.FallsSilent(at_ms=fault.at_ms)]
        case "F9 agent frozen":
            return [s.Freezes(at_ms=fault.at_ms)]
        case "F14 webhooks lost":
            return [s.NeverComesBack()]
        case "marks lost":
            return [s.LosesMarks()]
        case "stale transcript":
            words = {"type": "transcript", "role": "user", "transcriptType": "final", "transcript": "stop"}
            return [s.Sends(sends=words, at_ms=open_ms)]
        case "interrupted for nothing":
            return [s.Sends(sends={"type": "user-interrupted"}, at_ms=open_ms)]
        case "agent's pipeline breaks":
            frame = {"type": "status-update", "status": "ended", "endedReason": "pipeline-error-openai-llm-failed"}
            return [s.Sends(sends=frame, at_ms=open_ms), s.DropsTheLine(at_ms=open_ms)]
    return None


def _network(call: CallOfPlan) -> s.Network:
    return s.Network(
        delay_ms=(call.up_ms + call.down_ms) / 2,
        jitter_ms=call.jitter_ms,
        loss=call.loss_percent,
        vapi_jitter_ms=call.agent_jitter_ms,
        webhooks="twice" if any(fault.kind == "F11 webhooks twice" for fault in call.faults) else "once",
    )


# --- the agent and its tools -----------------------------------------------------------------------------------------


def _agent(plan: StormPlan, call: CallOfPlan) -> dict[str, Any]:
    """`actors.storm.policies.agent_of`, with the ears of this call's Vapi and an answer to what it cannot place."""
    chance = Random(f"agent/{plan.agent}")  # noqa: S311 — chance, no secret
    keys: dict[str, Any] = (
        agent_file(chance) if plan.agent else {"name": "storm", "assistant": {}, "fallback": FALLBACK}
    )
    keys["assistant"] = {**keys["assistant"], "stopSpeakingPlan": {"numWords": call.num_words}}
    if call.answers:
        keys["twin"] = {"not_understood": answered(call.answers[0].n_words, agent=plan.agent)}
    if plan.tools:
        keys["tools"] = "tools.py"
    return {key: value for key, value in keys.items() if value != {} or key == "assistant"}


def _play(tool: ToolPlan) -> s.ToolPlay | None:
    match tool.how:
        case "answers":
            return s.Answers(answers="It is done.", after_ms=tool.takes_ms)
        case "crashes":
            return s.Crashes(after_ms=tool.takes_ms)
        case "says why not":
            return s.Fails(fails="Not today.", after_ms=tool.takes_ms)
        case "never answers":
            return s.Hangs()
    return s.Real(after_ms=tool.takes_ms)


_BODIES = {"is huge": 'return "x" * 200_000', "is garbage": "return object()"}


def _tools_file(tools: Sequence[ToolPlan]) -> str:
    if not tools:
        return ""
    made = [
        f'@tool(effect="{tool.effect}", timeout_s=6.0)\nasync def {tool.name}(what: str = "") -> object:\n'
        f'    """Do what the plan says."""\n    {_BODIES.get(tool.how, _DONE)}\n'
        for tool in tools
    ]
    return "\n\n".join(['"""The tools of a storm."""\n\nfrom actors.tools import tool\n', *made])


_DONE = 'return "It is done."'


# --- the law ---------------------------------------------------------------------------------------------------------


def _expected(
    law: str, what: str, call: CallOfPlan, closed_ms: float, stale: str, *, usual: bool
) -> Iterator[s.Expectation]:
    """What must come of it: the law in the format's words, and that the call ends, once.

    `usual`: the policy is the usual one. Others may let a speech be heard that the caller's words have ended.
    """
    number = law.split(maxsplit=1)[0]
    if number == "I8":
        if stale:
            yield s.NotHeard(not_heard=stale)
        elif usual:
            yield s.NeverHappens(never="stale audio")
    elif law == "never two voices":
        yield s.NeverHappens(never="two voices")
    elif number == "I4":
        yield s.NeverHappens(never="double effect")
    elif number == "I7":
        line_ms = call.late_ms + call.up_ms + call.down_ms + 2 * call.jitter_ms + call.agent_jitter_ms
        yield s.SilenceAtMost(silence_at_most_ms=NOT_NOTHING_MS + line_ms)
    elif number == "I6" and "Vapi" in what:
        yield s.Told(told_vapi="end-call")
    yield s.Journaled(journal="Closed", times=1)
    if closed_ms:
        yield s.LastsAtMost(lasts_at_most_ms=round(closed_ms + OVER_SLACK_MS, -2))


_SAYABLE = ("I4", "I6", "I7", "I8", "I10", "I13", "never two voices", "no step crashes", "nothing crashes",
            "what Twilio gets is Twilio's", "the end comes")  # fmt: skip


def _is_sayable(law: str) -> bool:
    return law.split(maxsplit=1)[0] in _SAYABLE or law in _SAYABLE
