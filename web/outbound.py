"""Asks a running service to call somebody, and follows the call: what `callscope dial` does, for programs too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import trio

from engine.errors import CallscopeError

POLL_S = 0.25


class NotTaken(CallscopeError):
    """The service does not make this call; the message is its own."""


@dataclass(frozen=True)
class Service:
    """A running service.

    Args:
        key: of an operator; none for a service that is open to this machine.
    """

    url: str
    http: httpx.AsyncClient
    key: str = field(default="", repr=False)

    async def dial(
        self, to: str, variables: Mapping[str, str], *, idempotency_key: str, agent: str = ""
    ) -> Mapping[str, Any]:
        """Have somebody called. With the same idempotency key it is the same call.

        Raises:
            NotTaken: it is not allowed, or the service cannot be asked.
        """
        body = {"to": to, "variables": dict(variables), **({"agent": agent} if agent else {})}
        return await self._ask("POST", "/api/calls", json=body, headers={"Idempotency-Key": idempotency_key})

    async def follow(self, call_id: str, *, timeout_s: float) -> AsyncIterator[Mapping[str, Any]]:
        """How far the call is, whenever that has changed, to its end.

        Raises:
            NotTaken: the service cannot be asked.
            trio.TooSlowError: it goes on for longer.
        """
        last: Mapping[str, Any] = {}
        until = trio.current_time() + timeout_s
        while not last.get("over"):
            if trio.current_time() > until:
                raise trio.TooSlowError
            now = await self._ask("GET", f"/api/calls/{call_id}/dial")
            if now != last:
                last = now
                yield now
            else:
                await trio.sleep(POLL_S)

    async def outcome(self, call_id: str, *, within_s: float = 5.0) -> Mapping[str, Any] | None:
        """The call's row once its journal has an end; None when that does not come."""
        with trio.move_on_after(within_s):
            while True:
                answer = await self.http.get(f"{self.url}/api/calls/{call_id}", headers=self._authorised())
                found: Mapping[str, Any] = answer.json() if answer.status_code == 200 else {}
                if found.get("state") == "ended":
                    return found
                await trio.sleep(POLL_S)
        return None

    async def _ask(self, method: str, path: str, **more: Any) -> Mapping[str, Any]:
        headers = {**self._authorised(), **more.pop("headers", {})}
        try:
            answer = await self.http.request(method, self.url + path, headers=headers, **more)
            told: Mapping[str, Any] = answer.json()
        except httpx.HTTPError as lost:
            raise NotTaken(f"no answer from {self.url} ({type(lost).__name__}): does the service run?") from lost
        except ValueError as odd:
            raise NotTaken(f"{self.url} is no Callscope") from odd
        if answer.is_error:
            raise NotTaken(str(told.get("detail") or f"status {answer.status_code}"))
        return told

    def _authorised(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}
