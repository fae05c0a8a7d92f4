"""Twilio's requests to a server: signed, timed, retried, redirected (reference/twilio.md §3, §5, §6)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urljoin, urlsplit, urlunsplit

import httpx
import trio
from twilio.request_validator import RequestValidator

from web.twins.twilio.problems import TwimlProblem
from web.twins.twilio.settings import Faults, TwinSettings

MOST_REDIRECTS = 10
MOST_BYTES = 64 * 1024
TWIML_TYPES = frozenset({"text/xml", "application/xml", "text/html"})


@dataclass(frozen=True)
class Document:
    """An answer that may be TwiML, and where it came from."""

    text: str
    url: str


class Webhooks:
    """The HTTP side of the twin that talks to servers."""

    def __init__(self, http: httpx.AsyncClient, settings: TwinSettings, faults: Callable[[], Faults]) -> None:
        self._http, self._settings, self._faults = http, settings, faults
        self._validator = RequestValidator(settings.auth_token)

    async def fetch(self, url: str, method: str, params: Mapping[str, str]) -> Document:
        """Ask for TwiML.

        Raises:
            TwimlProblem: no answer, a bad status, or no TwiML: with Twilio's code.
        """
        try:
            with trio.fail_after(self._settings.webhook_timeout_s):
                answer = await self._ask(url, method, params)
                if self._faults().double_webhooks:
                    answer = await self._ask(url, method, params)
        except trio.TooSlowError:
            raise TwimlProblem(11205, "no answer in time") from None
        except httpx.HTTPError as lost:
            raise TwimlProblem(11205, type(lost).__name__) from lost
        if not answer.is_success:
            raise TwimlProblem(11200, f"status {answer.status_code}")
        if len(answer.content) > MOST_BYTES:
            raise TwimlProblem(11750)
        kind = answer.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind not in TWIML_TYPES:
            raise TwimlProblem(12300, kind or "missing")
        return Document(answer.text, str(answer.url))

    async def tell(self, url: str, method: str, params: Mapping[str, str]) -> int | None:
        """A status callback: nothing is expected of the answer. Returns its status, None when there was none."""
        try:
            with trio.fail_after(self._settings.webhook_timeout_s):
                answer = await self._ask(url, method, params)
        except (trio.TooSlowError, httpx.HTTPError):
            return None
        return answer.status_code

    async def _ask(self, url: str, method: str, params: Mapping[str, str]) -> httpx.Response:
        token = str(uuid.uuid4())
        for _ in range(MOST_REDIRECTS + 1):
            answer = await self._once(url, method, params, token)
            if answer.status_code not in (301, 302, 303, 307):
                return answer
            url = urljoin(url, answer.headers.get("location", ""))
            method = method if answer.status_code == 307 else "GET"
        raise TwimlProblem(11215)

    async def _once(self, url: str, method: str, params: Mapping[str, str], token: str) -> httpx.Response:
        clean = urlunsplit(urlsplit(url)._replace(fragment=""))
        body = dict(sorted(params.items()))
        if method == "GET":
            clean += ("&" if urlsplit(clean).query else "?") + urlencode(body)
            body = {}
        headers = {
            "Accept": "*/*",
            "User-Agent": "TwilioProxy/1.1",
            "I-Twilio-Idempotency-Token": token,
            "X-Twilio-Signature": self._validator.compute_signature(clean, body),
        }
        if method == "POST":
            headers["Content-Type"] = "application/x-www-form-urlencoded; charset=UTF-8"
        content = urlencode(body).encode() if method == "POST" else None
        for attempt in (1, 2):  # one more try, and only when the connection failed
            try:
                return await self._http.request(
                    method, clean, content=content, headers=headers, follow_redirects=False,
                    timeout=httpx.Timeout(self._settings.webhook_timeout_s, connect=self._settings.webhook_connect_s),
                )  # fmt: skip
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if attempt == 2:
                    raise
        raise AssertionError("unreachable")
