"""Twilio's REST side through the official SDK, carried by our Trio HTTP client (twilio.md §17, §18)."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import trio
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.http.async_http_client import AsyncHttpClient
from twilio.http.response import Response
from twilio.rest import Client

from engine.errors import TwilioTrouble

DEFAULT_BASE_URL = "https://api.twilio.com"
TIMEOUT_S = 8.0
MOST_TRIES = 3
NOT_IN_PROGRESS = 21220  # the call is over already
NOT_FOUND = 20404
TOO_MANY_REQUESTS = 429


class TrioHttpClient(AsyncHttpClient):  # type: ignore[misc]  # the SDK has no types
    """The SDK's transport on a shared `httpx.AsyncClient`. A 429 was not executed, so it alone is tried again.

    Args:
        base_url: where `https://api.twilio.com` is to be found.
        chance: a number from 0 to 1, for the jitter.
    """

    def __init__(self, http: httpx.AsyncClient, base_url: str, *, chance: Callable[[], float] = random.random) -> None:
        # AsyncHttpClient's own constructor would open an aiohttp session; only its base is wanted.
        super(AsyncHttpClient, self).__init__(None, True, TIMEOUT_S)
        self._http, self._base_url, self._chance = http, base_url.rstrip("/"), chance

    async def request(
        self,
        method: str,
        url: str,
        params: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,
        allow_redirects: bool = False,
    ) -> Response:
        """One request of the SDK's. Raises httpx's errors."""
        for attempt in range(1, MOST_TRIES + 1):
            answer = await self._http.request(
                method.upper(),
                self._moved(url),
                params=dict(params) if params else None,
                data=dict(data) if data else None,
                headers=dict(headers) if headers else None,
                auth=auth,
                timeout=timeout or TIMEOUT_S,
                follow_redirects=allow_redirects,
            )
            if answer.status_code != TOO_MANY_REQUESTS or attempt == MOST_TRIES:
                break
            await trio.sleep(2 ** (attempt - 1) * (0.25 + 0.5 * self._chance()))
        return Response(answer.status_code, answer.text, dict(answer.headers))

    def _moved(self, url: str) -> str:
        if self._base_url == DEFAULT_BASE_URL:
            return url
        base, asked = urlsplit(self._base_url), urlsplit(url)
        return urlunsplit(asked._replace(scheme=base.scheme, netloc=base.netloc))


class TwilioRest:
    """What we ask of Twilio. Fulfils `actors.ports.TwilioCalls`. Every failure is a `TwilioTrouble`."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        *,
        account_sid: str,
        auth_token: str,
        base_url: str = DEFAULT_BASE_URL,
        chance: Callable[[], float] = random.random,
    ) -> None:
        transport = TrioHttpClient(http, base_url, chance=chance)
        self._client = Client(account_sid, auth_token, http_client=transport)

    async def redirect(self, call_sid: str, *, url: str) -> bool:
        """Make a live call ask this URL for TwiML; False when the call is over."""
        return await self._update(call_sid, url=url, method="POST")

    async def hang_up(self, call_sid: str) -> bool:
        """End a call; False when it was over already, which is as good."""
        return await self._update(call_sid, status="completed")

    async def call_status(self, call_sid: str) -> str:
        """The status that Twilio knows; reads lag behind by moments (§17.3)."""
        return str((await _translated(self._client.calls(call_sid).fetch_async())).status)

    async def create_call(
        self,
        *,
        to: str,
        from_: str,
        url: str,
        status_url: str | None = None,
        status_events: Sequence[str] = ("completed",),
        more: Mapping[str, Any] | None = None,
    ) -> str:
        """Place a call; returns its sid. Never tried again after a time-out: it may exist (§17.1).

        Args:
            more: the SDK's other parameters: `timeout`, `machine_detection` …
        """
        told = {"status_callback": status_url, "status_callback_event": list(status_events)} if status_url else {}
        asked = self._client.calls.create_async(to=to, from_=from_, url=url, **told, **(more or {}))
        return str((await _translated(asked)).sid)

    async def point_number(
        self, number: str, *, voice_url: str, status_url: str | None = None, fallback_url: str | None = None
    ) -> str:
        """Send a phone number's calls to our webhook; returns the number's sid."""
        found = await _translated(self._client.incoming_phone_numbers.list_async(phone_number=number, limit=1))
        if not found:
            raise TwilioTrouble("this account does not own that phone number", status=404)
        wanted: dict[str, str] = {"voice_url": voice_url, "voice_method": "POST"}
        if status_url:
            wanted |= {"status_callback": status_url, "status_callback_method": "POST"}
        if fallback_url:
            wanted |= {"voice_fallback_url": fallback_url, "voice_fallback_method": "POST"}
        await _translated(self._client.incoming_phone_numbers(found[0].sid).update_async(**wanted))
        return str(found[0].sid)

    async def _update(self, call_sid: str, **wanted: str) -> bool:
        try:
            await _translated(self._client.calls(call_sid).update_async(**wanted))
        except TwilioTrouble as trouble:
            if trouble.code in (NOT_IN_PROGRESS, NOT_FOUND):
                return False
            raise
        return True


async def _translated(asking: Any) -> Any:
    """The SDK's and httpx's errors as ours."""
    try:
        return await asking
    except TwilioRestException as refused:
        raise TwilioTrouble(str(refused.msg), status=refused.status, code=refused.code) from refused
    except TwilioException as odd:
        raise TwilioTrouble(str(odd)) from odd
    except httpx.HTTPError as lost:
        raise TwilioTrouble(type(lost).__name__, retry=isinstance(lost, httpx.ConnectError)) from lost
