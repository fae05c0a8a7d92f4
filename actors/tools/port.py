"""What a tool is to the call that runs it: arguments that fit, one attempt, and what it may know and order.

Typed functions (`typed`), HTTP tools (`http`) and the built-in ones (`builtin`) fulfil `Tool`. They make one attempt
and say what went wrong. Time-outs, retries, limits, breaker, cache and ledger are the runner's work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from engine.tools import ToolSpec


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is on the phone, by the call's own word: never by the model's."""

    call_id: str
    number: str = field(repr=False)
    variables: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)  # of a call that we made


class CallOrders(Protocol):
    """What a tool may order of its call: the built-in tools are made of it. Nothing here waits for the caller."""

    def end(self, reason: str) -> None:
        """Hang up once what is being said has been heard; the caller cutting in calls it off."""

    def transfer(self, to: str, *, words: str) -> None:
        """Blind transfer once what is being said has been heard. `to`: E.164 or `sip:`, from the agent file's list."""

    def press(self, keys: str) -> bool:
        """Send DTMF as tones; False when the line could not take them now."""

    def note(self, name: str, data: Mapping[str, Any]) -> None:
        """Keep something in the call's journal."""


@dataclass(frozen=True, slots=True)
class ToolContext:
    """Everything about one run that does not come from the model."""

    caller: Caller
    tool_call_id: str  # Vapi's
    idempotency_key: str  # the same for every attempt, and for every repetition, of one asked-for effect
    call: CallOrders | None = None  # None where a tool is tried without a call
    attempt: int = 1


class ToolProblem(Exception):
    """Raised by a tool for what the caller may be told; the text goes to the model as the tool's error.

    Args:
        again: whether another attempt may help (an idempotent or reading tool is then retried by its policy).
        sure: False for a commit that may have been done or not: its answer was lost. The words must say so.
    """

    def __init__(self, words: str, *, again: bool = False, sure: bool = True) -> None:
        super().__init__(words)
        self.again, self.sure = again, sure


class BadArguments(Exception):
    """The model's arguments do not fit the tool's schema. The text is for the model."""


class Tool(Protocol):
    """One tool, however it is made."""

    @property
    def spec(self) -> ToolSpec: ...

    def fit(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """The arguments as the tool takes them.

        Raises:
            BadArguments: they do not fit the schema; says which and why.
        """

    async def attempt(self, arguments: Mapping[str, Any], context: ToolContext) -> Any:
        """Try once. `arguments` are what `fit` gave. Cancelled when its time is over, unless its effect forbids it.

        Returns:
            text, or anything that `msgspec.json` can encode.

        Raises:
            ToolProblem: in words that the caller may hear. Any other exception is a crash of the tool's.
        """
