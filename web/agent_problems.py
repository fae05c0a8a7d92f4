"""Every fault of an agent file at once, each with its line and column. Knows YAML nodes and types, no files.

The types are `engine.agent`'s, read with `msgspec.inspect`: a new policy key needs nothing here. What several values
mean together is in `web.agent_rules`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import msgspec
import yaml
from msgspec import inspect as types

from engine.agent import Agent

_NOTHING_GOOD = object()
_NULL, _STRING = "tag:yaml.org,2002:null", "tag:yaml.org,2002:str"
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

    def complain(self, node: yaml.Node, at: str, what: str) -> None:
        """Note a fault where a node begins."""
        mark = node.start_mark
        self.wrong.add(at)
        self.faults.append(Fault(mark.line + 1, mark.column + 1, at, what))

    def complain_of(self, paths: tuple[str, ...], what: str) -> None:
        """Note a fault of values together, at the first that the file gives. No word if one of them is wrong itself."""
        given = [at for at in paths if at in self.nodes]
        if given and not self.wrong.intersection(paths):
            self.complain(self.nodes[given[0]], given[0], what)


def read(text: str) -> Reading:
    """What an agent file says, and what of it does not fit `Agent`.

    Raises:
        yaml.YAMLError: no YAML; its mark says where.
    """
    loader = yaml.SafeLoader(text)
    try:
        return _Reader(loader).read()
    finally:
        loader.dispose()


class _Reader:
    """Walks nodes and types side by side."""

    def __init__(self, loader: yaml.SafeLoader) -> None:
        self._loader, self._found = loader, Reading()

    def read(self) -> Reading:
        found = self._found
        root = self._loader.get_single_node()
        if not isinstance(root, yaml.MappingNode):
            got = "nothing" if root is None or root.tag == _NULL else _shown(root)
            found.faults.append(Fault(1, 1, "$", f"Expected `object` with `name:` and more, got {got}"))
            return found
        self._find_twins(root, set())
        found.data = self._value(root, types.type_info(Agent), "$")
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
                if name in first and name != "<<":
                    line = first[name].start_mark.line + 1
                    self._found.complain(key, f"{at}.{name}", f"`{name}` is here twice; the first is in line {line}")
                elif name:
                    first[name] = key
                self._find_twins(value, seen, f"{at}.{name}")

    def _value(self, node: yaml.Node, wanted: types.Type, at: str) -> Any:
        """What a node holds, or `_NOTHING_GOOD`, with the fault noted."""
        self._found.nodes[at] = node
        match wanted:
            case types.UnionType():
                if node.tag == _NULL:
                    return None
                return self._value(node, next(one for one in wanted.types if not isinstance(one, types.NoneType)), at)
            case types.StructType():
                return self._struct(node, wanted, at)
            case types.DictType():
                return self._dict(node, wanted, at)
            case types.VarTupleType() | types.ListType():
                return self._list(node, wanted, at)
            case types.AnyType():
                return self._constructed(node, at)
            case _:
                value = self._constructed(node, at)
                fault = None if value is _NOTHING_GOOD else _misfit(node, value, wanted)
                if fault:
                    self._found.complain(node, at, f"{_last(at)} {fault}")
                return _NOTHING_GOOD if fault else value

    def _struct(self, node: yaml.Node, wanted: types.StructType, at: str) -> Any:
        if (pairs := self._pairs(node, at)) is None:
            return _NOTHING_GOOD
        fields = {one.name: one for one in wanted.fields}
        good: dict[str, Any] = {}
        for name, (key, value) in pairs.items():
            if name not in fields:
                self._found.complain(key, f"{at}.{name}", f"`{name}` is not known here; {_instead(name, fields)}")
                continue
            held = self._value(value, fields[name].type, f"{at}.{name}")
            if held is not _NOTHING_GOOD:
                good[name] = held
        for name in [one.name for one in wanted.fields if one.required]:
            if name not in pairs:
                self._found.complain(node, f"{at}.{name}", f"`{name}` is missing here")
            if name not in good:
                good[name] = "?" if isinstance(fields[name].type, types.StrType) else ["?"]
        return good

    def _dict(self, node: yaml.Node, wanted: types.DictType, at: str) -> Any:
        if (pairs := self._pairs(node, at)) is None:
            return _NOTHING_GOOD
        held = {name: self._value(value, wanted.value_type, f"{at}.{name}") for name, (_, value) in pairs.items()}
        return {name: value for name, value in held.items() if value is not _NOTHING_GOOD}

    def _pairs(self, node: yaml.Node, at: str) -> dict[str, tuple[yaml.Node, yaml.Node]] | None:
        if not isinstance(node, yaml.MappingNode):
            self._found.complain(node, at, f"{_last(at)} must be a mapping, not {_shown(node)}")
            return None
        self._loader.flatten_mapping(node)  # `<<: *defaults`
        pairs: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                pairs[key.value] = (key, value)
            else:
                self._found.complain(key, at, f"{_last(at)}: a key must be one word, not {_shown(key)}")
        return pairs

    def _list(self, node: yaml.Node, wanted: types.VarTupleType | types.ListType, at: str) -> Any:
        if not isinstance(node, yaml.SequenceNode):
            example = ""
            if isinstance(node, yaml.ScalarNode) and node.value:
                example = f': write ["{node.value}"]' if node.tag == _STRING else f": write [{node.value}]"
            self._found.complain(node, at, f"{_last(at)} must be a list, not {_shown(node)}{example}")
            return _NOTHING_GOOD
        if len(node.value) < (wanted.min_length or 0):
            self._found.complain(node, at, f"{_last(at)} must not be an empty list")
            return _NOTHING_GOOD
        held = [self._value(item, wanted.item_type, f"{at}[{index}]") for index, item in enumerate(node.value)]
        if isinstance(wanted.item_type, types.StrType):  # the others keep their places
            return ["?" if value is _NOTHING_GOOD else value for value in held]
        return _NOTHING_GOOD if _NOTHING_GOOD in held else held

    def _constructed(self, node: yaml.Node, at: str) -> Any:
        try:
            return self._loader.construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError, TypeError) as problem:
            why = getattr(problem, "problem", None) or str(problem)
            self._found.complain(node, at, f"{_last(at)} cannot be read: {why}")
            return _NOTHING_GOOD


def _misfit(node: yaml.Node, value: object, wanted: types.Type) -> str | None:
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
            return f"must be one of {', '.join(known)}, not {_shown(node)}" + (
                f"; did you mean `{near[0]}`?" if near else ""
            )
        case types.BoolType():
            return None if isinstance(value, bool) else f"must be true or false, not {_shown(node)}"
        case types.IntType():
            if isinstance(value, int) and not isinstance(value, bool):
                return _out_of_range(value, wanted)
            return f"must be a whole number, not {_shown(node)}"
        case types.FloatType():
            if isinstance(value, int | float) and not isinstance(value, bool):
                return _out_of_range(value, wanted)
            return f"must be a number, not {_shown(node)}"
    raise TypeError(f"no check for {wanted}")


def _misfit_text(node: yaml.Node, value: object, wanted: types.StrType) -> str | None:
    if not isinstance(value, str):
        is_plain = isinstance(node, yaml.ScalarNode) and node.tag != _NULL
        return _unquoted(node, value) if is_plain else f"must be a text, not {_shown(node)}"
    if len(value) < (wanted.min_length or 0):
        return "must not be empty"
    if wanted.max_length is not None and len(value) > wanted.max_length:
        return f"must have at most {wanted.max_length} characters, not {len(value)}"
    if wanted.pattern is not None and not re.search(wanted.pattern, value):
        return f"must look like {wanted.pattern}, not {_shown(node)}"
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
        wanted = next(one for one in wanted.types if not isinstance(one, types.NoneType))
    if isinstance(wanted, types.StructType):
        for one in wanted.fields:
            if one.name != "twin":
                yield from _homes(one.type, f"{where}.{one.name}".lstrip("."))
                yield one.name, where


def _last(at: str) -> str:
    name = at.rsplit(".", 1)[-1]
    return "the file" if name == "$" else f"`{name}`"


def _shown(node: yaml.Node) -> str:
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
