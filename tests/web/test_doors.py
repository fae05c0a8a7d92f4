"""The doors of the real service: who is let in, and what is said to whom."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream
from twilio.request_validator import RequestValidator

from actors.journal_reader import list_calls
from tests.web.doors import CALL as NEW_CALL
from tests.web.doors import MEDIA_URL, PUBLIC_URL, SECRET, TOKEN, Door, open_door

SAMPLES = Path(__file__).parents[1] / "samples"
CALL = {**NEW_CALL, "CallStatus": "ringing"}


async def ring(door: Door) -> tuple[Xml.Element, str]:
    """A call rings; the answer and the stream's token."""
    answer = await door.twilio("/webhook/twilio", **CALL)
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/xml")
    root = Xml.fromstring(answer.text)
    parameter = root.find("./Connect/Stream/Parameter")
    assert parameter is not None and parameter.get("name") == "token"
    return root, parameter.get("value") or ""


def start_message(token: str, **changes: Any) -> str:
    start = {
        "accountSid": CALL["AccountSid"], "callSid": CALL["CallSid"], "streamSid": "MZ" + "3" * 32,
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"token": token}, **changes,
    }  # fmt: skip
    return json.dumps({"event": "start", "sequenceNumber": "1", "streamSid": start["streamSid"], "start": start})


def handshake(url: str = MEDIA_URL, token: str = TOKEN) -> list[tuple[bytes, bytes]]:
    signature = RequestValidator(token).compute_signature(url, {})
    return [(b"x-twilio-signature", signature.encode())]


@asynccontextmanager
async def media_socket(
    door: Door, headers: list[tuple[bytes, bytes]], *, path: str = "/media"
) -> AsyncIterator[WebSocketConnection]:
    """A socket as Twilio opens it, on a stream that is ours to close (trio-websocket leaves it open)."""
    stream = await trio.open_tcp_stream("127.0.0.1", door.port)
    try:
        async with trio.open_nursery() as nursery:
            with trio.fail_after(5):
                socket = await wrap_client_stream(nursery, stream, "calls.example.com", path, extra_headers=headers)
            yield socket
            with trio.move_on_after(1):
                await socket.aclose()
            nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(stream)


async def closing_code(socket: WebSocketConnection) -> int:
    """The code with which the service closes, whatever it says before."""
    with trio.fail_after(10):
        while True:
            try:
                await socket.get_message()
            except ConnectionClosed as closed:
                assert closed.reason is not None
                return closed.reason.code


async def closing_code_of_a_caller(socket: WebSocketConnection) -> int:
    """As `closing_code`, while silence goes on arriving: a line without frames would be taken for dead."""
    media = {"track": "inbound", "chunk": "1", "timestamp": "1", "payload": base64.b64encode(b"\xff" * 160).decode()}
    frame = json.dumps({"event": "media", "sequenceNumber": "2", "media": media, "streamSid": "MZ" + "3" * 32})

    async def be_silent() -> None:
        with suppress(ConnectionClosed):
            while True:
                await socket.send_message(frame)
                await trio.sleep(0.02)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(be_silent)
        code = await closing_code(socket)
        nursery.cancel_scope.cancel()
    return code


async def test_a_voice_webhook_is_answered_with_a_stream(tmp_path: Path) -> None:
    """TwiML by the SDK: connect, a one-time token, what to do when the stream is over, and an apology behind it."""
    async with open_door(tmp_path) as door:
        root, token = await ring(door)
        connect, stream = root.find("Connect"), root.find("Connect/Stream")
        assert connect is not None and stream is not None
        assert connect.get("action") == PUBLIC_URL + "/webhook/twilio/next"
        assert stream.get("url") == MEDIA_URL
        assert stream.get("statusCallback") == PUBLIC_URL + "/webhook/twilio/stream"
        assert [verb.tag for verb in root] == ["Connect", "Say", "Hangup"]
        assert len(token) >= 22
        assert await door.metric("calls_live") == 1


@pytest.mark.parametrize("path", ["/webhook/twilio", "/webhook/twilio/next", "/webhook/twilio/status"])
async def test_a_wrong_signature_creates_nothing(tmp_path: Path, path: str) -> None:
    """No signature, a wrong one, a right one for other words: 403, an empty body, no call, no journal."""
    async with open_door(tmp_path) as door:
        bare = await door.http.post(door.url + path, data=CALL)
        wrong = await door.twilio(path, token="f" * 32, **CALL)
        signature = RequestValidator(TOKEN).compute_signature(PUBLIC_URL + path, CALL)
        changed = await door.http.post(
            door.url + path, data={**CALL, "From": "+19005550000"}, headers={"X-Twilio-Signature": signature}
        )
        assert [(a.status_code, a.content) for a in (bare, wrong, changed)] == [(403, b"")] * 3
        assert await door.metric("calls_live") == 0
    assert list_calls(tmp_path / "journal.sqlite3") == []


