"""Both REST clients against a made transport, in virtual time: what is tried again, what never, and what is told."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs

import httpx
import pytest
import trio
from trio.testing import MockClock

from actors.ports import AgentCall
from actors.twilio_rest import TwilioRest
from actors.vapi_rest import VapiRest
from engine.errors import TwilioTrouble, VapiTrouble

CREATED = {"id": "c1", "transport": {"websocketCallUrl": "wss://vapi.test/c1/transport"}}
Answer = httpx.Response | Exception


def client(*answers: Answer, asked: list[httpx.Request] | None = None) -> httpx.AsyncClient:
    """Answers one request after the other; the last answer goes on for ever."""
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        if asked is not None:
            asked.append(request)
        given = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(given, Exception):
            raise given
        return httpx.Response(given.status_code, headers=given.headers, content=given.content)

    return httpx.AsyncClient(transport=httpx.MockTransport(answer))


def vapi(*answers: Answer, asked: list[httpx.Request] | None = None) -> VapiRest:
    return VapiRest(client(*answers, asked=asked), base_url="https://vapi.test", api_key="k", chance=lambda: 0.5)


def error(status: int, message: object = "no") -> httpx.Response:
    return httpx.Response(status, json={"message": message, "error": "x", "statusCode": status})


OK = httpx.Response(201, json=CREATED)


async def test_a_call_is_created(autojump_clock: MockClock) -> None:
    """With bearer and user agent; the socket's address is a secret."""
    asked: list[httpx.Request] = []
    call = await vapi(OK, asked=asked).create_call({"name": "n"}, deadline_s=4)
    assert call == AgentCall("c1", "wss://vapi.test/c1/transport") and "wss" not in repr(call)
    assert asked[0].headers["authorization"] == "Bearer k" and "callscope" in asked[0].headers["user-agent"]


@pytest.mark.parametrize(
    "trouble",
    [error(429), error(500), error(503), error(400, "Over Concurrency Limit"), httpx.ConnectError("refused"),
     httpx.RemoteProtocolError("closed"), httpx.ReadError("reset")],
    ids=["429", "500", "503", "concurrency", "refused", "closed", "reset"],
)  # fmt: skip
async def test_what_is_safe_to_try_again_is_tried_again(autojump_clock: MockClock, trouble: Answer) -> None:
    """Once it works it works; if it never does, the deadline ends it."""
    assert (await vapi(trouble, trouble, OK).create_call({}, deadline_s=4)).id == "c1"
    began = trio.current_time()
    asked: list[httpx.Request] = []
    with pytest.raises(VapiTrouble):
        await vapi(trouble, asked=asked).create_call({}, deadline_s=4)
    assert trio.current_time() - began == 4 and 3 <= len(asked) <= 8


@pytest.mark.parametrize(
    "trouble",
    [error(400, ["property x should not exist"]), error(401), error(402), error(404), httpx.ReadTimeout("slow"),
     httpx.Response(201, json={"id": "c1"}), httpx.Response(201, content=b"<html>"),
     httpx.Response(201, json={"id": "c1", "transport": {"websocketCallUrl": "http://evil"}})],
)  # fmt: skip
async def test_what_may_have_made_a_call_is_never_tried_again(autojump_clock: MockClock, trouble: Answer) -> None:
    """A time-out of the answer may have made a call: another would be an orphan. A refusal stays one."""
    asked: list[httpx.Request] = []
    with pytest.raises(VapiTrouble):
        await vapi(trouble, asked=asked).create_call({}, deadline_s=4)
    assert len(asked) == 1


async def test_error_bodies_of_all_kinds(autojump_clock: MockClock) -> None:
    """A list, a string, HTML: one line for the operator."""
    with pytest.raises(VapiTrouble, match="one; two") as trouble:
        await vapi(error(400, ["one", "two"])).create_call({}, deadline_s=1)
    assert trouble.value.status == 400
    with pytest.raises(VapiTrouble, match="answered 403"):
        await vapi(httpx.Response(403, content=b"<html>error code: 1010</html>")).create_call({}, deadline_s=1)


