"""The built-in tools: orders to the call that they run in. What agent files say of them: `engine.builtin_tools`."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import trio

from actors.tools.port import BadArguments, CallOrders, Tool, ToolContext, ToolProblem
from engine.builtin_tools import (
    END_CALL,
    MOST_KEYS,
    MOST_MESSAGE_CHARS,
    SEND_KEYS,
    TAKE_MESSAGE,
    TRANSFER_CALL,
    Builtins,
    builtin_specs,
)
from engine.tools import ToolSpec

_KEYS = re.compile(r"[0-9A-Dw*#]+")
LINE_TAKES_S, ASK_AGAIN_S = 5.0, 0.1  # so long keys wait for the line to be free; so often they look

Attempt = Callable[[Mapping[str, Any], ToolContext, CallOrders], Awaitable[str]]
Fit = Callable[[Mapping[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class BuiltinTool:
    """Fulfils `Tool`."""

    spec: ToolSpec
    _fit: Fit
    _do: Attempt

    def fit(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._fit(arguments)

    async def attempt(self, arguments: Mapping[str, Any], context: ToolContext) -> str:
        if context.call is None:
            raise ToolProblem("There is no call to do this in.")
        return await self._do(arguments, context, context.call)


def builtin_tools(builtins: Builtins) -> Iterator[Tool]:
    """The tools that the agent file asks for."""
    made: Mapping[str, tuple[Fit, Attempt]] = {
        END_CALL: (_nothing, _end_call),
        TRANSFER_CALL: (lambda given: {"to": _one_of(given, builtins)}, _transfer_to(builtins)),
        SEND_KEYS: (_keys, _send_keys),
        TAKE_MESSAGE: (_message, _take_message),
    }
    for spec in builtin_specs(builtins):
        fit, do = made[spec.name]
        yield BuiltinTool(spec, fit, do)


# --- end and transfer: they have waited until what is being said was heard -------------------------------------------


def _nothing(given: Mapping[str, Any]) -> Mapping[str, Any]:
    return {}


async def _end_call(arguments: Mapping[str, Any], context: ToolContext, call: CallOrders) -> str:
    call.end("the agent ended the call")
    return "The call ends now."


def _one_of(given: Mapping[str, Any], builtins: Builtins) -> str:
    to = given.get("to")
    if not isinstance(to, str) or to not in builtins.transfers:
        raise BadArguments(f"`to` is one of {', '.join(builtins.transfers)}; a number is never given")
    return to


def _transfer_to(builtins: Builtins) -> Attempt:
    async def transfer(arguments: Mapping[str, Any], context: ToolContext, call: CallOrders) -> str:
        name = arguments["to"]
        goal = builtins.transfers[name]
        call.note("Transferring", {"name": name})
        call.transfer(goal.to, words=goal.words)
        return f"The caller is being connected with {name}."

    return transfer


# --- keys ------------------------------------------------------------------------------------------------------------


def _keys(given: Mapping[str, Any]) -> Mapping[str, Any]:
    keys = str(given.get("keys", ""))
    if len(keys) > MOST_KEYS or not _KEYS.fullmatch(keys):
        raise BadArguments(f"`keys` are up to {MOST_KEYS} of 0-9, A-D, *, # and w")
    return {"keys": keys}


async def _send_keys(arguments: Mapping[str, Any], context: ToolContext, call: CallOrders) -> str:
    with trio.move_on_after(LINE_TAKES_S):
        while not call.press(arguments["keys"]):
            await trio.sleep(ASK_AGAIN_S)
        return "The keys were pressed."
    raise ToolProblem("The keys could not be pressed while somebody was speaking. Be silent, and try again.")


# --- messages --------------------------------------------------------------------------------------------------------


def _message(given: Mapping[str, Any]) -> Mapping[str, Any]:
    most = {"message": MOST_MESSAGE_CHARS, "name": 200, "call_back": 40}
    taken = {name: " ".join(str(given.get(name) or "").split()) for name in most}
    for name, longest in most.items():
        if len(taken[name]) > longest:
            raise BadArguments(f"`{name}` has at most {longest} characters")
    if not taken["message"]:
        raise BadArguments("`message` is missing: ask the caller for it")
    return {name: words for name, words in taken.items() if words}


async def _take_message(arguments: Mapping[str, Any], context: ToolContext, call: CallOrders) -> str:
    """The note is durable before this is told: it stands before the tool's result in the journal."""
    call.note("MessageTaken", {**arguments, "caller": context.caller.number})
    return "The message was written down and will be passed on."
