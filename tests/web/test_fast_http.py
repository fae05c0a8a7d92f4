"""The quick way for one address: the same HTTP as ever, however the bytes come; its neighbours' are left alone."""

from __future__ import annotations

import json
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from hypercorn.config import Config
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import CapturingLogger
from trio.testing import wait_all_tasks_blocked

import actors.media.failures
import web.fast_http
import web.front_door
import web.http_reading
from actors.media import MediaPlane
from tests.actors.media.harness import PATIENCE_S, REQUEST, BareClient, Recorder, echo
from tests.web.doors import SECRET, open_door
from web.fast_http import MOST_IN_A_ROW, Answer, FastHttp, Later
from web.front_door import listen, serve
from web.http_reading import Limits, Request

SAMPLES = Path(__file__).parents[1] / "samples" / "vapi"
LINE = b"POST /webhook/vapi HTTP/1.1\r\nHost: x\r\n"
NEIGHBOUR = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
SHORT = Limits(request_s=0.2, idle_s=0.2, send_s=0.2, linger_s=0.5)


def post(body: bytes, *headers: bytes, query: bytes = b"") -> bytes:
    line = b"POST /webhook/vapi" + (b"?" + query if query else b"") + b" HTTP/1.1"
    return b"\r\n".join([line, b"Host: x", b"Content-Length: %d" % len(body), *headers, b"", body])


def chunked(*pieces: bytes, trailer: bytes = b"", headers: bytes = b"") -> bytes:
    body = b"".join(b"%x;why=not\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return LINE + headers + b"Transfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n" + trailer + b"\r\n"


def repeat(request: Request) -> Answer | Later:
    """Answers with what was understood of the request."""
    if request.body == b"fail":
        raise ZeroDivisionError("a caller's words")
    if request.body == b"later":

        async def later() -> Answer:
            await trio.lowlevel.checkpoint()
            return Answer(202, b"at last")

        return later
    return Answer(200, request.query + b"|" + request.body, "text/plain")


def answers(stream: bytes) -> list[tuple[int, bytes, bool]]:
    """Status, body and whether it was the last, of each answer in a stream."""
    found = []
    while stream:
        head, _, rest = stream.partition(b"\r\n\r\n")
        status, length = re.match(rb"HTTP/1.1 (\d+) ", head), re.search(rb"content-length: (\d+)", head)
        assert status and length, head
        size = int(length[1])
        assert len(rest) >= size, "an answer is cut short"
        found.append((int(status[1]), rest[:size], b"\r\nconnection: close" in head))
        stream = rest[size:]
    return found


@dataclass
class Pair:
    """Both ends of a connection; the fast path serves one of them."""

    client: socket.socket
    stream: trio.SocketStream
    fast: FastHttp
    lives_on: list[bool] = field(default_factory=list)

    async def serve(self) -> None:
        self.lives_on.append(await self.fast.serve(self.stream))

    def untouched(self) -> bytes:
        """What the fast path has left for the next."""
        with socket.socket(fileno=self.stream.socket.detach()) as left:
            left.setblocking(False)
            return left.recv(1_000_000)

    async def heard(self) -> bytes:
        """All that the client gets until the other side ends."""
        client, data = trio.socket.from_stdlib_socket(self.client), b""
        with trio.fail_after(PATIENCE_S):
            while piece := await client.recv(65_536):
                data += piece
        return data

    def heard_so_far(self) -> bytes:
        self.client.setblocking(False)
        data = b""
        try:
            while piece := self.client.recv(1_000_000):
                data += piece
        except BlockingIOError:
            pass
        return data


@contextmanager
def open_pair(fast: FastHttp | None = None) -> Iterator[Pair]:
    client, server = socket.socketpair()
    server.setblocking(False)
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(server))
    with client:
        try:
            yield Pair(client, stream, fast or FastHttp("/webhook/vapi", repeat))
        finally:
            stream.socket.close()


