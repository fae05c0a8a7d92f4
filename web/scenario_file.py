"""Reads scenario files: every fault at once, with line, column and the nearest right word. Writes them as well.

The types are `engine.scenario`'s; what they cannot say is in `web.scenario_rules`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec import inspect as types

from engine.errors import BadSettings
from engine.scenario import DECIBELS, DURATION, HEAD, PERCENT, Scenario, file_data
from web.agent_problems import NOTHING_GOOD, Reader, Reading, last, misfit, shown
from web.agents import LoadedAgent, load_agent
from web.scenario_rules import impossible

ENDING = ".scenario.yaml"
AGENT_FILE = "agent.yaml"
_PER_UNIT = {
    DURATION: {"ms": 1.0, "s": 1000.0, "m": 60_000.0},
    PERCENT: {"%": 1.0},
    DECIBELS: {"dB": 1.0, "db": 1.0},
}
_EXAMPLES = {DURATION: ("a time", "60ms, 2s or 1.5m"), PERCENT: ("a share", "1%"), DECIBELS: ("a loudness", "20dB")}
_NULL = "tag:yaml.org,2002:null"


@dataclass(frozen=True)
class ScenarioFile:
    """A scenario with the agent that it is played with."""

    path: Path
    scenario: Scenario
    loaded: LoadedAgent


def find_scenarios(paths: Sequence[Path]) -> list[Path]:
    """The scenario files that these paths name: files, and all that are in folders, in order.

    Raises:
        BadSettings: a path is not there, or a folder holds no scenario.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(_scenarios_in(path))
            if not inside:
                raise BadSettings(f"no *{ENDING} in {path}")
            found |= dict.fromkeys(inside)
        elif path.is_file():
            found[path] = None
        else:
            raise BadSettings(f"there is no {path}")
    return list(found)


def _scenarios_in(folder: Path) -> Iterator[Path]:
    """All below a folder, but not in hidden ones or in the parts of other projects."""
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "node_modules"]
        yield from (Path(where, name) for name in names if name.endswith(ENDING))