async def test_the_host_header_is_no_proof(tmp_path: Path) -> None:
    """A signature over the address that a stranger claims in the Host header opens nothing."""
    async with open_door(tmp_path) as door:
        signature = RequestValidator(TOKEN).compute_signature(f"http://127.0.0.1:{door.port}/webhook/twilio", CALL)
        answer = await door.http.post(
            door.url + "/webhook/twilio", data=CALL, headers={"X-Twilio-Signature": signature}
        )
        assert answer.status_code == 403


async def test_unreadable_forms(tmp_path: Path) -> None:
    """Signed but senseless: 400 and what is wrong; too large: refused before it is read as a form."""
    async with open_door(tmp_path) as door:
        nothing = await door.twilio("/webhook/twilio")
        assert (nothing.status_code, nothing.text) == (400, "no CallSid\n")
        large = await door.twilio("/webhook/twilio", CallSid="x" * 70_000)
        assert (large.status_code, large.text) == (400, "form too large\n")


async def test_vapis_three_ways_to_prove_itself(tmp_path: Path) -> None:
    """Shared secret, bearer, HMAC over timestamp and raw body; everything else is 401."""
    async with open_door(tmp_path) as door:
        body = b'{"message": {"type": "status-update", "status": "in-progress", "call": {"id": "x"}}}'
        now = str(round(time.time() * 1000))
        signature = hmac.new(b"an hmac secret", now.encode() + b"." + body, hashlib.sha256).hexdigest()
        signed = {"x-signature": signature, "x-timestamp": now}
        good = [
            await door.vapi(body),
            await door.vapi(body, Authorization="Bearer a bearer token"),
            await door.vapi(body, **signed),
        ]
        assert [answer.status_code for answer in good] == [200] * 3
        old = str(round(time.time() - 3600))
        stale = hmac.new(b"an hmac secret", old.encode() + b"." + body, hashlib.sha256).hexdigest()
        bad = [
            await door.vapi(body, **{"X-Vapi-Secret": "guess"}),
            await door.vapi(body, **{"X-Nothing": "x"}),
            await door.vapi(body, Authorization="Bearer wrong"),
            await door.vapi(body + b" ", **signed),
            await door.vapi(body, **signed),  # the same signature a second time
            await door.vapi(body, **{"x-signature": stale, "x-timestamp": old}),
        ]
        assert [answer.status_code for answer in bad] == [401] * 6


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"message": 5}', b'{"message": {}}', b"\xff\xfe"])
async def test_malformed_webhooks_of_vapi(tmp_path: Path, body: bytes) -> None:
    """A clear refusal, never a crash."""
    async with open_door(tmp_path) as door:
        answer = await door.vapi(body)
        assert answer.status_code == 400
        assert (await door.http.get(door.url + "/health")).status_code == 200


async def test_a_body_over_the_limit(tmp_path: Path) -> None:
    """Nine megabytes are announced: refused before they are sent."""
    async with open_door(tmp_path) as door:
        stream = await trio.open_tcp_stream("127.0.0.1", door.port)
        async with stream:
            head = (
                f"POST /webhook/vapi HTTP/1.1\r\nHost: x\r\nX-Vapi-Secret: {SECRET}\r\nContent-Length: 9000000\r\n\r\n"
            )
            await stream.send_all(head.encode())
            with trio.fail_after(5):
                assert (await stream.receive_some(1000)).startswith(b"HTTP/1.1 413")


async def test_every_webhook_of_the_reference_is_taken(tmp_path: Path) -> None:
    """Known, unknown, old or new: 200 for a call that nobody knows; tool calls get an answer in the real shape."""
    async with open_door(tmp_path) as door:
        for path in sorted((SAMPLES / "vapi").glob("*.json")):
            sample = json.loads(path.read_bytes())
            if not isinstance(sample, dict) or "type" not in sample.get("message", {}):
                continue
            answer = await door.vapi(path.read_bytes())
            assert answer.status_code == 200, path.name
            if sample["message"]["type"] == "tool-calls":
                results = answer.json()["results"]
                assert results and all(set(one) == {"toolCallId", "name", "error"} for one in results), path.name
        unheard_of = await door.vapi(b'{"message": {"type": "brand.new", "call": {"id": 7}, "x": [1]}}')
        assert (unheard_of.status_code, unheard_of.json()) == (200, {})


async def test_an_assistant_request_is_answered_from_memory(tmp_path: Path) -> None:
    """The whole assistant, with tools and message lists, though Vapi's REST side cannot be reached."""
    async with open_door(tmp_path) as door:
        answer = await door.vapi((SAMPLES / "vapi" / "assistant-request.json").read_bytes())
        assistant = answer.json()["assistant"]
        assert assistant["firstMessage"].startswith("Welcome")
        assert assistant["model"]["tools"][0]["function"]["name"] == "check_availability"
        assert {"tool-calls", "end-of-call-report"} <= set(assistant["serverMessages"])
        assert answer.elapsed.total_seconds() < 2, "7.5 s are Vapi's whole patience"