CONVERSATION = b"".join([
    post(b"one"),
    post(b"", query=b"worker=3&x=%20"),
    chunked(b"t", b"w\r\n\r\n0\r\n\r\n", b"o", trailer=b"X-Sum: 1\r\n"),
    post(b"POST /webhook/vapi HTTP/1.1\r\nHost: x\r\n\r\n", b"X-Folly: \xff"),
    post(b"later"),
    post(b"h2c", b"Connection: Upgrade", b"Upgrade: h2c"),
    chunked(b"h2c", headers=b"Connection: Upgrade\r\nUpgrade: h2c\r\n"),
    chunked(),
    post(b"\r\n\r\n\r\n"),
])  # fmt: skip
SAID = [
    (200, b"|one", False),
    (200, b"worker=3&x=%20|", False),
    (200, b"|tw\r\n\r\n0\r\n\r\no", False),
    (200, b"|POST /webhook/vapi HTTP/1.1\r\nHost: x\r\n\r\n", False),
    (202, b"at last", False),
    (200, b"|h2c", False),
    (200, b"|h2c", False),
    (200, b"|", False),
    (200, b"|\r\n\r\n\r\n", False),
]


# --- one connection, without a server ---------------------------------------------------------------------------------


async def test_what_lies_behind_is_not_taken() -> None:
    """All in one packet, a neighbour's request last: ours are answered, the neighbour's is still in the socket."""
    with open_pair() as pair:
        pair.client.send(CONVERSATION + NEIGHBOUR)
        with trio.fail_after(PATIENCE_S):
            await pair.serve()
        assert pair.lives_on == [True]
        assert answers(pair.heard_so_far()) == SAID
        assert pair.untouched() == NEIGHBOUR


async def test_headers_arrive_as_they_came() -> None:
    """Names in lower case, values without the blanks round them, repeated ones twice: a proof is judged by them."""
    asked: list[Request] = []

    def note(request: Request) -> Answer:
        asked.append(request)
        return Answer(200, b"")

    with open_pair(FastHttp("/webhook/vapi", note)) as pair:
        pair.client.send(post(b"", b"X-Vapi-SECRET:\t a b \t", b"x-vapi-secret: c", b"Y: \xfc") + NEIGHBOUR)
        with trio.fail_after(PATIENCE_S):
            await pair.serve()
    (request,) = asked
    expected = [("host", "x"), ("content-length", "0"), ("x-vapi-secret", "a b"), ("x-vapi-secret", "c"), ("y", "ü")]
    assert request.headers.items() == expected


@pytest.mark.parametrize(
    "beginning", [b"P", b"POST /webhook/vapi", b"post /webhook/vapi ", b"POST /webhook/vapi/ ", b"\r"]
)
async def test_what_is_not_surely_ours_is_left(beginning: bytes) -> None:
    """Too little to choose by, or nearly our address: whoever gets the connection next finds all of it."""
    with open_pair() as pair:
        pair.client.send(post(b"one") + beginning)
        with trio.fail_after(PATIENCE_S):
            await pair.serve()
        assert pair.lives_on == [True]
        assert pair.untouched() == beginning