def load_scenario(path: Path, agent: Path | None = None) -> ScenarioFile:
    """What a scenario file describes, with its agent.

    Args:
        agent: to be played with instead of the one that the file names.

    Raises:
        BadSettings: no file, no YAML, faults: all of them, a line each, with file, line and column.
    """
    try:
        reading = read_scenario(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise BadSettings(f"scenario {path} cannot be read ({problem.strerror})") from problem
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise BadSettings(_not_yaml(path, problem)) from problem
    loaded = _agent_of(reading, path, agent)
    scenario = _typed(reading)
    if scenario is not None:
        for at, what in impossible(scenario, loaded):
            reading.complain_of((at,), what)
    if reading.faults or scenario is None or loaded is None:
        told = [f"{path}:{fault}" for fault in sorted(reading.faults)]
        raise BadSettings("\n".join([f"{len(told)} faults in {path}:", *told] if len(told) > 1 else told))
    return ScenarioFile(path, scenario, loaded)


def write_scenario(scenario: Scenario, *, comment: str = "") -> str:
    """A scenario as the text of a file, one that `load_scenario` takes."""
    told = "".join(f"# {line}\n" for line in comment.splitlines())
    return told + yaml.dump(file_data(scenario), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _Dumper(yaml.SafeDumper):
    """Lists are indented below their key, as people write them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


# --- reading ---------------------------------------------------------------------------------------------------------


def read_scenario(text: str) -> Reading:
    """What a scenario file says, and what of it does not fit.

    Raises:
        yaml.YAMLError: no YAML; its mark says where.
    """
    loader = yaml.SafeLoader(text)
    try:
        return _ScenarioReader(loader, Scenario, "scenario").read()
    finally:
        loader.dispose()


class _ScenarioReader(Reader):
    """Knows numbers with units, and structs that are told apart by one of their keys."""

    def _value(self, node: yaml.Node, wanted: types.Type, at: str) -> Any:
        match wanted:
            case types.Metadata(extra={"reads": str(unit)}):
                self._found.nodes[at] = node
                return self._measure(node, unit, wanted.type, at)
            case types.Metadata():
                return self._value(node, wanted.type, at)
            case types.NoneType():
                self._found.nodes[at] = node
                if node.tag != _NULL:
                    what = f"{last(at)} takes nothing behind its colon; its moment goes on the next line"
                    self._found.complain(node, at, what)
                    return NOTHING_GOOD
                return None
            case types.UnionType():
                return self._one_of(node, wanted, at)
        return super()._value(node, wanted, at)

    def _measure(self, node: yaml.Node, unit: str, wanted: types.Type, at: str) -> Any:
        per_unit, (kind, example) = _PER_UNIT[unit], _EXAMPLES[unit]
        text = node.value if isinstance(node, yaml.ScalarNode) else ""
        parts = re.fullmatch(rf"(\d+(?:\.\d+)?) ?({'|'.join(per_unit)})", text)
        if parts is None:
            self._found.complain(node, at, f"{last(at)} must be {kind} like {example}, not {shown(node)}")
            return NOTHING_GOOD
        value = round(float(parts[1]) * per_unit[parts[2]], 3)
        fault = misfit(node, value, wanted)
        if fault:
            self._found.complain(node, at, f"{last(at)} {fault}")
        return NOTHING_GOOD if fault else value

    def _one_of(self, node: yaml.Node, wanted: types.UnionType, at: str) -> Any:
        others = [one for one in wanted.types if not isinstance(one, types.NoneType)]
        structs = [one for one in others if isinstance(one, types.StructType)]
        if len(structs) > 1:
            return self._by_head(node, structs, at)
        if node.tag == _NULL and len(others) < len(wanted.types):
            self._found.nodes[at] = node
            return None
        if len(others) == 1:
            return self._value(node, others[0], at)
        lists = [one for one in others if isinstance(one, types.VarTupleType | types.ListType)]
        if lists:
            rest = next(one for one in others if one not in lists)
            return self._value(node, lists[0] if isinstance(node, yaml.SequenceNode) else rest, at)
        return self._scalar(node, others, at)

    def _scalar(self, node: yaml.Node, wanted: Sequence[types.Type], at: str) -> Any:
        """A word or a number: whichever fits."""
        self._found.nodes[at] = node
        value = self._constructed(node, at)
        if value is NOTHING_GOOD:
            return value
        faults = [misfit(node, value, one) for one in wanted]
        if None in faults:
            return value
        self._found.complain(node, at, f"{last(at)} {faults[0]}")
        return NOTHING_GOOD

    def _by_head(self, node: yaml.Node, structs: Sequence[types.StructType], at: str) -> Any:
        """The struct whose head word stands here; a head without a value may stand alone."""
        self._found.nodes[at] = node
        heads = {str(one.tag): one for one in structs}
        if isinstance(node, yaml.ScalarNode) and node.tag != _NULL:
            return self._lonely_head(node, heads, at)
        if (pairs := self._pairs(node, at)) is None:
            return NOTHING_GOOD
        known = [name for name in pairs if name in heads]
        if not known:
            near = next(filter(None, (get_close_matches(name, heads, n=1) for name in pairs)), [])
            key = next((pair[0] for name, pair in pairs.items() if near and get_close_matches(name, near)), node)
            hint = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(heads)}"
            name = f"`{key.value}`" if isinstance(key, yaml.ScalarNode) else ", ".join(f"`{one}`" for one in pairs)
            self._found.complain(key, at, f"{name or 'an empty entry'} is not known here; {hint}")
            return NOTHING_GOOD
        # `hears` holds a `says` as well: the head is the one whose struct knows the others.
        fitting = [name for name in known if {other.encode_name for other in heads[name].fields} >= set(known)]
        head = (fitting or known)[0]
        if not fitting:
            beside = next(name for name in known if name != head)
            at_beside = f"{at}.{beside}"
            what = f"`{head}` and `{beside}` are two entries: begin a line with `- {beside}`"
            self._found.complain(pairs[beside][0], at_beside, what)
            return NOTHING_GOOD
        held = self._struct(node, heads[head], at)
        return held if held is NOTHING_GOOD else {HEAD: head, **held}

    def _lonely_head(self, node: yaml.ScalarNode, heads: Mapping[str, types.StructType], at: str) -> Any:
        wanted = heads.get(node.value)
        if wanted is None:
            near = get_close_matches(node.value, heads, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(heads)}"
            self._found.complain(node, at, f"{shown(node)} is not known here; {hint}")
            return NOTHING_GOOD
        missing = [one.encode_name for one in wanted.fields if one.required]
        if missing:
            what = f"`{node.value}` needs more: write `{node.value}: …`"
            if missing != [node.value]:
                what = f"`{node.value}` needs `{missing[0]}`: write `{node.value}:` and below it `{missing[0]}: …`"
            self._found.complain(node, at, what)
            return NOTHING_GOOD
        return {HEAD: node.value, node.value: None}

    def _instead(self, name: str, fields: dict[str, types.Field]) -> str:
        near = get_close_matches(name, fields, n=1) or [one for one in fields if one.startswith(name)][:1]
        if near:
            return f"did you mean `{near[0]}`?"
        if home := next((where for word, where in _homes() if word == name), None):
            return f"it belongs {home}"
        return f"known are {', '.join(fields)}"


def _homes() -> Iterator[tuple[str, str]]:
    """Every word with where it may stand, for those who put it elsewhere."""
    root = types.type_info(Scenario)
    assert isinstance(root, types.StructType)
    for section in root.fields:
        inner = section.type
        if isinstance(inner, types.StructType):
            yield from ((one.encode_name, f"in `{section.encode_name}:`") for one in inner.fields)
            continue
        if isinstance(inner, types.VarTupleType):
            inner = inner.item_type
        elif isinstance(inner, types.DictType):
            inner = inner.value_type
        if isinstance(inner, types.UnionType):
            for one in inner.types:
                if isinstance(one, types.StructType):
                    for field in one.fields:
                        where = f"beside `{one.tag}:` in `{section.encode_name}:`"
                        yield (
                            field.encode_name,
                            f"in `{section.encode_name}:`" if field.encode_name == one.tag else where,
                        )
    for section in root.fields:
        yield section.encode_name, "at the left edge of the file"


def _typed(reading: Reading) -> Scenario | None:
    if reading.faults:
        return None
    try:
        return msgspec.convert(reading.data, Scenario)
    except msgspec.ValidationError as problem:  # a rule of the types that the walker does not know
        reading.complain(reading.nodes["$"], "$", str(problem))
        return None


def _agent_of(reading: Reading, path: Path, instead: Path | None) -> LoadedAgent | None:
    named = reading.data.get("agent", "") if isinstance(reading.data, dict) else ""
    if instead is not None:
        return load_agent(instead)
    if named:
        where = path.parent / named
    else:
        above = [folder / AGENT_FILE for folder in path.resolve().parents]
        where = next((one for one in above if one.is_file()), Path())
        if where == Path():
            if "$" in reading.nodes and "$.agent" not in reading.wrong:
                what = f"`agent` is missing here: no {AGENT_FILE} beside or above this file"
                reading.complain(reading.nodes["$"], "$.agent", what)
            return None
    try:
        return load_agent(where)
    except BadSettings as problem:
        if not named:
            raise
        reading.complain_of(("$.agent",), str(problem))
        return None


def _not_yaml(path: Path, problem: Exception) -> str:
    if isinstance(problem, yaml.MarkedYAMLError) and problem.problem_mark:
        mark = problem.problem_mark
        why = ", ".join(filter(None, (problem.context, problem.problem)))
        return f"{path}:{mark.line + 1}:{mark.column + 1}: this is not YAML: {why}; quote texts that hold `: ` or `#`"
    return f"scenario {path} is not YAML: {problem}"
