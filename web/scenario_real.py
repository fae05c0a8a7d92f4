"""`callscope test --real`: a scenario over real sockets, with the twins, real speech and the service as it is served.

What the twins' caller and brain cannot do is not played, and what only a world in virtual time knows is not judged;
both are told, with the reason.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import trio
import yaml

from actors.journal_reader import NoJournal, UnknownCall, read_call
from actors.scenario import Finding, Outcome
from actors.scenario.expecting import expect, says_it, words_of
from actors.scenario.plan import greeting, twin_plan
from actors.scenario.plays import ToolRuns
from actors.scenario.story import Facts
from engine import scenario as s
from engine.agent import Agent, CallerStep
from engine.journal import Kind, Record
from engine.phrases import normalise
from web.children import ChildFailed
from web.scenario_file import ScenarioFile
from web.stack import open_stack
from web.twins.speech.ears import Ears
from web.twins.speech.judge import agent_grammar, caller_grammar, transcribe_channels

CALL_S, SETTLE_S, POLL_S = 240.0, 15.0, 0.2
QUIET_MS = 900  # what the twin's caller waits by itself after the agent
SOONEST_MS = 1000.0  # into what the agent says, if the file does not say
BY_JOURNAL = (
    s.Phases, s.Interruptions, s.ToolCalled, s.Ends, s.Recorded, s.NotRecorded, s.Understood, s.Journaled,
    s.LastsAtMost,
)  # fmt: skip


class NotForReal(Exception):
    """A word of the file that the twins cannot play."""


@dataclass
class RealCall(Facts):
    """What is known of a call over real sockets."""

    records: Sequence[Record]
    known: Mapping[str, Any]  # what the Twilio twin says of it
    heard: str  # what a recogniser heard of the agent's channel
    admitted_ms: float = 0.0
    told: Sequence[Mapping[str, Any]] = ()
    runs: ToolRuns = field(default_factory=ToolRuns)

    def __post_init__(self) -> None:
        self.hung_up = self.known.get("ended_by") == "caller"
        self.ended_ms = max((record.at_ms for record in self.records if record.kind is Kind.CLOSED), default=0.0)

    def was_heard(self, words: str) -> bool:
        """By the recogniser, or by the record: a sentence that a cough interrupted is none to a recogniser."""
        kept = [str(note.get("text", "")) for name in ("AgentHeard", "Line") for note in self.notes(name)]
        return any(says_it(text, words) for text in [self.heard, *kept])


def play_real(file: ScenarioFile) -> Outcome:
    """Play a scenario in real time. Blocks for as long as the call takes, and some seconds."""
    began = time.perf_counter()
    scenario, agent = file.scenario, file.loaded.agent
    try:
        refuse_what_cannot_be(scenario)
        script = list(caller_script(scenario, greets=bool(greeting(scenario, agent))))
    except NotForReal as word:
        return Outcome(scenario, None, (), not_played=str(word))
    call, trouble = None, ""
    try:
        call = trio.run(_call, file, script)
    except* ChildFailed as failed:
        trouble = str(failed.exceptions[0])
    except* (NoJournal, UnknownCall, trio.TooSlowError) as lost:
        trouble = f"the call was not lived: {type(lost.exceptions[0]).__name__}"
    if call is None:
        return Outcome(scenario, None, (), trouble=trouble)
    findings = [judge(one, scenario, call) for one in scenario.expect]
    if call.known.get("failed_step"):
        said = f"the caller got stuck at {call.known['failed_step']}"
        findings.append(Finding("the caller does everything that the file says", ok=False, happened=said))
    if call.known.get("errors"):
        findings.append(Finding("never: a bad message", ok=False, happened=f"Twilio complains: {call.known['errors']}"))
    return Outcome(scenario, None, findings, took_s=time.perf_counter() - began, real=call)


# --- what is played --------------------------------------------------------------------------------------------------


def refuse_what_cannot_be(scenario: s.Scenario) -> None:
    """Raises NotForReal for the first word that exists in virtual time only."""
    if scenario.variables:
        raise NotForReal("`variables`: calls that the service makes are played in virtual time only")
    if scenario.tools:
        raise NotForReal("`tools`: given answers exist in virtual time only")
    if scenario.network != s.Network():
        raise NotForReal("`network`: loopback has no bad lines")
    if scenario.twilio:
        raise NotForReal(f"`twilio: {s.head_of(scenario.twilio[0])}` exists in virtual time only")
    for move in scenario.vapi:
        if not isinstance(move, s.Hears | s.Greets):
            raise NotForReal(f"`vapi: {s.head_of(move)}` exists in virtual time only")


def caller_script(scenario: s.Scenario, *, greets: bool) -> Iterator[CallerStep]:
    """The moves as the twin's caller makes them."""
    before: s.CallerMove | None = None
    for move in scenario.caller:
        step = _what(move)
        yield step if isinstance(move, s.Waits) else msgspec.structs.replace(step, **_when(move, before, greets=greets))
        before = move
    if not isinstance(before, s.HangsUp):
        yield CallerStep(wait_for_end=True)


