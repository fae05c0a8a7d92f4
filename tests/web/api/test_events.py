"""The event stream, with a real client: hello, what changed, one call's records, and viewers that do not keep up."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

import web.api.model as model_module
from tests.web.api.journals import ASKED, CUT, GREETED, OVER, call_id_of, records_of, whole_call, write
from tests.web.api.service import Event, EventClient, Service, open_service
from web.api.model import Batch, CallsModel
from web.api.sse import event_stream

WITHIN_S = 5.0


@asynccontextmanager
async def stream(service: Service, query: str = "", **headers: str) -> AsyncIterator[EventClient]:
    with trio.fail_after(WITHIN_S):
        async with EventClient.open(service.url, f"/api/events{query}", headers) as client:
            yield client


async def told(client: EventClient) -> Event:
    event = await client.event()
    assert event is not None
    return event


async def test_what_changes_is_pushed(tmp_path: Path) -> None:
    """A call comes in, goes on and ends: each viewer sees its row change, and is told how many are live."""
    async with open_service(tmp_path) as service, stream(service) as one, stream(service) as other:
        hello = [await told(viewer) for viewer in (one, other)]
        assert [event.name for event in hello] == ["hello", "hello"]
        assert hello[0].data == hello[1].data and hello[0].data["live"] == 0
        write(tmp_path, records_of(1, GREETED, began_s=time.time()))
        for viewer in (one, other):
            event = await told(viewer)
            (row,) = event.data["calls"]
            assert (event.name, row["id"], row["state"], row["phase"]) == ("calls", call_id_of(1), "live", "listening")
            assert event.data["live"] == 1
        write(tmp_path, records_of(1, ASKED, CUT, OVER, first_seq=9, began_s=time.time()))
        (row,) = (await told(one)).data["calls"]
        assert (row["state"], row["outcome"], row["interruptions"]) == ("ended", "completed", 1)


async def test_the_records_of_one_call(tmp_path: Path) -> None:
    """From where the viewer was, whether it says so in the query or the browser does; then as they come."""
    now_s = time.time() + 1
    write(tmp_path, records_of(1, GREETED, ASKED, began_s=now_s), whole_call(2))
    async with open_service(tmp_path) as service:
        query = f"?call={call_id_of(1)}"
        async with stream(service, f"{query}&after=4") as viewer:
            assert (await told(viewer)).name == "hello"
            assert [(await told(viewer)).data["seq"] for _ in range(15)] == list(range(5, 20))
            write(tmp_path, records_of(1, CUT, first_seq=20, began_s=now_s), records_of(3, GREETED))
            fresh = [await told(viewer) for _ in range(9)]
            assert [event.id for event in fresh[:8]] == [str(seq) for seq in range(20, 28)]
            assert {event.data["call_id"] for event in fresh[:8]} == {call_id_of(1)}
            assert (fresh[8].name, fresh[8].data["interruptions"]) == ("call", 1)
        async with stream(service, f"{query}", **{"Last-Event-ID": "25"}) as viewer:
            assert [(await told(viewer)).id for _ in range(3)] == [None, "26", "27"]
        async with service.client() as http:
            assert (await http.get(f"/api/events{query}&after=x")).status_code == 400
            assert (await http.get("/api/events?call=call-nobody")).status_code == 404


async def test_a_restart_under_an_open_page(tmp_path: Path) -> None:
    """The page is told to come back, and sees by `start` that the service is another one."""
    starts = []
    for _ in range(2):
        async with open_service(tmp_path) as service, stream(service) as viewer:
            starts.append((await told(viewer)).data["start"])
            service.stop.set()
            last = await told(viewer)
            assert await viewer.event() is None
            assert last.name == "dropped" and "connect again" in last.data["reason"]
    assert starts[0] != starts[1]


async def test_a_viewer_that_reads_too_slowly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is dropped, others are not; when it reads on it finds a word that it should come back."""
    monkeypatch.setattr(model_module, "MOST_BATCHES", 3)
    async with trio.open_nursery() as nursery:
        model = CallsModel(tmp_path, poll_s=0.01)
        await nursery.start(model.run)
        with trio.fail_after(WITHIN_S):
            async with _open_stream(model) as slow, _open_stream(model) as quick:
                assert (await anext(slow))[:5] == b"retry" and (await anext(quick))[:5] == b"retry"
                for n in range(8):
                    write(tmp_path, records_of(n, GREETED))
                    assert _name(await anext(quick)) == "calls"
                told = [chunk async for chunk in slow]
        assert [_name(chunk) for chunk in told] == ["dropped"]
        assert "more slowly" in json.loads(told[-1].partition(b"data: ")[2])["reason"]
        assert model.viewers == 0
        nursery.cancel_scope.cancel()


async def test_viewers_of_all_calls_share_the_work(tmp_path: Path) -> None:
    """What is sent to many is made once, and only what a list shows is sent at all."""
    async with trio.open_nursery() as nursery:
        model = CallsModel(tmp_path, poll_s=0.01)
        await nursery.start(model.run)
        with model.watch() as one, model.watch() as other, trio.fail_after(WITHIN_S):
            write(tmp_path, records_of(1, GREETED))
            batches: list[Batch] = [await viewer.batches.receive() for viewer in (one, other)]
            assert batches[0] is batches[1] and len(batches[0].rows) == 1 and batches[0].records == {}
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def _open_stream(model: CallsModel) -> AsyncIterator[AsyncIterator[bytes]]:
    body: Any = event_stream(model, version="1").response
    async with body as opened:
        yield aiter(opened)


def _name(chunk: bytes) -> str:
    return chunk.partition(b"event: ")[2].partition(b"\n")[0].decode()
