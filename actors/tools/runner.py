"""Runs tools: one run is some attempts, within a time, a limit and a breaker. One runner a process, for all calls.

It never raises for what a tool does, and knows nothing of calls: whether a run may begin, and who is told, is
`actors.tool_runs`' work. A run that may have changed the world without our knowing says so (`Outcome.sure`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import structlog
import trio

from actors.tools.breaker import CircuitBreaker
from actors.tools.cache import Key, ResultCache
from actors.tools.port import Tool, ToolContext, ToolProblem
from actors.tools.words import Unspeakable, told
from engine.ledger import UNSURE, canonical
from engine.tools import ToolEffect, ToolResult, ToolSpec

log = structlog.get_logger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 2.0  # before the second attempt, doubling; each is jittered by half
WAITING_TIMES = 10  # so many times the limit may wait for a place; their time runs meanwhile, and more are told at once
BEFORE_NOTHING = "Nothing was done."

Before = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run."""

    text: str
    ok: bool
    sure: bool = True  # False: it may have been done or not
    attempts: int = 1
    cached: bool = False
    crashed: bool = False
    began: bool = True  # False: the tool was never tried

    def result(self, tool_call_id: str, name: str, took_s: float) -> ToolResult:
        return ToolResult(tool_call_id, name, self.text, self.ok, round(took_s * 1000, 1))


@dataclass(slots=True)
class _Gate:
    """One tool's limit and breaker."""

    slots: trio.CapacityLimiter
    breaker: CircuitBreaker | None
    waiting: int = 0


@dataclass
class RunnerStatistics:
    """Counts since the start."""

    runs: int = 0
    attempts: int = 0
    crashes: int = 0
    timeouts: int = 0
    refused: int = 0  # by a full limit or an open breaker


