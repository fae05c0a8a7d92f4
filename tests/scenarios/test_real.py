"""`--real`: what the twins can play of a scenario, what can be judged of it, and that the rest is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.agent import CallerStep
from engine.journal import Kind, Record
from tests.scenarios.playing import AGENT, ROOT, desk, loaded, written
from web.agents import load_agent
from web.scenario_file import load_scenario
from web.scenario_real import NotForReal, RealCall, agent_file, caller_script, judge, play_real, refuse_what_cannot_be

END = "expect: [{ends: completed}]\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return desk(tmp_path_factory.mktemp("desk"))


def test_the_caller_of_the_twins(folder: Path) -> None:
    """The same moves at the same moments, as far as real speech has them."""
    text = """scenario: x
caller:
  - says: a table
    after: 1500ms
  - coughs
  - cuts in: eight
    into: 2s
  - waits: 3s
  - says: bye
  - presses: 1#
    pause: 500ms
"""
    scenario = loaded(folder, text + END).scenario
    assert list(caller_script(scenario, greets=True)) == [
        CallerStep(say="a table", pause_ms=600),
        CallerStep(sound="cough", barge_in_ms=1000),
        CallerStep(say="eight", barge_in_ms=2000),
        CallerStep(pause_ms=3000, after="now"),
        CallerStep(say="bye", after="now"),
        CallerStep(dtmf="1#", pause_ms=500, after="now"),
        CallerStep(wait_for_end=True),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tools: {look: hangs}\n", "`tools`: given answers exist in virtual time only"),
        ("network: {loss: 1%}\n", "`network`: loopback has no bad lines"),
        ("twilio: [loses marks]\n", "`twilio: loses marks` exists in virtual time only"),
        ("vapi: [talks on]\n", "`vapi: talks on` exists in virtual time only"),
    ],
)
def test_what_is_not_played(folder: Path, text: str, says: str) -> None:
    """It is told, and counts neither as passed nor as failed."""
    file = loaded(folder, "scenario: x\n" + text + END)
    with pytest.raises(NotForReal, match=says):
        refuse_what_cannot_be(file.scenario)
    assert play_real(file).not_played == says


def test_the_agent_of_the_twins(folder: Path, tmp_path: Path) -> None:
    """The agent's own file, with the scenario's words in it; the recogniser knows whole sentences only."""
    text = """scenario: x
caller: [{says: I would like a table please}]
vapi: [{greets: Hello you}, {hears: nine, says: At nine then.}]
"""
    path = agent_file(loaded(folder, text + END), tmp_path)
    agent = load_agent(path).agent
    assert (agent.assistant or {})["firstMessage"] == "Hello you"
    assert [reply.hear for reply in agent.twin.replies[:2]] == [["nine"], ["a table", "I would like a table please"]]
    assert set(load_agent(path).toolbox.tools) == {"look", "book"}
    assert yaml.safe_load(path.read_text("utf-8"))["name"] == yaml.safe_load(AGENT)["name"]


def test_the_backend_of_the_twins(tmp_path: Path) -> None:
    """It stands beside the agent's own file, not beside the one that is played."""
    (tmp_path / "desk").mkdir()
    beside = desk(tmp_path / "desk")
    (beside / "backend.py").write_text("app = None\n", encoding="utf-8")
    agent = beside / "agent.yaml"
    data = yaml.safe_load(agent.read_text("utf-8"))
    agent.write_text(yaml.safe_dump({**data, "twin": {**(data.get("twin") or {}), "backend": "backend.py"}}), "utf-8")
    text = "scenario: x\ncaller: [{says: hello}]\nvapi: [{greets: Hello you}]\n"
    (tmp_path / "played").mkdir()
    path = agent_file(loaded(beside, text + END), tmp_path / "played")
    assert load_agent(path).agent.twin.backend == str(beside / "backend.py")


def record(seq: int, kind: Kind, name: str, /, **data: Any) -> Record:
    return Record("call-1", seq, seq * 1000.0, 0.0, kind, name, data)


CALL = RealCall(
    [
        record(0, Kind.OPENED, "Opened"),
        record(1, Kind.PHASE, "listening", **{"from": "connecting"}),
        record(2, Kind.EVENT, "ToolRequested", name="look", arguments={"party": 2}),
        record(3, Kind.NOTE, "AgentHeard", text="We have one at six"),
        record(4, Kind.PHASE, "ended", **{"from": "listening"}),
        record(5, Kind.CLOSED, "Closed", outcome="completed", reason="stop"),
    ],
    {"ended_by": "caller", "barge_ins": [{"onset_ms": 100.0, "silent_ms": 170.0, "stale_ms": 0}]},
    "good evening we have one",
)


@pytest.mark.parametrize(
    ("entry", "verdict"),
    [
        ("phases: [connecting, listening, ended]", True),
        ("phases: [connecting, ended]", False),
        ("{tool: look, called: once, with: {party: 2}}", True),
        ("{tool: look, called: twice}", False),
        ("{ends: completed, by: the caller}", True),
        ("ends: handed over", False),
        ("lasts at most: 6s", True),
        ("lasts at most: 4s", False),
        ("heard: good evening", True),
        ("heard: one at six", True),
        ("heard: at nine", False),
        ("not heard: at nine", True),
        ("not heard: good evening", False),
        ("silent within: 80ms", True),
        ("silent within: 60ms", False),
        ("{silent within: 80ms, after: cut in 2}", False),
        ("never: stale audio", True),
        ("{silent within: 80ms, after: cough}", "the twin measures cut-ins only"),
        ("{heard: good evening, times: 1}", "a recogniser tells words, not their moments"),
        ("{tool: look, runs: once}", "how often a tool ran is not in the journal"),
        ("never: two voices", "only a world in virtual time knows it"),
        ("silence at most: 2s", "only a world in virtual time knows it"),
        ("twiml: <Say", "only a world in virtual time knows it"),
    ],
)
def test_what_is_judged(folder: Path, entry: str, verdict: bool | str) -> None:
    """By the journal, the recording and the twin's tap; the rest is skipped with its reason."""
    text = f"scenario: x\ncaller: [{{cuts in: a}}, {{cuts in: b}}, coughs]\nexpect:\n  - {entry}\n"
    scenario = loaded(folder, text).scenario
    (one,) = scenario.expect
    found = judge(one, scenario, CALL)
    if isinstance(verdict, str):
        assert found.ok and found.skipped == verdict
    else:
        assert (found.ok, found.skipped) == (verdict, ""), found.happened


@pytest.mark.slow
def test_with_real_speech(folder: Path) -> None:
    """One short call over real sockets: the greeting is heard, goodbye is understood, the agent hangs up."""
    text = """scenario: x
caller: [{says: goodbye}]
vapi: [{greets: Welcome to the garden bistro}, {hears: goodbye, says: Thank you for calling, hangs up: true}]
expect:
  - heard: welcome to the garden bistro
  - understood: goodbye
  - heard: thank you for calling
  - phases: [connecting, listening, speaking, …, ended]
  - ends: completed
    by: the agent
  - never: dead air
"""
    outcome = play_real(load_scenario(written(folder, text), ROOT / "specs" / "agents" / "bistro"))
    assert outcome.trouble == "" and outcome.not_played == ""
    assert [(one.expected, one.happened) for one in outcome.failures] == []
    assert [one.skipped for one in outcome.findings].count("") == 5
