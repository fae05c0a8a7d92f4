"""HTTP tools against backends over real sockets: good, rude, slow, huge and broken ones."""

from __future__ import annotations

import gzip
import json
import logging
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog
import trio

from actors.tools.outbound import Outbound
from actors.tools.port import BadArguments, ToolProblem
from engine.errors import BadSettings
from engine.http_answers import DONE_UNREAD, NO_ANSWER, NOT_CERTAIN, NOT_REACHED, UNREADABLE
from tests.actors.tools_http.backends import CONTEXT, Backend, Exchange, Names, local_tool, make, open_backend

MEGABYTE = 1_048_576
ORDER = {"order_id": "000123"}


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    way = Outbound()
    yield way
    await way.aclose()


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[structlog.typing.EventDict]:
    """Every line that HTTP tools write to the log."""
    capture = structlog.testing.LogCapture()
    everything = structlog.make_filtering_bound_logger(logging.DEBUG)
    log = structlog.wrap_logger(None, processors=[capture], wrapper_class=everything)
    monkeypatch.setattr("actors.tools.http.log", log)
    return capture.entries


async def good(exchange: Exchange) -> None:
    await exchange.answer(b'{"state": "on its way", "eta": {"day": "Friday"}}')


async def problem_of(tool: Any, arguments: dict[str, Any] | None = None) -> ToolProblem:
    with pytest.raises(ToolProblem) as problem, trio.fail_after(5):
        await tool.attempt(tool.fit(ORDER if arguments is None else arguments), CONTEXT)
    return problem.value


# What is sent


async def test_a_tool_of_the_file_asks_and_tells(nursery: trio.Nursery, outbound: Outbound) -> None:
    """An order is looked up with what the model gave, what the call knows, and the file's key."""
    shop = await open_backend(nursery, good)
    tool = local_tool(
        outbound, shop, "/orders/{order_id}?from={caller.number}", query={"lang": "en"},
        headers={"Authorization": "Bearer s3cret", "user-agent": "shop/1"}, result="{state}, arriving {eta.day}",
    )  # fmt: skip
    assert await tool.attempt(tool.fit({"order_id": "A&1", "mood": "x"}), CONTEXT) == "on its way, arriving Friday"
    (asked,) = shop.asked
    assert asked.line == "GET /orders/A%261?from=%2B15550123&lang=en HTTP/1.1"
    assert asked.headers == {
        "host": f"127.0.0.1:{shop.port}", "accept": "application/json, text/plain;q=0.9", "accept-encoding": "gzip",
        "authorization": "Bearer s3cret", "user-agent": "shop/1",
    }  # fmt: skip


async def test_a_commit_sends_its_key_and_its_body(nursery: trio.Nursery, outbound: Outbound) -> None:
    """A backend can tell a repetition from a second booking."""
    shop = await open_backend(nursery, good)
    tool = local_tool(
        outbound, shop, "/orders", method="POST", effect="commit", body={"id": "{order_id}", "by": "{call.id}"}
    )
    await tool.attempt(ORDER, CONTEXT)
    (asked,) = shop.asked
    assert (asked.headers["idempotency-key"], json.loads(asked.body)) == ("key-1", {"id": "000123", "by": "call-1"})


async def test_arguments_are_checked_before_anything_is_sent(nursery: trio.Nursery, outbound: Outbound) -> None:
    """What does not fit, or would lead elsewhere, never reaches the backend."""
    shop = await open_backend(nursery, good)
    tool = local_tool(outbound, shop, parameters={"order_id": {"max_length": 8}})
    for wrong in ({}, {"order_id": "123456789"}, {"order_id": ".."}, {"order_id": "a/b"}, {"order_id": "a\r\nX: y"}):
        with pytest.raises(BadArguments, match=r"order_id|another address"):
            tool.fit(wrong)
    assert shop.connections == 0


