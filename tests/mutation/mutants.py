"""Small wrong changes of a module, each as one order to its syntax tree: what a slip of the hand would do to it.

A mutant changes its tree in place and never back: it is applied in a process of its own, which then ends.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[2]

_BOUNDARY: dict[type[ast.cmpop], type[ast.cmpop]] = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
_OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
}  # fmt: skip
_OTHER_NAME = {"min": "max", "max": "min", "any": "all", "all": "any"}
_PHASES = ("CONNECTING", "LISTENING", "SPEAKING", "INTERRUPTED", "TOOL_PENDING", "TRANSFERRING", "ENDED")
_NOTHING = ast.Name("nothing", ast.Load())


@dataclass(frozen=True, slots=True)
class Mutant:
    """One wrong change.

    Args:
        function: the outermost function or method that it is in; empty for what runs on import.
        change: what was there and what is there now, as text.
        apply: makes the change in the tree that all mutants of the module share.
    """

    module: str
    line: int
    function: str
    kind: str
    change: str
    apply: Callable[[], object]

    @property
    def key(self) -> str:
        """Stays the same when lines move."""
        return f"{self.module}.{self.function}: {self.change}" if self.function else f"{self.module}: {self.change}"

    def __str__(self) -> str:
        return f"engine/{self.module}.py:{self.line} {self.function or '(module)'}: {self.kind}: {self.change}"


@dataclass(frozen=True, slots=True)
class Source:
    """A module with all its mutants."""

    module: str
    path: Path
    tree: ast.Module
    mutants: tuple[Mutant, ...]

    @classmethod
    def of(cls, module: str) -> Source:
        path = ROOT / "engine" / f"{module}.py"
        tree = ast.parse(path.read_text(encoding="utf-8"))
        return cls(module, path, tree, tuple(mutants_of(module, tree)))


def mutants_of(module: str, tree: ast.Module) -> Iterator[Mutant]:
    """All wrong changes of this tree, in the order of its lines."""
    return _Finder(module).find(tree)


class _Finder:
    """Walks a tree, and knows in which function it is."""

    def __init__(self, module: str) -> None:
        self._module = module

    def find(self, tree: ast.Module) -> Iterator[Mutant]:
        yield from self._inside(tree, "", ())

    def _inside(self, node: ast.AST, function: str, owner: tuple[str, ...]) -> Iterator[Mutant]:
        if not function:
            yield from self._at(node, function)
        for child in _children(node):
            if isinstance(child, ast.ClassDef) and not function:
                yield from self._inside(child, "", (*owner, child.name))
            elif isinstance(child, ast.FunctionDef) and not function:
                for default in (*child.args.defaults, *(d for d in child.args.kw_defaults if d)):
                    yield from self._tree(default, "")
                for statement in child.body:
                    yield from self._tree(statement, ".".join((*owner, child.name)))
                yield from self._removed(child, ".".join((*owner, child.name)))
            else:
                yield from self._inside(child, function, owner) if not function else self._tree(child, function)

    def _tree(self, node: ast.AST, function: str) -> Iterator[Mutant]:
        yield from self._at(node, function)
        for child in _children(node):
            yield from self._tree(child, function)

    def _at(self, node: ast.AST, function: str) -> Iterator[Mutant]:
        line = getattr(node, "lineno", 0)
        for kind, change, apply in _changes(node):
            yield Mutant(self._module, line, function, kind, change, apply)
        if not isinstance(node, ast.FunctionDef | ast.Module | ast.ClassDef) or function:
            yield from self._removed(node, function)

    def _removed(self, node: ast.AST, function: str) -> Iterator[Mutant]:
        """Statements that are simply forgotten."""
        for name in ("body", "orelse", "finalbody"):
            body = getattr(node, name, None)
            if not isinstance(body, list):
                continue
            for index, statement in enumerate(body):
                if _worth_removing(statement):
                    change = f"{_text(statement)} → (removed)"
                    yield Mutant(
                        self._module, statement.lineno, function, "statement", change, _setter(body, index, ast.Pass())
                    )


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """What is evaluated: no annotations, no docstrings, no names of types."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "args") and not isinstance(node, ast.Call | ast.Lambda):
            continue
        if (isinstance(node, ast.Lambda) and name == "args") or (isinstance(node, ast.ClassDef) and name != "body"):
            continue
        if isinstance(value, ast.AST):
            yield value
        elif isinstance(value, list):
            yield from (item for item in value if isinstance(item, ast.AST) and not _is_docstring(item))


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _worth_removing(statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(value=ast.Constant()):
            return False
        case ast.Expr() | ast.AugAssign() | ast.Delete() | ast.Raise() | ast.Break() | ast.Continue():
            return True
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript(), *_]):
            return True
        case ast.Return(value=value) if value is not None:
            return False
        case _:
            return isinstance(statement, ast.Return)


Change = tuple[str, str, Callable[[], object]]


