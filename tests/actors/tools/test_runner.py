"""The runner: attempts, times, limits, breaker, cache, and results of any kind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from actors.tools import Caller, Outcome, ToolContext, ToolProblem, ToolRunner, make_tool
from actors.tools.words import estimated_bytes

CONTEXT = ToolContext(Caller("call-1", "+15550123"), "t1", "cs-1")


class Backend:
    """Does what the list says, one thing an attempt."""

    def __init__(self, *does: Any) -> None:
        self.does, self.at = list(does), list[float]()

    async def __call__(self) -> Any:
        self.at.append(trio.current_time())
        now = self.does[min(len(self.at), len(self.does)) - 1]
        if isinstance(now, BaseException):
            raise now
        if isinstance(now, float):
            await trio.sleep(now)
        else:
            await trio.lowlevel.checkpoint()
        return now


def run_by(
    runner: ToolRunner, backend: Backend, effect: str = "read", **policy: Any
) -> Callable[[], Awaitable[Outcome]]:
    async def ask() -> Any:
        """Ask."""
        return await backend()

    tool = make_tool(ask, effect=effect, **policy)
    return lambda: runner.run(tool, {}, CONTEXT)


async def test_retries_with_pauses_that_differ(autojump_clock: MockClock) -> None:
    """What may help is tried again, at growing and uneven intervals; the seed makes them the same each time."""
    backend = Backend(ToolProblem("busy", again=True), RuntimeError("x"), "here")
    outcome = await run_by(ToolRunner(rng=Random(1)), backend, retries=3)()
    assert (outcome.text, outcome.ok, outcome.attempts) == ("here", True, 3)
    first, second = (after - before for before, after in zip(backend.at, backend.at[1:], strict=False))
    assert 0.1 <= first <= 0.3 and 0.2 <= second <= 0.6


@pytest.mark.parametrize(
    ("does", "effect", "policy"),
    [
        (ToolProblem("We are full."), "read", {"retries": 3}),
        (ToolProblem("busy", again=True), "commit", {}),
        (RuntimeError("x"), "commit", {}),
    ],
)
async def test_what_is_not_tried_again(
    autojump_clock: MockClock, does: Exception, effect: str, policy: dict[str, Any]
) -> None:
    """A plain no is a no, and a commit is tried once."""
    backend = Backend(does)
    outcome = await run_by(ToolRunner(), backend, effect, **policy)()
    assert not outcome.ok and len(backend.at) == 1


async def test_one_time_for_all_attempts(autojump_clock: MockClock) -> None:
    """The time of a run is over for its retries too; for a commit that means that nobody knows."""
    slow = await run_by(ToolRunner(), Backend(ToolProblem("busy", again=True), 60.0), retries=5, timeout_s=3)()
    assert not slow.ok and slow.sure and "took too long" in slow.text and trio.current_time() == pytest.approx(3.0)
    commit = await run_by(ToolRunner(), Backend(60.0), "commit", timeout_s=3)()
    assert not commit.sure and "Do not do it again" in commit.text


async def test_a_full_limit_is_an_apology(autojump_clock: MockClock) -> None:
    """One works, ten wait while their time runs, the twelfth is told at once that it is busy."""
    run = run_by(ToolRunner(), Backend(0.5), at_once=1, timeout_s=3.2)
    outcomes: list[tuple[float, Outcome]] = []

    async def one() -> None:
        outcome = await run()
        outcomes.append((trio.current_time(), outcome))

    async with trio.open_nursery() as nursery:
        for _ in range(12):
            nursery.start_soon(one)
    (at, refused), *others = outcomes
    assert at == 0 and "busy" in refused.text and not refused.began
    assert sum(outcome.ok for _, outcome in others) == 6 and others[-1][0] == pytest.approx(3.2)


async def test_the_breaker_opens_tries_once_and_closes(autojump_clock: MockClock) -> None:
    """After some failures in a row it is left alone; then one try decides, twice here."""
    runner, backend = ToolRunner(), Backend(*[RuntimeError("x")] * 3, "fine")
    run = run_by(runner, backend, breaker={"failures": 2, "within_s": 10, "open_s": 5})
    assert [(await run()).began for _ in range(3)] == [True, True, False]
    assert runner.breaker_of("ask") == "open"
    await trio.sleep(5)
    assert (await run()).crashed and not (await run()).began, "the try failed: open again"
    await trio.sleep(5)
    assert (await run()).ok and runner.breaker_of("ask") == "closed"


async def test_reads_are_remembered_for_a_while(autojump_clock: MockClock) -> None:
    """The same question within the time is answered from memory; the caller counts where the tool knows them."""

    async def look(what: str, caller: Caller) -> str:
        """Look."""
        return f"{what} for {caller.number}"

    tool, runner = make_tool(look, effect="read", cache_s=10), ToolRunner()
    await runner.run(tool, {"what": "x"}, CONTEXT)
    again = runner.cached(tool, {"what": "x"}, CONTEXT)
    assert again is not None and again.cached and again.text == "x for +15550123"
    other = ToolContext(Caller("call-2", "+15550999"), "t2", "")
    assert runner.cached(tool, {"what": "x"}, other) is None and runner.cached(tool, {"what": "y"}, CONTEXT) is None
    await trio.sleep(10)
    assert runner.cached(tool, {"what": "x"}, CONTEXT) is None


class Loop(msgspec.Struct):
    inside: list[Any]


def looped() -> Loop:
    loop = Loop([])
    loop.inside.append(loop)
    return loop


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("x" * 100_000_000, "too much"),
        (["x" * 1000] * 100_000, "too much"),
        (list(range(1_000_000)), "too much"),
        (object(), "no text"),
        ({"a": object()}, "no text"),
        (10**5000, "no text"),
        (looped(), "too much"),
        (b"\xff" * 10, ""),
        (None, ""),
        ("a\r\nb\x00", ""),
    ],
    ids=["100 MB", "100 MB in pieces", "a million", "object", "inside", "huge int", "loop", "bytes", "none", "lines"],
)
async def test_results_of_any_kind(answer: object, says: str) -> None:
    """An apology for what cannot be told, within a moment, and in one line."""
    began = trio.current_time()
    outcome = await run_by(ToolRunner(), Backend(answer))()
    assert trio.current_time() - began < 0.5, "nobody else waited for it"
    assert says in outcome.text and "\n" not in outcome.text and len(outcome.text) <= 4000
    assert outcome.ok == (says == "")


@pytest.mark.parametrize(
    "raised", [SystemExit(1), BaseExceptionGroup("g", [SystemExit(2)]), ExceptionGroup("g", [KeyError()])]
)
async def test_a_tool_that_leaves_takes_nobody_with_it(raised: BaseException) -> None:
    """`exit()` in a tool ends that tool."""
    outcome = await run_by(ToolRunner(), Backend(raised))()
    assert outcome.crashed and "failed (" in outcome.text


def test_the_estimate_is_quick_and_not_too_small() -> None:
    """Sizes are known before anything is written down."""
    assert 30 <= estimated_bytes({"name": "Ada", "seats": [1, 2, 3]}) <= 100
    assert estimated_bytes("x" * 5000) >= 5000