BAD = {
    "both lengths": LINE + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": LINE + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "no number": LINE + b"Content-Length: 1_0\r\n\r\nhellohello",
    "negative": LINE + b"Content-Length: -1\r\n\r\n",
    "unknown coding": LINE + b"Transfer-Encoding: gzip\r\n\r\n",
    "hidden coding": LINE + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "bad chunk size": LINE + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "long chunk": LINE + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
    "bare line feeds": b"POST /webhook/vapi HTTP/1.1\nHost: x\n\n",
    "folded header": LINE + b"X: a\r\n b\r\n\r\n",
    "zero byte": LINE + b"X: a\x00b\r\n\r\n",
    "no host": b"POST /webhook/vapi HTTP/1.1\r\n\r\n",
    "two hosts": LINE + b"Host: y\r\n\r\n",
    "no such version": b"POST /webhook/vapi HTTP/2.0\r\nHost: x\r\n\r\n",
    "no version": b"POST /webhook/vapi?\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
async def test_what_could_be_read_in_two_ways_is_refused(bad: bytes) -> None:
    """400 and the end, so that nothing behind it is ever taken for a request; what was before it is answered."""
    with open_pair(FastHttp("/webhook/vapi", repeat, limits=Limits(linger_s=0.1))) as pair:
        pair.client.send(post(b"one") + bad + post(b"smuggled"))
        with trio.fail_after(PATIENCE_S):
            await pair.serve()
        assert pair.lives_on == [False]
        assert answers(pair.heard_so_far()) == [(200, b"|one", False), (400, b"", True)]


async def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body up to its limit is taken, one byte more is not, announced or not; nor is a head over 16 KiB."""
    monkeypatch.setattr(web.http_reading, "LOOK_BYTES", 1_000)
    limits = Limits(body_bytes=3_000, linger_s=0.1)
    for request, expected in [
        (post(b"x" * 3_000), (200, b"|" + b"x" * 3_000, False)),
        (chunked(*[b"x" * 100] * 30), (200, b"|" + b"x" * 3_000, False)),
        (LINE + b"Content-Length: 3001\r\n\r\n", (413, b"", True)),
        (chunked(*[b"x" * 100] * 30, b"x"), (413, b"", True)),
        (post(b"", b"X: " + b"x" * 16_000), (200, b"|", False)),
        (post(b"", b"X: " + b"x" * 16_384), (431, b"", True)),
        (LINE + b"X: " + b"x" * 20_000, (431, b"", True)),
    ]:
        with open_pair(FastHttp("/webhook/vapi", repeat, limits=limits)) as pair:
            pair.client.send(request)
            with trio.move_on_after(0.5):
                await pair.serve()
            assert answers(pair.heard_so_far()) == [expected]


async def test_a_refused_sender_can_read_why() -> None:
    """It goes on sending for a while: closing on that would reset the connection under our answer."""
    async with open_house() as house:
        client = await house.connect()
        await client.stream.send_all(LINE + b"Content-Length: 9000000\r\n\r\n")
        for _ in range(20):
            await client.stream.send_all(bytes(100_000))
        assert answers(await client.read_to_end()) == [(413, b"", True)]


async def test_expect_continue() -> None:
    """Who asks first is told to go on, unless the body is too large, or here already."""
    asked = b"Expect: 100-Continue\r\n"
    async with open_house() as house:
        client = await house.connect()
        await client.stream.send_all(LINE + asked + b"Content-Length: 5\r\n\r\n")
        assert await client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.stream.send_all(b"hello")
        assert (await client.read_until(b"|hello")).startswith(b"HTTP/1.1 200")
        await client.stream.send_all(LINE + asked + b"Content-Length: 5\r\n\r\nhello")
        assert (await client.read_until(b"|hello")).startswith(b"HTTP/1.1 200")
        await client.stream.send_all(LINE + asked + b"Content-Length: 9000000\r\n\r\n")
        assert (await client.read_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "request_",
    [
        post(b"one", b"Connection: close"),
        b"POST /webhook/vapi HTTP/1.0\r\nContent-Length: 3\r\n\r\none",
        b"POST /webhook/vapi HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\none",
    ],
)
async def test_the_last_answer_says_so(request_: bytes) -> None:
    """`Connection: close`, or a client of the last century: answered, then the end; what follows is not looked at."""
    with open_pair(FastHttp("/webhook/vapi", repeat, limits=SHORT)) as pair:
        pair.client.send(request_ + post(b"two"))
        with trio.fail_after(PATIENCE_S):
            await pair.serve()
        assert pair.lives_on == [False]
        assert answers(pair.heard_so_far()) == [(200, b"|one", True)]


async def test_nobody_is_starved() -> None:
    """A peer with two hundred requests at once does not keep another's single one waiting."""
    order: list[bytes] = []

    def note(request: Request) -> Answer:
        order.append(request.body)
        return Answer(200, b"")

    fast = FastHttp("/webhook/vapi", note)
    with open_pair(fast) as greedy, open_pair(fast) as modest:
        greedy.client.send(post(b"greedy") * 200 + NEIGHBOUR)
        modest.client.send(post(b"modest") + NEIGHBOUR)
        with trio.fail_after(PATIENCE_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(greedy.serve)
                nursery.start_soon(modest.serve)
    assert len(order) == 201
    assert order.index(b"modest") <= 2 * MOST_IN_A_ROW


async def test_a_mistake_of_ours_costs_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """500, a line in the log without the exception's words, and the connection goes on."""
    monkeypatch.setattr(actors.media.failures, "log", book := CapturingLogger())
    with open_pair() as pair:
        pair.client.send(post(b"fail") + post(b"one") + NEIGHBOUR)
        with trio.fail_after(PATIENCE_S):
            await pair.serve()
        assert [status for status, *_ in answers(pair.heard_so_far())] == [500, 200]
    (call,) = book.calls
    assert call.method_name == "error" and call.kwargs["error"] == "ZeroDivisionError"


async def test_a_peer_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large answer to somebody who never reads it: given up at the deadline, in the middle, without other words."""
    fast = FastHttp("/webhook/vapi", lambda request: Answer(200, bytes(5_000_000)), limits=SHORT, sweep_s=0.05)
    with open_pair(fast) as pair:
        pair.client.send(post(b"one"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fast.run)
            with trio.fail_after(PATIENCE_S):
                await pair.serve()
            nursery.cancel_scope.cancel()
        assert pair.lives_on == [False]
        pair.stream.socket.close()
        assert b"408" not in await pair.heard()


# --- in the house -----------------------------------------------------------------------------------------------------


@dataclass
class House:
    """A front door with the quick way, an app behind it that knows one neighbour, and the media plane."""

    port: int
    plane: MediaPlane
    stop: trio.Event = field(default_factory=trio.Event)
    over: trio.Event = field(default_factory=trio.Event)
    guests: list[BareClient] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/webhook/vapi"

    async def connect(self) -> BareClient:
        self.guests.append(BareClient(await trio.open_tcp_stream("127.0.0.1", self.port)))
        return self.guests[-1]


async def neighbours(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """An ASGI app: `/health`, and nothing else."""
    if scope["type"] == "lifespan":
        for phase in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{phase}"
            await send({"type": f"lifespan.{phase}.complete"})
        return
    status = 200 if scope["path"] == "/health" else 404
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def open_house(
    handler: Callable[[Request], Answer | Later] = repeat, limits: Limits | None = None
) -> AsyncIterator[House]:
    listeners = await listen("127.0.0.1", 0)
    house = House(listeners[0].socket.getsockname()[1], MediaPlane())
    config = Config()
    config.errorlog = None
    run = partial(
        serve,
        neighbours,
        listeners,
        plane=house.plane,
        doorkeeper=lambda upgrade: Recorder(echo),
        is_media=lambda head: head.startswith(b"GET /media "),
        shutdown_trigger=house.stop.wait,
        hypercorn_config=config,
        fast=FastHttp("/webhook/vapi", handler, limits=limits, sweep_s=0.05),
    )

    async def run_and_tell(*, task_status: trio.TaskStatus[None]) -> None:
        await run(task_status=task_status)
        house.over.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(house.plane.run)
        await nursery.start(run_and_tell)
        try:
            yield house
            house.stop.set()
            with trio.fail_after(PATIENCE_S):
                await house.over.wait()
        finally:
            for guest in house.guests:
                guest.socket.close()
        nursery.cancel_scope.cancel()


async def test_a_client_of_others() -> None:
    """httpx over one kept connection: sizes, chunks, a query, and the neighbour in between."""
    async with open_house() as house, httpx.AsyncClient(limits=httpx.Limits(max_connections=1)) as client:
        for size in (0, 1, 1_000, 70_000, 5_000_000):
            answer = await client.post(house.url, content=b"x" * size)
            assert (answer.status_code, answer.content) == (200, b"|" + b"x" * size)
            assert answer.headers["content-type"] == "text/plain" and "date" in answer.headers

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(50):
                yield b"y" * 3_000

        assert (await client.post(house.url, content=pieces())).content == b"|" + b"y" * 150_000
        assert (await client.post(house.url + "?worker=7&epoch=ab", content=b"")).content == b"worker=7&epoch=ab|"
        neighbour = await client.get(house.url.replace("webhook/vapi", "health"))
        assert neighbour.status_code == 200 and neighbour.headers["server"].startswith("hypercorn")


@given(cuts=st.lists(st.integers(1, len(CONVERSATION) + 40), max_size=12))
@settings(max_examples=60, deadline=None)
async def test_the_same_answers_however_the_bytes_come(cuts: list[int]) -> None:
    """One conversation, cut anywhere into packets; at its end a neighbour's request, which the app answers."""
    text = CONVERSATION + NEIGHBOUR.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    async with open_house() as house:
        client = await house.connect()
        for start, end in pairwise(sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})):
            await client.stream.send_all(text[start:end])
            await wait_all_tasks_blocked()
        *ours, neighbours_ = answers(await client.read_to_end())
        assert ours == SAID
        assert neighbours_[:2] == (200, b"ok")


