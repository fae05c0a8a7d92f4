"""Each thing that a scenario can expect: a call of which it holds, one of which it does not, and what is then said."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from actors.scenario.expecting import Finding, aligned, follows, judge_all
from actors.scenario.nevers import NEVERS
from engine.scenario import Expectation, head_of
from tests.scenarios.playing import AGENT, ASKS, desk, loaded, played
from web.scenario_play import play_file

CALL = (
    "scenario: x\n"
    + ASKS
    + """\
expect:
"""
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return desk(tmp_path_factory.mktemp("desk"))


def findings(folder: Path, call: str, *expect: str) -> list[Finding]:
    """What is found of each of these, written as they stand in a file."""
    outcome = played(folder, call + "".join(f"  - {one}\n" for one in expect))
    assert outcome.trouble == ""
    return list(outcome.findings)


HOLDS = [
    "{silent within: 80ms, after: cough}",
    "{silent within: 80ms, after: cut in}",
    "silent within: 80ms",
    "goes on within: 800ms",
    "{answers within: 1500ms, after: words 1}",
    "silence at most: 2s",
    "lasts at most: 40s",
    "heard: how may I help you today",
    "{heard: there is a table, times: 1}",
    "{heard: we have one, after: words 1, within: 2s}",
    "not heard: which one would you like",
    "{not heard: we have one, after: cut in}",
    "interruptions: [resumed, dropped]",
    "never: [two voices, dead air, stale audio, heard twice, lost audio, stutter, cut off for nothing, lost words]",
    "never: double effect",
    "understood: eight works",
    "recorded: how may I help you",
    "not recorded: which one would you like",
    "told vapi: add-message",
    "not told vapi: end-call",
    "phases: [connecting, listening, speaking, …, interrupted, …, ended]",
    "{tool: look, called: once, runs: once, with: {party: 2}, answers: a table}",
    "{tool: book, called: never}",
    "{tool: book, runs: never}",
    "twiml: <Connect",
    "not twiml: <Dial",
    "{ends: completed, by: the agent, reason: assistant ended call}",
    "{journal: Interruption, times: 2}",
    "{journal: Interruption, with: {decision: dropped}, before: ToolRequested}",
]
FAILS = [
    ("{silent within: 1ms, after: cough}", r"cough 1: heard on for \d+ ms"),
    ("{silent within: 80ms, after: words 1}", "words 1: nobody was speaking when the caller began"),
    ("goes on within: 20ms", r"cough 1: went on \d+ ms after its end"),
    ("{goes on within: 2s, after: cut in}", "cut in 1: the agent never went on with what it was saying"),
    ("{answers within: 100ms, after: words 1}", r"words 1: answered after \d+"),
    ("silence at most: 100ms", r"nobody was heard for .*, from 0\.\d+ to"),
    ("lasts at most: 5s", r"lasted \d+\.\d+ s"),
    ("heard: which one would you like", "it was not heard"),
    ("{heard: there is a table, times: 2}", "heard once"),
    ("{heard: there is a table, within: 1s}", r"heard at \d+\.\d+, not before 0?"),
    ("not heard: how may I help you today", r"it was heard at \d\.\d+"),
    ("interruptions: [dropped]", r"there were \d+\.\d+ resumed \(.*\), \d+\.\d+ dropped \(words\)"),
    ("understood: nine works", "the caller's turns were: “a table please”, “eight works”"),
    ("recorded: which one would you like", "the record holds: “Good evening"),
    ("not recorded: how may I help you", "the record holds: “Good evening"),
    ("told vapi: xyzzy", "Vapi was told: “add-message: The caller cut in"),
    ("not told vapi: add-message", "Vapi was told: “add-message"),
    ("phases: [connecting, listening, speaking, ended]", "connecting → listening → speaking"),
    ("{tool: look, called: twice}", "it was called once"),
    ("{tool: look, called: never}", "it was called once"),
    ("{tool: look, runs: twice}", "it ran once"),
    ("{tool: look, with: {party: 3}}", r"it was not called so; its arguments were “{party: 2}”"),
    ("{tool: look, called: once, with: {party: 3}}", r"it was called never so; its arguments were"),
    ("{tool: look, answers: none}", "it never answered so; it answered “there is a table”"),
    ("{tool: look, fails: none}", "it never failed so; it answered"),
    ("tool: book", "it was not called"),
    ("twiml: <Dial", "answered: <Response><Connect"),
    ("not twiml: <Connect", "answered: .*<Connect"),
    ("ends: handed over", "it ended completed: assistant-ended-call"),
    ("{ends: completed, by: the caller}", "the agent hung up"),
    ("{ends: completed, reason: idle}", "the reason was: assistant-ended-call"),
    ("journal: Xyzzy", "there is none"),
    ("{journal: Interruption, times: 1}", "there are 2"),
    ("{journal: Interruption, with: {decision: lost}}", r"there is none such; there are: “{"),
    ("{journal: Closed, before: Opened}", "Opened came first, at 0.000"),
    ("{journal: Closed, before: Xyzzy}", "there is no Xyzzy"),
]


def test_what_holds(folder: Path) -> None:
    """A call with a cough, a cut-in and a tool is all that is said of it here."""
    found = findings(folder, CALL, *HOLDS)
    assert [(one.expected, one.happened) for one in found if not one.ok] == []
    assert len(found) == len(HOLDS)


def test_what_does_not(folder: Path) -> None:
    """And none of this, and it is said what happened instead."""
    found = findings(folder, CALL, *(text for text, _ in FAILS))
    for one, (text, says) in zip(found, FAILS, strict=True):
        assert not one.ok, text
        assert re.search(says, one.happened), f"{text}: {one.happened}"


def test_every_kind_is_seen_to_hold_and_to_fail(folder: Path) -> None:
    """No expectation that nobody has seen fail."""
    kinds = {head_of(one) for one in loaded(folder, CALL + "".join(f"  - {one}\n" for one in HOLDS)).scenario.expect}
    failing = {head_of(one) for one in loaded(folder, CALL + "".join(f"  - {t}\n" for t, _ in FAILS)).scenario.expect}
    every = {str(one.__struct_config__.tag) for one in Expectation.__args__}
    assert kinds == every
    assert failing | {"never"} == every  # `never` has tests of its own below


# --- never -----------------------------------------------------------------------------------------------------------

DEAF = "turns: {hold: false, keywords: {words: [xyzzy]}}\n"
BREACHES = {
    "two voices": (DEAF, "vapi: [talks on]\n", "the agent was heard for"),
    "dead air": ("silence: {fillers: 'off'}\n", "tools: {look: {answers: x, after: 5s}}\n", "nobody was heard for"),
    "stale audio": ("turns: {hold: false}\n", "vapi: [{hears late: 600ms}]\n", "cut off were still heard"),
    "stutter": ("", "network: {vapi jitter: 600ms}\n", "a speech broke off for"),
    "cut off for nothing": ("", "vapi: [takes noise for speech]\n", "a cough ended what the agent said"),
    "lost words": ("", "twilio: [{loses the line: , at: 1s}]\n", "never reached the agent"),
}


@pytest.mark.parametrize("name", BREACHES)
def test_what_must_never_happen_is_seen_when_it_does(tmp_path: Path, name: str) -> None:
    """A call in which somebody made it happen."""
    agent, call, says = BREACHES[name]
    asks = ASKS.replace("a table please", "a table please\n    at: 500ms") if name == "lost words" else ASKS
    (one, *_) = findings(desk(tmp_path, AGENT + agent), f"scenario: x\n{asks}{call}expect:\n", f"never: {name}")
    assert not one.ok
    assert says in one.happened
    assert one.happened.startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("name", "lost_ms", "says"),
    [
        ("heard twice", -40.0, "40 ms of a speech were heard twice"),
        ("lost audio", 40.0, "40 ms of a speech that went on were never heard"),
    ],
)
def test_a_speech_that_does_not_go_on_where_it_stopped(folder: Path, name: str, lost_ms: float, says: str) -> None:
    """No world makes the bridge do that any more, so the referee's report is made up here."""
    file = loaded(folder, CALL + f"  - never: {name}\n")
    story = play_file(file).story
    assert story is not None
    (good,) = judge_all(file.scenario, story)
    story.report = replace(story.report, lost_ms=(0.0, lost_ms))
    (bad,) = judge_all(file.scenario, story)
    assert good.ok and not bad.ok and says in bad.happened