class ToolRunner:
    """Runs the tools of a process.

    Args:
        rng: of the pauses between attempts; given in, so that a run can be repeated.
    """

    def __init__(self, *, rng: Random | None = None) -> None:
        self._rng = rng or Random()  # noqa: S311 — chance, no secret
        self._gates: dict[str, _Gate] = {}
        self.cache = ResultCache()
        self.statistics = RunnerStatistics()

    def breaker_of(self, name: str) -> str:
        """The state of a tool's breaker."""
        gate = self._gates.get(name)
        return gate.breaker.state if gate is not None and gate.breaker is not None else "closed"

    def cached(self, tool: Tool, arguments: Mapping[str, Any], context: ToolContext) -> Outcome | None:
        """The answer that this reading tool gave a moment ago to the same question."""
        key = _cache_key(tool, arguments, context)
        text = self.cache.get(key, trio.current_time()) if key is not None else None
        return None if text is None else Outcome(text, ok=True, attempts=0, cached=True, began=False)

    async def run(
        self,
        tool: Tool,
        arguments: Mapping[str, Any],
        context: ToolContext,
        *,
        before: Before | None = None,
        until: float | None = None,
    ) -> Outcome:
        """Run the tool. Cancelling cuts the run short; who may not be cut short is the caller's to shield.

        Args:
            arguments: what `Tool.fit` gave.
            before: awaited once before the first attempt; it is not made when that says no.
            until: the run has no longer than that, by Trio's clock, however long its policy allows.
        """
        spec, now = tool.spec, trio.current_time()
        self.statistics.runs += 1
        gate = self._gate(spec)
        deadline = min(now + spec.policy.longest_s, until if until is not None else now + spec.policy.longest_s)
        progress = _Progress()
        outcome: Outcome | None = None
        try:
            with trio.move_on_at(deadline):
                outcome = await self._in_turn(gate, tool, arguments, context, before, progress)
            if outcome is None:
                outcome = self._too_long(spec, progress)
        finally:
            if progress.decides is not None:
                progress.decides.undecided()
        if outcome.ok:
            self._remember(tool, arguments, context, outcome.text)
        return outcome

    # --- one run -----------------------------------------------------------------------------------------------------

    async def _in_turn(
        self,
        gate: _Gate,
        tool: Tool,
        arguments: Mapping[str, Any],
        context: ToolContext,
        before: Before | None,
        progress: _Progress,
    ) -> Outcome:
        """Wait for a free place, bounded in time and number, and go."""
        spec = tool.spec
        me = object()
        try:
            gate.slots.acquire_on_behalf_of_nowait(me)
        except trio.WouldBlock:
            if gate.waiting >= WAITING_TIMES * spec.policy.at_once:
                return self._refused(f"{spec.name} is busy just now. {BEFORE_NOTHING} Try again in a moment.")
            gate.waiting += 1
            try:
                await gate.slots.acquire_on_behalf_of(me)
            finally:
                gate.waiting -= 1
        try:
            return await self._admitted(gate, tool, arguments, context, before, progress)
        finally:
            gate.slots.release_on_behalf_of(me)

    async def _admitted(
        self,
        gate: _Gate,
        tool: Tool,
        arguments: Mapping[str, Any],
        context: ToolContext,
        before: Before | None,
        progress: _Progress,
    ) -> Outcome:
        spec, breaker = tool.spec, gate.breaker
        if breaker is not None and not breaker.admits(trio.current_time()):
            return self._refused(
                f"{spec.name} is not to be had at the moment. {BEFORE_NOTHING} Say so, and offer something else."
            )
        progress.decides = breaker
        if before is not None and not await before():
            return Outcome("", ok=False, attempts=0, began=False)
        return await self._attempts(tool, arguments, context, progress)

    async def _attempts(
        self, tool: Tool, arguments: Mapping[str, Any], context: ToolContext, progress: _Progress
    ) -> Outcome:
        spec = tool.spec
        again = spec.effect in (ToolEffect.READ, ToolEffect.IDEMPOTENT)
        most = 1 + (spec.policy.retries if again else 0)
        while True:
            progress.attempts += 1
            self.statistics.attempts += 1
            outcome, may_help = await self._attempt(tool, arguments, replace(context, attempt=progress.attempts))
            if outcome.ok or not may_help or progress.attempts >= most:
                break
            pause_s = min(FIRST_PAUSE_S * 2 ** (progress.attempts - 1), LONGEST_PAUSE_S)
            await trio.sleep(pause_s * self._rng.uniform(0.5, 1.5))
        self._decide(progress, failed=not outcome.ok and (may_help or not outcome.sure))
        return replace(outcome, attempts=progress.attempts)

    async def _attempt(self, tool: Tool, arguments: Mapping[str, Any], context: ToolContext) -> tuple[Outcome, bool]:
        """One attempt, and whether another one may help."""
        spec = tool.spec
        try:
            return Outcome(await told(await tool.attempt(arguments, context)), ok=True), False
        except Unspeakable as unfit:
            if spec.effect is not ToolEffect.READ:  # it is done, whatever it returned
                return Outcome(f"{spec.name} is done, but what it returned cannot be told.", ok=True), False
            return Outcome(f"{spec.name} could not be told. {unfit}", ok=False), False
        except ToolProblem as problem:
            return _problem(problem), problem.again
        except (Exception, SystemExit) as raised:
            cause = _first_of(raised)
            if isinstance(cause, ToolProblem):
                return _problem(cause), cause.again
        except BaseExceptionGroup as group:  # what a tool's own nursery collected
            if group.subgroup((trio.Cancelled, KeyboardInterrupt, GeneratorExit)) is not None:
                raise
            cause = _first_of(group)
        self.statistics.crashes += 1
        log.error("tool crashed", tool=spec.name, call=context.caller.call_id, exc_info=cause)
        return self._crash(spec, cause), True

    def _crash(self, spec: ToolSpec, cause: BaseException) -> Outcome:
        text = f"{spec.name} failed ({type(cause).__name__})."
        sure = spec.effect is not ToolEffect.COMMIT
        return Outcome(text if sure else f"{text} {UNSURE.format(name=spec.name)}", ok=False, sure=sure, crashed=True)

    # --- limits ------------------------------------------------------------------------------------------------------

    def _too_long(self, spec: ToolSpec, progress: _Progress) -> Outcome:
        self.statistics.timeouts += 1
        self._decide(progress, failed=True)
        if not progress.attempts:
            return Outcome(f"{spec.name} is busy just now. {BEFORE_NOTHING}", ok=False, attempts=0, began=False)
        text, sure = f"{spec.name} took too long.", spec.effect is not ToolEffect.COMMIT
        if not sure:
            text = f"{text} {UNSURE.format(name=spec.name)}"
        return Outcome(text, ok=False, sure=sure, attempts=progress.attempts)

    def _refused(self, text: str) -> Outcome:
        self.statistics.refused += 1
        return Outcome(text, ok=False, attempts=0, began=False)

    def _decide(self, progress: _Progress, *, failed: bool) -> None:
        """Tell the breaker, once a run."""
        breaker, progress.decides = progress.decides, None
        if breaker is None:
            return
        if failed:
            breaker.failed(trio.current_time())
        else:
            breaker.succeeded()

    def _gate(self, spec: ToolSpec) -> _Gate:
        gate = self._gates.get(spec.name)
        if gate is None or gate.slots.total_tokens != spec.policy.at_once:
            breaker = CircuitBreaker(spec.policy.breaker) if spec.policy.breaker is not None else None
            gate = self._gates[spec.name] = _Gate(trio.CapacityLimiter(spec.policy.at_once), breaker)
        return gate

    def _remember(self, tool: Tool, arguments: Mapping[str, Any], context: ToolContext, text: str) -> None:
        key = _cache_key(tool, arguments, context)
        if key is not None:
            self.cache.put(key, text, trio.current_time() + tool.spec.policy.cache_s)


@dataclass(slots=True)
class _Progress:
    """How far a run came, for who ends it."""

    attempts: int = 0
    decides: CircuitBreaker | None = None  # what still waits to hear how it went


def _problem(problem: ToolProblem) -> Outcome:
    try:
        words = " ".join(str(problem)[:4000].split())
    except Exception:  # a problem that cannot even be written down
        words = ""
    return Outcome(words or "It did not work.", ok=False, sure=problem.sure)


def _first_of(raised: BaseException) -> BaseException:
    """What really happened in a tool that used a nursery of its own."""
    while isinstance(raised, BaseExceptionGroup):
        raised = raised.exceptions[0]
    return raised


def _cache_key(tool: Tool, arguments: Mapping[str, Any], context: ToolContext) -> Key | None:
    """None where nothing is cached. A tool that does not say whether it knows the caller is taken to know."""
    spec = tool.spec
    if not spec.policy.cache_s or spec.effect is not ToolEffect.READ:
        return None
    knows = getattr(tool, "takes_caller", True)
    try:
        return spec.name, canonical(arguments), context.caller.number if knows else ""
    except (TypeError, ValueError, RecursionError):
        return None
