"""Between two workers, chosen one by one: each has a port of its own here, so that a test says who gets a request."""

from __future__ import annotations

import json
import random
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import httpx
import pytest
import trio
from trio_websocket import ConnectionRejected

from actors.journal_reader import list_calls, read_call
from tests.web.doors import CALL, MEDIA_URL, NOBODY, PUBLIC_URL, SECRET, TOKEN, Door
from tests.web.test_doors import closing_code, closing_code_of_a_caller, handshake, media_socket, start_message
from web.agents import example, load_agent
from web.front_door import listen
from web.serve import serve_calls
from web.settings import Settings
from web.siblings import Place, Siblings, owner_of, worker_in

OF = 2


def call_of(worker: int) -> dict[str, str]:
    """A call that this worker of two owns."""
    sids = (f"CA{number:032x}" for number in range(100))
    return {**CALL, "CallSid": next(sid for sid in sids if owner_of(sid, OF) == worker)}


@dataclass
class Fleet:
    """Up to two workers in this process, with real sockets between them."""

    data: Path
    run_dir: Path
    vapi_url: str = NOBODY
    stops: dict[int, trio.Event] = field(default_factory=dict)
    overs: dict[int, trio.Event] = field(default_factory=dict)

    async def start(self, worker: int, nursery: trio.Nursery, http: httpx.AsyncClient, patience_s: float) -> Door:
        settings = Settings(
            public_url=PUBLIC_URL,
            twilio_account_sid=CALL["AccountSid"],
            twilio_auth_token=TOKEN,
            vapi_api_key="key",
            vapi_server_secret=SECRET,
            vapi_base_url=self.vapi_url,
            twilio_base_url=NOBODY,
            data=self.data,
        )
        listeners = await listen("127.0.0.1", 0)
        port = listeners[0].socket.getsockname()[1]
        stop, over = self.stops[worker], self.overs[worker] = trio.Event(), trio.Event()
        serve = partial(
            serve_calls, settings, load_agent(example()), listeners,
            drain_patience_s=patience_s, stop=stop, place=Place(worker, OF, self.run_dir),
        )  # fmt: skip

        async def live(*, task_status: trio.TaskStatus[None]) -> None:
            await serve(task_status=task_status)
            over.set()

        await nursery.start(live)
        return Door(port, http, self.data)


@asynccontextmanager
async def open_worker(fleet: Fleet, worker: int, *, patience_s: float = 0.0) -> AsyncIterator[Door]:
    async with httpx.AsyncClient(timeout=10) as http, trio.open_nursery() as nursery:
        door = await fleet.start(worker, nursery, http, patience_s)
        yield door
        for number in range(OF) if not fleet.overs[worker].is_set() else ():  # or the drain waits for its calls
            await door.twilio("/webhook/twilio/status", **call_of(number), CallStatus="completed")
        fleet.stops[worker].set()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with tempfile.TemporaryDirectory(prefix="callscope-") as run_dir:  # pytest's own folders are too long for sockets
        yield Fleet(tmp_path, Path(run_dir))


@asynccontextmanager
async def open_pair(fleet: Fleet) -> AsyncIterator[tuple[Door, Door]]:
    async with open_worker(fleet, 0) as first, open_worker(fleet, 1) as second:
        yield first, second


async def number(door: Door, name: str, worker: int) -> float | None:
    """A worker's metric, as this door tells it; None when it is not there."""
    text = (await door.http.get(door.url + "/metrics")).text
    wanted = f'callscope_{name}{{worker="{worker}"}} '
    return next((float(line.split()[1]) for line in text.splitlines() if line.startswith(wanted)), None)


def stream_of(answer: httpx.Response) -> tuple[str, str]:
    """The media address and the token of a voice webhook's answer."""
    stream = Xml.fromstring(answer.text).find("./Connect/Stream")
    assert stream is not None, answer.text
    parameter = stream.find("Parameter")
    assert parameter is not None
    return stream.get("url") or "", parameter.get("value") or ""


# --- whose call it is ------------------------------------------------------------------------------------------------


def test_an_owner_is_the_same_in_every_process() -> None:
    """Reviewed values: a change would give the calls of a fleet that is being upgraded to other workers."""
    assert [owner_of(f"CA{number:032x}", 4) for number in range(12)] == [3, 2, 3, 2, 1, 3, 0, 3, 3, 1, 3, 3]
    assert owner_of("CA" + "2" * 32, 1) == 0


