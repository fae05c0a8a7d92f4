"""Scenario files as people write them: each fault with its place and the nearest right word; they can be written."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import scenario as s
from engine.errors import BadSettings
from tests.scenarios.playing import BISTRO, desk, faults, loaded, written
from web.scenario_file import find_scenarios, load_scenario, write_scenario

END = "expect: [{ends: completed}]\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return desk(tmp_path_factory.mktemp("desk"))


ONE_FAULT = [
    ("sed: 4\n", "2:1: `sed` is not known here; did you mean `seed`?"),
    ("caller: [{say: x}]\n", "2:11: `say` is not known here; did you mean `says`?"),
    ("caller: [hang up]\n", "2:10: 'hang up' is not known here; did you mean `hangs up`?"),
    ("caller: [{xyzzy: x}]\n", "2:10: `xyzzy` is not known here; known are says, cuts in, murmurs, coughs"),
    ("caller: [says]\n", "2:10: `says` needs more: write `says: …`"),
    ("caller:\n  - coughs: 3s\n", "`coughs` takes nothing behind its colon; its moment goes on the next line"),
    ("caller: [{coughs: , into: 900}]\n", "`into` must be a time like 60ms, 2s or 1.5m, not 900"),
    ("caller: [{coughs: , into: soon}]\n", "`into` must be a time like 60ms, 2s or 1.5m, not 'soon'"),
    ("caller: [{coughs: , in: 1s}]\n", "`in` is not known here; did you mean `into`?"),
    ("caller: [{says: x, coughs: }]\n", "`says` and `coughs` are two entries: begin a line with `- coughs`"),
    ("caller: [{says: x, after: 1s, at: 1s}]\n", "2:35: `after` and `at` are two moments: keep one"),
    ("caller: [{says: x, pause: 1s}]\n", "2:27: `pause` counts from the caller's own last move, and this is the first"),
    ("caller: [{says: x, after hearing: y, into: 1s}]\n", "2:44: `after hearing` says when; beside it only `after`"),
    ("caller: [{says: ''}]\n", "`says` must not be empty"),
    ("caller: [{says: 8}]\n", 'must be a text: YAML reads 8 as 8, so write "8" with its quotes'),
    ("caller: [{presses: 12a}]\n", "`presses` must look like ^[0-9*#]{1,32}$, not '12a'"),
    ("caller: {says: x}\n", "`caller` must be a list, not a mapping"),
    ("caller: [says x]\n", "'says x' is not known here; did you mean `says`?"),
    ("caller: [[says]]\n", "must be a mapping, not a list"),
    ("vapi: [{hears: x, call: look}]\n", "`call` is not known here; did you mean `calls`?"),
    ("vapi: [{hears: x, calls: lock}]\n", "2:26: agent 'desk' has no tool `lock`; did you mean `look`?"),
    ("vapi: [{hears: x, says: 'y {result}'}]\n", "`{result}` is what a tool answered, and no tool is called"),
    ("vapi: [{hears: x, with: {a: 1}}]\n", "`with` holds the arguments of `calls`, which is not here"),
    ("vapi: [{hears: '?'}]\n", "'?' holds no word"),
    ("vapi: [drops the line]\n", "`drops the line` needs `at`: write `drops the line:` and below it `at: …`"),
    ("vapi: [{drops the line: }]\n", "`at` is missing here"),
    ("vapi: [{is sure: 0.4}]\n", "`is sure` must be a share like 1%, not 0.4"),
    ("vapi: [{is sure: 140%}]\n", "`is sure` must be from 0 to 100, not 140"),
    ("network: {jiter: 1s}\n", "`jiter` is not known here; did you mean `jitter`?"),
    ("jitter: 40ms\n", "2:1: `jitter` is not known here; it belongs in `network:`"),
    ("into: 40ms\n", "`into` is not known here; it belongs beside `says:` in `caller:`"),
    ("network: {echo: 20}\n", "`echo` must be a loudness like 20dB, not 20"),
    ("network: {webhooks: thrice}\n", "must be one of once, twice, not 'thrice'"),
    ("tools: {lock: hangs}\n", "agent 'desk' has no tool `lock`; did you mean `look`?"),
    ("tools: {look: {answer: x}}\n", "`answer` is not known here; did you mean `answers`?"),
    ("tools: {look: hang}\n", "'hang' is not known here; did you mean `hangs`?"),
    ("clock: noon\n", "`clock` must look like"),
    ("agent: ../nowhere\n", "2:8: agent file"),
    ("seed: -1\n", "`seed` must be from 0 to"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "says"), ONE_FAULT, ids=[text for text, _ in ONE_FAULT])
def test_a_fault_has_its_place(folder: Path, text: str, says: str) -> None:
    """Line, column, what is wrong and what would be right; and nothing else is complained of."""
    (told,) = faults(folder, "scenario: x\n" + text + END)
    assert says in told
    assert re.match(r"\d+:\d+: .* \(at `\$.*`\)$", told)


IN_EXPECT = [
    ("never: two voice", "not 'two voice'; did you mean `two voices`?"),
    ("phases: [conecting]", "did you mean `connecting`?"),
    ("tool: lock", "agent 'desk' has no tool `lock`; did you mean `look`?"),
    ("{tool: look, called: thrice}", "`called` must be one of never, once, twice, not 'thrice'"),
    ("{tool: look, call: once}", "`call` is not known here; did you mean `called`?"),
    ("silent within: 60ms", "3:5: `after: cut in`, but the caller never does what `cuts in` says"),
    ("{silent within: 60ms, after: words 2}", "3:34: `after: words 2`, but the caller does once what `says` says"),
    ("{silent within: 60ms, after: sneeze}", "must look like"),
    ("{heard: x, jitter: 4}", "`jitter` is not known here; it belongs in `network:`"),
    ("ends", "`ends` needs more: write `ends: …`"),
    ("{}", "an empty entry is not known here"),
]


@pytest.mark.parametrize(("entry", "says"), IN_EXPECT, ids=[text for text, _ in IN_EXPECT])
def test_a_fault_in_what_is_expected(folder: Path, entry: str, says: str) -> None:
    """A misspelt expectation would hold for ever."""
    (told,) = faults(folder, f"scenario: x\nexpect:\n  - {entry}\ncaller: [{{says: hello}}]\n")
    assert says in told


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "1:1: Expected `object` with `scenario:` and more, got nothing"),
        ("scenario: x\n", "1:1: `expect` is missing here"),
        ("scenario: x\nexpect: []\n", "`expect` must not be an empty list"),
        ("scenario: [", "this is not YAML"),
        ("scenario: x\nexpect: [{heard: a: b}]", "but got ':'; quote texts that hold"),
        ("scenario: x\nscenario: y\n" + END, "2:1: `scenario` is here twice; the first is in line 1"),
    ],
)
def test_a_file_that_is_no_scenario(folder: Path, text: str, says: str) -> None:
    """Its place too, as far as it has one."""
    assert any(says in told for told in faults(folder, text))


def test_all_faults_at_once(folder: Path) -> None:
    """In the order of the file."""
    text = "scenario: x\nsed: 1\ncaller:\n  - say: x\n  - coughs: 3s\nexpect:\n  - never: two voice\n  - herd: x\n"
    told = faults(folder, text)
    assert [int(one.split(":")[0]) for one in told] == [2, 4, 5, 7, 8]


def test_no_agent_anywhere(tmp_path: Path) -> None:
    """The file says which one, or lies beside or below one."""
    (told,) = faults(tmp_path, "scenario: x\n" + END)
    assert "`agent` is missing here: no agent.yaml beside or above this file" in told


def test_the_agent_above(folder: Path) -> None:
    """Scenarios in a folder below the agent need not name it."""
    below = folder / "calls" / "bad"
    below.mkdir(parents=True, exist_ok=True)
    file = load_scenario(written(below, "scenario: x\n" + END))
    assert file.loaded.agent.name == "desk"


@pytest.mark.parametrize("path", find_scenarios([BISTRO]), ids=lambda path: path.name)
def test_what_is_written_is_read_back(tmp_path: Path, path: Path) -> None:
    """The storm and `calls export` write files that people can go on with."""
    scenario = load_scenario(path).scenario
    text = write_scenario(scenario, comment="found by the storm\nseed 7")
    assert text.startswith("# found by the storm\n# seed 7\nscenario: ")
    again = written(tmp_path, text)
    assert load_scenario(again, BISTRO.parents[1] / "agents" / "bistro").scenario == scenario


def test_every_word_is_written_and_read_back(folder: Path) -> None:
    """Units and heads of all steps, with values that are not the usual ones."""
    text = """
    scenario: x
    seed: 9
    clock: "2026-01-01 23:30"
    caller: [{says: a, for: 1.25s}, {makes noise: 120ms, pause: 0ms}, {waits: 90s}, {murmurs: mm-hm, at: 61s}]
    vapi: [{is sure: 42.5%}, {sends: {type: x}, at: 3.1s}, {hears: [a, b], says: c, hangs up: true}, {greets: ""}]
    twilio: [never comes back, {plays late: 150ms}]
    network: {echo: 20dB, loss: 0.5%}
    tools: {look: {answers: {free: [1, 2]}, after: 1ms}, book: crashes}
    expect: [{journal: X, with: {a: {b: 1}}, times: 0}, {never: dead air}, {tool: look, called: 3}]
    """
    scenario = loaded(folder, text).scenario
    assert load_scenario(written(folder, write_scenario(scenario), "two")).scenario == scenario
    assert scenario.network.echo_db == 20.0 and scenario.caller[0] == s.Says(says="a", for_ms=1250.0)


def test_folders(tmp_path: Path) -> None:
    """All below, but nothing hidden; a folder without any is somebody's mistake."""
    for name in ("b", "a", ".venv"):
        (tmp_path / name).mkdir()
        written(tmp_path / name, "scenario: x\n")
    assert [path.parent.name for path in find_scenarios([tmp_path])] == ["a", "b"]
    with pytest.raises(BadSettings, match=r"there is no .*xyzzy"):
        find_scenarios([tmp_path / "xyzzy"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadSettings, match=r"no \*\.scenario\.yaml in"):
        find_scenarios([tmp_path / "empty"])


WORDS = st.sampled_from(
    [
        "scenario",
        "caller",
        "expect",
        "says",
        "coughs",
        "at",
        "1s",
        "never",
        "yes",
        "~",
        "1",
        "x",
        "'",
        "&a",
        "*a",
        "<<",
        "!t",
    ]
)
TANGLES = st.recursive(
    WORDS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda some: f"[{', '.join(some)}]"),
        st.dictionaries(inner, inner, max_size=4).map(
            lambda some: f"{{{', '.join(f'{key}: {value}' for key, value in some.items())}}}"
        ),
    ),
    max_leaves=12,
)


@given(st.one_of(TANGLES, TANGLES.map(lambda one: f"scenario: x\ncaller: {one}\nexpect: {one}\n")))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_whatever_stands_there(folder: Path, text: str) -> None:
    """A scenario, or what is wrong with it; never another exception."""
    path = written(folder, text, "tangle")
    try:
        file = load_scenario(path)
    except BadSettings as problem:
        assert str(path) in str(problem)
    else:
        assert isinstance(file.scenario, msgspec.Struct)
