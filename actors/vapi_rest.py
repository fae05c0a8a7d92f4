"""Vapi's REST side by httpx and msgspec (vapi.md §2 to §4, §11). Its SDK is asyncio inside: only a judge in tests.

`POST /call` has no idempotency key. It is tried again where the first try has hardly made a call: no connection, one
that was closed without an answer (mostly a kept one that the other side gave up in that very moment), or Vapi said 429
or 5xx. After a time-out of the answer the call most likely exists, and another would be an orphan.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
import trio

from actors.ports import AgentCall
from engine.errors import VapiTrouble
from engine.wire import vapi

USER_AGENT = "callscope/0.1 (+https://github.com/callscope/callscope)"
READ_TIMEOUT_S = 10.0
CONTROL_TIMEOUT_S = 5.0
FIRST_PAUSE_S = 0.25
READY_PAUSE_S = 0.2
CONFIRMATIONS = 2  # one lucky replica is not all of them
MOST_WORDS = 300
_UNANSWERED = (httpx.NetworkError, httpx.RemoteProtocolError, httpx.ConnectTimeout)
_RETRYABLE = frozenset({408, 409, 425, 429, 500, 502, 503, 504})


class VapiRest:
    """What we ask of Vapi. Fulfils `actors.ports.VapiCalls`. Every failure is a `VapiTrouble`.

    Args:
        chance: a number from 0 to 1, for the jitter.
    """

    def __init__(
        self, http: httpx.AsyncClient, *, base_url: str, api_key: str, chance: Callable[[], float] = random.random
    ) -> None:
        self._http, self._base_url, self._chance = http, base_url.rstrip("/"), chance
        self._headers = {"Authorization": f"Bearer {api_key}", "User-Agent": USER_AGENT}

    async def create_call(self, body: Mapping[str, Any], *, deadline_s: float) -> AgentCall:
        """Create a call on the websocket transport, in as many safe tries as the deadline allows."""
        pause_s = FIRST_PAUSE_S
        last = VapiTrouble("no answer in time")
        with trio.move_on_after(deadline_s):
            while True:
                try:
                    return _agent_call(await self._request("POST", "/call", body))
                except VapiTrouble as trouble:
                    if not trouble.retry:
                        raise
                    last = trouble
                await trio.sleep(pause_s * (0.5 + self._chance()))
                pause_s *= 2
        raise last

    async def get_call(self, call_id: str) -> Mapping[str, Any]:
        """The call as Vapi knows it now."""
        return await self._request("GET", f"/call/{call_id}")

    async def end_call(self, call: AgentCall) -> None:
        """End a call whose socket is not there: by live control, or else by deleting it (§2)."""
        if call.control_url is not None:
            await self.control(call, vapi.end_call())
        else:
            await self._request("DELETE", f"/call/{call.id}")

    async def control(self, call: AgentCall, message: bytes) -> None:
        """Live control (§5.2). 2xx means accepted, not done; never tried again."""
        if call.control_url is None:
            raise VapiTrouble("this call has no control address")
        try:
            answer = await self._http.post(
                call.control_url,
                content=message,
                headers={"Content-Type": "application/json", "User-Agent": USER_AGENT},
                timeout=CONTROL_TIMEOUT_S,
            )
        except httpx.HTTPError as lost:
            raise VapiTrouble(f"control: {type(lost).__name__}") from lost
        if answer.is_error:
            raise VapiTrouble("control refused", status=answer.status_code)

    async def create_assistant(self, body: Mapping[str, Any]) -> str:
        """A new assistant's id. Others may not find it yet: `wait_assistant_ready`."""
        return _id_of(await self._request("POST", "/assistant", body))

    async def ensure_assistant(self, name: str, body: Mapping[str, Any]) -> str:
        """The id of the assistant of that name, brought up to date; created when there is none."""
        wanted = {**body, "name": body.get("name", name)}
        for known in await self._list("/assistant"):
            if known.get("name") == wanted["name"]:
                return _id_of(await self._request("PATCH", f"/assistant/{known['id']}", wanted))
        return await self.create_assistant(wanted)

    async def wait_assistant_ready(self, assistant_id: str, *, deadline_s: float) -> None:
        """Return once Vapi finds the assistant, twice in a row: a fresh one is not everywhere at once.

        Raises:
            VapiTrouble: not within the deadline, or refused for another reason than not being found.
        """
        found = 0
        with trio.move_on_after(deadline_s):
            while found < CONFIRMATIONS:
                try:
                    await self._request("GET", f"/assistant/{assistant_id}")
                    found += 1
                except VapiTrouble as trouble:
                    if trouble.status != 404 and not trouble.retry:
                        raise
                    found = 0
                await trio.sleep(READY_PAUSE_S)
        if found < CONFIRMATIONS:
            raise VapiTrouble("the assistant was not found in time", status=404)

    async def _list(self, path: str) -> list[dict[str, Any]]:
        data = await self._send("GET", path)
        return [one for one in data if isinstance(one, dict)] if isinstance(data, list) else []

    async def _request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        data = await self._send(method, path, body)
        if not isinstance(data, dict):
            raise VapiTrouble(f"{method} {path.split('/')[1]}: no JSON object in the answer")
        return data

    async def _send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        what = f"{method} /{path.split('/')[1]}"
        try:
            answer = await self._http.request(
                method,
                self._base_url + path,
                content=None if body is None else msgspec.json.encode(body),
                headers={**self._headers, **({} if body is None else {"Content-Type": "application/json"})},
                timeout=httpx.Timeout(READ_TIMEOUT_S, connect=3.0),
            )
        except _UNANSWERED as lost:
            raise VapiTrouble(f"{what}: {type(lost).__name__}", retry=True) from lost
        except httpx.HTTPError as lost:
            raise VapiTrouble(f"{what}: {type(lost).__name__}", retry=method == "GET") from lost
        if answer.is_error:
            raise _trouble(what, answer)
        try:
            return msgspec.json.decode(answer.content) if answer.content else {}
        except msgspec.DecodeError:
            raise VapiTrouble(f"{what}: the answer is not JSON", status=answer.status_code) from None


def _trouble(what: str, answer: httpx.Response) -> VapiTrouble:
    """An error answer: `message` is a string or a list of them; a proxy in front may answer with anything (§2)."""
    words = ""
    try:
        data = msgspec.json.decode(answer.content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        data = None
    if isinstance(data, dict):
        message = data.get("message") or data.get("error") or ""
        words = "; ".join(map(str, message)) if isinstance(message, list) else str(message)
    busy = "concurrency" in words.lower()  # has been a 400 (§2)
    status = answer.status_code
    text = f"{what}: {words[:MOST_WORDS]}" if words else what
    return VapiTrouble(text, status=status, retry=busy or status in _RETRYABLE)


def _id_of(data: Mapping[str, Any]) -> str:
    found = data.get("id")
    if not isinstance(found, str) or not found:
        raise VapiTrouble("the answer has no id")
    return found


def _agent_call(data: Mapping[str, Any]) -> AgentCall:
    transport = data.get("transport")
    url = transport.get("websocketCallUrl") if isinstance(transport, dict) else None
    if not isinstance(url, str) or urlsplit(url).scheme not in ("ws", "wss") or not urlsplit(url).hostname:
        raise VapiTrouble("the answer has no websocketCallUrl")
    monitor = data.get("monitor")
    control_url = monitor.get("controlUrl") if isinstance(monitor, dict) else None
    return AgentCall(_id_of(data), url, control_url if isinstance(control_url, str) else None)