async def test_a_callers_number_cannot_break_a_request(nursery: trio.Nursery, outbound: Outbound) -> None:
    """Even what the call itself says is encoded; a number of nobody cannot make another path."""
    shop = await open_backend(nursery, good)
    tool = local_tool(outbound, shop, "/of/{caller.number}/{order_id}")
    nobody = type(CONTEXT)(type(CONTEXT.caller)("call-1", "../x\r\nY: z"), "t", "k")
    with pytest.raises(ToolProblem, match="cannot be asked this way"):
        await tool.attempt(ORDER, nobody)
    assert shop.connections == 0


# Connections


async def test_reads_share_a_connection_and_commits_have_their_own(nursery: trio.Nursery, outbound: Outbound) -> None:
    """A kept connection may close just when a booking goes out, and nobody would know if it was seen."""
    shop = await open_backend(nursery, good)
    look, book = local_tool(outbound, shop), local_tool(outbound, shop, effect="commit")
    for tool, connections in ((look, 1), (look, 1), (book, 2), (book, 3), (look, 3)):
        await tool.attempt(ORDER, CONTEXT)
        assert shop.connections == connections


async def test_a_hundred_at_once(nursery: trio.Nursery, outbound: Outbound) -> None:
    """Many calls ask at the same time; afterwards only a few connections are kept, and closing ends those."""
    shop = await open_backend(nursery, good)
    tool = local_tool(outbound, shop)
    async with trio.open_nursery() as calls:
        for _ in range(100):
            calls.start_soon(tool.attempt, ORDER, CONTEXT)
    assert len(shop.asked) == 100
    assert sum(outbound.statistics().values()) <= 20
    await outbound.aclose()
    await wait_until_closed(shop)
    assert await tool.attempt(ORDER, CONTEXT)  # and may be used again


async def wait_until_closed(backend: Backend) -> None:
    with trio.fail_after(5):
        while backend.open_now:
            await trio.sleep(0.001)


async def test_a_cancelled_tool_leaves_nothing_behind(nursery: trio.Nursery, outbound: Outbound) -> None:
    """The caller hangs up while a backend thinks: the connection is closed, the next call gets a new one."""
    heard = trio.Event()

    async def thinking(exchange: Exchange) -> None:
        heard.set()
        await trio.sleep_forever()

    for effect in ("read", "commit"):
        heard = trio.Event()
        shop = await open_backend(nursery, thinking)
        with trio.CancelScope() as call:
            async with trio.open_nursery() as calls:
                calls.start_soon(local_tool(outbound, shop, effect=effect).attempt, ORDER, CONTEXT)
                await heard.wait()
                call.cancel()
        assert call.cancelled_caught
        assert sum(outbound.statistics().values()) == 0


# Backends that fail