def _what(move: s.CallerMove) -> CallerStep:
    match move:
        case s.Says(says=words) | s.CutsIn(cuts_in=words) | s.Murmurs(murmurs=words):
            return CallerStep(say=words)
        case s.Coughs():
            return CallerStep(sound="cough")
        case s.Presses(presses=keys):
            return CallerStep(dtmf=keys)
        case s.Waits(waits_ms=ms):
            return CallerStep(pause_ms=round(ms), after="now")
        case s.HangsUp():
            return CallerStep(hang_up=True)
        case _:
            raise NotForReal(f"`caller: {s.head_of(move)}` has no sound with the twins")


def _when(move: s.CallerMove, before: s.CallerMove | None, *, greets: bool) -> dict[str, Any]:
    if move.at_ms is not None:
        if before is not None:
            raise NotForReal("`at` beside any but the first move: real speech has no such clock")
        return {"after": "now", "pause_ms": round(move.at_ms)}
    if move.pause_ms is not None:
        return {"after": "now", "pause_ms": round(move.pause_ms)}
    over = isinstance(move, s.CutsIn | s.Coughs | s.Murmurs)
    if move.into_ms is not None or (over and move.after_ms is None and move.after_hearing is None):
        return {"barge_in_ms": round(SOONEST_MS if move.into_ms is None else move.into_ms)}
    if isinstance(before, s.Waits) or (before is None and not greets):
        return {"after": "now"}
    return {"pause_ms": max(0, round((move.after_ms or QUIET_MS) - QUIET_MS))}


def agent_file(file: ScenarioFile, folder: Path) -> Path:
    """The agent's file with the scenario's words in its twin; what stands beside the real one is named in full."""
    loaded, scenario = file.loaded, file.scenario
    data = yaml.safe_load(loaded.path.read_text(encoding="utf-8"))
    beside = loaded.path.parent.resolve()
    twin = twin_plan(scenario, loaded.agent)
    replies = [_hearing(reply, _spoken(scenario)) for reply in twin.replies]
    backend = str(beside / twin.backend) if twin.backend else twin.backend
    data["twin"] = msgspec.to_builtins(msgspec.structs.replace(twin, replies=replies, caller=[], backend=backend))
    if isinstance(data.get("assistant"), dict):
        data["assistant"]["firstMessage"] = greeting(scenario, loaded.agent)
    tools = data.get("tools")
    if tools:
        data["tools"] = [str(beside / name) for name in ([tools] if isinstance(tools, str) else tools)]
    files = (data.get("silence") or {}).get("files")
    if files:
        data["silence"]["files"] = {line: str(beside / name) for line, name in files.items()}
    path = folder / "agent.yaml"
    path.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
    return path


def _spoken(scenario: s.Scenario) -> list[str]:
    return [step.say for step in caller_script(scenario, greets=True) if step.say]


def _hearing(reply: Any, spoken: Sequence[str]) -> Any:
    """A recogniser knows the sentences of its grammar only: what the caller says in full is one of them."""
    own = [f" {normalise(phrase)} " for phrase in reply.hear]
    more = [text for text in spoken if any(phrase in f" {normalise(text)} " for phrase in own)]
    return msgspec.structs.replace(reply, hear=list(dict.fromkeys([*reply.hear, *more])))


