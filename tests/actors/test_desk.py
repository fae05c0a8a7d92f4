"""What an operator orders of a call, in virtual time: it happens, it is in the journal with who, and only once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from actors.desk import ACTION, CannotNow, Desk, KeyUsed, Order, UnknownDestination, destinations, mark_record
from actors.journal_memory import MemoryJournal
from engine.agent import Agent
from engine.builtin_tools import Builtins, Transfer
from engine.journal import Record
from engine.phases import Phase
from tests.actors.conftest import FALLBACK, Caller, House, until

TRANSFERS = Builtins(transfers={"kitchen": Transfer("+15550177", words="The kitchen, one moment.")})
AGENT = Agent("bistro", assistant_id="a", fallback=FALLBACK, builtins=TRANSFERS)


def desk_of(house: House) -> Desk:
    return Desk(house.supervisor.call, AGENT)


async def actions(house: House, call_id: str) -> list[dict[str, Any]]:
    return [dict(record.data) for record in await house.records(call_id) if record.name == ACTION]


def controls(caller: Caller) -> list[dict[str, Any]]:
    return [text for text in caller.agent.texts() if text["type"] in ("say", "control")]


async def test_say_and_mute(autojump_clock: MockClock, house: House) -> None:
    """The agent says what the operator typed, is silenced, and speaks again."""
    caller, desk = await house.ring(), desk_of(house)
    for order in (
        Order("say", "ann", text="We open at six."),
        Order("mute_assistant", "ann"),
        Order("unmute_assistant", "bob"),
    ):
        assert desk.order(caller.call_id, order)
    say, *muted = controls(caller)
    assert (say["content"], say["interruptAssistantEnabled"]) == ("We open at six.", False)
    assert [one["control"] for one in muted] == ["mute-assistant", "unmute-assistant"]
    assert await actions(house, caller.call_id) == [
        {"action": "say", "by": "ann", "text": "We open at six.", "done": True},
        {"action": "mute_assistant", "by": "ann", "done": True},
        {"action": "unmute_assistant", "by": "bob", "done": True},
    ]
    caller.hang_up()


@pytest.mark.parametrize(
    ("order", "words", "number"),
    [
        (Order("hang_up", "ann"), "We have to end the call here. Goodbye.", None),
        (Order("transfer", "ann", to="fallback", text="I put you through."), "I put you through.", FALLBACK.number),
        (Order("transfer", "ann", to="kitchen"), "The kitchen, one moment.", "+15550177"),
    ],
    ids=["hang up", "transfer", "transfer with the file's words"],
)
async def test_the_call_leaves(
    autojump_clock: MockClock, house: House, order: Order, words: str, number: str | None
) -> None:
    """The caller hears words, and then a person or the end; nothing but a mark can be ordered any more."""
    caller, desk = await house.ring(), desk_of(house)
    assert desk.order(caller.call_id, order)
    await until(lambda: caller.phase is Phase.TRANSFERRING)
    for late in ("hang_up", "say", "transfer", "mute_assistant"):
        with pytest.raises(CannotNow, match="leaving already"):
            desk.order(caller.call_id, Order(late, "bob", text="x", to="fallback"))
    step = house.supervisor.next_step(caller.sid)
    assert (step.words, step.number) == (words, number)
    await until(lambda: not house.supervisor.live)
    with pytest.raises(CannotNow, match="over"):
        desk.order(caller.call_id, Order("say", "ann", text="Hello?"))
    assert desk.order(caller.call_id, Order("mark", "ann", note="why?"))
    told = await actions(house, caller.call_id)
    assert [one["action"] for one in told] == [order.action, "mark"]
    records = await house.records(caller.call_id)
    assert [record.seq for record in records] == list(range(len(records)))


async def test_the_same_order_twice(autojump_clock: MockClock, house: House) -> None:
    """With the same key it is carried out once; without one each time; a key is for one order."""
    caller, desk = await house.ring(), desk_of(house)
    order = Order("say", "ann", text="Hello.", key="k1")
    for again in (order, order, Order("say", "ann", text="Hello."), Order("say", "bob", text="Hello.", key="k1")):
        assert desk.order(caller.call_id, again)
    assert len(controls(caller)) == 3
    with pytest.raises(KeyUsed):
        desk.order(caller.call_id, Order("say", "ann", text="Goodbye.", key="k1"))
    assert len(controls(caller)) == 3
    caller.hang_up()


async def test_nobody_to_tell(autojump_clock: MockClock, house: House) -> None:
    """The agent is not there yet: the operator hears so, and the journal has that it was tried."""
    house.vapi.delay_s = 60.0
    caller, desk = await house.ring(greet=False), desk_of(house)
    with pytest.raises(CannotNow, match="not there"):
        desk.order(caller.call_id, Order("say", "ann", text="Hello.", key="k"))
    assert (await actions(house, caller.call_id))[0]["done"] is False
    with pytest.raises(CannotNow):
        desk.order(caller.call_id, Order("say", "ann", text="Hello.", key="k"))
    caller.hang_up()


async def test_only_whom_the_agent_file_names(autojump_clock: MockClock, house: House) -> None:
    """A number from outside is no destination, and an unknown call is nobody's."""
    caller, desk = await house.ring(), desk_of(house)
    for to in ("+15550111", "sip:a@b", "", FALLBACK.number or ""):
        with pytest.raises(UnknownDestination):
            desk.order(caller.call_id, Order("transfer", "ann", to=to))
    assert {name: where.to for name, where in destinations(AGENT).items()} == {
        "kitchen": "+15550177", "fallback": FALLBACK.number,
    }  # fmt: skip
    assert destinations(Agent("bistro", assistant_id="a")) == {}
    assert not desk.order("call-" + "9" * 26, Order("mark", "ann"))
    assert caller.phase is Phase.LISTENING and await actions(house, caller.call_id) == []
    caller.hang_up()


async def test_two_marks_at_once(autojump_clock: MockClock, house: House) -> None:
    """Two services mark the same old call: both marks are in its journal, with numbers of their own."""
    caller = await house.ring()
    caller.hang_up()
    await until(lambda: not house.supervisor.live)
    before = len(await house.records(caller.call_id))

    class Slow(MemoryJournal):
        async def read(self, call_id: str) -> Sequence[Record]:
            found = await house.journal.read(call_id)
            await trio.sleep(0.1)
            return found

        async def commit(self, record: Record) -> None:
            await house.journal.commit(record)

    async def mark(who: str) -> None:
        await mark_record(Slow(), caller.call_id, Order("mark", who), wall_s=2e9)

    async with trio.open_nursery() as nursery:
        for who in ("ann", "bob"):
            nursery.start_soon(mark, who)
    told = (await house.records(caller.call_id))[before:]
    assert sorted(record.data["by"] for record in told) == ["ann", "bob"]
    assert [record.seq for record in told] == [before, before + 1]
