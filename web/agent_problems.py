"""Every fault of an agent file at once, each with its line and column. Knows YAML nodes and types, no files.

`Reader` walks any struct of types; `web.scenario_file` reads scenarios with it.

The types are `engine.agent`'s, read with `msgspec.inspect`: a new policy key needs nothing here. What several values
mean together is in `web.agent_rules`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import msgspec
import yaml
from msgspec import inspect as types

from actors.hidden import HIDDEN
from engine.agent import Agent
from web.agent_env import Missing, resolve

NOTHING_GOOD = object()
_NULL, _STRING, _MERGE = "tag:yaml.org,2002:null", "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
_MOST_QUOTED = 40


@dataclass(frozen=True, order=True, slots=True)
class Fault:
    """One thing to put right. `line` and `column` count from 1; `at` is msgspec's path: `$.turns.voice_ms`."""

    line: int
    column: int
    at: str
    what: str

    def __str__(self) -> str:
        return f"{self.line}:{self.column}: {self.what} (at `{self.at}`)"


@dataclass
class Reading:
    """An agent file, read: what is good in it, what is not, and where everything stands."""

    faults: list[Fault] = field(default_factory=list)
    data: Any = None  # what stood there; what is wrong is left out, or "?" where there must be something
    nodes: dict[str, yaml.Node] = field(default_factory=dict)
    wrong: set[str] = field(default_factory=set)
    lines: tuple[str, ...] = ()
    raw: dict[int, str] = field(default_factory=dict)  # by the node's id: what stood there before it was filled in

    def written(self, at: str) -> str:
        """The text of one value as the file has it, its references unfilled."""
        node = self.nodes[at]
        return self.raw.get(id(node)) or str(node.value)

    def complain(self, node: yaml.Node, at: str, what: str) -> None:
        """Note a fault where a node begins."""
        mark = node.start_mark
        self.wrong.add(at)
        self.faults.append(Fault(mark.line + 1, mark.column + 1, at, HIDDEN.out_of(what)))

    def complain_of(self, paths: tuple[str, ...], what: str) -> None:
        """Note a fault of values together, at the first that the file gives. No word if one of them is wrong itself."""
        given = [at for at in paths if at in self.nodes]
        if given and not self.wrong.intersection(paths):
            self.complain(self.nodes[given[0]], given[0], what)


def read(text: str, env: Mapping[str, str] | None = None) -> Reading:
    """What an agent file says, and what of it does not fit `Agent`.

    Args:
        env: what its references may name; None leaves them as they stand.

    Raises:
        yaml.YAMLError: no YAML; its mark says where.
    """
    loader = yaml.SafeLoader(text)
    try:
        return Reader(loader, Agent, "name", text=text, env=env).read()
    finally:
        loader.dispose()