async def _call(file: ScenarioFile, script: Sequence[CallerStep]) -> RealCall:
    with TemporaryDirectory(prefix="callscope-test-") as name:
        folder = Path(name)
        path = agent_file(file, folder)
        agent = msgspec.structs.replace(file.loaded.agent, twin=twin_plan(file.scenario, file.loaded.agent))
        async with open_stack(path, folder / "data") as stack:
            call_sid = await stack.place_call(script)
            known = await stack.wait_call(call_sid, timeout_s=CALL_S)
            with trio.fail_after(SETTLE_S):
                records = await _settled(stack.journal)
            recording = stack.data / "recordings" / f"{records[0].call_id}.wav"
            heard = await _listen(agent, records, recording) if recording.is_file() else ""
    return RealCall(records, known, heard)


async def _settled(journal: Path) -> list[Record]:
    """The call's journal, once it is closed."""
    while True:
        records = await trio.to_thread.run_sync(read_call, journal, "last")
        if any(record.kind is Kind.CLOSED for record in records):
            return records
        await trio.sleep(POLL_S)


async def _listen(agent: Agent, records: Sequence[Record], recording: Path) -> str:
    """What a recogniser hears of the agent's channel; what tools answered and our own lines are in its grammar."""
    more = [str(r.data["text"]) for r in records if r.name in ("ToolResult", "Line") and r.data.get("text")]
    async with Ears() as ears:
        channels = await transcribe_channels(recording, caller_grammar(agent), agent_grammar(agent, more), ears)
    return " ".join(span.text for span in channels.agent)


# --- what is judged --------------------------------------------------------------------------------------------------


def judge(one: Any, scenario: s.Scenario, call: RealCall) -> Finding:
    """An expectation by the journal, the recording or the twin's measurements; skipped if none of them knows."""
    match one:
        case s.ToolCalled(runs=runs) if runs is not None:
            return _skipped(one, "how often a tool ran is not in the journal")
        case s.SilentWithin():
            return _silent(one, call)
        case s.HeardWords(times=None, after=None, within_ms=None):
            happened = "" if call.was_heard(one.heard) else f"a recogniser heard: “{call.heard}”"
            return Finding(words_of(one), not happened, happened)
        case s.NotHeard(after=None):
            happened = f"a recogniser heard: “{call.heard}”" if call.was_heard(one.not_heard) else ""
            return Finding(words_of(one), not happened, happened)
        case s.HeardWords() | s.NotHeard():
            return _skipped(one, "a recogniser tells words, not their moments")
        case s.NeverHappens(never="stale audio"):
            stale = [one for one in call.known.get("barge_ins", ()) if one.get("stale_ms")]
            return Finding(words_of(one), not stale, "; ".join(f"{one['stale_ms']} ms were heard" for one in stale))
    if isinstance(one, BY_JOURNAL):
        finding: Finding = expect(one, call)
        return finding
    return _skipped(one, "only a world in virtual time knows it")


def _silent(one: s.SilentWithin, call: RealCall) -> Finding:
    """By the twin's tap, which measures each time that words cut in."""
    kind, _, number = one.after.rpartition(" ")
    if (kind or one.after) != "cut in" and one.after != "cut in":
        return _skipped(one, "the twin measures cut-ins only")
    measured = list(call.known.get("barge_ins", ()))
    if number.isdecimal():
        measured = measured[int(number) - 1 : int(number)]
    late = []
    for number_, barge_in in enumerate(measured, start=1):
        silent_ms = barge_in.get("silent_ms")
        took_ms = None if silent_ms is None else silent_ms - barge_in["onset_ms"]
        if took_ms is None or took_ms > one.silent_within_ms:
            late.append(f"cut in {number_}: heard on for {'ever' if took_ms is None else f'{took_ms:.0f} ms'}")
    if not measured:
        late.append("there was no such cut in")
    return Finding(words_of(one), not late, "; ".join(late))


def _skipped(one: msgspec.Struct, why: str) -> Finding:
    return Finding(words_of(one), ok=True, skipped=why)
