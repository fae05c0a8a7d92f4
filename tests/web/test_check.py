"""`callscope check`: every fault of an agent file with its place and the nearest right name; the page that explains."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.agent import Agent, Digits, Keywords, Limits, Phrases, Silence, Turns
from engine.errors import BadSettings
from web.agents import LoadedAgent, example, load_agent
from web.assistant import Assistant, call_bodies
from web.cli.check import check
from web.settings import settings_from

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "specs" / "turn-taking.md"
SECTIONS: dict[str, type[msgspec.Struct]] = {
    "turns": Turns,
    "turns.phrases": Phrases,
    "turns.keywords": Keywords,
    "silence": Silence,
    "digits": Digits,
}


def faults(folder: Path, text: str) -> list[str]:
    """What is said about an agent file, a line each; nothing if it is fine."""
    path = folder / "agent.yaml"
    path.write_text(text, encoding="utf-8")
    try:
        load_agent(path)
    except BadSettings as problem:
        return [line.removeprefix(f"{path}:") for line in str(problem).splitlines() if not line.endswith("faults in")]
    return []


ONE_FAULT = [
    ("turns:\n  debounce: 5\n", "2:3: `debounce` is not known here; did you mean `debounce_ms`?"),
    ("turns:\n  hold: true\n  confidense: 1\n", "3:3: `confidense` is not known here; did you mean `confidence`?"),
    ("debounce_ms: 5\n", "1:1: `debounce_ms` is not known here; it belongs in `turns:`"),
    ("turns: {always_interrupt: [x]}\n", "1:9: `always_interrupt` is not known here; it belongs in `turns.phrases:`"),
    ("limits: {idle: 5}\n", "did you mean `idle_s`, or does it belong in `silence:`?"),
    ("digits: {xyzzy: 5}\n", "known are between_ms, end, most"),
    ("turns: {voice_ms: -40}\n", "1:19: `voice_ms` must be from 20 to 1000, not -40"),
    ("turns: {confidence: 70}\n", "1:21: `confidence` must be from 0 to 1, not 70; 70 % is 0.7"),
    ("turns: {confidence: .nan}\n", "must be from 0 to 1, not nan"),
    ("turns: {partial_chars: 2.5}\n", "must be a whole number, not 2.5"),
    ("turns: {voice_ms: true}\n", "must be a whole number, not true"),
    ("turns: {hold: 'no'}\n", "`hold` must be true or false, not 'no'"),
    ("limits: {idle_s: 0}\n", "must be more than 0 and at most 86400, not 0"),
    ("limits: {concurrent_calls: 0}\n", "must be at least 1, not 0"),
    ("turns:\n  confirm_ms: 1600\n", "2:15: `confirm_ms` (1600) must not be longer than `longest_hold_ms` (1500)"),
    ("turns:\n  longest_hold_ms: 100\n", "2:20: `confirm_ms` (900) must not be longer than `longest_hold_ms` (100)"),
    ("turns: {act_on: final}\n", "must be one of finals, partials, not 'final'; did you mean `finals`?"),
    ("turns: {phrases: {always_interrupt: stop}}\n", "1:37: `always_interrupt` must be a list, not 'stop': write [\""),
    ("turns: {phrases: {never_interrupt: {a: b}}}\n", "`never_interrupt` must be a list, not a mapping"),
    ("turns: {phrases: [stop]}\n", "`phrases` must be a mapping, not a list"),
    ("turns: {phrases: {never_interrupt: [ok, yes]}}\n", "1:41: `never_interrupt[1]` must be a text: YAML reads yes"),
    ("turns: {phrases: {never_interrupt: [ok, '']}}\n", "`never_interrupt[1]` must not be empty"),
    ("turns: {phrases: {never_interrupt: ['?']}}\n", "'?' holds no word"),
    ("turns: {phrases: {never_interrupt: [null]}}\n", "must be a text, not nothing"),
    ("turns: {uninterruptible: ['...']}\n", "'...' holds no word"),
    ("turns: {phrases: {always_interrupt: [A b], never_interrupt: [a B!]}}\n", "'a B!' is in `always_interrupt` too"),
    ("turns: {heard_again: [a b], heard_keep: [c, A-b]}\n", "1:45: 'A-b' is in `heard_again` too"),
    ("turns: {phrases: {languages: [en, xx]}}\n", "1:35: there are no lists for the language 'xx'"),
    ("turns: {phrases: {languages: [de-AT]}}\n", "did you mean `de`?"),
    ("turns: {keywords: {hours: '21:00-07:00'}}\n", "1:19: `words` is missing here"),
    ("turns: {keywords: {words: []}}\n", "`words` must not be an empty list"),
    ("turns: {keywords: {words: [x], hours: '25:00-7'}}\n", "1:39: `hours`: '25:00-7' is not like 21:00-07:00"),
    ("turns: {keywords: {words: [x], hours: 21:00}}\n", 'YAML reads 21:00 as 1260, so write "21:00" with its quotes'),
    ("turns: {keywords: {words: [x], timezone: Europe/Berln}}\n", "no timezone; did you mean `Europe/Berlin`?"),
    ("silence: {fillers: off}\n", 'YAML reads off as false, so write "off" with its quotes'),
    ("turns: {heard: off}\n", "must be one of again, keep, truncate, not off"),
    ("silence: {goodbye: []}\n", "`goodbye` must not be an empty list"),
    ("silence: {idle_prompts_s: 10}\n", "must be a list, not 10: write [10]"),
    ("silence: {idle_prompts_s: [10, 10]}\n", "1:32: `idle_prompts_s` must rise: 10 comes after 10"),
    ("silence: {idle_prompts_s: [10, 60]}\n", "no prompt at 60 s, since `limits.idle_s` ends the call at 60 s"),
    ("silence: {give_up_s: 0.4}\n", "1:22: `give_up_s` (0.4 s) is over before the filler"),
    ("silence: {files: {Okey.: x.wav}}\n", "'Okey.' is none of the lines; did you mean 'Okay.'?"),
    ("silence: {files: {Okay.: x.wav}}\n", "x.wav cannot be read (No such file or directory)"),
    ("silence: {files: {Okay.: agent.yaml}}\n", "agent.yaml: "),
    ("digits: {end: '##'}\n", "`end` must look like ^[0-9*#]?$, not '##'"),
    ("fallback: {number: 555-0100}\n", "must look like ^\\+[1-9][0-9]{6,14}$, not '555-0100'"),
    ("turns: {voice_ms: 40, voice_ms: 60}\n", "1:23: `voice_ms` is here twice; the first is in line 1"),
    ("twin: {replies: [{hear: [a], sey: b, say: c}]}\n", "1:30: `sey` is not known here; did you mean `say`?"),
    ("assistant: {}\nassistant_id: a\n", "2:15: give `assistant` or `assistant_id`, not both"),
    ("tools: none.py\n", "1:8: tools file "),
    ("limits: &l {idle_s: 5}\nsilence: {<<: *l}\n", "1:13: `idle_s` is not known here; did you mean `idle`, or"),
    ("assistant: {a: !x y}\n", "cannot be read: could not determine a constructor"),
    ("assistant: &a {a: *a}\n", "cannot be read: found unconstructable recursive node"),
    ("assistant: {a: 2024-13-45}\n", "cannot be read: month must be in 1..12"),
    ("? [a]\n: b\n", "1:3: the file: a key must be one word, not a list"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "says"), ONE_FAULT, ids=[text for text, _ in ONE_FAULT])
def test_a_fault_has_its_place(tmp_path: Path, text: str, says: str) -> None:
    """Line, column, what is wrong, what would be right; and nothing else is complained of."""
    (told,) = faults(tmp_path, text + "name: x\n")
    assert says in told
    assert re.match(r"\d+:\d+: .* \(at `\$.*`\)$", told)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "1:1: Expected `object` with `name:` and more, got nothing"),
        ("# nothing\n", "got nothing"),
        ("[name]", "got a list"),
        ("turns: {}\n", "1:1: `name` is missing here"),
        ("name: [", "1:8: this is not YAML: while parsing a flow node, expected the node content"),
        ("name: x\n\ta: b", "2:1: this is not YAML: "),
        ("name: x\n---\nname: y\n", "2:1: this is not YAML: expected a single document in the stream"),
        ("name: \x01", "this is not YAML: unacceptable character"),
    ],
)
def test_a_file_that_is_no_agent(tmp_path: Path, text: str, says: str) -> None:
    """Its place too, as far as it has one."""
    assert says in faults(tmp_path, text)[0]


def test_all_faults_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the order of the file, the wrong types beside the impossible values, one after the other."""
    text = """name: x
turns:
  debounce: 5
  confidence: 70
  phrases: {always_interrupt: stop, never_interrupt: [yes, ok], languages: [en, ger]}
  keywords: {words: [], hours: 25:00-7, timezone: Mars/Base}
  confirm_ms: 2000
silence: {idle_prompts_s: [10, 5], filler_after_ms: soon}
limits: {idle_s: never}
tools: none.py
"""
    path = tmp_path / "agent.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadSettings) as caught:
        check(path)
    head, *told = str(caught.value).splitlines()
    assert head == f"13 faults in {path}:"
    places = [re.match(rf"{re.escape(str(path))}:(\d+):(\d+): ", line) for line in told]
    assert [int(place[1]) for place in places if place] == [3, 4, 5, 5, 5, 6, 6, 6, 7, 8, 8, 9, 10]
    assert capsys.readouterr().out == ""