def test_the_same_effect_twice(folder: Path) -> None:
    """Two attempts of a tool that changes something, with the same arguments."""
    file = loaded(folder, "scenario: x\ncaller: [{says: book it}, {says: bye}]\nexpect:\n  - never: double effect\n")
    story = play_file(file).story
    assert story is not None
    (good,) = judge_all(file.scenario, story)
    assert story.runs.of("book") == 1
    story.runs.note("book", {"party": 2})
    (bad,) = judge_all(file.scenario, story)
    assert good.ok and not bad.ok and "book did the same thing more than once" in bad.happened


def test_the_nevers_are_all_of_them() -> None:
    """Each word has a judge."""
    assert set(BREACHES) | {"heard twice", "lost audio", "double effect"} == set(NEVERS)


# --- what every scenario asks for ------------------------------------------------------------------------------------


def test_a_moment_that_never_comes(folder: Path) -> None:
    """The caller waits for words that nobody says: that is told, and the call goes on."""
    call = "scenario: x\ncaller: [{says: a table, after hearing: xyzzy}, {hangs up: , pause: 1s}]\nexpect:\n"
    *_, one = findings(folder, call, "ends: completed")
    assert not one.ok and "1 of 2 moves never had its moment" in one.happened


def test_a_crash_of_ours(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No scenario passes in which a call crashed."""
    from actors import call_actor  # noqa: PLC0415

    def no(*_: object) -> None:
        raise ValueError("made up")

    monkeypatch.setattr(call_actor.CallActor, "_say_line", no)
    call = "scenario: x\ncaller: [{says: eight}, {hangs up: , pause: 6s}]\ntools: {look: hangs}\nexpect:\n"
    *_, one = findings(folder, call, "lasts at most: 60s")
    assert not one.ok and "the call crashed: " in one.happened


@pytest.mark.parametrize(
    ("pattern", "happened", "fits"),
    [
        ("a b", "a b", True),
        ("a b", "a b b", False),
        ("a … b", "a b", True),
        ("a … b", "a c d b", True),
        ("a … b", "a c d", False),
        ("… b …", "a b c b d", True),
        ("...", "", True),
        ("… a", "a b", False),
        ("a a", "a", False),
    ],
)
def test_phases_with_gaps(pattern: str, happened: str, fits: bool) -> None:
    """`…` stands for any phases, or none."""
    assert follows(pattern.split(), happened.split()) is fits


def test_phases_beside_each_other() -> None:
    """What agrees stands in one line."""
    rows = aligned(["a", "…", "b", "c"], ["a", "x", "y", "b", "d"])
    assert rows == [("a", "a", True), ("…", "x", True), ("…", "y", True), ("b", "b", True), ("c", "d", False)]