class Reader:
    """Walks nodes and types side by side.

    Args:
        root: what the file holds; its first key is named where the file holds nothing.
        env: what `${…}` may name (`web.agent_env`); None leaves it as it stands. `text` is then the whole file.
    """

    def __init__(
        self,
        loader: yaml.SafeLoader,
        root: type[msgspec.Struct],
        first: str,
        *,
        text: str = "",
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._loader, self._root, self._first, self._text, self._env = loader, root, first, text, env
        self._found = Reading(lines=tuple(text.splitlines()))

    def read(self) -> Reading:
        found = self._found
        root = self._loader.get_single_node()
        if not isinstance(root, yaml.MappingNode):
            got = "nothing" if root is None or root.tag == _NULL else shown(root)
            found.faults.append(Fault(1, 1, "$", f"Expected `object` with `{self._first}:` and more, got {got}"))
            return found
        self._find_twins(root, set())
        if self._env is not None:
            self._fill_in(root, set(), "$", self._env)
        found.data = self._value(root, types.type_info(self._root), "$")
        return found

    def _find_twins(self, node: yaml.Node, seen: set[int], at: str = "$") -> None:
        """A key that stands twice: YAML would silently take the last."""
        if id(node) in seen:  # an alias, perhaps of what it stands in
            return
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self._find_twins(item, seen, f"{at}[{index}]")
        elif isinstance(node, yaml.MappingNode):
            first: dict[str, yaml.Node] = {}
            for key, value in node.value:
                name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
                if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                    key.tag = _STRING  # `on:` of a hook is no truth value: keys are texts in all that we send
                if name in first and name != "<<":
                    line = first[name].start_mark.line + 1
                    self._found.complain(key, f"{at}.{name}", f"`{name}` is here twice; the first is in line {line}")
                elif name:
                    first[name] = key
                self._find_twins(value, seen, f"{at}.{name}")

    def _fill_in(self, node: yaml.Node, seen: set[int], at: str, env: Mapping[str, str]) -> None:
        """Fill in the references of every text; those that mean nothing are faults."""
        if id(node) in seen:
            return
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self._fill_in(item, seen, f"{at}[{index}]", env)
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                name = key.value if isinstance(key, yaml.ScalarNode) else "?"
                self._fill_in(value, seen, f"{at}.{name}", env)
        elif node.tag == _STRING and "${" in node.value:
            found = resolve(node.value, env)
            HIDDEN.add(found.secrets)
            for one in found.missing:
                self._complain_inside(node, at, one)
            self._found.raw[id(node)] = node.value
            node.value = found.text

    def _complain_inside(self, node: yaml.Node, at: str, missing: Missing) -> None:
        """A fault where a reference begins, however many lines the text has."""
        self._found.wrong.add(at)
        begins = node.value[missing.offset :].split("}")[0].split()[0]
        index = first = node.start_mark.index
        for _ in range(node.value[: missing.offset].count(begins) + 1):
            index = self._text.find(begins, index, node.end_mark.index) + 1
            if not index:  # folded in its middle, or written with escapes
                break
        index = index - 1 if index else first
        line = self._text.count("\n", 0, index) + 1
        column = index - self._text.rfind("\n", 0, index)
        self._found.faults.append(Fault(line, column, at, missing.what))

    def _value(self, node: yaml.Node, wanted: types.Type, at: str) -> Any:
        """What a node holds, or `NOTHING_GOOD`, with the fault noted."""
        self._found.nodes[at] = node
        match wanted:
            case types.UnionType():
                if node.tag == _NULL and any(isinstance(one, types.NoneType) for one in wanted.types):
                    return None
                return self._value(node, _fitting(node, wanted), at)
            case types.StructType():
                return self._struct(node, wanted, at)
            case types.DictType():
                return self._dict(node, wanted, at)
            case types.VarTupleType() | types.ListType():
                return self._list(node, wanted, at)
            case types.AnyType():
                self._remember(node, at, set())
                return self._constructed(node, at)
            case _:
                return self._one_line(node, wanted, at)

    def _one_line(self, node: yaml.Node, wanted: types.Type, at: str) -> Any:
        raw = self._found.raw.get(id(node))
        if raw is not None:
            if at in self._found.wrong:
                return NOTHING_GOOD
            if getattr(node, "style", "") is None and not isinstance(wanted, types.StrType | types.LiteralType):
                # `${MOST_CALLS:-50}`: what is filled in is a number, as if it had been written there
                tag = self._loader.resolve(yaml.ScalarNode, node.value, (True, False))  # type: ignore[no-untyped-call]
                node = yaml.ScalarNode(tag, node.value, node.start_mark, node.end_mark)
        value = self._constructed(node, at)
        fault = None if value is NOTHING_GOOD else misfit(node, value, wanted)
        if not fault:
            return value
        if raw is not None:  # what is filled in may be a secret
            fault = f"{fault.partition(', not ')[0]}; what {raw} stands for does not fit"
        self._found.complain(node, at, f"{last(at)} {fault}")
        return NOTHING_GOOD

    def _remember(self, node: yaml.Node, at: str, above: set[int]) -> None:
        """Where everything stands inside a value of any form."""
        self._found.nodes[at] = node
        if id(node) in above:
            return
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self._remember(item, f"{at}[{index}]", {*above, id(node)})
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode):
                    self._remember(value, f"{at}.{key.value}", {*above, id(node)})

    def _struct(self, node: yaml.Node, wanted: types.StructType, at: str) -> Any:
        if (pairs := self._pairs(node, at)) is None:
            return NOTHING_GOOD
        fields = {one.encode_name: one for one in wanted.fields}
        good: dict[str, Any] = {}
        for name, (key, value) in pairs.items():
            if name not in fields:
                self._found.complain(key, f"{at}.{name}", f"`{name}` is not known here; {self._instead(name, fields)}")
                continue
            held = self._value(value, fields[name].type, f"{at}.{name}")
            if held is not NOTHING_GOOD:
                good[name] = held
        for name in [one.encode_name for one in wanted.fields if one.required]:
            if name not in pairs:
                self._found.complain(node, f"{at}.{name}", f"`{name}` is missing here")
            if name not in good:
                good[name] = "?" if isinstance(fields[name].type, types.StrType) else ["?"]
        return good

    def _instead(self, name: str, fields: dict[str, types.Field]) -> str:
        return _instead(name, fields)

    def _dict(self, node: yaml.Node, wanted: types.DictType, at: str) -> Any:
        if (pairs := self._pairs(node, at)) is None:
            return NOTHING_GOOD
        held = {name: self._value(value, wanted.value_type, f"{at}.{name}") for name, (_, value) in pairs.items()}
        return {name: value for name, value in held.items() if value is not NOTHING_GOOD}

    def _pairs(self, node: yaml.Node, at: str) -> dict[str, tuple[yaml.Node, yaml.Node]] | None:
        if not isinstance(node, yaml.MappingNode):
            self._found.complain(node, at, f"{last(at)} must be a mapping, not {shown(node)}")
            return None
        self._loader.flatten_mapping(node)  # `<<: *defaults`
        pairs: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                pairs[key.value] = (key, value)
            else:
                self._found.complain(key, at, f"{last(at)}: a key must be one word, not {shown(key)}")
        return pairs

    def _list(self, node: yaml.Node, wanted: types.VarTupleType | types.ListType, at: str) -> Any:
        if not isinstance(node, yaml.SequenceNode):
            example = ""
            if isinstance(node, yaml.ScalarNode) and node.value:
                example = f': write ["{node.value}"]' if node.tag == _STRING else f": write [{node.value}]"
            self._found.complain(node, at, f"{last(at)} must be a list, not {shown(node)}{example}")
            return NOTHING_GOOD
        if len(node.value) < (wanted.min_length or 0):
            self._found.complain(node, at, f"{last(at)} must not be an empty list")
            return NOTHING_GOOD
        held = [self._value(item, wanted.item_type, f"{at}[{index}]") for index, item in enumerate(node.value)]
        if isinstance(wanted.item_type, types.StrType):  # the others keep their places
            return ["?" if value is NOTHING_GOOD else value for value in held]
        return NOTHING_GOOD if NOTHING_GOOD in held else held

    def _constructed(self, node: yaml.Node, at: str) -> Any:
        try:
            return self._loader.construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError, TypeError) as problem:
            why = getattr(problem, "problem", None) or str(problem)
            self._found.complain(node, at, f"{last(at)} cannot be read: {why}")
            return NOTHING_GOOD


