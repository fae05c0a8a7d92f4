"""Typed Python functions as tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import pytest
import trio
from trio.testing import MockClock

from actors.tools import Caller, Toolbox, ToolProblem, as_words, make_tool
from engine.errors import BadSettings
from web.agents import example, load_agent

CALLER = Caller("call-1", "+15550123")


async def book(party: Annotated[int, msgspec.Meta(ge=1, description="Guests")], caller: Caller, note: str = "") -> str:
    """Book a table."""
    await trio.lowlevel.checkpoint()
    return f"{party} for {caller.number}\n{note}"


async def test_the_signature_is_the_schema_and_the_caller_is_no_business_of_the_models() -> None:
    """Types become JSON Schema; who calls comes from the call, whatever the model says."""
    tool = make_tool(book, effect="commit")
    assert tool.spec.description == "Book a table."
    assert tool.spec.parameters == {
        "type": "object",
        "properties": {
            "party": {"type": "integer", "minimum": 1, "description": "Guests"},
            "note": {"type": "string", "default": ""},
        },
        "required": ["party"],
    }
    result = await Toolbox.of([tool]).run("t1", "book", {"party": "2", "caller": {"number": "+1900"}}, CALLER)
    assert (result.text, result.ok) == ("2 for +15550123", True), "text numbers are numbers, extra arguments nothing"


@pytest.mark.parametrize("arguments", [{}, {"party": 0}, {"party": "many"}, {"party": None}])
async def test_arguments_that_do_not_fit(arguments: dict[str, object]) -> None:
    """The model is told what is wrong; the function never runs."""
    result = await Toolbox.of([make_tool(book, effect="commit")]).run("t1", "book", arguments, CALLER)
    assert not result.ok and "do not fit" in result.text


async def test_problems_crashes_and_silence(autojump_clock: MockClock) -> None:
    """A problem's text is passed on, a crash's is not, and slowness has an end."""

    async def full() -> str:
        """Full."""
        raise ToolProblem("We are full.")

    async def crash() -> str:
        """Crash."""
        async with trio.open_nursery():
            raise ValueError("secret detail")

    async def hang() -> str:
        """Hang."""
        await trio.sleep_forever()
        raise AssertionError

    box = Toolbox({t.spec.name: t for t in (make_tool(f, effect="read", timeout_s=3) for f in (full, crash, hang))})
    assert (await box.run("t", "full", {}, CALLER)).text == "We are full."
    assert (await box.run("t", "crash", {}, CALLER)).text == "crash failed (ValueError)."
    assert (await box.run("t", "hang", {}, CALLER)).text == "hang took too long."
    assert trio.current_time() >= 3
    assert "There is no tool x" in (await box.run("t", "x", {}, CALLER)).text


def test_results_are_one_line() -> None:
    """Anything becomes one line of text."""
    assert as_words("a\n b") == "a b"
    assert as_words({"free": True}) == '{"free":true}'


def plain(x: int) -> int:
    """Not async."""
    return x


async def wordless(x: int) -> int:
    return x


async def untyped(x):  # type: ignore[no-untyped-def]
    """No types."""


@pytest.mark.parametrize(
    ("function", "options", "says"),
    [
        (plain, {"effect": "read"}, "async def"),
        (wordless, {"effect": "read"}, "docstring"),
        (untyped, {"effect": "read"}, "annotate"),
        (book, {"effect": "maybe"}, "not one of"),
        (book, {"effect": "read", "timeout_s": 60}, "at most 17"),
    ],
)
def test_a_tool_that_is_none_says_why(function: object, options: dict[str, object], says: str) -> None:
    """Each mistake is named with the way to put it right."""
    with pytest.raises(BadSettings, match=says):
        make_tool(function, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "says"),
    [("x = 1", "no function marked"), ("1 +", "does not run"), ("import nothing_here", "does not run")],
)
def test_tool_files_that_do_not_work(tmp_path: Path, text: str, says: str) -> None:
    """The file is named, and what is wrong with it."""
    path = tmp_path / "tools.py"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadSettings, match=says):
        Toolbox.from_file(path)
    with pytest.raises(BadSettings, match="is not there"):
        Toolbox.from_file(tmp_path / "none.py")


async def test_the_bistros_tool() -> None:
    """The example answers in words that can be spoken, and knows what it cannot do."""
    box = load_agent(example()).toolbox
    good = await box.run("t", "check_availability", {"party": 2, "time": "20:00"}, CALLER)
    assert (good.text, good.ok) == ("A table for two at eight is free", True)
    for arguments in ({"party": 2, "time": "20:30"}, {"party": 8, "time": "18:00"}, {"party": 2, "time": "8pm"}):
        assert not (await box.run("t", "check_availability", arguments, CALLER)).ok
