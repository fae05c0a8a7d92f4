"""What a tool is and what a call remembers of its tool calls. Pure; running them is `actors.tools`' work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

LONGEST_TOOL_S = 17.0  # Vapi gives up at 20 s (reference/vapi.md §10); our apology must be there before
ToolSeconds = Annotated[float, Meta(gt=0, le=LONGEST_TOOL_S)]
Line = Annotated[str, Meta(min_length=1, max_length=240)]


class ToolEffect(StrEnum):
    """What running a tool does to the world; from it follows what a barge-in or hang-up may do to a run (DESIGN §5)."""

    READ = "read"  # looks something up: may be cancelled and repeated
    IDEMPOTENT = "idempotent"  # may be repeated with the same key
    COMMIT = "commit"  # must happen at most once, and is not cancelled half-way
    TERMINAL = "terminal"  # ends or moves the call: waits until what is being said was heard


class ToolLines(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What Callscope or Vapi says while a tool runs. Empty: the lines of `silence`."""

    start: tuple[Line, ...] = ()  # the first is said when it starts, by Vapi (`request-start`, vapi.md §8.4)
    slow: tuple[Line, ...] = ()  # one after the other when it takes long (`request-response-delayed`)
    failed: tuple[Line, ...] = ()  # the first is said when it failed (`request-failed`)


class Breaker(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A tool that keeps failing is left alone for a while, for all calls of the process."""

    failures: Annotated[int, Meta(ge=1, le=1000)] = 5  # so many in a row, within …
    within_s: Annotated[float, Meta(gt=0, le=3600)] = 30.0
    open_s: Annotated[float, Meta(gt=0, le=3600)] = 15.0  # … and it is not tried for so long; then one try decides


class ToolPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a tool is run. The same keys in `@tool(...)` and in the agent file."""

    timeout_s: ToolSeconds = 10.0  # of one run with all its attempts, as long as Vapi waits for it
    background_s: Annotated[float, Meta(ge=0, le=600)] = 0.0  # > 0: a slow tool; it goes on for so long after ...
    answer_within_s: ToolSeconds = 10.0  # … Vapi was told, after this, that it takes longer
    late: Literal["say", "tell", "keep"] = "tell"  # a late result is said, put to the model, or only journaled
    retries: Annotated[int, Meta(ge=0, le=5)] = 0  # more attempts, with jitter; never for `commit` and `terminal`
    at_once: Annotated[int, Meta(ge=1, le=10_000)] = 100  # runs of it at the same time in this process
    breaker: Breaker | None = Breaker()
    cache_s: Annotated[float, Meta(ge=0, le=86_400)] = 0.0  # a `read` with the same arguments is answered from memory
    confirm: bool = False  # a `commit` asks the caller first: a second call with the same arguments after their answer
    undo: str = ""  # tool that takes a `commit` back when the caller hung up before hearing of it
    again: bool = False  # asked for the same once more, after a turn of the caller's: a second effect, not a repetition
    lines: ToolLines = ToolLines()

    @property
    def longest_s(self) -> float:
        """The longest that one run may take, told or not."""
        return self.answer_within_s + self.background_s if self.background_s else self.timeout_s


class ToolSpec(msgspec.Struct, frozen=True):
    """A tool as Vapi is told about it, and its policy."""

    name: str
    description: str
    parameters: dict[str, Any]  # JSON Schema of an object
    effect: ToolEffect
    policy: ToolPolicy = ToolPolicy()
    hidden: bool = False  # not shown to the model: the `undo` of another tool

    @property
    def timeout_s(self) -> float:
        return self.policy.timeout_s


class ToolResult(msgspec.Struct, frozen=True):
    """What came of one tool call: words for the model, or an error in words that it may pass on."""

    tool_call_id: str
    name: str
    text: str
    ok: bool
    took_ms: float = 0.0


NO_TOOL = "There is no tool {name}. Known tools: {known}."


def policy_faults(name: str, effect: ToolEffect, policy: ToolPolicy) -> Iterator[str]:
    """What cannot be meant, each with what to do. One value alone is the types' business."""
    commits = effect is ToolEffect.COMMIT
    if policy.retries and effect not in (ToolEffect.READ, ToolEffect.IDEMPOTENT):
        yield (
            f"tool {name}: retries on a {effect} could do it twice: take `retries` away, or make the effect "
            "`idempotent` if its backend knows the idempotency key"
        )
    if policy.cache_s and effect is not ToolEffect.READ:
        yield f"tool {name}: only a read is cached: take `cache_s` away, or make the effect `read`"
    if policy.confirm and not commits:
        yield f"tool {name}: only a commit is confirmed: take `confirm` away, or make the effect `commit`"
    if policy.undo and not commits:
        yield f"tool {name}: only a commit is undone: take `undo` away, or make the effect `commit`"
    if policy.again and effect is ToolEffect.TERMINAL:
        yield f"tool {name}: a terminal tool ends the call, so there is no second time: take `again` away"
    if policy.background_s and effect is ToolEffect.TERMINAL:
        yield f"tool {name}: a terminal tool cannot go on after the call: take `background_s` away"


def toolbox_faults(specs: Iterable[ToolSpec]) -> Iterator[str]:
    """What cannot be meant of several tools together."""
    known: dict[str, ToolSpec] = {}
    for spec in specs:
        if spec.name in known:
            yield f"tool {spec.name}: there are two of that name: rename one"
        known[spec.name] = spec
    for spec in known.values():
        undo = known.get(spec.policy.undo)
        if not spec.policy.undo:
            continue
        if undo is None:
            names = ", ".join(name for name in known if name != spec.name) or "none"
            yield f"tool {spec.name}: undo: there is no tool {spec.policy.undo}; there is {names}"
        elif undo is spec or undo.effect not in (ToolEffect.IDEMPOTENT, ToolEffect.COMMIT):
            yield f"tool {spec.name}: undo: {undo.name} must be another tool, `idempotent` or `commit`"


def settings_of(policy: Mapping[str, Any]) -> ToolPolicy:
    """A policy from its keys, as `@tool(...)` and YAML give them.

    Raises:
        msgspec.ValidationError: an unknown key or an impossible value; names it.
    """
    return msgspec.convert(dict(policy), ToolPolicy)