async def test_a_fresh_assistant_is_waited_for(autojump_clock: MockClock) -> None:
    """Not found, found, not found: only twice in a row counts; for ever is too long."""
    found = httpx.Response(200, json={"id": "a"})
    asked: list[httpx.Request] = []
    await vapi(error(404), found, error(404), found, found, asked=asked).wait_assistant_ready("a", deadline_s=30)
    assert len(asked) == 5
    with pytest.raises(VapiTrouble, match="not found in time"):
        await vapi(error(404)).wait_assistant_ready("a", deadline_s=2)
    with pytest.raises(VapiTrouble, match="401"):
        await vapi(error(401)).wait_assistant_ready("a", deadline_s=2)


async def test_an_assistant_is_brought_up_to_date_or_made(autojump_clock: MockClock) -> None:
    """By its name; never a second one."""
    asked: list[httpx.Request] = []
    known = httpx.Response(200, json=[{"id": "a1", "name": "bistro"}])
    assert await vapi(known, httpx.Response(200, json={"id": "a1"}), asked=asked).ensure_assistant("bistro", {}) == "a1"
    assert [request.method for request in asked] == ["GET", "PATCH"]
    asked.clear()
    none = httpx.Response(200, json=[])
    assert await vapi(none, httpx.Response(201, json={"id": "a2"}), asked=asked).ensure_assistant("bistro", {}) == "a2"
    assert [request.method for request in asked] == ["GET", "POST"]


async def test_an_unused_call_is_ended(autojump_clock: MockClock) -> None:
    """By live control where there is an address, else by deleting it."""
    asked: list[httpx.Request] = []
    rest = vapi(httpx.Response(200), asked=asked)
    await rest.end_call(AgentCall("c1", "wss://x", "https://control.vapi.test/c1/control"))
    await vapi(httpx.Response(200, json={}), asked=asked).end_call(AgentCall("c2", "wss://x"))
    assert [(request.method, request.url.path) for request in asked] == [
        ("POST", "/c1/control"),
        ("DELETE", "/call/c2"),
    ]


# --- Twilio: the official SDK over our client ---


def twilio(answer: Callable[[httpx.Request], httpx.Response]) -> TwilioRest:
    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    return TwilioRest(http, account_sid="AC1", auth_token="t", base_url="http://127.0.0.1:1", chance=lambda: 0.5)


async def test_the_sdk_speaks_through_our_client(autojump_clock: MockClock) -> None:
    """Another base address, basic auth, lists as repeated keys."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(201, json={"sid": "CA1", "status": "queued"})

    sid = await twilio(answer).create_call(to="+1", from_="+2", url="https://x", status_url="https://y")
    assert sid == "CA1"
    assert str(asked[0].url) == "http://127.0.0.1:1/2010-04-01/Accounts/AC1/Calls.json"
    assert asked[0].headers["authorization"].startswith("Basic ")
    form = parse_qs(asked[0].content.decode())
    assert form["StatusCallbackEvent"] == ["completed"] and form["To"] == ["+1"]


async def test_twilio_says_that_the_call_is_over(autojump_clock: MockClock) -> None:
    """For a hang-up that is as good as done; other errors are told with their codes."""
    over = twilio(
        lambda request: httpx.Response(400, json={"code": 21220, "message": "not in-progress", "status": 400})
    )
    assert await over.hang_up("CA1") is False
    assert await over.redirect("CA1", url="https://x") is False
    refused = twilio(
        lambda request: httpx.Response(401, json={"code": 20003, "message": "Authenticate", "status": 401})
    )
    with pytest.raises(TwilioTrouble) as trouble:
        await refused.hang_up("CA1")
    assert (trouble.value.status, trouble.value.code) == (401, 20003)


async def test_only_a_429_is_tried_again(autojump_clock: MockClock) -> None:
    """It was certainly not executed; a time-out may have been."""
    asked: list[int] = []

    def busy(request: httpx.Request) -> httpx.Response:
        asked.append(1)
        return httpx.Response(429 if len(asked) < 3 else 200, json={"sid": "CA1", "status": "completed", "code": 20429})

    assert await twilio(busy).hang_up("CA1") is True
    assert len(asked) == 3

    def slow(request: httpx.Request) -> httpx.Response:
        asked.append(1)
        raise httpx.ReadTimeout("slow")

    asked.clear()
    with pytest.raises(TwilioTrouble):
        await twilio(slow).create_call(to="+1", from_="+2", url="https://x")
    assert len(asked) == 1