@pytest.mark.parametrize("of", [2, 3, 8])
def test_calls_are_spread(of: int) -> None:
    """Random CallSids come out even, to within what chance does."""
    chance = random.Random(7)
    count = Counter(owner_of(f"CA{chance.getrandbits(128):032x}", of) for _ in range(10_000))
    assert sorted(count) == list(range(of))
    assert max(count.values()) < 1.1 * 10_000 / of


@pytest.mark.parametrize(
    ("head", "worker"),
    [
        (b"GET /media/w0 HTTP/1.1\r\n", 0),
        (b"GET /media/w12/ HTTP/1.1\r\n", 12),
        (b"GET /media/w3?x=1 HTTP/1.1\r\n", 3),
        (b"GET /media HTTP/1.1\r\n", None),
        (b"GET /media/w HTTP/1.1\r\n", None),
        (b"GET /media/w1x HTTP/1.1\r\n", None),
        (b"GET /media/w1234 HTTP/1.1\r\n", None),
        (b"POST /media/w1 HTTP/1.1\r\n", None),
        ("GET /media/w١ HTTP/1.1\r\n".encode(), None),
    ],
)
def test_the_worker_that_a_media_address_names(head: bytes, worker: int | None) -> None:
    assert worker_in(head) == worker


@pytest.mark.parametrize(
    ("query", "worker"),
    [
        (b"worker=1", 1),
        (b"x=y&worker=0", 0),
        (b"worker=2", None),
        (b"worker=-1", None),
        (b"worker=9999999999999", None),
        (b"worker=\xb2", None),
        (b"worker=", None),
        (b"", None),
        (b"&" * 1000, None),
        (b"a=1&" * 1000, None),
    ],
)
def test_the_worker_that_a_vapi_address_names(query: bytes, worker: int | None, tmp_path: Path) -> None:
    assert Siblings(Place(0, OF, tmp_path)).owner_of_vapi(query) == worker


# --- Twilio's webhooks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("owner", [0, 1])
async def test_a_call_is_its_owners_wherever_it_rings(fleet: Fleet, owner: int) -> None:
    """Both workers get the voice webhook: one call, at its owner, whose stream both answers name."""
    async with open_pair(fleet) as doors:
        answers = [await door.twilio("/webhook/twilio", **call_of(owner)) for door in doors]
        streams = [stream_of(answer) for answer in answers]
        assert [url for url, _ in streams] == [f"{MEDIA_URL}/w{owner}"] * 2
        assert len({token for _, token in streams}) == 2
        assert all(answer.headers["content-type"].startswith("text/xml") for answer in answers)
        for door in doors:
            assert await number(door, "calls_live", owner) == 1
            assert await number(door, "calls_live", 1 - owner) == 0
            assert await number(door, "calls_admitted_total", owner) == 1


async def test_what_is_not_signed_goes_nowhere(fleet: Fleet) -> None:
    """The worker that gets it refuses it; its sibling does not hear of it."""
    async with open_pair(fleet) as (first, _):
        for path in ("/webhook/twilio", "/webhook/twilio/next", "/webhook/twilio/status", "/webhook/twilio/stream"):
            assert (await first.twilio(path, token="f" * 32, **call_of(1))).status_code == 403
        assert (await first.vapi(b"{}", **{"X-Vapi-Secret": "guess"})).status_code == 401
        assert await number(first, "siblings_forwarded_total", 0) == 0
        assert await number(first, "siblings_asked_all_total", 0) == 0


async def test_a_status_callback_finds_its_call(fleet: Fleet) -> None:
    """It comes to the other worker, and ends the call at its owner."""
    async with open_pair(fleet) as (first, second):
        await second.twilio("/webhook/twilio", **call_of(1))
        assert await number(first, "calls_live", 1) == 1
        answer = await first.twilio("/webhook/twilio/status", **call_of(1), CallStatus="completed")
        assert answer.status_code == 204
        with trio.fail_after(5):
            while await number(first, "calls_live", 1):
                await trio.sleep(0.02)


async def test_the_connect_action_is_answered_by_the_owner(fleet: Fleet) -> None:
    """Asked at one worker and again at the other: the words once, from the memory of the one that has the call."""
    async with open_pair(fleet) as (first, second):
        await second.twilio("/webhook/twilio", **call_of(1))
        told = [(await door.twilio("/webhook/twilio/next", **call_of(1))).text for door in (first, second, first)]
        assert ["<Say>Sorry" in text for text in told] == [True, False, False]


async def test_a_call_that_nobody_knows(fleet: Fleet) -> None:
    """After a restart: words from whoever is asked."""
    async with open_pair(fleet) as doors:
        for door in doors:
            assert "<Say>Sorry" in (await door.twilio("/webhook/twilio/next", **call_of(1))).text
            assert (await door.twilio("/webhook/twilio/stream", **call_of(1))).status_code == 204