def test_no_fault_follows_from_another(tmp_path: Path) -> None:
    """A value that cannot be read is not compared with others."""
    (told,) = faults(tmp_path, "name: x\nturns: {confirm_ms: long, longest_hold_ms: 100}\n")
    assert "`confirm_ms` must be a whole number" in told
    (told,) = faults(tmp_path, "name: x\nlimits: {idle_s: long}\nsilence: {idle_prompts_s: [70]}\n")
    assert "`idle_s` must be a number" in told


def test_a_short_call_needs_no_other_prompts(tmp_path: Path) -> None:
    """The usual prompts after its end are nobody's fault."""
    assert faults(tmp_path, "name: x\nlimits: {idle_s: 15}\n") == []


def test_a_good_file_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The example's."""
    check()
    assert capsys.readouterr().out == f"{example()}: agent 'bistro' is fine; tools: check_availability\n"


def test_what_a_file_says_is_what_the_agent_has(tmp_path: Path) -> None:
    """Merged keys, whole numbers where fractions may be, nothing where nothing may be."""
    path = tmp_path / "agent.yaml"
    text = "name: x\ndigits: &d {between_ms: 900}\ntwin: {}\nturns: {longest_caller_s: 5, keywords: null}\n"
    path.write_text(text, encoding="utf-8")
    agent = load_agent(path).agent
    assert agent == Agent(name="x", digits=Digits(between_ms=900), turns=Turns(longest_caller_s=5.0))
    path.write_text("name: x\nassistant: {a: &a {b: [1, {c: null}]}, d: *a}\n", encoding="utf-8")
    assert load_agent(path).agent.assistant == {"a": {"b": [1, {"c": None}]}, "d": {"b": [1, {"c": None}]}}


