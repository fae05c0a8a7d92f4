"""One tool call of one call: asked for once, answered once, however often its webhook comes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import trio

from actors.tools.port import Tool
from engine.ledger import TAKES_LONGER, Stage
from engine.tools import ToolEffect, ToolResult


@dataclass(slots=True, eq=False)
class ToolRun:
    """What is known of it. Times are Trio's."""

    tool_call_id: str
    name: str
    asked_at: float
    tool: Tool | None = None
    effect: ToolEffect = ToolEffect.READ
    raw: int = 0  # hash of the arguments as they came
    arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)  # as the model gave them
    fitting: Mapping[str, Any] = field(default_factory=dict, repr=False)  # … and as the tool takes them
    same: bytes = field(default=b"", repr=False)  # canonical: what is asked for, beside the name
    stage: Stage = Stage.WAITING
    number: int = 0  # how many effects of the same kind this call had asked for before
    key: str = ""
    began_at: float = 0.0
    settled_at: float = 0.0
    utterance: int = 0  # what was being heard when the model was told
    result: ToolResult | None = None
    sure: bool = True
    ordered: bool = False  # the call's rules let it begin; until then nobody works on it
    is_known: bool = False  # the call's state counts it among its tools
    put_off: bool = False  # Vapi was told that it takes longer
    waiting: int = 0  # webhooks that wait for it
    why_not: str = ""  # in words for the model, when it may not begin
    changed: trio.Event = field(default_factory=trio.Event)
    done: trio.Event = field(default_factory=trio.Event)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    @property
    def identity(self) -> tuple[str, bytes]:
        return self.name, self.same

    @property
    def did_it(self) -> bool:
        """Whether its effect happened, or may have."""
        return (
            self.stage in (Stage.DONE, Stage.TOLD, Stage.UNKNOWN)
            and self.result is not None
            and (self.result.ok or not self.sure)
        )

    def answer(self) -> ToolResult:
        """What the model is told now."""
        text = TAKES_LONGER.format(name=self.name)
        return self.result or ToolResult(self.tool_call_id, self.name, text, ok=True)

    async def wait_answer(self, until: float) -> None:
        """Until there is something to tell, or the time is over."""
        if self.done.is_set() or self.put_off:
            return
        if self.tool is not None and self.tool.spec.policy.background_s:
            until = min(until, self.asked_at + self.tool.spec.policy.answer_within_s)
        with trio.move_on_at(until):
            await self.done.wait()

    def forget(self) -> None:
        """Nobody will run it any more: what is large goes."""
        self.arguments, self.fitting = {}, {}