async def test_byte_by_byte() -> None:
    """The slowest way to say it."""
    async with open_house() as house:
        client = await house.connect()
        for at in range(len(CONVERSATION)):
            await client.stream.send_all(CONVERSATION[at : at + 1])
            if at % 7 == 0:
                await wait_all_tasks_blocked()
        await client.stream.send_eof()
        assert answers(await client.read_to_end()) == SAID


@pytest.mark.parametrize(
    ("line", "status"), [(b"GET /webhook/vapi", 404), (b"POST /webhook/vapi/more", 404), (b"GET /health", 200)]
)
async def test_others_on_the_same_connection(line: bytes, status: int) -> None:
    """A proxy's pooled connection: what is not ours is the app's, from then on."""
    async with open_house() as house:
        client = await house.connect()
        await client.stream.send_all(post(b"one") + post(b"two"))
        await client.read_until(b"|two")
        await client.stream.send_all(line + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.read_until(b"ok")).startswith(b"HTTP/1.1 %d" % status)
        await client.stream.send_all(post(b"three", b"Connection: close"))
        assert (await client.read_to_end()).startswith(b"HTTP/1.1 404"), "the app's now, which has no such route here"


async def test_a_media_socket_on_a_used_connection() -> None:
    """A proxy may take any idle connection of its pool for an upgrade: it still comes to the plane."""
    async with open_house() as house:
        client = await house.connect()
        await client.stream.send_all(post(b"one"))
        await client.read_until(b"|one")
        await client.stream.send_all(REQUEST)
        assert (await client.read_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        assert house.plane.statistics().sockets_now == 1


@pytest.mark.parametrize(
    ("before", "drip"),
    [(LINE + b"X: ", b"x"), (LINE + b"Content-Length: 5000\r\n\r\n", b"x"), (chunked()[:-5], b"1\r\nx\r\n")],
    ids=["head", "body", "chunks"],
)
async def test_slow_bytes_do_not_hold_a_connection(before: bytes, drip: bytes) -> None:
    """However busy it looks, a request has one deadline from its first byte to its last: 408."""
    async with open_house(limits=SHORT) as house:
        client = await house.connect()
        await client.stream.send_all(before)
        with trio.fail_after(PATIENCE_S), suppress(trio.BrokenResourceError):
            async with trio.open_nursery() as nursery:

                async def drop() -> None:
                    while True:
                        await client.stream.send_all(drip)
                        await trio.sleep(0.01)

                nursery.start_soon(drop)
                assert (await client.read_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 408")
                nursery.cancel_scope.cancel()


async def test_idle_connections_are_closed() -> None:
    """Silence after an answer ends in a close without a word; a busy connection outlives the limit."""
    async with open_house(limits=SHORT) as house:
        client = await house.connect()
        began = trio.current_time()
        while trio.current_time() < began + 3 * SHORT.idle_s:
            await client.stream.send_all(post(b"one"))
            await client.read_until(b"|one")
            await trio.sleep(0.02)
        assert await client.read_to_end() == b""


async def test_who_hangs_up_while_a_tool_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tool goes on to its end; a vanished listener is no error."""
    started, ended = trio.Event(), trio.Event()
    books = [CapturingLogger(), CapturingLogger(), CapturingLogger()]
    for place, book in zip((actors.media.failures, web.front_door, web.fast_http), books, strict=True):
        monkeypatch.setattr(place, "log", book)

    async def tool() -> Answer:
        started.set()
        await trio.sleep(0.3)
        ended.set()
        return Answer(200, b"x" * 100_000)

    async with open_house(lambda request: tool, SHORT) as house:
        for vanish in (False, True):
            client = await house.connect()
            await client.stream.send_all(post(b"one"))
            await started.wait()
            if vanish:  # with a reset
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.socket.close()
            with trio.fail_after(PATIENCE_S):
                await ended.wait()
            started, ended = trio.Event(), trio.Event()
        async with httpx.AsyncClient() as client_of_others:
            assert (await client_of_others.post(house.url, content=b"")).content == b"x" * 100_000
    assert [book.calls for book in books] == [[], [], []]


async def test_the_house_closes() -> None:
    """Idle connections go at once; one whose tool runs gets its answer, and is told that it is the last."""
    started, go = trio.Event(), trio.Event()

    async def tool() -> Answer:
        started.set()
        await go.wait()
        return Answer(200, b"done")

    async with open_house(lambda request: tool if request.body else Answer(200, b"quick")) as house:
        idle, busy = await house.connect(), await house.connect()
        await idle.stream.send_all(post(b""))
        await idle.read_until(b"quick")
        await busy.stream.send_all(post(b"tool"))
        await started.wait()
        house.stop.set()
        assert await idle.read_to_end() == b""
        assert not house.over.is_set()
        go.set()
        assert answers(await busy.read_to_end()) == [(200, b"done", True)]


# --- the real service -------------------------------------------------------------------------------------------------


async def test_the_same_answers_as_the_ordinary_way(tmp_path: Path) -> None:
    """Every message of the reference, byte for byte: through the quick way, and through Hypercorn and Quart."""
    messages = [
        path.read_bytes()
        for path in sorted(SAMPLES.glob("*.json"))
        if isinstance(sample := json.loads(path.read_bytes()), dict) and "type" in sample.get("message", {})
    ]
    assert len(messages) > 30
    async with open_door(tmp_path) as door, httpx.AsyncClient(limits=httpx.Limits(max_connections=1)) as other:
        assert (await other.get(door.url + "/health")).status_code == 200  # Hypercorn has this connection now
        for secret in (SECRET, "a guess"):
            for body in (*messages, b"", b"[]", b'{"message": 5}', b"\xff"):
                quick = await door.vapi(body, **{"X-Vapi-Secret": secret})
                ordinary = await other.post(quick.request.url, content=body, headers=quick.request.headers)
                assert "server" not in quick.headers and ordinary.headers["server"].startswith("hypercorn")
                assert told(quick) == told(ordinary)


def told(answer: httpx.Response) -> tuple[int, bytes, dict[str, str]]:
    return answer.status_code, answer.content, {n: v for n, v in answer.headers.items() if n not in ("date", "server")}
