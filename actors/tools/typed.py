"""Typed Python functions as tools of a phone agent.

    @tool(effect="read")
    async def check_availability(party: int, time: str) -> str:
        '''Look up whether a table is free.'''

The signature becomes the JSON Schema that Vapi's model sees, the docstring its description. A parameter annotated
`Caller` is filled from the call itself and never shown to the model: who calls is not for the model to say.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import msgspec
import trio

from actors.tools.port import Caller, ToolProblem
from engine.errors import BadSettings
from engine.tools import LONGEST_TOOL_S, ToolEffect, ToolPolicy, ToolResult, ToolSpec

ToolFunction = Callable[..., Awaitable[Any]]
F = TypeVar("F", bound=ToolFunction)

LONGEST_RESULT_CHARS = 4000
_MARK = "__callscope_tool__"


@dataclass(frozen=True, slots=True)
class Tool:
    """A function with what Vapi must know about it."""

    spec: ToolSpec
    function: ToolFunction
    arguments: type[msgspec.Struct]
    caller_parameter: str | None = None

    async def run(self, tool_call_id: str, arguments: Mapping[str, Any], caller: Caller) -> ToolResult:
        """The tool's answer, in time and in words. An exception of the tool's becomes an error result, never ours."""
        began = trio.current_time()

        def result(text: str, *, ok: bool) -> ToolResult:
            took_ms = (trio.current_time() - began) * 1000
            return ToolResult(tool_call_id, self.spec.name, text[:LONGEST_RESULT_CHARS], ok, took_ms)

        try:
            given = msgspec.convert(dict(arguments), self.arguments, strict=False)
        except msgspec.ValidationError as misfit:
            return result(f"The arguments of {self.spec.name} do not fit: {misfit}", ok=False)
        named = {name: getattr(given, name) for name in given.__struct_fields__}
        if self.caller_parameter is not None:
            named[self.caller_parameter] = caller
        with trio.move_on_after(self.spec.timeout_s):
            try:
                answer = await self.function(**named)
            except Exception as raised:
                problem = _first_of(raised)
                if isinstance(problem, ToolProblem):
                    return result(str(problem), ok=False)
                return result(f"{self.spec.name} failed ({type(problem).__name__}).", ok=False)
            return result(as_words(answer), ok=True)
        return result(f"{self.spec.name} took too long.", ok=False)


def _first_of(raised: BaseException) -> BaseException:
    """What really happened in a tool that used a nursery of its own."""
    while isinstance(raised, BaseExceptionGroup):
        raised = raised.exceptions[0]
    return raised


def as_words(answer: object) -> str:
    """A result as the one line of text that Vapi takes (reference/vapi.md §8.3)."""
    text = answer if isinstance(answer, str) else msgspec.json.encode(answer).decode()
    return " ".join(text.split())


def tool(*, effect: str, timeout_s: float = 10.0, name: str | None = None) -> Callable[[F], F]:
    """Mark an async function as a tool.

    Args:
        effect: `read`, `idempotent`, `commit` or `terminal`.
        timeout_s: after this the model is told that it took too long; at most 17 s.

    Raises:
        BadSettings: the function is not async, has no docstring, or an effect or annotation is not known.
    """

    def mark(function: F) -> F:
        setattr(function, _MARK, make_tool(function, effect=effect, timeout_s=timeout_s, name=name))
        return function

    return mark


def make_tool(function: ToolFunction, *, effect: str, timeout_s: float = 10.0, name: str | None = None) -> Tool:
    """The tool that this function is; see `tool`."""
    called = str(name or getattr(function, "__name__", "tool"))
    if not inspect.iscoroutinefunction(function):
        raise BadSettings(f"tool {called}: write it as `async def`, so that a slow answer never stops a call")
    if effect not in tuple(ToolEffect):
        raise BadSettings(f"tool {called}: effect {effect!r} is not one of {', '.join(ToolEffect)}")
    if not 0 < timeout_s <= LONGEST_TOOL_S:
        raise BadSettings(f"tool {called}: timeout_s must be over 0 and at most {LONGEST_TOOL_S:g}, got {timeout_s:g}")
    description = inspect.getdoc(function)
    if not description:
        raise BadSettings(f"tool {called}: give it a docstring; the model reads it to know when to use the tool")
    fields, caller_parameter = _fields(function, called)
    arguments = msgspec.defstruct("Arguments", fields, kw_only=True)
    schema = msgspec.json.schema(arguments)["$defs"]["Arguments"]
    parameters = {key: schema[key] for key in ("type", "properties", "required") if key in schema}
    spec = ToolSpec(called, description, parameters, ToolEffect(effect), ToolPolicy(timeout_s=timeout_s))
    return Tool(spec, function, arguments, caller_parameter)


def _fields(function: ToolFunction, called: str) -> tuple[list[Any], str | None]:
    hints = get_type_hints(function, include_extras=True)
    fields: list[Any] = []
    caller_parameter = None
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name not in hints:
            raise BadSettings(f"tool {called}: annotate its parameter {parameter.name!r}; the model needs the type")
        annotation = hints[parameter.name]
        if annotation is Caller:
            caller_parameter = parameter.name
        elif parameter.default is parameter.empty:
            fields.append((parameter.name, annotation))
        else:
            fields.append((parameter.name, annotation, parameter.default))
    return fields, caller_parameter


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The tools of one agent, by name."""

    tools: Mapping[str, Tool] = field(default_factory=dict)

    @classmethod
    def from_file(cls, path: Path) -> Toolbox:
        """The functions marked with `@tool` in a Python file.

        Raises:
            BadSettings: the file is not there, does not run, or marks nothing; the message names the line.
        """
        spec = importlib.util.spec_from_file_location(f"callscope_tools_{path.parent.name}", path)
        if spec is None or spec.loader is None or not path.is_file():
            raise BadSettings(f"tools file {path} is not there: put it beside the agent file, or correct `tools:`")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses and get_type_hints look their module up by name
        try:
            spec.loader.exec_module(module)
        except BadSettings as problem:
            raise BadSettings(f"{path}: {problem}") from problem
        except Exception as problem:
            raise BadSettings(f"tools file {path} does not run: {type(problem).__name__}: {problem}") from problem
        found = [getattr(thing, _MARK) for thing in vars(module).values() if hasattr(thing, _MARK)]
        if not found:
            raise BadSettings(f"tools file {path} has no function marked with @tool")
        return cls({one.spec.name: one for one in found})

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        return tuple(one.spec for one in self.tools.values())

    async def run(self, tool_call_id: str, name: str, arguments: Mapping[str, Any], caller: Caller) -> ToolResult:
        """Run a tool by name; an unknown name is an error result that names the known ones."""
        known = self.tools.get(name)
        if known is None:
            names = ", ".join(self.tools) or "none"
            return ToolResult(tool_call_id, name, f"There is no tool {name}. Known tools: {names}.", ok=False)
        return await known.run(tool_call_id, arguments, caller)
