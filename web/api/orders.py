"""Orders to calls: to the process that holds the call, whichever worker was asked.

A sibling is asked over its own socket, which only this service's processes can open; it believes us who gave it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec
import trio
from msgspec import UNSET
from quart import Response
from quart_trio import QuartTrio

from actors.desk import MARKS, CannotNow, Desk, KeyUsed, Order, UnknownDestination, destinations, mark_record
from actors.ports import Journal
from engine.agent import Agent
from engine.errors import JournalUnavailable
from web.api.problems import Problem
from web.api.types import Act
from web.bodies import raw_body
from web.siblings import NOT_KNOWN, Siblings

__all__ = ["Orders", "add_sibling_orders"]

_NEEDS: Mapping[str, str] = {"say": "text", "transfer": "to"}
_TAKES: Mapping[str, frozenset[str]] = {
    "say": frozenset({"text", "note"}),
    "transfer": frozenset({"to", "text", "note"}),
}


class Orders:
    """Carries out what operators order."""

    def __init__(self, desk: Desk, journal: Journal, agent: Agent, siblings: Siblings | None = None) -> None:
        self._desk, self._journal, self._agent, self._siblings = desk, journal, agent, siblings
        self._marking = trio.Lock()

    def transfer_to(self) -> tuple[str, ...]:
        return tuple(destinations(self._agent))

    async def act(self, call_id: str, act: Act, who: str, key: str, *, is_live: bool) -> None:
        """Give the order.

        Args:
            is_live: the journal has no end of the call yet.

        Raises:
            Problem: it does not fit, or cannot be carried out now.
        """
        order = order_of(act, who, key)
        known = await self.try_here(call_id, order)
        if not known and self._siblings is not None:
            known = await self._ask_siblings(self._siblings, call_id, order)
        if known:
            return
        if order.action not in MARKS:
            what = "its process cannot be reached now; try again in a moment" if is_live else "the call is over"
            raise Problem(503 if is_live else 409, f"Not done: {what}.", kind="unreachable" if is_live else "over")
        try:
            async with self._marking:
                await mark_record(self._journal, call_id, order, wall_s=time.time())
        except JournalUnavailable:
            raise Problem(503, "The journal cannot be written now; try again in a moment.", kind="journal") from None

    async def try_here(self, call_id: str, order: Order) -> bool:
        """Give the order to a call of this process, and return once the journal has it. False: there is none.

        Raises:
            Problem: it cannot be carried out.
        """
        try:
            known = self._desk.order(call_id, order)
        except CannotNow as problem:
            raise Problem(409, f"Not done: {problem}.", kind="not-now") from None
        except KeyUsed as problem:
            raise Problem(422, f"Not done: {problem}.", kind="key-used") from None
        except UnknownDestination:
            names = ", ".join(self.transfer_to()) or "none; the agent file lists them"
            raise Problem(422, f"`to` is a name of the agent's transfer list: {names}.", kind="destination") from None
        if known:
            with suppress(JournalUnavailable):  # it was carried out; the journal goes on trying
                await self._journal.flush()
        return known

    async def _ask_siblings(self, siblings: Siblings, call_id: str, order: Order) -> bool:
        body = msgspec.json.encode(order)
        target = f"/internal/calls/{call_id}/orders".encode()
        answer = await siblings.ask_all("POST", target, [(b"content-type", b"application/json")], body)
        if answer is None:
            return False
        if answer.status == 202:
            return True
        told: dict[str, Any] = msgspec.json.decode(answer.body)
        kind = str(told.get("type", "")).removeprefix("urn:callscope:")
        raise Problem(answer.status, str(told.get("detail", "Its process refused.")), kind=kind)


def order_of(act: Act, who: str, key: str) -> Order:
    """The order in an operator's words.

    Raises:
        Problem: something is missing or too much for this action.
    """
    given = {name: value for name in ("text", "to", "note") if (value := getattr(act, name)) is not UNSET}
    needed = _NEEDS.get(act.action)
    if needed is not None and not given.get(needed, "").strip():
        raise Problem(422, f"The action {act.action} needs `{needed}`.", kind="body")
    extra = sorted(given.keys() - _TAKES.get(act.action, frozenset({"note"})))
    if extra:
        raise Problem(422, f"The action {act.action} takes no `{extra[0]}`.", kind="body")
    return Order(act.action, who, key=key, **{name: " ".join(value.split()) for name, value in given.items()})


def add_sibling_orders(app: QuartTrio, orders: Orders) -> None:
    """The route that siblings ask; it is on their socket only. 404: the call is not this worker's."""

    @app.post("/internal/calls/<call_id>/orders")
    async def ordered(call_id: str) -> Response:
        order = msgspec.json.decode(await raw_body(), type=Order)
        return Response("", 202 if await orders.try_here(call_id, order) else NOT_KNOWN)