def _fitting(node: yaml.Node, wanted: types.UnionType) -> types.Type:
    """Which of several types a node is meant to be: by its form, for a complaint about the right one."""
    choices = [one for one in wanted.types if not isinstance(one, types.NoneType)]
    lists, mappings = (types.VarTupleType, types.ListType), (types.StructType, types.DictType)
    if isinstance(node, yaml.SequenceNode):
        return next((one for one in choices if isinstance(one, lists)), choices[0])
    if isinstance(node, yaml.MappingNode):
        return next((one for one in choices if isinstance(one, mappings)), choices[0])
    return next((one for one in choices if not isinstance(one, (*lists, *mappings))), choices[0])


def misfit(node: yaml.Node, value: object, wanted: types.Type) -> str | None:
    """What is wrong with a value of one line, said after its name."""
    match wanted:
        case types.StrType():
            return _misfit_text(node, value, wanted)
        case types.LiteralType():
            if value in wanted.values:
                return None
            known = [str(one) for one in wanted.values]
            if isinstance(value, bool) and isinstance(node, yaml.ScalarNode) and node.value in known:
                return _unquoted(node, value)
            near = get_close_matches(str(value), known, n=1)
            return f"must be one of {', '.join(known)}, not {shown(node)}" + (
                f"; did you mean `{near[0]}`?" if near else ""
            )
        case types.BoolType():
            return None if isinstance(value, bool) else f"must be true or false, not {shown(node)}"
        case types.IntType():
            if isinstance(value, int) and not isinstance(value, bool):
                return _out_of_range(value, wanted)
            return f"must be a whole number, not {shown(node)}"
        case types.FloatType():
            if isinstance(value, int | float) and not isinstance(value, bool):
                return _out_of_range(value, wanted)
            return f"must be a number, not {shown(node)}"
    raise TypeError(f"no check for {wanted}")