async def test_nobody_there(outbound: Outbound) -> None:
    """Nothing listens: nothing was done, whatever the effect, and it may be tried again."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    gone = Backend(good, port=listeners[0].socket.getsockname()[1])
    await listeners[0].aclose()
    for effect in ("read", "commit"):
        problem = await problem_of(local_tool(outbound, gone, effect=effect))
        assert (str(problem), problem.again) == (NOT_REACHED, True)


async def hang_up(exchange: Exchange) -> None:
    exchange.hangs_up = True


async def nonsense(exchange: Exchange) -> None:
    exchange.hangs_up = True
    await exchange.stream.send_all(b"\x16\x03\x01 this is not HTTP\r\n\r\n")


async def half(exchange: Exchange) -> None:
    exchange.hangs_up = True
    await exchange.stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")


async def bad_chunks(exchange: Exchange) -> None:
    exchange.hangs_up = True
    await exchange.stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")


async def huge_head(exchange: Exchange) -> None:
    exchange.hangs_up = True
    await exchange.stream.send_all(b"HTTP/1.1 200 OK\r\n" + b"X: " + b"a" * 300_000)


async def silence(exchange: Exchange) -> None:
    await trio.sleep_forever()


async def drip(exchange: Exchange) -> None:
    """A byte now and then: no single read is ever late."""
    await exchange.stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        await exchange.stream.send_all(b" ")
        await trio.sleep(0.02)


async def drip_head(exchange: Exchange) -> None:
    while True:
        await exchange.stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")
        await trio.sleep(0.02)


BROKEN = [hang_up, nonsense, half, bad_chunks, huge_head, silence, drip, drip_head]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda one: one.__name__)
@pytest.mark.parametrize(
    ("effect", "words", "again"),
    [("read", NO_ANSWER, True), ("idempotent", NO_ANSWER, True), ("commit", NOT_CERTAIN, False)],
)
async def test_an_answer_that_never_comes(
    nursery: trio.Nursery, outbound: Outbound, broken: Any, effect: str, words: str, again: bool
) -> None:
    """The request went out and was lost: a look-up may be tried again, a booking is not certain and never "failed"."""
    shop = await open_backend(nursery, broken)
    problem = await problem_of(local_tool(outbound, shop, effect=effect, timeout_s=0.3))
    assert (str(problem), problem.again, problem.sure) == (words, again, effect != "commit")
    assert len(shop.asked) == 1
    assert sum(outbound.statistics().values()) == 0


async def test_a_name_is_not_waited_for_longer_than_said(nursery: trio.Nursery, outbound: Outbound) -> None:
    """A backend that takes the connection and no TLS costs `connect_s`, and was not asked anything."""

    async def listen_only(stream: trio.SocketStream) -> None:
        async with stream:
            await trio.sleep_forever()

    listeners = await nursery.start(trio.serve_tcp, listen_only, 0)
    url = f"https://127.0.0.1:{listeners[0].socket.getsockname()[1]}/"
    tool = make(outbound, url=url, allow_private=True, connect_s=0.1, effect="commit")
    began = trio.current_time()
    problem = await problem_of(tool)
    assert (str(problem), problem.again) == (NOT_REACHED, True)
    assert trio.current_time() - began < 2


# Answers that nobody should read


async def test_a_hundred_megabytes_are_hung_up_on(nursery: trio.Nursery, outbound: Outbound) -> None:
    """An answer is read up to its limit, in this much memory; the rest is never taken."""
    sent = 0

    async def endless(exchange: Exchange) -> None:
        nonlocal sent
        await exchange.stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        for _ in range(100):
            await exchange.stream.send_all(b"a " * (MEGABYTE // 2))
            sent += MEGABYTE

    shop = await open_backend(nursery, endless)
    tracemalloc.start()
    problem = await problem_of(local_tool(outbound, shop))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (str(problem), problem.again) == (UNREADABLE, False)
    assert sent < 30 * MEGABYTE  # what sockets hold by themselves
    assert most < 6 * MEGABYTE
    await wait_until_closed(shop)


async def test_an_answer_that_says_it_is_huge_is_not_read(nursery: trio.Nursery, outbound: Outbound) -> None:
    """Its length is believed; nothing of it is taken. A booking was still accepted."""

    async def announce(exchange: Exchange) -> None:
        await exchange.stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n")
        await trio.sleep_forever()

    shop = await open_backend(nursery, announce)
    assert str(await problem_of(local_tool(outbound, shop))) == UNREADABLE
    assert await local_tool(outbound, shop, effect="commit").attempt(ORDER, CONTEXT) == DONE_UNREAD


def packed(body: bytes, encoding: str) -> Any:
    async def answer(exchange: Exchange) -> None:
        await exchange.answer(body, headers=[f"Content-Encoding: {encoding}"])

    return answer


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("GZip", gzip.compress)]
)
async def test_a_packed_answer_is_unpacked(nursery: trio.Nursery, outbound: Outbound, encoding: str, pack: Any) -> None:
    """Backends may pack what they send."""
    shop = await open_backend(nursery, packed(pack(b'{"state": "' + b"x" * 100_000 + b'!"}'), encoding))
    tool = local_tool(outbound, shop, result="{state}")
    assert (await tool.attempt(ORDER, CONTEXT)).startswith("xxx")


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(b" " * 50 * MEGABYTE)),
        ("deflate", zlib.compress(b" " * 50 * MEGABYTE)),
        ("gzip", gzip.compress(b"{}")[:-9]),
        ("gzip", b"{}"),
        ("br", b"{}"),
        ("gzip, gzip", gzip.compress(gzip.compress(b"{}"))),
    ],
    ids=["gzip bomb", "deflate bomb", "cut", "not gzip", "brotli", "twice"],
)
async def test_what_cannot_be_unpacked_is_not_read(
    nursery: trio.Nursery, outbound: Outbound, encoding: str, body: bytes
) -> None:
    """Fifty megabytes in fifty kilobytes take no fifty megabytes here."""
    shop = await open_backend(nursery, packed(body, encoding))
    tool = local_tool(outbound, shop)
    tracemalloc.start()
    problem = await problem_of(tool)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(problem) == UNREADABLE
    assert most < 4 * MEGABYTE


async def test_the_limit_counts_what_is_unpacked(nursery: trio.Nursery, outbound: Outbound) -> None:
    """`max_bytes` is of the answer as it is read: exactly so many fit, packed or not."""
    for body, answer in ((b"a" * 1000, None), (gzip.compress(b"a" * 1000), "Content-Encoding: gzip")):

        async def tell(exchange: Exchange, body: bytes = body, answer: str | None = answer) -> None:
            await exchange.answer(body, kind="text/plain", headers=[answer] if answer else [])

        shop = await open_backend(nursery, tell)
        assert await local_tool(outbound, shop, max_bytes=1000).attempt(ORDER, CONTEXT) == "a" * 1000
        assert str(await problem_of(local_tool(outbound, shop, max_bytes=999))) == UNREADABLE


async def test_statuses_become_words(nursery: trio.Nursery, outbound: Outbound) -> None:
    """The file's words for a 404; a booking that a gateway lost is not certain."""

    async def answer(exchange: Exchange) -> None:
        await exchange.answer(b"{}", status=int(exchange.line.split("/")[2].split(" ")[0]))

    shop = await open_backend(nursery, answer)
    look = local_tool(outbound, shop, problems={"404": "There is no such order."})
    book = local_tool(outbound, shop, effect="commit")
    assert str(await problem_of(look, {"order_id": "404"})) == "There is no such order."
    assert (await problem_of(look, {"order_id": "503"})).again
    assert str(await problem_of(book, {"order_id": "504"})) == NOT_CERTAIN


