"""Tool calls of a live call: what the agent is told, what is done, and what the journal knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from actors.tools import Toolbox, ToolProblem, make_tool
from engine import events as e
from engine.phases import Phase
from engine.tools import ToolResult
from engine.wire import vapi
from tests.actors.conftest import Caller, House, house, until

__all__ = ["house"]


class Desk:
    """The other end of the tools."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.takes_s = 0.5

    def tools(self, **policy: Any) -> list[Any]:
        async def book(party: int) -> str:
            """Book."""
            await trio.sleep(self.takes_s)
            self.done.append(f"booked {party}")
            return "Number seven."

        async def cancel(party: int, result: str) -> str:
            """Take a booking back."""
            self.done.append(f"cancelled {party}: {result}")
            return "Cancelled."

        async def full() -> str:
            """Full."""
            raise ToolProblem("We are full.")

        return [
            make_tool(book, effect="commit", **policy),
            make_tool(cancel, effect="idempotent", hidden=True),
            make_tool(full, effect="commit"),
        ]


async def ring(house: House, tools: Sequence[Any]) -> Caller:
    house.supervisor.services = replace(house.supervisor.services, toolbox=Toolbox.of(tools))
    return await house.ring()


async def ask(
    caller: Caller, tool_call_id: str, name: str = "book", arguments: dict[str, Any] | None = None
) -> ToolResult:
    call = vapi.ToolCall(tool_call_id, name, {"party": 2} if arguments is None else arguments)
    (result,) = await caller.actor.run_tools([call], deadline_s=18)
    return result


def say(caller: Caller, words: str) -> None:
    caller.actor.post(e.CallerTranscript(at=trio.current_time(), text=words, final=True))


async def notes(house: House, caller: Caller, name: str) -> list[dict[str, Any]]:
    return [record.data for record in await house.records(caller.call_id) if record.name == name]


async def test_a_commit_is_confirmed_by_the_caller_first(autojump_clock: MockClock, house: House) -> None:
    """First a question, then nothing without the caller's words, then the booking; once."""
    desk = Desk()
    caller = await ring(house, desk.tools(confirm=True))
    assert "Not done yet" in (await ask(caller, "t1")).text and "party: 2" in (await ask(caller, "t1")).text
    assert "has not answered" in (await ask(caller, "t2")).text
    await trio.sleep(2)
    say(caller, "yes please")
    await trio.sleep(0.5)
    assert (await ask(caller, "t3", arguments={"party": 3})).text.startswith("Not done yet"), "something else"
    assert (await ask(caller, "t4")).text == "Number seven." and desk.done == ["booked 2"]
    assert "done already" in (await ask(caller, "t5")).text


async def test_again_means_again_only_after_a_turn(autojump_clock: MockClock, house: House) -> None:
    """Two of the same are two orders when the tool says so and the caller has spoken in between."""
    desk = Desk()
    caller = await ring(house, desk.tools(again=True))
    await ask(caller, "t1")
    assert "done already" in (await ask(caller, "t2")).text
    await trio.sleep(2)
    say(caller, "one more of the same please")
    await trio.sleep(0.5)
    assert (await ask(caller, "t3")).text == "Number seven."
    keys = [intent["key"] for intent in await notes(house, caller, "ToolIntent")]
    assert desk.done == ["booked 2"] * 2 and len(set(keys)) == 2


async def test_what_came_to_nothing_may_be_asked_for_again(autojump_clock: MockClock, house: House) -> None:
    """A tool that says no has done nothing: the same again is tried again, with the same key."""
    caller = await ring(house, Desk().tools())
    for tool_call_id in ("t1", "t2"):
        assert (await ask(caller, tool_call_id, "full", {})).text == "We are full."
    keys = {intent["key"] for intent in await notes(house, caller, "ToolIntent")}
    assert len(keys) == 1