def _changes(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Compare():
            yield from _compare(node)
        case ast.BoolOp():
            other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield _replaced("boolean", node, ast.BoolOp(other, node.values), lambda: setattr(node, "op", other))
        case ast.UnaryOp(op=ast.Not()):
            yield _replaced("boolean", node, node.operand, lambda: setattr(node, "op", _Same()))
        case ast.If() | ast.IfExp() | ast.While() if not isinstance(node.test, ast.Compare | ast.UnaryOp | ast.BoolOp):
            opposite = ast.UnaryOp(ast.Not(), node.test)
            yield _replaced("boolean", node.test, opposite, lambda: setattr(node, "test", opposite))
        case ast.match_case(guard=guard) if guard is not None and not isinstance(guard, ast.Compare | ast.UnaryOp):
            unless = ast.UnaryOp(ast.Not(), guard)
            yield _replaced("boolean", guard, unless, lambda: setattr(node, "guard", unless))
        case ast.BinOp():
            yield from _binary(node)
        case ast.AugAssign() if type(node.op) in _ARITHMETIC:
            op = _ARITHMETIC[type(node.op)]()
            new = ast.AugAssign(node.target, op, node.value)
            yield _replaced("arithmetic", node, new, lambda: setattr(node, "op", op))
        case ast.Constant():
            yield from _constant(node)
        case ast.Call():
            yield from _call(node)
        case ast.Tuple(elts=elements) if any(map(_is_effect, elements)):
            yield from _effects(node)
        case ast.Dict() if all(isinstance(key, ast.Constant) for key in node.keys if key is not None):
            for index in range(len(node.keys)):
                yield _without(node, index)


class _Same(ast.Not):
    """Stands for no operator at all; `Mutated` takes it out."""


class Cleaned(ast.NodeTransformer):
    """Takes out what `_Same` stands for."""

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        return node.operand if isinstance(node.op, _Same) else node


def _compare(node: ast.Compare) -> Iterator[Change]:
    for index, op in enumerate(node.ops):
        for kind, table in (("boundary", _BOUNDARY), ("comparison", _OPPOSITE)):
            other = table.get(type(op))
            if other is not None:
                ops = [*node.ops[:index], other(), *node.ops[index + 1 :]]
                new = ast.Compare(node.left, ops, node.comparators)
                yield _replaced(kind, node, new, _setter(node.ops, index, ops[index]))


def _binary(node: ast.BinOp) -> Iterator[Change]:
    if isinstance(node.op, ast.BitOr):  # of two sets of notes the second is forgotten; a union of types is none
        if not isinstance(node.right, ast.Constant | ast.Name):
            yield _replaced("statement", node, node.left, lambda: _become(node, node.left))
        return
    other = _ARITHMETIC.get(type(node.op))
    texts = (ast.JoinedStr, ast.List, ast.Tuple, ast.ListComp)
    if other is None or any(isinstance(side, texts) or _is_text(side) for side in (node.left, node.right)):
        return
    op = other()
    yield _replaced("arithmetic", node, ast.BinOp(node.left, op, node.right), lambda: setattr(node, "op", op))


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _constant(node: ast.Constant) -> Iterator[Change]:
    value = node.value
    others: tuple[float, ...] = ()
    if isinstance(value, bool):
        others = (not value,)
    elif isinstance(value, int):
        others = (value * 2, value // 2) if value > 10 else (value + 1, value - 1) if value > 1 else (value + 1,)
    elif isinstance(value, float):
        others = (value * 2, value / 2) if value else (1.0,)
    for other in others:
        yield _replaced("constant", node, ast.Constant(other), partial(setattr, node, "value", other))


def _call(node: ast.Call) -> Iterator[Change]:
    match node.func:
        case ast.Name(id=name) if name in _OTHER_NAME:
            other = ast.Name(_OTHER_NAME[name], ast.Load())
            new = ast.Call(other, node.args, node.keywords)
            yield _replaced("function", node, new, lambda: setattr(node, "func", other))
        case ast.Name(id="rule"):
            yield from _row(node)
        case ast.Name(id="stay"):
            for index, event in enumerate(node.args[1:], 1):
                yield "rule", f"{_text(node)} → without {_text(event)}", partial(node.args.pop, index)
    if _is_effect(node):
        for index, keyword in enumerate(node.keywords):
            change = f"{_text(node)} → without {keyword.arg}"
            yield "effect", change, partial(node.keywords.pop, index)


def _row(node: ast.Call) -> Iterator[Change]:
    """A rule that leads elsewhere, or asks for nothing."""
    to, then = node.args[2], node.args[3]
    for other in ("STAY", "LISTENING", "ENDED"):
        if _text(to) != other:
            name = ast.Name(other, ast.Load())
            yield "rule", f"{_text(node)} → to {other}", _setter(node.args, 2, name)
            if other != "LISTENING":
                break
    if _text(then) != "nothing":
        yield "rule", f"{_text(node)} → asks for nothing", _setter(node.args, 3, _NOTHING)


def _is_effect(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "f"
    )


def _effects(node: ast.Tuple) -> Iterator[Change]:
    """One effect is forgotten, or they come in another order."""
    for index in range(len(node.elts)):
        left = ast.Tuple([*node.elts[:index], *node.elts[index + 1 :]], ast.Load())
        yield _replaced("effect", node, left, partial(node.elts.pop, index))
    if len(node.elts) > 1:
        yield _replaced("effect", node, ast.Tuple(node.elts[::-1], ast.Load()), node.elts.reverse)


def _without(node: ast.Dict, index: int) -> Change:
    key = node.keys[index]
    name = _text(node.values[index]) if key is None else _text(key)

    def apply() -> None:
        del node.keys[index], node.values[index]

    return "entry", f"{_text(node)} → without {name}", apply


def _replaced(kind: str, node: ast.AST, new: ast.AST, apply: Callable[[], object]) -> Change:
    return kind, f"{_text(node)} → {_text(new)}", apply


def _setter(items: list[ast.stmt] | list[ast.expr] | list[ast.cmpop], index: int, new: ast.AST) -> Callable[[], object]:
    return lambda: items.__setitem__(index, new)  # type: ignore[call-overload]


def _become(node: ast.AST, other: ast.AST) -> None:
    """This node is that one from now on."""
    node.__class__ = other.__class__
    node.__dict__ = dict(other.__dict__)


def _text(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 90 else f"{text[:87]}…"
