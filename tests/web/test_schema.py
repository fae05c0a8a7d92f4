"""The published JSON Schema: it says of form what `callscope check` says, and it explains every key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.web.test_check import ONE_FAULT
from web.agent_problems import read
from web.agent_schema import agent_schema, schema_text, undescribed
from web.agent_words import WORDS
from web.agents import example
from web.cli.check import check

ROOT = Path(__file__).parents[2]
SCHEMA = agent_schema()
JUDGE = jsonschema.Draft202012Validator(SCHEMA)
# What only YAML's own text shows, or the types of no JSON: a key twice, tags, an alias in itself, not-a-number.
NOT_OF_FORM = ("voice_ms: 40, voice_ms: 60", "!x y", "&a {a: *a}", "2024-13-45", ".nan", "? [a]")


def valid(data: object) -> bool:
    return bool(JUDGE.is_valid(data))


def test_it_is_a_schema_and_names_no_host() -> None:
    """By the draft's own schema."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert schema_text().endswith("}\n")


def test_every_key_is_explained() -> None:
    """No key without words, and no words without a key."""
    assert undescribed() == []
    schema: dict[str, Any] = SCHEMA
    structs = {"Agent": schema, **schema["$defs"]}
    there = {f"{name}.{key}" for name, struct in structs.items() for key in struct.get("properties", {})}
    shared = {f"ToolPolicy.{key.partition('.')[2]}" for key in there}
    assert set(WORDS) - there - shared == set()


def examples() -> list[Path]:
    return [example(), *(ROOT / "specs" / "agents").glob("*/agent.yaml"), ROOT / "web/scaffold/template/agent.yaml"]


@pytest.mark.parametrize("path", examples(), ids=str)
def test_every_example_is_valid(path: Path) -> None:
    """And check finds no fault of form in it."""
    text = path.read_text(encoding="utf-8").replace("{{name}}", "an-agent")
    assert list(JUDGE.iter_errors(yaml.safe_load(text))) == []
    assert read(text).faults == []


@pytest.mark.parametrize("text", [text for text, _ in ONE_FAULT if not any(one in text for one in NOT_OF_FORM)])
def test_faulty_files(text: str) -> None:
    """The schema refuses exactly those whose form check refuses; the rest only check can know."""
    text += "name: x\n"
    assert valid(yaml.safe_load(text)) is (read(text).faults == [])


def paths(schema: dict[str, Any], at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key of the file, at any depth; lists are entered at their first item."""
    for one in schema.get("anyOf", [schema]):
        found = SCHEMA["$defs"][one["$ref"].rsplit("/", 1)[-1]] if "$ref" in one else one
        for key, value in found.get("properties", {}).items():
            if (key, *at).count(key) < 2:
                yield (*at, key)
                yield from paths(value, (*at, key))


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 100_000),
    st.floats(-1, 100_000, allow_nan=False).filter(lambda x: x % 1),
    st.sampled_from(
        ["", "x", "finals", "vapi", "off", "+12025550123", "#", "21:00-07:00", "${SET}", "${SET:-x}", "40"]
    ),
    st.sampled_from([[], ["a"], [1], [""], {}, {"a": "b"}, {"say": "hello"}]),
)


@given(st.sampled_from(sorted(paths(SCHEMA))), VALUES)
def test_the_schema_and_check_agree(path: tuple[str, ...], value: object) -> None:
    """One value somewhere in the file: both say it fits, or both that it does not."""
    data: Any = value
    for key in reversed(path):
        data = {key: data}
    data = {"name": "x", **data}
    text = yaml.safe_dump(data)
    refers = isinstance(value, str) and value.startswith("${")
    faults = read(text, {}).faults if not refers else read(text).faults
    if refers and "must" in "".join(one.what for one in faults):
        return  # what the reference stands for decides, and the schema cannot know that
    assert valid(data) is (faults == []), (text, faults, [error.message for error in JUDGE.iter_errors(data)])


def test_references_fit_everywhere() -> None:
    """An editor must not complain of `${NAME}` where a number, a choice or a number of a phone belongs."""
    for text in (
        "limits: {concurrent_calls: '${MOST}'}",
        "turns: {act_on: '${A:-finals}', hold: '${B}'}",
        "fallback: {number: '${N}'}",
        "silence: {idle_prompts_s: ['${S}', 20]}",
    ):
        assert valid(yaml.safe_load("name: x\n" + text)), text
    assert not valid({"name": "x", "limits": {"concurrent_calls": "many"}})


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing beside it."""
    check(schema=True)
    assert capsys.readouterr().out == schema_text()
