"""`specs/scenarios.md` and the types are one: each word with its true default, and no other; the examples work."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from msgspec import inspect as types

from engine.scenario import Network, Scenario
from tests.scenarios.playing import ROOT, desk, faults, written
from web.scenario_file import load_scenario
from web.scenario_play import play_file

PAGE = ROOT / "specs" / "scenarios.md"
TEXT = PAGE.read_text(encoding="utf-8")


def told() -> Iterator[tuple[str, str, str]]:
    """Section, word and default (where the section has one) of each row."""
    section = ""
    for line in TEXT.splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ").strip("`").lower()
        elif row := re.match(r"\| `([^`]+)` \| (.+)\|$", line):
            cells = [cell.strip() for cell in row[2].split(" | ")]
            assert len(max(cells, key=len)) > 8, f"{row[1]} has no meaning"
            yield section, row[1], cells[0]


def words_in(section: str) -> set[str]:
    return {word for where, word, _ in told() if where == section}


def keys_of(section: str) -> set[str]:
    """Every key that the types allow in a section."""
    root = types.type_info(Scenario)
    assert isinstance(root, types.StructType)
    wanted = next(one.type for one in root.fields if one.encode_name == section)
    if isinstance(wanted, types.VarTupleType):
        wanted = wanted.item_type
    elif isinstance(wanted, types.DictType):
        wanted = wanted.value_type
    structs = wanted.types if isinstance(wanted, types.UnionType) else (wanted,)
    return {field.encode_name for one in structs if isinstance(one, types.StructType) for field in one.fields}


@pytest.mark.parametrize("section", ["caller", "vapi", "twilio", "network", "tools"])
def test_every_word_of_a_section(section: str) -> None:
    """No more, no fewer."""
    assert words_in(section) == keys_of(section)


def test_every_word_of_what_is_expected() -> None:
    """The expectations, the words beside them, and the nevers."""
    from actors.scenario.nevers import NEVERS  # noqa: PLC0415

    assert words_in("expect") == keys_of("expect") | set(NEVERS)


@pytest.mark.parametrize(("section", "struct"), [("the file", Scenario), ("network", Network)])
def test_the_defaults_are_true(section: str, struct: type[msgspec.Struct]) -> None:
    """As a file would say them."""
    shown = {word: default for where, word, default in told() if where == section}
    assert set(shown) == {field.encode_name for field in msgspec.structs.fields(struct)}
    for field in msgspec.structs.fields(struct):
        default = shown[field.encode_name].strip("`")
        if field.required:
            assert default == "required"
            continue
        value: Any = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        wanted = msgspec.to_builtins(value)
        read = yaml.safe_load(default)
        if isinstance(read, str) and re.fullmatch(r"0(ms|%)", read):
            read = 0.0
        assert read == (list(wanted) if isinstance(wanted, tuple) else wanted), field.encode_name


TOOL = """
@tool(effect="read")
async def {name}(party: int = 2, time: str = "") -> str:
    \'\'\'{name}.\'\'\'
    return ""
"""
EXAMPLES = re.findall(r"```yaml\n(.+?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_examples_are_ones(tmp_path: Path, number: int) -> None:
    """Each can be copied; the agent of a reader has those tools, the one here is given them."""
    tools = "".join(TOOL.format(name=name) for name in ("check_availability", "send_sms", "book_table"))
    text = EXAMPLES[number].replace("agent: ../agents/bistro\n", "")
    if "scenario:" not in text:
        text = "scenario: x\n" + text
    if "expect:" not in text:
        text += "expect: [{ends: completed}]\n"
    if "caller:" not in text:
        text += "caller: [{says: x}, {cuts in: y}, {cuts in: z}]\n"
    desk(tmp_path, "name: x\ntools: tools.py\n", "from actors.tools import tool\n" + tools)
    assert faults(tmp_path, text) == []


def test_the_first_example_holds(tmp_path: Path) -> None:
    """The call at the top of the page goes as it says."""
    path = written(tmp_path, EXAMPLES[0])
    outcome = play_file(load_scenario(path, ROOT / "specs" / "agents" / "bistro"))
    assert [(one.expected, one.happened) for one in outcome.failures] == []