@pytest.mark.parametrize("takes_s", [0.5, 3.0])
async def test_a_hang_up_before_the_agent_could_know_is_undone(
    autojump_clock: MockClock, house: House, takes_s: float
) -> None:
    """The caller hangs up while it is being booked: it is taken back, with an intent of its own. Told, it stays."""
    desk = Desk()
    desk.takes_s = takes_s
    caller = await ring(house, desk.tools(undo="cancel"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, caller, "t1")
        await trio.sleep(1.0)
        caller.hang_up()
    await until(lambda: not house.supervisor.tasks)
    told = takes_s < 1.0
    assert desk.done == (["booked 2"] if told else ["booked 2", "cancelled 2: Number seven."])
    undone = await notes(house, caller, "ToolUndone")
    assert [one["ok"] for one in undone] == ([] if told else [True])
    assert len(await notes(house, caller, "ToolIntent")) == (1 if told else 2)


async def test_a_webhook_that_is_gone_does_not_lose_the_result(autojump_clock: MockClock, house: House) -> None:
    """Vapi's connection breaks while it is being booked: the agent is told in the conversation."""
    desk = Desk()
    caller = await ring(house, desk.tools())
    with trio.move_on_after(0.2):
        await ask(caller, "t1")
    for _ in range(30):
        await trio.sleep(0.1)
        caller.return_marks()  # our own line, said meanwhile, is heard
    messages = [text["message"]["content"] for text in caller.agent.texts() if text["type"] == "add-message"]
    assert desk.done == ["booked 2"] and any("Number seven." in words for words in messages)
    assert (await ask(caller, "t1")).text == "Number seven."


async def test_bad_input_is_answered_in_words(autojump_clock: MockClock, house: House) -> None:
    """A megabyte of arguments, a strange name, a hidden tool, a million ids: words, no crash, and the call goes on."""
    desk = Desk()
    caller = await ring(house, desk.tools())
    assert "too large" in (await ask(caller, "t1", arguments={"party": "9" * 1_000_000})).text
    strange = await ask(caller, "t2", "x" * 100_000)
    assert "There is no tool x" in strange.text and len(strange.text) < 300
    assert "There is no tool cancel" in (await ask(caller, "t3", "cancel")).text
    for number in range(600):
        await ask(caller, f"n{number}", "nothing")
    assert desk.done == [] and caller.phase is Phase.LISTENING
    assert (await ask(caller, "t4")).ok


async def test_a_tool_that_keeps_crashing_is_switched_off(autojump_clock: MockClock, house: House) -> None:
    """Three crashes within ten seconds in one call; other calls keep it."""

    async def breaks() -> str:
        """Break."""
        raise RuntimeError("wires crossed")

    caller = await ring(house, [make_tool(breaks, effect="read")])
    answers = [(await ask(caller, f"t{number}", "breaks", {})).text for number in range(4)]
    assert ["switched off" in text for text in answers] == [False, False, False, True]
    other = await house.ring("CA2")
    assert "switched off" not in (await ask(other, "t1", "breaks", {})).text


async def test_nothing_begins_that_cannot_be_written_down(autojump_clock: MockClock, house: House) -> None:
    """The disk is full: a commit is not begun, and the agent is told so."""
    desk = Desk()
    caller = await ring(house, desk.tools())
    house.journal.unavailable = True
    result = await ask(caller, "t1")
    assert not result.ok and "Nothing was done" in result.text and desk.done == []


async def test_other_arguments_under_the_same_id_get_the_first_answer(autojump_clock: MockClock, house: House) -> None:
    """The first ones count, and the journal says that there were others."""
    desk = Desk()
    caller = await ring(house, desk.tools())
    first, second = await ask(caller, "t1"), await ask(caller, "t1", arguments={"party": 5})
    assert first.text == second.text == "Number seven." and desk.done == ["booked 2"]
    assert [one.get("other_arguments") for one in await notes(house, caller, "ToolRepeated")] == [True]


async def test_what_ends_a_call_is_one_effect_until_it_is_called_off(autojump_clock: MockClock, house: House) -> None:
    """Asked for twice at once it happens once; when the call goes on after it, asking again is another effect."""
    done: list[str] = []

    async def hand_in() -> str:
        """Hand in."""
        await trio.sleep(2)
        done.append("in")
        return "Handed in."

    caller = await ring(house, [make_tool(hand_in, effect="terminal")])
    answers: list[str] = []

    async def ask_once(tool_call_id: str) -> None:
        answers.append((await ask(caller, tool_call_id, "hand_in", {})).text)

    async with trio.open_nursery() as nursery:
        for tool_call_id in ("t1", "t2"):
            nursery.start_soon(ask_once, tool_call_id)
    assert done == ["in"] and sorted(answers)[1].startswith("This is done already")
    assert (await ask(caller, "t3", "hand_in", {})).text == "Handed in."
    keys = [intent["key"] for intent in await notes(house, caller, "ToolIntent")]
    assert len(done) == len(keys) == len(set(keys)) == 2