# Secrets


async def test_secrets_and_callers_stay_out_of_sight(
    nursery: trio.Nursery,
    outbound: Outbound,
    caplog: pytest.LogCaptureFixture,
    logged: list[structlog.typing.EventDict],
) -> None:
    """Neither words for the model, nor logs, nor what objects look like hold the key, the number or the arguments."""
    caplog.set_level(logging.DEBUG)
    seen: list[str] = []
    for broken in (hang_up, half, nonsense):
        shop = await open_backend(nursery, broken)
        tool = local_tool(
            outbound, shop, "/orders/{order_id}?key=s3cret&from={caller.number}", headers={"Authorization": "s3cret"}
        )
        problem = await problem_of(tool, {"order_id": "c4llers"})
        seen += [repr(tool), repr(tool.spec), str(problem), repr(problem.__cause__), str(logged)]
    assert [one["tool"] for one in logged] == ["find_order"] * 3
    everything = " ".join(seen) + caplog.text
    assert not [word for word in ("s3cret", "15550123", "c4llers") if word in everything]


async def test_a_file_with_an_impossible_url_makes_no_tool(outbound: Outbound) -> None:
    """What cannot be asked is said when the file is read, not when the first caller asks."""
    for url in ("https://user:s3cret@a.example.com/", "https://exa\u2488mple..com/", "https://-\u00fc-.example.com/"):
        with pytest.raises(BadSettings) as problem:
            make(outbound, url=url)
        assert "s3cret" not in str(problem.value)


async def test_a_forbidden_host_is_told_to_the_operator(logged: list[structlog.typing.EventDict]) -> None:
    """The caller hears a sentence; the log says what to write into the file, and no address."""
    way = Outbound(resolve=Names(["10.1.2.3"]))
    problem = await problem_of(make(way, url="https://shop.example.com/", effect="commit"), {})
    assert "nothing was done" in str(problem)
    assert "allow_private" in logged[0]["event"] and "10.1.2.3" not in str(logged)