# --- an owner that is away -------------------------------------------------------------------------------------------


async def test_a_call_of_a_worker_that_is_away(fleet: Fleet) -> None:
    """Who gets it admits it; when the owner is back it does not know it, and finds who does."""
    async with open_worker(fleet, 0) as first:
        url, _ = stream_of(await first.twilio("/webhook/twilio", **call_of(1)))
        assert url == f"{MEDIA_URL}/w0"
        assert await number(first, "siblings_unreachable_total", 0) == 1
        assert await number(first, "calls_live", 1) is None, "left out, as it does not answer"
        assert "callscope_workers_answering 1.0" in (await first.http.get(first.url + "/metrics")).text
        async with open_worker(fleet, 1) as second:
            assert "callscope_workers_answering 2.0" in (await first.http.get(first.url + "/metrics")).text
            again, _ = stream_of(await first.twilio("/webhook/twilio", **call_of(1)))
            assert again == url, "who has it keeps it"
            told = [(await door.twilio("/webhook/twilio/next", **call_of(1))).text for door in (second, first)]
            assert ["<Say>Sorry" in text for text in told] == [True, False]
            await second.twilio("/webhook/twilio/status", **call_of(1), CallStatus="completed")
            with trio.fail_after(5):
                while await number(second, "calls_live", 0):
                    await trio.sleep(0.02)


async def test_a_call_of_a_worker_that_drains(fleet: Fleet) -> None:
    """It admits nobody, but goes on answering for the call it has; its new calls are its sibling's."""
    async with open_worker(fleet, 0) as first, open_worker(fleet, 1, patience_s=20.0) as second:
        await second.twilio("/webhook/twilio", **call_of(1))
        fleet.stops[1].set()
        with trio.fail_after(5):
            while (await second.http.get(second.url + "/ready")).text != "draining\n":
                await trio.sleep(0.02)
        sids = (f"CA{number:032x}" for number in range(100, 200))
        other = {**CALL, "CallSid": next(sid for sid in sids if owner_of(sid, OF) == 1)}
        url, _ = stream_of(await first.twilio("/webhook/twilio", **other))
        assert url == f"{MEDIA_URL}/w0"
        url, _ = stream_of(await first.twilio("/webhook/twilio", **call_of(1)))
        assert url == f"{MEDIA_URL}/w1"
        for call in (other, call_of(1)):
            await first.twilio("/webhook/twilio/status", **call, CallStatus="completed")
        with trio.fail_after(5):
            await fleet.overs[1].wait()


# --- Vapi's webhooks -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def open_vapi() -> AsyncIterator[str]:
    """As much of Vapi as makes a call's id known: whatever it is asked, it has made it. Its sockets are not there."""
    body = json.dumps({"id": AGENT_CALL, "transport": {"websocketCallUrl": "ws://127.0.0.1:9/call"}}).encode()
    head = f"HTTP/1.1 201 Created\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some(65_536)
            await stream.send_all(head + body)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


AGENT_CALL = "a call of Vapi's"
TOOL_CALLS = {"type": "tool-calls", "call": {"id": AGENT_CALL}, "toolCallList": [
    {"id": "t1", "type": "function", "function": {"name": "check_availability", "arguments": {"party": 13}}},
]}  # fmt: skip


async def vapi_asks(door: Door, query: str, message: dict[str, Any]) -> Any:
    answer = await door.http.post(
        f"{door.url}/webhook/vapi{query}", json={"message": message}, headers={"X-Vapi-Secret": SECRET}
    )
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    return answer.json()


@pytest.mark.parametrize(
    ("query", "way"),
    [("?worker=1", "forwarded"), ("", "asked_all"), ("?worker=7", "asked_all"), ("?worker=0", None)],
)
async def test_a_vapi_webhook_reaches_its_call(fleet: Fleet, query: str, way: str | None) -> None:
    """By the worker that its address names, or by asking; what names us is answered from the journal."""
    async with open_vapi() as vapi_url:
        fleet.vapi_url = vapi_url
        async with open_pair(fleet) as (first, second):
            await second.twilio("/webhook/twilio", **call_of(1))
            with trio.fail_after(5):
                while not list_calls(fleet.data / "journal.sqlite3") or AGENT_CALL not in journal_text(fleet):
                    await trio.sleep(0.02)
            (result,) = (await vapi_asks(first, query, TOOL_CALLS))["results"]
            assert result["toolCallId"] == "t1"
            # The journal is everybody's: a call whose own process is gone is answered from it (decision 0008).
            assert "not known here" not in result["error"]
            await vapi_asks(first, query, {"type": "hang", "call": {"id": AGENT_CALL}})
            for name in ("forwarded", "asked_all"):
                assert await number(first, f"siblings_{name}_total", 0) == (2 if name == way else 0)
            assert await number(first, "calls_unknown_webhooks_total", 0) == (0 if way else 2)
            assert await number(first, "calls_unknown_webhooks_total", 1) == 0