def test_the_keys_of_an_assistant_are_texts(tmp_path: Path) -> None:
    """`on:` of a hook reads as true in YAML 1.1, and Vapi would be sent a key "true"."""
    path = tmp_path / "agent.yaml"
    path.write_text("name: x\nassistant: {hooks: [{on: call.ending, 1: y, ~: yes}]}\n", encoding="utf-8")
    assert load_agent(path).agent.assistant == {"hooks": [{"on": "call.ending", "1": "y", "~": True}]}


POLICY_KEYS = [
    (section, field.name)
    for section, struct in {**SECTIONS, "limits": Limits}.items()
    for field in msgspec.inspect.type_info(struct).fields  # type: ignore[attr-defined]
]


def nested(section: str, lines: list[str]) -> str:
    """Lines under their section, each section on a line of its own."""
    names = section.split(".")
    heads = [f"{'  ' * depth}{name}:" for depth, name in enumerate(names)]
    return "\n".join(["name: x", *heads, *(f"{'  ' * len(names)}{line}" for line in lines), ""])


@pytest.mark.parametrize(("section", "key"), POLICY_KEYS)
def test_every_key_with_a_wrong_value(tmp_path: Path, section: str, key: str) -> None:
    """No key takes a mapping of nonsense; its line is named, and its column."""
    depth = len(section.split("."))
    told = faults(tmp_path, nested(section, [f"{key}: {{nonsense: [1]}}"]))
    assert any(one.startswith(f"{depth + 2}:") and (key in one or "nonsense" in one) for one in told), told


@pytest.mark.parametrize(("section", "key"), POLICY_KEYS)
def test_every_key_misspelt(tmp_path: Path, section: str, key: str) -> None:
    """A doubled letter is seen through."""
    depth = len(section.split("."))
    told = faults(tmp_path, nested(section, [f"{key[:2]}{key[1:]}: 5"]))
    assert any(f"{depth + 2}:{2 * depth + 1}: " in one and f"did you mean `{key}`" in one for one in told), told


