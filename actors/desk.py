"""What a person at the console may order of a call of this process. Its journal keeps each order, and who gave it.

Nothing here waits for the call: an order is accepted, and what became of it is in the journal. The same order with the
same key is carried out once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import trio

from actors.call_actor import CallActor
from actors.ended_call import EndedCall
from actors.ports import Journal
from engine import events as e
from engine.agent import Agent
from engine.builtin_tools import Transfer
from engine.errors import CallscopeError, JournalUnavailable
from engine.journal import Kind, Record
from engine.phases import Phase
from engine.wire import vapi

__all__ = ["ACTION", "CannotNow", "Desk", "KeyUsed", "Order", "UnknownDestination", "destinations", "mark_record"]

ACTION = "OperatorAction"
MARKS = frozenset({"mark", "unmark"})
LEAVING = frozenset({Phase.TRANSFERRING, Phase.ENDED})
MOST_REMEMBERED = 2_000  # orders with a key: whoever repeats one does so within minutes
TRIES = 5


class CannotNow(CallscopeError):
    """The call is not in a state for that. The text says why, for the operator."""


class KeyUsed(CallscopeError):
    """Another order came with that key before."""


class UnknownDestination(CallscopeError):
    """The agent file has no such name to transfer to."""


@dataclass(frozen=True, slots=True)
class Order:
    """One order.

    Args:
        action: say, mute_assistant, unmute_assistant, hang_up, transfer, mark or unmark.
        by: who, by the name of their key.
        text: what the agent shall say, or what the caller hears before a transfer instead of the agent file's words.
        to: a name of the agent's list.
        key: repeated with the same one, it is carried out once; empty: each time.
    """

    action: str
    by: str
    text: str = ""
    to: str = ""
    note: str = ""
    key: str = ""

    @property
    def data(self) -> dict[str, Any]:
        """As the journal keeps it."""
        given = {"text": self.text, "to": self.to, "note": self.note}
        return {"action": self.action, "by": self.by, **{name: value for name, value in given.items() if value}}


def destinations(agent: Agent) -> dict[str, Transfer]:
    """Whom a call may be transferred to, by name. Never a number from outside the agent file."""
    found = dict(agent.builtins.transfers)
    if agent.fallback.number is not None:
        found.setdefault("fallback", Transfer(agent.fallback.number))
    return found


class Desk:
    """Gives orders to the calls of one process.

    Args:
        find: a call by its id: live, or ended not long ago.
    """

    def __init__(self, find: Callable[[str], CallActor | EndedCall | None], agent: Agent) -> None:
        self._find, self._agent = find, agent
        self._done: OrderedDict[tuple[str, str, str], Order] = OrderedDict()

    def order(self, call_id: str, order: Order) -> bool:
        """Carry it out. False: the call is not one of this process's.

        Raises:
            CannotNow: the call is over or leaving, or its agent is not there.
            UnknownDestination: nobody of that name in the agent file.
            KeyUsed: that key belongs to another order.
        """
        call = self._find(call_id)
        if call is None:
            return False
        asked = (call_id, order.by, order.key)
        if order.key and asked in self._done:
            if self._done[asked] != order:
                raise KeyUsed("this Idempotency-Key came with another order before; take a new one for a new order")
            return True
        if isinstance(call, EndedCall):
            if order.action not in MARKS:
                raise CannotNow("the call is over; it can still be marked")
            call.note(ACTION, order.data)
        else:
            self._carry_out(call, order)
        if order.key:
            self._done[asked] = order
            while len(self._done) > MOST_REMEMBERED:
                self._done.popitem(last=False)
        return True

    def _carry_out(self, call: CallActor, order: Order) -> None:
        if order.action in MARKS:
            call.note(ACTION, order.data)
            return
        if call.call.phase in LEAVING:
            raise CannotNow("the call is leaving already; it can still be marked")
        now = trio.current_time()
        match order.action:
            case "hang_up":
                call.note(ACTION, order.data)
                call.post(e.HangUpOrdered(at=now, reason="operator"))
            case "transfer":
                where = destinations(self._agent).get(order.to)
                if where is None:
                    raise UnknownDestination(order.to)
                call.note(ACTION, order.data)
                call.post(e.TransferOrdered(at=now, number=where.to, words=order.text or where.words))
            case "say":
                self._tell_agent(call, order, vapi.say(order.text))
            case _:
                self._tell_agent(call, order, vapi.control(order.action.replace("_", "-")))

    def _tell_agent(self, call: CallActor, order: Order, message: bytes) -> None:
        done = call.bridge.tell_agent(message)
        call.note(ACTION, {**order.data, "done": done})
        if not done:
            raise CannotNow("the agent is not there now, so it cannot be told; try again in a moment")


async def mark_record(journal: Journal, call_id: str, order: Order, *, wall_s: float) -> None:
    """Mark a call that no process remembers: its journal gets one more record.

    Raises:
        JournalUnavailable: it could not be kept.
    """
    for _ in range(TRIES):
        records = await journal.read(call_id)
        last = records[-1]
        at_ms = max(last.at_ms, last.at_ms + (wall_s - last.wall_s) * 1000)
        record = Record(
            call_id=call_id, seq=last.seq + 1, at_ms=round(at_ms, 1), wall_s=round(wall_s, 3), kind=Kind.NOTE,
            name=ACTION, data=order.data,
        )  # fmt: skip
        try:
            await journal.commit(record)
        except JournalUnavailable:
            if (await journal.read(call_id))[-1].seq < record.seq:
                raise  # not another's record that was faster: the disk does not take it
        else:
            return
    raise JournalUnavailable("others wrote into the call's journal at the same time; try again")
