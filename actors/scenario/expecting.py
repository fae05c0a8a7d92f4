"""What must come of a scenario, judged: a function an expectation, with words for what happened instead. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import singledispatch
from html import unescape
from typing import Any

import msgspec

from actors.scenario.nevers import NEVERS
from actors.scenario.story import Facts, Story
from actors.world.referee import Fate
from engine import scenario as s
from engine.journal import Record
from engine.phrases import normalise

COUNTS: Mapping[str, int] = {"never": 0, "once": 1, "twice": 2}
MOST_SHOWN = 6
Row = tuple[str, str, bool]  # expected, happened, whether they agree


@dataclass(frozen=True, slots=True)
class Finding:
    """One expectation, judged."""

    expected: str
    ok: bool
    happened: str = ""  # said when it is not ok
    rows: Sequence[Row] = ()  # expected beside happened, where one line does not say it
    near_ms: float | None = None  # where in the call to look
    skipped: str = ""  # why it cannot be judged here


def judge_all(scenario: s.Scenario, story: Story) -> list[Finding]:
    """Every expectation of the file, and what holds for every scenario."""
    return [*(expect(one, story) for one in scenario.expect), *always(scenario, story)]


def always(scenario: s.Scenario, story: Story) -> list[Finding]:
    """What no scenario need ask for: said only where it does not hold."""
    found = []
    if story.crashed or story.notes("Restarted") or story.notes("GaveUp"):
        after = [str(one.get("after") or one.get("why")) for one in (*story.notes("Restarted"), *story.notes("GaveUp"))]
        found.append(
            Finding("never: a crash of ours", ok=False, happened=f"the call crashed: {', '.join(after) or '?'}")
        )
    for problem, count in sorted(story.lived.problems.items()):
        found.append(Finding("never: a bad message", ok=False, happened=f"Twilio complains {count} times: {problem}"))
    if story.lived.missed:
        moves = len(scenario.caller)
        left = len(story.lived.missed)
        happened = f"{left} of {moves} moves never had its moment; how to say when: specs/scenarios.md, “When”"
        found.append(Finding("the caller does everything that the file says", ok=False, happened=happened))
    return found


@singledispatch
def expect(one: Any, story: Any) -> Finding:
    """Judge one expectation of a `Story`; what only the journal has to tell, of any `Facts`."""
    raise NotImplementedError(f"no judge for {type(one).__name__}")


def words_of(one: msgspec.Struct) -> str:
    """An expectation as its file says it, on one line."""
    data = s._plain_struct(one)
    return data if isinstance(data, str) else ", ".join(f"{key}: {_flow(value)}" for key, value in data.items())


def _flow(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_flow(held)}' for key, held in value.items())}}}"
    return str(value)


def _found(
    one: msgspec.Struct, problems: Sequence[str], near_ms: float | None = None, rows: Sequence[Row] = ()
) -> Finding:
    shown = [
        *problems[:MOST_SHOWN],
        *([f"… and {len(problems) - MOST_SHOWN} more"] if len(problems) > MOST_SHOWN else []),
    ]
    return Finding(words_of(one), not problems, "; ".join(shown), rows, near_ms if problems else None)


# --- time ------------------------------------------------------------------------------------------------------------


@expect.register
def _(one: s.SilentWithin, story: Story) -> Finding:
    problems, near = [], None
    for name, placed, ruling in _sounds(story, one.after):
        if ruling.silent_ms is None:
            why = "the agent had as good as finished" if ruling.fate is Fate.FINISHED else "nobody was speaking"
            problems.append(f"{name}: {why} when the caller began")
        elif ruling.silent_ms > one.silent_within_ms:
            problems.append(f"{name}: heard on for {ms(ruling.silent_ms)}")
        else:
            continue
        near = near or placed.onset_ms
    return _found(one, problems or _missing(story, one.after), near)


@expect.register
def _(one: s.GoesOnWithin, story: Story) -> Finding:
    problems, near = [], None
    for name, placed, ruling in _sounds(story, one.after):
        last = story.spoken_at(placed)
        speech = story.heard.speech_of(last) if last is not None else None
        again = [run for run in story.heard.pieces(speech) if run.end_ms > placed.end_ms] if speech is not None else []
        if ruling.fate is Fate.UNTOUCHED:
            continue
        if speech is None or ruling.fate is Fate.FINISHED:
            problems.append(f"{name}: the agent was not in the middle of anything")
        elif not again:
            problems.append(f"{name}: the agent never went on with what it was saying")
        elif (pause_ms := max(0.0, again[0].at_ms - placed.end_ms)) > one.goes_on_within_ms:
            problems.append(f"{name}: went on {ms(pause_ms)} after its end")
        else:
            continue
        near = near or placed.onset_ms
    return _found(one, problems or _missing(story, one.after), near)


@expect.register
def _(one: s.AnswersWithin, story: Story) -> Finding:
    problems, near = [], None
    for name, placed, _ in _sounds(story, one.after):
        heard_ms = story.next_agent_ms(placed.end_ms)
        if heard_ms is not None and heard_ms - placed.end_ms <= one.answers_within_ms:
            continue
        problems.append(
            f"{name}: " + ("no answer" if heard_ms is None else f"answered after {ms(heard_ms - placed.end_ms)}")
        )
        near = near or placed.onset_ms
    return _found(one, problems or _missing(story, one.after), near)


@expect.register
def _(one: s.SilenceAtMost, story: Story) -> Finding:
    longer = [(start, end) for start, end in story.report.silences if end - start > one.silence_at_most_ms]
    problems = [
        f"nobody was heard for {ms(end - start)}, from {story.at(start)} to {story.at(end)}" for start, end in longer
    ]
    return _found(one, problems, longer[0][0] if longer else None)


@expect.register
def _(one: s.LastsAtMost, story: Facts) -> Finding:
    lasted_ms = story.ended_ms
    return _found(one, [f"lasted {ms(lasted_ms)}"] if lasted_ms > one.lasts_at_most_ms else [], lasted_ms)


def _sounds(story: Story, after: str) -> list[Any]:
    return story.sounds(after)


def _missing(story: Story, after: str) -> list[str]:
    return [] if story.sounds(after) else [f"there was no {after}"]


# --- what was heard and said -----------------------------------------------------------------------------------------


@expect.register
def _(one: s.HeardWords, story: Story) -> Finding:
    since_ms, until_ms = float("-inf"), float("inf")
    if one.after is not None:
        sounds = story.sounds(one.after)
        if not sounds:
            return _found(one, _missing(story, one.after))
        since_ms = sounds[0][1].end_ms
    if one.within_ms is not None:
        until_ms = max(since_ms, 0.0) + one.within_ms
    moments = story.moments_of(one.heard, since_ms)
    timely = [start for start, _ in moments if start <= until_ms]
    if one.times is not None and len(timely) != one.times:
        return _found(one, [f"heard {times(len(timely))}"], timely[0] if timely else None, _ear(one.heard, story))
    if timely or one.times == 0:
        return _found(one, [])
    if moments:
        return _found(one, [f"heard at {story.at(moments[0][0])}, not before {story.at(until_ms)}"], moments[0][0])
    return _found(one, ["it was not heard"], None, _ear(one.heard, story))


@expect.register
def _(one: s.NotHeard, story: Story) -> Finding:
    since_ms = float("-inf")
    if one.after is not None and (sounds := story.sounds(one.after)):
        since_ms = sounds[0][1].onset_ms
    moments = story.moments_of(one.not_heard, since_ms)
    return _found(
        one, [f"it was heard at {story.at(start)}" for start, _ in moments], moments[0][0] if moments else None
    )


def _ear(wanted: str, story: Story) -> list[Row]:
    """What was heard instead, the nearest first line marked by agreeing most."""
    told = [(start, text) for start, _, text in story.utterances()]
    plain = normalise(wanted)
    nearest = max(told, key=lambda one: SequenceMatcher(None, plain, normalise(one[1])).ratio(), default=None)
    return [(wanted if one is nearest else "", f"{story.at(one[0])}  {one[1]}", one is not nearest) for one in told]


@expect.register
def _(one: s.Recorded, story: Facts) -> Finding:
    texts = _record(story)
    return _found(one, [] if _any_holds(texts, one.recorded) else ["the record holds: " + _quoted(texts)])


@expect.register
def _(one: s.NotRecorded, story: Facts) -> Finding:
    holding = [text for text in _record(story) if says_it(text, one.not_recorded)]
    return _found(one, [f"the record holds: {_quoted(holding)}"] if holding else [])


def _record(story: Facts) -> list[str]:
    return [str(note.get("text", "")) for note in story.notes("AgentHeard")]


@expect.register
def _(one: s.Understood, story: Facts) -> Finding:
    texts = [str(note.get("text", "")) for note in story.notes("TakeTurn")]
    return _found(one, [] if _any_holds(texts, one.understood) else [f"the caller's turns were: {_quoted(texts)}"])


@expect.register
def _(one: s.Told, story: Facts) -> Finding:
    texts = _told(story)
    return _found(one, [] if _any_holds(texts, one.told_vapi) else [f"Vapi was told: {_quoted(texts)}"])


@expect.register
def _(one: s.NotTold, story: Facts) -> Finding:
    holding = [text for text in _told(story) if says_it(text, one.not_told_vapi)]
    return _found(one, [f"Vapi was told: {_quoted(holding)}"] if holding else [])


def _told(story: Facts) -> list[str]:
    """Every text frame to Vapi: what it says, or what kind it is."""
    found = []
    for order in story.told:
        message = order.get("message")
        content = order.get("content") or (message.get("content") if isinstance(message, Mapping) else "")
        found.append(f"{order.get('type', '')}: {content}" if content else str(order.get("type", "")))
    return found


@expect.register
def _(one: s.TwimlSays, story: Story) -> Finding:
    problems = [] if any(_in_xml(one.twiml, document) for document in story.documents) else [_documents(story)]
    return _found(one, problems)


@expect.register
def _(one: s.TwimlSaysNot, story: Story) -> Finding:
    holding = [document for document in story.documents if _in_xml(one.not_twiml, document)]
    return _found(one, [f"answered: {document}" for document in holding])


def _in_xml(wanted: str, document: str) -> bool:
    text = " ".join(wanted.split()).casefold()
    plain = " ".join(document.split()).casefold()
    return text in plain or text in unescape(plain)


def _documents(story: Story) -> str:
    return "answered: " + " then ".join(document.split("?>", 1)[-1].strip() for document in story.documents)


# --- what the call did -----------------------------------------------------------------------------------------------


@expect.register
def _(one: s.Phases, story: Facts) -> Finding:
    happened = story.phases()
    fits = follows(one.phases, happened)
    rows = [] if fits else aligned(one.phases, happened)
    return _found(one, [] if fits else [" → ".join(happened)], None, rows)


def follows(pattern: Sequence[str], happened: Sequence[str]) -> bool:
    """Whether the phases are these, `…` standing for any, or none."""
    reachable = {0}
    for wanted in pattern:
        if wanted in s.ANY_PHASES:
            reachable = set(range(min(reachable), len(happened) + 1)) if reachable else set()
        else:
            reachable = {place + 1 for place in reachable if place < len(happened) and happened[place] == wanted}
    return len(happened) in reachable


def aligned(pattern: Sequence[str], happened: Sequence[str]) -> list[Row]:
    """Both beside each other, as far as they agree; what `…` stands for agrees."""
    rows: list[Row] = []
    matcher = SequenceMatcher(None, list(pattern), list(happened), autojunk=False)
    for kind, low, high, from_, to in matcher.get_opcodes():
        wanted, got = list(pattern[low:high]), list(happened[from_:to])
        if kind == "equal":
            rows += [(one, one, True) for one in got]
            continue
        any_here = [one for one in wanted if one in s.ANY_PHASES]
        if any_here and len(any_here) == len(wanted):
            rows += [("…", one, True) for one in got]
            continue
        longest = max(len(wanted), len(got))
        wanted += [""] * (longest - len(wanted))
        got += [""] * (longest - len(got))
        rows += [(mine, theirs, False) for mine, theirs in zip(wanted, got, strict=True)]
    return rows


@expect.register
def _(one: s.Interruptions, story: Facts) -> Finding:
    notes = [record for record in story.records if record.name == "Interruption"]
    happened = [str(record.data.get("decision")) for record in notes]
    if happened == list(one.interruptions):
        return _found(one, [])
    told = [
        f"{story.at(story.ms_of(record))} {record.data.get('decision')} ({record.data.get('reason')})"
        for record in notes
    ]
    return _found(one, ["there were " + (", ".join(told) or "none")], None, _beside(one.interruptions, happened))


def _beside(wanted: Sequence[str], happened: Sequence[str]) -> list[Row]:
    longest = max(len(wanted), len(happened))
    left = [*wanted, *[""] * (longest - len(wanted))]
    right = [*happened, *[""] * (longest - len(happened))]
    return [(mine, theirs, mine == theirs) for mine, theirs in zip(left, right, strict=True)]


@expect.register
def _(one: s.ToolCalled, story: Facts) -> Finding:
    asked = [
        record for record in story.records if record.name == "ToolRequested" and record.data.get("name") == one.tool
    ]
    fitting = [record for record in asked if _fits(one.with_ or {}, record.data.get("arguments") or {})]
    problems: list[str] = []
    wanted = None if one.called is None else _count(one.called)
    if wanted is None and not fitting and not _is_never(one):
        problems.append("it was not called" + (" so" if asked else ""))
    elif wanted is not None and len(fitting) != wanted:
        problems.append(f"it was called {times(len(fitting))}" + (" so" if one.with_ else ""))
    if problems and len(asked) != len(fitting):
        problems.append(
            "its arguments were " + _quoted([_flow(dict(record.data.get("arguments") or {})) for record in asked])
        )
    if one.runs is not None and (ran := story.runs.of(one.tool)) != _count(one.runs):
        problems.append(f"it ran {times(ran)}")
    results = [note for note in story.notes("ToolResult") if note.get("name") == one.tool]
    for text, ok, verb in ((one.answers, True, "answered"), (one.fails, False, "failed")):
        told = [str(note.get("text", "")) for note in results if bool(note.get("ok")) is ok]
        if text is not None and not _any_holds(told, text):
            others = [f"{'answered' if note.get('ok') else 'failed'} “{note.get('text')}”" for note in results]
            problems.append(f"it never {verb} so; it " + (", ".join(others) or "gave no result"))
    return _found(one, problems, story.ms_of(asked[0]) if asked else None)


def _is_never(one: s.ToolCalled) -> bool:
    return one.runs is not None and _count(one.runs) == 0


@expect.register
def _(one: s.Ends, story: Facts) -> Finding:
    closed = story.closed()
    problems = []
    if closed.get("outcome") != one.ends:
        problems.append(f"it ended {closed.get('outcome')}: {closed.get('reason')}")
    elif one.reason is not None and not says_it(str(closed.get("reason")), one.reason):
        problems.append(f"the reason was: {closed.get('reason')}")
    by = "the caller" if story.hung_up else "the agent"
    if one.by is not None and by != one.by:
        problems.append(f"{by} hung up")
    return _found(one, problems, story.ended_ms)


@expect.register
def _(one: s.Journaled, story: Facts) -> Finding:
    named = [record for record in story.records if record.name == one.journal]
    fitting = [record for record in named if _fits(one.with_ or {}, record.data)]
    problems = []
    if one.times is not None and len(fitting) != one.times:
        problems.append(f"there are {len(fitting)}" + (" such" if one.with_ else ""))
    elif one.times is None and not fitting:
        problems.append(
            "there is none" + (" such; there are: " + _quoted([_flow(r.data) for r in named]) if named else "")
        )
    elif one.before is not None and (problem := _order(fitting, one.before, story)):
        problems.append(problem)
    return _found(one, problems, story.ms_of(named[0]) if named else None)


def _order(fitting: Sequence[Record], later: str, story: Facts) -> str:
    after = [record for record in story.records if record.name == later]
    if not after:
        return f"there is no {later}"
    if fitting and fitting[0].seq < after[0].seq:
        return ""
    return f"{later} came first, at {story.at(story.ms_of(after[0]))}"


@expect.register
def _(one: s.NeverHappens, story: Story) -> Finding:
    problems: list[str] = []
    near: float | None = None
    for name in (one.never,) if isinstance(one.never, str) else one.never:
        for problem, at_ms in NEVERS[name](story):
            near = at_ms if near is None else near
            problems.append(f"{name}: {problem}" + (f" at {story.at(at_ms)}" if at_ms is not None else ""))
    return _found(one, problems, near)


# --- small -----------------------------------------------------------------------------------------------------------


def ms(value: float) -> str:
    return f"{value / 1000:.2f} s" if value >= 1000 else f"{value:.0f} ms"


def times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


def _count(wanted: str | int) -> int:
    return COUNTS[wanted] if isinstance(wanted, str) else wanted


def says_it(text: str, wanted: str) -> bool:
    """Whether the words stand there, whatever their case and stops."""
    return f" {normalise(wanted)} " in f" {normalise(text)} "


def _any_holds(texts: Iterable[str], wanted: str) -> bool:
    return any(says_it(text, wanted) for text in texts)


def _quoted(texts: Sequence[str]) -> str:
    return ", ".join(f"“{text}”" for text in texts) or "nothing"


def _fits(wanted: Mapping[str, Any], got: Mapping[str, Any]) -> bool:
    """Whether everything that is wanted is there; mappings inside the same way."""
    return all(name in got and _same(value, got[name]) for name, value in wanted.items())


def _same(wanted: Any, got: Any) -> bool:
    if isinstance(wanted, Mapping) and isinstance(got, Mapping):
        return _fits(wanted, got)
    return bool(wanted == got)