WORDS = st.sampled_from(
    ["name", "turns", "voice_ms", "phrases", "yes", "~", "1", "-1", ".inf", "x", "'", "&a", "*a", "<<", "!t"]
)


def _list(some: list[str]) -> str:
    return f"[{', '.join(some)}]"


def _mapping(some: dict[str, str]) -> str:
    return f"{{{', '.join(f'{key}: {value}' for key, value in some.items())}}}"


TANGLES = st.recursive(
    WORDS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(_list), st.dictionaries(inner, inner, max_size=4).map(_mapping)
    ),
    max_leaves=12,
)
FILES = st.one_of(
    TANGLES,
    st.text(max_size=60),
    TANGLES.map(lambda one: f"name: x\nturns: {one}\nsilence: {one}\n"),
    TANGLES.map(lambda one: f"name: x\nassistant: {{y: {one}}}\n"),
)


class TextKeys(yaml.SafeLoader):
    """YAML's keys may be truth values and numbers; in what we send they are texts, as they are written."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        self.flatten_mapping(node)
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                key.tag = "tag:yaml.org,2002:str"
        return super().construct_mapping(node, deep)


@given(FILES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_stands_there(tmp_path: Path, text: str) -> None:
    """An agent, or what is wrong with it; never another exception, and never a file with faults that loads."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    path = tmp_path / "agent.yaml"
    path.write_text(text, encoding="utf-8")
    try:
        loaded = load_agent(path)
    except BadSettings as problem:
        assert str(path) in str(problem)
    else:
        assert msgspec.convert(yaml.load(text, TextKeys), Agent) == loaded.agent  # noqa: S506 — a safe loader


def explained() -> Iterator[tuple[str, str, str]]:
    """Section, key and default of each row of the page."""
    section = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ").strip("`")
        elif section in SECTIONS and (row := re.match(r"\| `(\w+)` \| (.+?) \| (.+?) \|", line)):
            assert len(row[3]) > 15, f"{section}.{row[1]} has no meaning"
            yield section, row[1], row[2]


def test_the_page_explains_every_key() -> None:
    """With its true default, and no key that is not there."""
    wanted = {
        (section, field.name): "required" if field.required else msgspec.to_builtins(_default(field))
        for section, struct in SECTIONS.items()
        for field in msgspec.inspect.type_info(struct).fields  # type: ignore[attr-defined]
    }
    told = {(section, key): yaml.safe_load(default.strip("`")) for section, key, default in explained()}
    assert told == {key: list(value) if isinstance(value, tuple) else value for key, value in wanted.items()}


def _default(field: msgspec.inspect.Field) -> object:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def test_the_example_on_the_page_is_one(tmp_path: Path) -> None:
    """All but its recording is there."""
    (text,) = re.findall(r"```yaml\n(.+?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (told,) = faults(tmp_path, "name: x\n" + text)
    assert "si.wav cannot be read" in told


def test_vapi_is_told_the_keywords_of_the_hour(tmp_path: Path) -> None:
    """A call at night has a plan of its own; without hours, or with a plan in the file, none has."""
    given = {"TWILIO_ACCOUNT_SID": "AC1", "TWILIO_AUTH_TOKEN": "t", "VAPI_API_KEY": "k", "VAPI_SERVER_SECRET": "s"}
    service = settings_from({**given, "PUBLIC_URL": "https://calls.example.com"})
    noon = 1768478400.0

    def plan_at(
        epoch_s: float, *, extra: str = "", hours: str = "hours: '21:00-07:00', timezone: Europe/Berlin"
    ) -> Any:
        path = tmp_path / "agent.yaml"
        path.write_text(f"name: x\nassistant: {{{extra}}}\nturns: {{keywords: {{words: [help], {hours}}}}}\n", "utf-8")
        loaded: LoadedAgent = load_agent(path)
        body = call_bodies(service, loaded, Assistant("a"), wall_clock=lambda: epoch_s)("call-1", "+15550100")
        return body["assistantOverrides"].get("stopSpeakingPlan")

    assert plan_at(noon)["numWords"] == 1
    assert plan_at(noon + 8 * 3600)["numWords"] == 10
    assert plan_at(noon + 8 * 3600, extra="stopSpeakingPlan: {numWords: 2}") is None
    assert plan_at(noon + 8 * 3600, hours="") is None
