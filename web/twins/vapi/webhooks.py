"""Server messages: one POST each, with the receiver's auth, its time limit, its retries (vapi.md §6, §9, §14)."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import httpx
import msgspec
import structlog
import trio

from web.twins.vapi.auth import headers_for
from web.twins.vapi.clock import epoch_ms, new_id
from web.twins.vapi.dials import Dials

__all__ = ["Answer", "Credentials", "Webhooks"]

log = structlog.get_logger(__name__)

LIMIT_S = 20.0
MOST_AT_ONCE = 200
MOST_WAITING = 2000
_MOST_BYTES = 1_000_000


class Credentials(Protocol):
    def plan(self, credential_id: str) -> Mapping[str, Any] | None:
        """The authentication plan of a credential; None when there is none of that id."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `status` is None when nothing did; then `problem` says why."""

    status: int | None
    body: bytes
    took_ms: float
    problem: str = ""
    tries: int = 1

    @property
    def is_good(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    def json(self) -> Any:
        """The body as JSON; None when it is none."""
        try:
            return msgspec.json.decode(self.body)
        except msgspec.DecodeError:
            return None


class Webhooks:
    """Sends for all calls. `nursery` holds the deliveries that nobody waits for."""

    def __init__(
        self, client: httpx.AsyncClient, dials: Dials, credentials: Credentials, nursery: trio.Nursery, seed: int
    ) -> None:
        self._client, self._dials, self._credentials, self._nursery = client, dials, credentials, nursery
        self._chance = random.Random(seed)  # noqa: S311  # an order of events, no secret
        self._limiter = trio.CapacityLimiter(MOST_AT_ONCE)
        self._waiting = 0
        self._posted = 0
        self.lost = 0

    def post(self, server: Mapping[str, Any], message: Mapping[str, Any], done: OnAnswer) -> None:
        """Deliver one message that wants no answer, soon. `done` hears what came of it."""
        if self._waiting >= MOST_WAITING:
            self.lost += 1
            return
        self._posted += 1
        every = self._dials.duplicate_every
        body = encode(message)
        for _ in range(2 if every and self._posted % every == 0 else 1):
            self._waiting += 1
            self._nursery.start_soon(self._deliver, dict(server), message, body, done)

    async def _deliver(
        self, server: Mapping[str, Any], message: Mapping[str, Any], body: bytes, done: OnAnswer
    ) -> None:
        try:
            await trio.sleep((self._dials.webhook_delay_ms + self._chance.uniform(0, self._dials.shuffle_ms)) / 1000)
            async with self._limiter:
                answer = await self.send(server, body, call_id=_call_id(message))
            done(message, answer)
        finally:
            self._waiting -= 1

    async def send(
        self, server: Mapping[str, Any], body: bytes, *, call_id: str, limit_s: float | None = None
    ) -> Answer:
        """POST and wait, with the retries of the server's `backoffPlan` (none by default)."""
        plan = server.get("backoffPlan") or {}
        tries = 1 + int(plan.get("maxRetries", 0))
        answer = Answer(None, b"", 0.0, "not sent")
        for number in range(tries):
            if number:
                grown = 2 ** (number - 1) if plan.get("type") == "exponential" else 1
                await trio.sleep(plan.get("baseDelaySeconds", 0) * grown)
            answer = await self._once(server, body, call_id, limit_s, number + 1)
            if answer.is_good or answer.status in (plan.get("excludedStatusCodes") or ()):
                break
        return answer

    async def _once(
        self, server: Mapping[str, Any], body: bytes, call_id: str, limit_s: float | None, tries: int
    ) -> Answer:
        limit_s = limit_s or min(float(server.get("timeoutSeconds") or LIMIT_S), self._dials.timeout_cap_s)
        credential = server.get("credentialId")
        plan = self._credentials.plan(credential) if credential else None
        headers = {"content-type": "application/json", "x-call-id": call_id} | headers_for(
            server,
            plan,
            body=body,
            now_ms=epoch_ms(),
            message_id=new_id(),
            timestamp_in_seconds=self._dials.hmac_timestamp_in_seconds,
        )
        began = trio.current_time()
        problem, status, content = f"no answer within {limit_s:g} s", None, b""
        with trio.move_on_after(limit_s):
            try:
                request = self._client.build_request("POST", server["url"], content=body, headers=headers, timeout=None)
                response = await self._client.send(request, stream=True)
                try:
                    content = await _bounded(response)
                finally:
                    await response.aclose()
                status, problem = response.status_code, ""
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                problem = type(error).__name__
        return Answer(status, content, (trio.current_time() - began) * 1000, problem, tries)


class OnAnswer(Protocol):
    def __call__(self, message: Mapping[str, Any], answer: Answer, /) -> None: ...


def encode(message: Mapping[str, Any]) -> bytes:
    """In the envelope that every webhook has (§6.1)."""
    return msgspec.json.encode({"message": message})


def _call_id(message: Mapping[str, Any]) -> str:
    return str(message.get("call", {}).get("id", ""))


async def _bounded(response: httpx.Response) -> bytes:
    content = bytearray()
    async for piece in response.aiter_bytes():
        content += piece
        if len(content) > _MOST_BYTES:
            raise httpx.ReadError("the answer is too long")
    return bytes(content)
