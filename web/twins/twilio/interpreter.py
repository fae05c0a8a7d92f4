"""Runs TwiML for one call, verb by verb, until nothing is left to run (reference/twilio.md §4, §7, §11, §15)."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from email.utils import formatdate
from urllib.parse import urljoin
from xml.etree import ElementTree as Xml

import trio

from engine.audio import silence
from web.twins.speech.keys import key_tones
from web.twins.twilio.call import TwinCall
from web.twins.twilio.problems import TEXTS, TwimlProblem
from web.twins.twilio.settings import TwinSettings
from web.twins.twilio.spec import StreamSpec, url_problem
from web.twins.twilio.stream import Stream
from web.twins.twilio.webhooks import Document, Webhooks

APPLICATION_ERROR = "We are sorry, an application error has occurred. Goodbye."
MOST_DOCUMENTS = 50  # a call that redirects in circles ends
LONGEST_SAY_S = 300.0
MOST_PARAMETER_CHARS = 500
CALLEE_RING_S = 0.4
CALLEE_WORDS = "Hello, this is the front desk."
BUSY_NUMBERS = frozenset({"+15005550002", "+15005550003"})
CLOSE_S = 3.0

Next = tuple[str, str, Mapping[str, str]]  # url, method, extra parameters


class Interpreter:
    """One call's TwiML."""

    def __init__(self, call: TwinCall, webhooks: Webhooks, settings: TwinSettings, nursery: trio.Nursery) -> None:
        self._call, self._webhooks, self._settings = call, webhooks, settings
        self._nursery = nursery

    async def run(self, url: str, method: str = "POST", *, fallback: tuple[str, str] = ("", "POST")) -> None:
        """From the voice URL to the end of the last document. The caller hears it if an answer cannot be used."""
        pending: Next | str | None = (url, method, {})
        for _ in range(MOST_DOCUMENTS):
            if pending is None:
                return
            running, pending = pending, None
            with trio.CancelScope() as self._call.scope:
                try:
                    pending = await self._run_one(running)
                except TwimlProblem as problem:
                    pending = await self._after_problem(problem, running, fallback)
            self._call.scope = None
            if self._call.redirected is not None:
                kind, value = self._call.redirected
                self._call.redirected = None
                pending = value if kind == "twiml" else (value, "POST", {})
            elif self._call.ended_by:
                return

    async def _run_one(self, running: Next | str) -> Next | None:
        if isinstance(running, str):
            return await self._execute(Document(running, ""))
        url, method, more = running
        document = await self._webhooks.fetch(url, method, {**self._call.webhook_params(), **more})
        self._call.tap.note("twiml", url=url)
        return await self._execute(document)

    async def _after_problem(
        self, problem: TwimlProblem, running: Next | str, fallback: tuple[str, str]
    ) -> Next | None:
        self._call.error(problem.code, problem.detail)
        failed = running[0] if isinstance(running, tuple) else ""
        if fallback[0] and failed != fallback[0]:
            return (fallback[0], fallback[1], {"ErrorCode": str(problem.code), "ErrorUrl": failed})
        self._answer()
        await self._say(APPLICATION_ERROR)
        return None

    async def _execute(self, document: Document) -> Next | None:
        """All verbs of one document. Returns where to go on; None ends the call."""
        try:
            root = Xml.fromstring(document.text)  # noqa: S314 — of the server under test, 64 kB at most
        except Xml.ParseError as broken:
            raise TwimlProblem(12100, str(broken)) from broken
        if root.tag != "Response":
            raise TwimlProblem(12102, root.tag)
        for index, verb in enumerate(root):
            match verb.tag:
                case "Hangup":
                    return None
                case "Reject" if index == 0 and not self._call.is_live:
                    self._call.status = "busy" if verb.get("reason") == "busy" else "no-answer"
                    return None
                case "Redirect":
                    return (urljoin(document.url, (verb.text or "").strip()), verb.get("method", "POST"), {})
                case "Connect":
                    self._answer()
                    following = await self._connect(verb, document.url)
                case "Dial":
                    self._answer()
                    following = await self._dial(verb, document.url)
                case _:
                    following = None
                    await self._simple(verb)
            if following is not None:
                return following
        return None

    async def _simple(self, verb: Xml.Element) -> None:
        match verb.tag:
            case "Say":
                self._answer()
                await self._say(verb.text or "")
            case "Play":
                self._answer()
                digits = verb.get("digits", "")
                try:
                    tones = key_tones(digits)
                except ValueError as problem:
                    raise TwimlProblem(12200, str(problem)) from problem
                if not digits:
                    self._call.error(12200, "the twin plays digits only")
                await self._play(tones)
            case "Pause":
                if not self._call.is_live:
                    await trio.sleep(float(verb.get("length", "1")))
                else:
                    await self._play(silence(1000 * float(verb.get("length", "1"))))
            case _:
                self._call.error(12200, f"unknown or unsupported verb {verb.tag}")

    # --- verbs ------------------------------------------------------------------------------------------------------

    def _answer(self) -> None:
        if not self._call.is_live:
            self._call.status = "in-progress"
            self._call.started_s = time.time()

    async def _say(self, text: str) -> None:
        words = " ".join(text.split())
        if not words:
            return
        self._call.tap.note("say", text=words)
        await self._play(await trio.to_thread.run_sync(self._settings.speak, words))

    async def _play(self, mulaw: bytes) -> None:
        """Play to the end; a cancelled one leaves the earpiece empty."""
        self._call.speaker.play(mulaw)
        try:
            await self._call.until(lambda: self._call.speaker.is_empty, LONGEST_SAY_S)
        finally:
            self._call.speaker.clear()

    async def _connect(self, verb: Xml.Element, base: str) -> Next | None:
        nouns = list(verb)
        if len(nouns) != 1 or nouns[0].tag != "Stream":
            raise TwimlProblem(12200, "the twin's Connect takes one Stream")
        await self._stream(nouns[0])
        action = verb.get("action", "")
        return (urljoin(base, action), verb.get("method", "POST"), {}) if action else None

    async def _stream(self, noun: Xml.Element) -> None:
        """Live one stream: until the server closes it, or the call goes elsewhere."""
        call = self._call
        parameters = {one.get("name", ""): one.get("value", "") for one in noun.findall("Parameter")}
        sid = "MZ" + secrets.token_hex(16)
        spec = StreamSpec(
            url=noun.get("url", ""),
            sid=sid,
            name=noun.get("name", sid),
            parameters=parameters,
            status_url=noun.get("statusCallback", ""),
            status_method=noun.get("statusCallbackMethod", "POST"),
        )
        problem = url_problem(spec.url)
        if noun.get("track", "inbound_track") != "inbound_track":
            problem = 31941
        if any(len(name) + len(value) >= MOST_PARAMETER_CHARS for name, value in parameters.items()):
            problem = 12200
        if problem is not None:
            call.error(problem, "Stream")
            self._tell_stream(spec, "stream-error", problem)
            return
        stream = Stream(call, spec, self._settings.auth_token)
        call.stream = stream
        self._nursery.start_soon(stream.run)
        try:
            await stream.opened.wait()
            if stream.error_code is None:
                self._tell_stream(spec, "stream-started")
            await stream.closed.wait()
        finally:
            stream.finish()
            call.stream = None
            call.speaker.clear()
            with trio.move_on_after(CLOSE_S, shield=True):
                await stream.closed.wait()
            if stream.error_code is not None:
                call.error(stream.error_code, "Stream")
                self._tell_stream(spec, "stream-error", stream.error_code)
            else:
                self._tell_stream(spec, "stream-stopped")

    def _tell_stream(self, spec: StreamSpec, event: str, code: int | None = None) -> None:
        """A stream status callback (§12). Told in the background; nobody waits for it."""
        if not spec.status_url:
            return
        params = {
            "AccountSid": self._call.account_sid,
            "CallSid": self._call.sid,
            "StreamSid": spec.sid,
            "StreamName": spec.name,
            "StreamEvent": event,
            "Timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.000000000Z", time.gmtime()),
        }
        if code is not None:
            params["StreamError"] = TEXTS[code]
        self._nursery.start_soon(self._webhooks.tell, spec.status_url, spec.status_method, params)

    async def _dial(self, verb: Xml.Element, base: str) -> Next | None:
        """A scripted callee: rings, answers with a sentence, and leaves; or is busy."""
        numbers = [one.text or "" for one in verb.findall("Number")] or [(verb.text or "").strip()]
        self._call.tap.note("dial", number=numbers[0])
        await self._play(silence(1000 * CALLEE_RING_S))
        busy = numbers[0] in BUSY_NUMBERS
        began_ms = self._call.tap.now_ms
        if not busy:
            await self._say(CALLEE_WORDS)
        action = verb.get("action", "")
        if not action:
            return None
        outcome = {
            "DialCallStatus": "busy" if busy else "completed",
            "DialCallSid": "CA" + secrets.token_hex(16),
            "DialBridged": "false" if busy else "true",
            "DialCallDuration": str(round((self._call.tap.now_ms - began_ms) / 1000)),
        }
        return (urljoin(base, action), verb.get("method", "POST"), outcome)


async def tell_status(call: TwinCall, webhooks: Webhooks, event: str) -> None:
    """A status callback, if this call's plan wants it (§13)."""
    if not call.plan.url or event not in call.plan.events:
        return
    params = {
        **call.webhook_params(),
        "CallbackSource": "call-progress-events",
        "SequenceNumber": str(call.callbacks_sent),
        "Timestamp": formatdate(time.time()).replace("-0000", "+0000"),
    }
    if event == "initiated":
        params["CallStatus"] = "initiated"
    if call.answered_by:
        params["AnsweredBy"] = call.answered_by
    if event == "completed":
        seconds = (call.ended_s or 0) - (call.started_s or call.ended_s or 0)
        params |= {
            "CallDuration": str(round(seconds)),
            "Duration": str(int(seconds // 60) + 1),
            "SipResponseCode": "200",
        }
    call.callbacks_sent += 1
    status = await webhooks.tell(call.plan.url, call.plan.method, params)
    call.tap.note("status callback", event=event, answered=status)