async def test_a_vapi_webhook_of_a_worker_that_is_away(fleet: Fleet) -> None:
    """An apology in the shape that Vapi wants, at once."""
    async with open_worker(fleet, 0) as first:
        for query in ("?worker=1", ""):
            with trio.fail_after(3):
                (result,) = (await vapi_asks(first, query, TOOL_CALLS))["results"]
            assert result["error"] == "This call is not known here."


def journal_text(fleet: Fleet) -> str:
    (row,) = list_calls(fleet.data / "journal.sqlite3")
    return str([record.data for record in read_call(fleet.data / "journal.sqlite3", row.call_id)])


# --- media -----------------------------------------------------------------------------------------------------------


async def test_a_stream_reaches_the_worker_that_it_names(fleet: Fleet) -> None:
    """The socket comes in at one worker and is the other's: its call takes it, by its token."""
    async with open_pair(fleet) as (first, _):
        url, token = stream_of(await first.twilio("/webhook/twilio", **call_of(1)))
        async with media_socket(first, handshake(url), path="/media/w1") as socket:
            assert await number(first, "siblings_passed_total", 0) == 1
            assert await number(first, "media_sockets", 0) == 0
            await socket.send_message(start_message(token, callSid=call_of(1)["CallSid"]))
            # Vapi cannot be reached here: the call is handed over, which closes the stream in the ordinary way.
            assert await closing_code_of_a_caller(socket) == 1000


async def test_a_stream_of_a_worker_that_is_away(fleet: Fleet) -> None:
    """It is taken here, and its token opens nothing: Twilio goes on with the connect action."""
    async with open_worker(fleet, 0) as first:
        async with media_socket(first, handshake(f"{MEDIA_URL}/w1"), path="/media/w1") as socket:
            await socket.send_message(start_message("a token of somebody else's"))
            assert await closing_code(socket) == 1008
        assert await number(first, "siblings_failed_total", 0) == 1


async def test_a_stream_after_its_worker_came_back(fleet: Fleet) -> None:
    """The way to a sibling is made anew when it broke."""
    async with open_worker(fleet, 0) as first:
        for passed in (1, 2):
            stream = media_socket(first, handshake(f"{MEDIA_URL}/w1"), path="/media/w1")
            async with open_worker(fleet, 1), stream:
                assert await number(first, "siblings_passed_total", 0) == passed
            with trio.fail_after(5):
                await fleet.overs[1].wait()


@pytest.mark.parametrize(
    ("path", "signed", "status"),
    [
        ("/media/w1", MEDIA_URL, 403),
        ("/media/w0", f"{MEDIA_URL}/w1", 403),
        ("/media", f"{MEDIA_URL}/w0", 403),
        ("/media/w1/more", f"{MEDIA_URL}/w1/more", 404),
        ("/media/wx", f"{MEDIA_URL}/wx", 404),
    ],
)
async def test_the_signature_is_over_the_address_that_was_asked(
    fleet: Fleet, path: str, signed: str, status: int
) -> None:
    """One for another worker's address opens nothing; nor is any other address a media address."""
    async with open_pair(fleet) as (first, _):
        with pytest.raises(BaseExceptionGroup) as refused:
            async with media_socket(first, handshake(signed), path=path):
                pass
        (why,) = refused.value.exceptions
        assert isinstance(why, ConnectionRejected) and why.status_code == status


# --- numbers ---------------------------------------------------------------------------------------------------------


async def test_the_numbers_route_is_for_siblings_only(fleet: Fleet) -> None:
    """404 on the public port; the doors that only siblings knock at have no health either."""
    async with open_worker(fleet, 0) as first:
        assert (await first.http.get(first.url + "/internal/numbers")).status_code == 404
        transport = httpx.AsyncHTTPTransport(uds=str(fleet.run_dir / "worker-0.http"))
        async with httpx.AsyncClient(transport=transport) as sibling:
            told = (await sibling.get("http://sibling/internal/numbers")).json()
            assert told["gauges"]["calls_live"] == 0 and "calls_admitted" in told["counters"]
            assert (await sibling.get("http://sibling/metrics")).status_code == 404
            assert (await sibling.get("http://sibling/media", headers={"Upgrade": "websocket"})).status_code == 404