async def test_the_media_socket_wants_twilios_signature(tmp_path: Path) -> None:
    """Without it, with a wrong one, or with one over https instead of wss: 403, and no socket."""
    async with open_door(tmp_path) as door:
        for headers in ([], handshake(token="f" * 32), handshake("https://calls.example.com/media")):
            with pytest.raises(BaseExceptionGroup) as refused:
                async with media_socket(door, headers):
                    pass
            (why,) = refused.value.exceptions
            assert isinstance(why, ConnectionRejected) and why.status_code == 403
        async with media_socket(door, handshake(MEDIA_URL + "/")) as socket:
            await socket.send_message('{"event":"connected","protocol":"Call","version":"1.0.0"}')
        assert await door.metric("calls_live") == 0


async def test_a_stream_token_opens_one_stream(tmp_path: Path) -> None:
    """Right once, wrong ever after; never for another call; a stream that never starts is closed."""
    async with open_door(tmp_path) as door:
        _, token = await ring(door)
        async with media_socket(door, handshake()) as stranger:
            await stranger.send_message(start_message(token, callSid="CA" + "9" * 32))
            assert await closing_code(stranger) == 1008
        _, token = await ring(door)
        async with media_socket(door, handshake()) as first, media_socket(door, handshake()) as second:
            await first.send_message(start_message(token))
            await second.send_message(start_message(token))
            assert await closing_code(second) == 1008
        async with media_socket(door, handshake()) as idle:
            assert await closing_code(idle) == 1008


@pytest.mark.parametrize(
    ("garbage", "code"),
    [
        ('{"event":"media","media":{"payload":"x"}}', None),
        ("not json", None),
        ('{"event":"start","start":{}}', None),
        (b"\x00\x01", None),
        (json.dumps({"event": "media", "media": {"payload": base64.b64encode(b"\xff" * 700_000).decode()}}), 1009),
    ],
    ids=["media before start", "no json", "half a start", "binary", "a megabyte"],
)
async def test_garbage_on_the_media_socket(tmp_path: Path, garbage: str | bytes, code: int | None) -> None:
    """Counted or closed; the service and the other calls do not notice."""
    async with open_door(tmp_path) as door:
        _, token = await ring(door)
        async with media_socket(door, handshake()) as socket:
            await socket.send_message(garbage)
            if code is not None:
                assert await closing_code(socket) == code
                return
            await socket.send_message(start_message(token))
            # Vapi cannot be reached here: the call is handed over, which closes the stream in the ordinary way.
            assert await closing_code_of_a_caller(socket) == 1000
        following = await door.twilio("/webhook/twilio/next", **CALL)
        assert "<Say>Sorry" in following.text


async def test_a_call_without_vapi_gets_words_and_ends(tmp_path: Path) -> None:
    """The connect action answers with the fallback; asked again it only hangs up; the journal has the reason."""
    async with open_door(tmp_path) as door:
        _, token = await ring(door)
        async with media_socket(door, handshake()) as socket:
            await socket.send_message(start_message(token))
            assert await closing_code_of_a_caller(socket) == 1000
        first = Xml.fromstring((await door.twilio("/webhook/twilio/next", **CALL)).text)
        again = Xml.fromstring((await door.twilio("/webhook/twilio/next", **CALL)).text)
        assert [verb.tag for verb in first] == ["Say", "Hangup"]
        assert [verb.tag for verb in again] == ["Hangup"]
        with trio.fail_after(5):
            while await door.metric("calls_live"):
                await trio.sleep(0.02)
        assert await door.metric("call_tasks") == 0
    (row,) = list_calls(tmp_path / "journal.sqlite3")
    assert row.outcome == "handed over" and "Vapi" in (row.reason or "")


async def test_twilio_asks_about_a_call_that_nobody_knows(tmp_path: Path) -> None:
    """After a restart: the caller still hears words."""
    async with open_door(tmp_path) as door:
        answer = await door.twilio("/webhook/twilio/next", **CALL)
        assert "<Say>Sorry" in answer.text
        for path in ("/webhook/twilio/status", "/webhook/twilio/stream"):
            assert (await door.twilio(path, **{**CALL, "CallStatus": "completed"})).status_code == 204


async def test_health_readiness_and_unknown_paths(tmp_path: Path) -> None:
    """Alive, but not ready while Vapi cannot be reached, and it says why."""
    async with open_door(tmp_path) as door:
        assert (await door.http.get(door.url + "/health")).text == "ok\n"
        ready = await door.http.get(door.url + "/ready")
        assert ready.status_code == 503 and ready.text.strip()
        assert (await door.http.get(door.url + "/nothing")).status_code == 404


async def test_the_media_plane_is_measured(tmp_path: Path) -> None:
    """What waits, what was dropped, who stalled, and how late the loop was: all in one scrape, before any call."""
    async with open_door(tmp_path) as door:
        text = (await door.http.get(door.url + "/metrics")).text
    for name in ("media_queued_ms", "media_queued_ms_most", "media_sockets", "calls_remembered", "tasks"):
        assert f"callscope_{name} " in text
    for name in ("audio_ms_dropped", "stalled", "vanished", "frames_in", "tls_resumed", "late_ticks"):
        assert f"callscope_media_{name}_total 0.0" in text
    assert 'callscope_loop_lag_seconds_bucket{le="0.02"} 0.0' in text
    assert 'callscope_loop_lag_seconds_bucket{le="+Inf"} 0.0' in text
