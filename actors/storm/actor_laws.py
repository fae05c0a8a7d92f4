"""What must hold of a world that is over, beside what was watched while it lived. I-numbers: reliability.md §3."""

from __future__ import annotations

from collections.abc import Iterator

from actors.storm.law_broken import LawBroken
from actors.storm.policies import agent_of
from actors.storm.storm_world import StormCall, StormWorld
from actors.storm.tape_laws import lived_of, of_tape
from actors.storm.tool_laws import of_effects, of_journal
from actors.world.referee import judge
from engine.agent import Silence, Turns
from engine.audio import FRAME_MS
from engine.journal import Kind

LEG_CLOSED_S = 1.0  # F1: money
CRASHES = "F29 step crashes"
SILENT_MS = 2300.0  # 2 s, and what an ear and a frame need
ASKING = ("unheard", "idle", "goodbye")  # lines after which it is the caller's turn
DEAD_LINES = frozenset({
    "F2 stream reset", "F2 stream closed", "F5 half-open", "F10 burst", "F26 stall", "F28 back-pressure", "marks lost",
    "F29 step crashes",
})  # fmt: skip


def broken_by(world: StormWorld) -> Iterator[tuple[int, LawBroken]]:
    """Every law that did not hold, with the number of the call."""
    for call in world.calls:
        for broken in _of_call(world, call):
            yield call.number, broken
    if world.tasks_left:
        yield 0, LawBroken("I15 no task outlives its call", 0.0, f"{world.tasks_left} tasks are left")
    if world.ticks_left:
        yield 0, LawBroken("I15 no task outlives its call", 0.0, f"{world.ticks_left} beats are still listened to")
    for broken in of_effects(world):
        yield 0, broken


def _of_call(world: StormWorld, call: StormCall) -> Iterator[LawBroken]:
    watch = world.house.storm_journal.watches.get(call.call_id)
    if watch is None:
        yield LawBroken("I10 one end with a reason", 0.0, "the call has no journal")
        return
    if watch.broken is not None:
        yield watch.broken
    if call.hung or watch.closed is None:
        yield LawBroken("I13 every wait has a way out", 0.0, f"the call hangs in {watch.phase}")
        return
    if not any(fault.kind == CRASHES for fault in call.plan.faults):
        names = {record.name for record in call.records}
        if names & {"Restarted", "GaveUp"}:
            yield LawBroken("no step crashes", 0.0, "the actor was restarted, and nobody made it crash")
    yield from _of_legs(call, watch.closed.at_ms)
    yield from _of_sound(call, watch.interrupted)
    yield from of_journal(call)
    yield from of_tape(call, stalled=any("F26 stall" in one.kinds for one in world.calls))
    yield from _of_silence(world, call)
    shut_down = any(record.name == "HangUpOrdered" for record in call.records)
    if shut_down and not any(order.kind == "hang up" for order in call.plan.orders):
        yield LawBroken("a deploy waits for every call", 0.0, "it was told to hang up while the deploy had patience")


def _of_legs(call: StormCall, closed_ms: float) -> Iterator[LawBroken]:
    carrier, agent = call.carrier, call.agent
    if carrier is not None and carrier.is_open:
        yield LawBroken("I6 every leg is closed", closed_ms / 1000, "Twilio's stream is still open")
    if agent is not None and agent.wire.listener is not None and agent.wire.is_open:
        yield LawBroken("I6 every leg is closed", closed_ms / 1000, "Vapi's socket is still open")
    if carrier is not None and carrier.problems:
        what = ", ".join(f"{count} × {name}" for name, count in carrier.problems.items())
        yield LawBroken("what Twilio gets is Twilio's", 0.0, what)
    if call.second_audio and "F4 stream never opens" not in call.kinds:
        yield LawBroken("I2 one leg is audible", 0.0, f"{call.second_audio} pieces of audio on a second stream")
    ended = [record.at_ms for record in call.records if record.kind is Kind.PHASE and record.name == "ended"]
    if ended and closed_ms - ended[0] > (LEG_CLOSED_S + 4) * 1000 + call.stalled_ms:
        yield LawBroken("I6 every leg is closed", closed_ms / 1000, "closing took too long")


def _of_sound(call: StormCall, interrupted: list[tuple[float, float]]) -> Iterator[LawBroken]:
    carrier, agent = call.carrier, call.agent
    if carrier is None or agent is None:
        return
    first = min((speech.first for speech in agent.speeches), default=0)
    after = len(call.tap.agent) // 8
    for run in call.tap.runs:
        if run.is_agent and not (first <= run.number and run.number + run.ms <= after):
            yield LawBroken(
                "I11 no other call's sound", run.at_ms / 1000, f"millisecond {run.number} is not this agent's"
            )
    if "F28 back-pressure" in call.kinds or "F26 stall" in call.kinds:
        return  # what Twilio did not read it plays late, whatever it was told
    slack_ms = call.plan.down_ms + call.plan.jitter_ms + 2 * FRAME_MS
    offset_ms = (call.opened_at - carrier.began_at) * 1000
    for since_ms, until_ms in interrupted:
        low, high = since_ms + offset_ms + slack_ms, until_ms + offset_ms
        for run in call.tap.runs:
            if run.is_agent and run.at_ms < high and run.end_ms > low:
                heard_ms = min(run.end_ms, high) - max(run.at_ms, low)
                if heard_ms > 1:
                    what = f"{heard_ms:.0f} ms of the agent after it was cut at {since_ms:.0f} ms"
                    yield LawBroken("I8 nothing stale is heard", since_ms / 1000, what)
                    return


def _of_silence(world: StormWorld, call: StormCall) -> Iterator[LawBroken]:
    """I7 by the ear: with the usual policy nobody who is owed something hears nothing for longer than it says.

    Left out is what has bounds of its own: a line that is dead or late, keys that are being typed, a caller whom nobody
    transcribes and who is then asked to say it again.
    """
    carrier = call.carrier
    policy, plan = agent_of(world.plan.agent), call.plan
    usual = policy.silence == Silence() and policy.turns == Turns() and not policy.assistant
    if not usual or not plan.transcribes or not plan.greeting_words or call.kinds & DEAD_LINES:
        return
    if any(act.press for act in plan.acts) or any(record.data.get("kind") in ASKING for record in call.records):
        return
    lived = lived_of(call)
    if lived is None or carrier is None:
        return
    limit_ms = SILENT_MS + plan.late_ms + plan.up_ms + plan.down_ms + 2 * plan.jitter_ms + plan.agent_jitter_ms
    for from_ms, to_ms in judge(lived).silences:
        if to_ms - from_ms > limit_ms:
            at_s = (from_ms + (carrier.began_at - call.opened_at) * 1000) / 1000
            yield LawBroken("I7 never nothing", at_s, f"{to_ms - from_ms:.0f} ms in which nobody was heard")
            return
