"""Typed Python functions as tools of a phone agent.

    @tool(effect="read", cache_s=60)
    async def check_availability(party: int, time: str) -> str:
        '''Look up whether a table is free.'''

The signature becomes the JSON Schema that Vapi's model sees, the docstring its description. A parameter annotated
`Caller` is filled from the call itself and never shown to the model: who calls is not for the model to say. One
annotated `ToolContext` gets all that is known of the run: the caller, and the idempotency key for its backend. How the
tool is run is said by the keys of `engine.tools.ToolPolicy`.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

import msgspec

from actors.tools.arguments import ArgumentReader, reader_of
from actors.tools.port import Caller, ToolContext
from engine.errors import BadSettings
from engine.tools import LONGEST_TOOL_S, ToolEffect, ToolPolicy, ToolSpec, policy_faults, settings_of

ToolFunction = Callable[..., Awaitable[Any]]
F = TypeVar("F", bound=ToolFunction)

MARK = "__callscope_tool__"


@dataclass(frozen=True, slots=True)
class TypedTool:
    """Fulfils `Tool` with a function."""

    spec: ToolSpec
    function: ToolFunction
    reader: ArgumentReader
    caller_parameter: str | None = None
    context_parameter: str | None = None

    @property
    def takes_caller(self) -> bool:
        """Whether the answer may depend on who calls."""
        return self.caller_parameter is not None or self.context_parameter is not None

    def fit(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        return self.reader.read(arguments)

    async def attempt(self, arguments: Mapping[str, Any], context: ToolContext) -> Any:
        given = dict(arguments)
        if self.caller_parameter is not None:
            given[self.caller_parameter] = context.caller
        if self.context_parameter is not None:
            given[self.context_parameter] = context
        return await self.function(**given)


def tool(*, effect: str, name: str | None = None, hidden: bool = False, **policy: Any) -> Callable[[F], F]:
    """Mark an async function as a tool.

    Args:
        effect: `read`, `idempotent`, `commit` or `terminal`.
        name: what the model calls it; the function's own name if not given.
        hidden: not shown to the model: for a tool that only undoes another one.
        policy: `timeout_s`, `retries`, `cache_s`, `confirm`, `undo`, `lines` …: the keys of `ToolPolicy`.

    Raises:
        BadSettings: the function is not async, has no docstring, or an effect, annotation or key is wrong; says which
            and what to do.
    """

    def mark(function: F) -> F:
        setattr(function, MARK, make_tool(function, effect=effect, name=name, hidden=hidden, **policy))
        return function

    return mark


def make_tool(
    function: ToolFunction, *, effect: str, name: str | None = None, hidden: bool = False, **policy: Any
) -> TypedTool:
    """The tool that this function is; see `tool`."""
    called = str(name or getattr(function, "__name__", "tool"))
    if not inspect.iscoroutinefunction(function):
        raise BadSettings(f"tool {called}: write it as `async def`, so that a slow answer never stops a call")
    if effect not in tuple(ToolEffect):
        raise BadSettings(f"tool {called}: effect {effect!r} is not one of {', '.join(ToolEffect)}")
    description = inspect.getdoc(function)
    if not description:
        raise BadSettings(f"tool {called}: give it a docstring; the model reads it to know when to use the tool")
    kind, rules = ToolEffect(effect), read_policy(called, policy)
    for fault in policy_faults(called, kind, rules):
        raise BadSettings(fault)
    given, of_the_call = _parameters(function, called)
    try:
        reader = reader_of(given)
    except (TypeError, ValueError, RecursionError) as problem:
        raise BadSettings(f"tool {called}: its parameters are no JSON Schema: {problem}") from problem
    spec = ToolSpec(called, description, reader.schema, kind, rules, hidden)
    return TypedTool(spec, function, reader, of_the_call.get(Caller), of_the_call.get(ToolContext))


def read_policy(called: str, policy: Mapping[str, Any]) -> ToolPolicy:
    """The keys of `@tool(...)` as a policy.

    Raises:
        BadSettings: an unknown key or an impossible value.
    """
    known = ToolPolicy.__struct_fields__
    for key in policy:
        if key not in known:
            raise BadSettings(
                f"tool {called}: there is no {key!r}: the keys are effect, name, hidden, {', '.join(known)}"
            )
    for key in ("timeout_s", "answer_within_s"):
        seconds = policy.get(key, 1.0)
        if not isinstance(seconds, int | float) or not 0 < seconds <= LONGEST_TOOL_S:
            raise BadSettings(
                f"tool {called}: {key} must be over 0 and at most {LONGEST_TOOL_S:g}, because Vapi gives up at 20 s; "
                f"got {seconds}. For a slower tool say `background_s`"
            )
    try:
        return settings_of(policy)
    except msgspec.ValidationError as problem:
        raise BadSettings(f"tool {called}: {problem}") from problem


def _parameters(function: ToolFunction, called: str) -> tuple[dict[str, tuple[Any, Any]], dict[type, str]]:
    """The model's parameters, name → annotation and default (`inspect.Parameter.empty`: required); and the call's."""
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError as problem:
        raise BadSettings(f"tool {called}: a type of its parameters is not known: {problem}") from problem
    given: dict[str, tuple[Any, Any]] = {}
    of_the_call: dict[type, str] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise BadSettings(f"tool {called}: the model gives arguments by name: write out {parameter.name!r}")
        if parameter.name not in hints:
            raise BadSettings(f"tool {called}: annotate its parameter {parameter.name!r}; the model needs the type")
        if hints[parameter.name] in (Caller, ToolContext):
            of_the_call[hints[parameter.name]] = parameter.name
        else:
            given[parameter.name] = hints[parameter.name], parameter.default
    return given, of_the_call
