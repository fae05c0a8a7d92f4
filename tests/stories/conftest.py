"""The whole stack as processes on loopback: both twins and `callscope serve`, started and stopped by each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from actors.journal_reader import last_row, tail
from engine.journal import Record
from web.agents import example
from web.stack import Stack, open_stack

StackOpener = Callable[..., AbstractAsyncContextManager[Stack]]


@pytest.fixture
def stack(tmp_path: Path) -> StackOpener:
    """Opens the stack in this test's own folder."""

    @asynccontextmanager
    async def open_one(agent: Path | None = None, **options: Any) -> AsyncIterator[Stack]:
        async with open_stack(agent or example(), tmp_path / "data", **options) as opened:
            yield opened

    return open_one


async def wait_for(journal: Path, condition: Callable[[Sequence[Record]], bool], *, within_s: float) -> list[Record]:
    """Follow the journal until it is so; returns all records so far."""
    records: list[Record] = []
    row = 0
    with trio.fail_after(within_s):
        while not condition(records):
            row, fresh = await trio.to_thread.run_sync(tail, journal, row)
            records += fresh
            if not fresh:
                await trio.sleep(0.02)
    return records


async def everything(journal: Path) -> list[Record]:
    """The whole journal."""
    records: list[Record] = []
    row, end = 0, await trio.to_thread.run_sync(last_row, journal)
    while row < end:
        row, fresh = await trio.to_thread.run_sync(tail, journal, row)
        records += fresh
    return records


def has(name: str, **data: Any) -> Callable[[Sequence[Record]], bool]:
    """Whether a record of that name, with that data in it, is there."""
    return lambda records: any(
        record.name == name and all(record.data.get(key) == value for key, value in data.items()) for record in records
    )


async def nothing_left(stack: Stack) -> None:
    """No call, no task of one, no media socket: within a moment, as the service itself counts them."""
    metrics = ""
    with trio.fail_after(10):
        while True:
            metrics = (await stack.http.get(f"{stack.service.url}/metrics")).text
            gauges = ("callscope_calls_live 0.0", "callscope_call_tasks 0.0", "callscope_media_sockets 0.0")
            if all(gauge in metrics for gauge in gauges):
                return
            await trio.sleep(0.1)