def _misfit_text(node: yaml.Node, value: object, wanted: types.StrType) -> str | None:
    if not isinstance(value, str):
        is_plain = isinstance(node, yaml.ScalarNode) and node.tag != _NULL
        return _unquoted(node, value) if is_plain else f"must be a text, not {shown(node)}"
    if len(value) < (wanted.min_length or 0):
        return "must not be empty"
    if wanted.max_length is not None and len(value) > wanted.max_length:
        return f"must have at most {wanted.max_length} characters, not {len(value)}"
    if wanted.pattern is not None and not re.search(wanted.pattern, value):
        return f"must look like {wanted.pattern}, not {shown(node)}"
    return None


def _unquoted(node: yaml.Node, value: object) -> str:
    read_as = str(value).lower() if isinstance(value, bool) else str(value)
    return f'must be a text: YAML reads {node.value} as {read_as}, so write "{node.value}" with its quotes'


def _out_of_range(value: float, wanted: types.IntType | types.FloatType) -> str | None:
    over = wanted.gt is not None
    low, high = wanted.gt if wanted.gt is not None else wanted.ge, wanted.le
    fits = (low is None or (value > low if over else value >= low)) and (high is None or value <= high)
    if fits:
        return None
    hint = f"; {value:g} % is {value / 100:g}" if high == 1 and 1 < value <= 100 else ""
    if high is None:
        return f"must be at least {low:g}, not {value:g}"
    span = f"more than {low:g} and at most {high:g}" if over else f"from {low:g} to {high:g}"
    return f"must be {span}, not {value:g}{hint}"


def _instead(name: str, fields: dict[str, types.Field]) -> str:
    """The nearest right name, here or where else in the file it belongs."""
    homes = dict(_homes(types.type_info(Agent), ""))
    home = f"`{homes[name]}:`" if homes.get(name) else "the top of the file" if name in homes else ""
    near = (
        get_close_matches(name, fields, n=1, cutoff=0.8 if home else 0.6)
        or [one for one in fields if one.startswith(name)][:1]
    )
    if near:
        return f"did you mean `{near[0]}`" + (f", or does it belong in {home}?" if home else "?")
    if home:
        return f"it belongs in {home}"
    if far := get_close_matches(name, homes, n=1, cutoff=0.75):
        return f"did you mean `{far[0]}` of {homes[far[0]] or 'the top of the file'}?"
    return f"known are {', '.join(fields)}"


def _homes(wanted: types.Type, where: str) -> Iterator[tuple[str, str]]:
    """Every policy key with the section it stands in; the twin's script is no place for policy."""
    if isinstance(wanted, types.UnionType):
        wanted = next((one for one in wanted.types if isinstance(one, types.StructType)), wanted)
    if isinstance(wanted, types.StructType):
        for one in wanted.fields:
            if one.name != "twin":
                yield from _homes(one.type, f"{where}.{one.name}".lstrip("."))
                yield one.name, where


def last(at: str) -> str:
    name = at.rsplit(".", 1)[-1]
    return "the file" if name == "$" else f"`{name}`"


def shown(node: yaml.Node) -> str:
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if node.tag == _NULL:
        return "nothing"
    text = node.value if len(node.value) <= _MOST_QUOTED else node.value[:_MOST_QUOTED] + "…"
    return repr(text) if node.tag == _STRING else str(text)


def agent_of(reading: Reading) -> Agent | None:
    """The agent as far as it is good, for the rules that look at several values; None if too little is."""
    try:
        return msgspec.convert({"name": "?", **(reading.data or {})}, Agent)
    except msgspec.ValidationError:
        return None
