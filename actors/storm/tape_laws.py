"""What must hold of a call's sound: what is told of it in the journal and in the recording is what was on the tape."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from actors.storm.law_broken import LawBroken
from actors.storm.storm_world import StormCall
from actors.world.carrier import Carrier
from actors.world.heard import Heard, is_whole
from actors.world.sounds import WORD_MS
from actors.world.world import CallPlan, Lived
from engine.audio import FRAME_MS, SILENCE_BYTE, duration_ms
from engine.journal import Kind, Record

LATE_LINES = frozenset({
    "F2 stream reset", "F2 stream closed", "F5 half-open", "F26 stall", "F28 back-pressure", "marks lost",
    "F29 step crashes",
})  # fmt: skip
"""Lines on which nobody can know what was heard, or when."""
SILENT_AGENTS = frozenset({"F8 agent's socket drops", "F9 agent mute", "F9 agent frozen", "agent's pipeline breaks"})
UNTOLD = SILENT_AGENTS | {"strange frames", "F10 burst"}
"""With these, and where words are told before their sound, what was generated is not known from what was told."""
MORE_WORDS = 1.5  # of a speech that is cut: the word that is being said when it is generated, and when it is heard
GOES_ON_MS = 1000.0  # after the gate opened
BREAK_MS = 2.0 * FRAME_MS + 1
CLOSES_MS = 1000.0
LINE_MS = 100.0  # of ours; what is shorter is a frame of the agent's that was cut apart
RECORDED_MS = 150.0  # of an interruption: what is on its way to the phone when it is cut


def lived_of(call: StormCall) -> Lived | None:
    """The call as the world's referees want it; None if there was no line."""
    carrier, caller, agent = call.carrier, call.caller, call.agent
    if carrier is None or caller is None or agent is None or carrier.ended_ms is None:
        return None
    return Lived(
        CallPlan(line=carrier.plan), call.call_id, call.tap, caller.placed, agent.speeches, call.records,
        call.opened_at, carrier.began_at, carrier.ended_ms, carrier.hung_up, "", [], carrier.clears, [],
    )  # fmt: skip


def of_tape(call: StormCall, *, stalled: bool) -> Iterator[LawBroken]:
    """Every law of this file.

    Args:
        stalled: the event loop stood still, for this call or for another.
    """
    lived = lived_of(call)
    if lived is None or call.carrier is None:
        return
    yield from _of_keys(call)
    if stalled or call.kinds & LATE_LINES:
        return
    slack_ms = call.plan.up_ms + call.plan.down_ms + 2 * call.plan.jitter_ms + 2 * FRAME_MS
    heard = Heard(lived)
    yield from _of_words(call, lived, slack_ms)
    yield from _of_line(call, call.carrier, slack_ms)
    yield from _of_recording(call, slack_ms)
    yield from _of_two_voices(heard)
    if not call.kinds & SILENT_AGENTS:
        yield from _of_pauses(call, heard, slack_ms)


def _orders(call: StormCall, *names: str) -> list[Record]:
    return [record for record in call.records if record.kind is Kind.EFFECT and record.name in names]


def _of_keys(call: StormCall) -> Iterator[LawBroken]:
    """A key that Twilio tells of is a fact of the call."""
    told = sum(record.name == "DigitPressed" for record in call.records)
    if told < call.keys_sent and not call.kinds & {"F29 step crashes", "garbage from Twilio"}:
        yield LawBroken("a key is heard", 0.0, f"{call.keys_sent} keys were pressed, {told} were noticed")


def _of_words(call: StormCall, lived: Lived, slack_ms: float) -> Iterator[LawBroken]:
    """The record of the conversation has no more words than were heard, and none that this agent did not say."""
    notes = [record for record in call.records if record.name == "AgentHeard"]
    if not notes or call.plan.tells_words or call.kinds & UNTOLD:
        return
    heard_ms = sum(run.ms for run in lived.tap.runs if run.is_agent or run.ms < LINE_MS)
    kept = [record for record in notes if record.data.get("policy") != "keep"]
    words = sum(len(str(record.data["text"]).split()) for record in kept)
    allowed = (heard_ms + len(kept) * slack_ms) / WORD_MS + MORE_WORDS * len(kept)
    if words > allowed:
        what = f"{words} words are recorded as heard, and {heard_ms:.0f} ms of the agent were"
        yield LawBroken("what is recorded was heard", notes[-1].at_ms / 1000, what)
    told_ms = sum(float(record.data["heard_ms"]) for record in notes)
    if told_ms > heard_ms + len(notes) * slack_ms:
        what = f"{told_ms:.0f} ms are recorded as heard, {heard_ms:.0f} ms were"
        yield LawBroken("what is recorded was heard", notes[-1].at_ms / 1000, what)
    generated = sum(len(str(record.data["generated"]).split()) for record in notes)
    said = sum(len(speech.text.split()) for speech in lived.speeches)
    if generated > said:
        what = f"{generated} words are recorded as generated, and this agent said {said}"
        yield LawBroken("I11 no other call's words", notes[-1].at_ms / 1000, what)


def _of_line(call: StormCall, carrier: Carrier, slack_ms: float) -> Iterator[LawBroken]:
    """Who leaves gives the line back at once."""
    for order in _orders(call, "HandOver", "HangUp")[:1]:
        assert carrier.ended_ms is not None
        kept_ms = carrier.ended_ms + (carrier.began_at - call.opened_at) * 1000 - order.at_ms
        if kept_ms > CLOSES_MS + slack_ms:
            yield LawBroken("I6 every leg is closed", order.at_ms / 1000, f"the line was kept for {kept_ms:.0f} ms")


def _of_recording(call: StormCall, slack_ms: float) -> Iterator[LawBroken]:
    """The recording has what was heard, and nothing that was taken back."""
    if call.recording is None:
        return
    recorded_ms, heard_ms = _loud_ms(call.recording.heard), _loud_ms(call.tap.heard)
    cuts = len(_orders(call, "Hold", "Drop"))
    if recorded_ms > heard_ms + (cuts + 1) * (slack_ms + RECORDED_MS):
        what = f"{recorded_ms:.0f} ms of sound, of which {heard_ms:.0f} ms were heard"
        yield LawBroken("the recording is what was heard", 0.0, what)


def _loud_ms(mulaw: bytes | bytearray) -> float:
    return duration_ms(len(mulaw) - mulaw.count(SILENCE_BYTE))


def _of_two_voices(heard: Heard) -> Iterator[LawBroken]:
    """No line of ours breaks into what the agent is saying."""
    for before, ours, after in zip(heard.runs, heard.runs[1:], heard.runs[2:], strict=False):
        speech = heard.speech_of(before)
        if speech is None or ours.is_agent or ours.ms < LINE_MS or heard.speech_of(after) is not speech:
            continue
        if ours.at_ms - before.end_ms < FRAME_MS and after.at_ms - ours.end_ms < FRAME_MS:
            at_s = (ours.at_ms - heard.admitted_ms) / 1000
            yield LawBroken("never two voices", at_s, "a line of ours in the middle of a speech")


def _of_pauses(call: StormCall, heard: Heard, slack_ms: float) -> Iterator[LawBroken]:
    """A speech that was held goes on, with the frame that had not been heard."""
    drops = [order.at_ms + heard.admitted_ms for order in _orders(call, "Drop", "HandOver", "HangUp")]

    def dropped(since_ms: float, until_ms: float) -> bool:
        return any(since_ms - slack_ms - GOES_ON_MS < one < until_ms + slack_ms for one in drops)

    for speech in heard.lived.speeches:
        for before, after in pairwise(heard.pieces(speech)):
            lost_ms = after.number - (before.number + before.ms)
            if abs(lost_ms) > BREAK_MS + slack_ms and not dropped(before.end_ms, after.at_ms):
                what = f"{abs(lost_ms):.0f} ms {'lost' if lost_ms > 0 else 'heard twice'} at a pause"
                yield LawBroken("a pause loses nothing", (after.at_ms - heard.admitted_ms) / 1000, what)
                return
    gates = _orders(call, "Hold", "LetSpeak", "Drop", "HandOver", "HangUp")
    for hold, order in pairwise(gates):
        if (hold.name, order.name) != ("Hold", "LetSpeak"):
            continue
        at_ms = order.at_ms + heard.admitted_ms
        before_it = [run for run in heard.runs if run.at_ms <= at_ms]
        speech_held = heard.speech_of(before_it[-1]) if before_it else None
        until_ms = at_ms + GOES_ON_MS + slack_ms + call.plan.agent_jitter_ms
        stays = heard.lived.ended_ms > until_ms
        again = any(at_ms < one.at_ms + heard.admitted_ms <= until_ms for one in gates if one is not order)
        if speech_held is None or not stays or again or is_whole(before_it[-1], speech_held):
            continue
        if dropped(before_it[-1].end_ms, until_ms):
            continue
        if not any(at_ms - slack_ms < run.end_ms and run.at_ms < until_ms for run in heard.pieces(speech_held)):
            yield LawBroken("a pause loses nothing", order.at_ms / 1000, "the agent did not go on")
            return
