"""`callscope bench soak`: half an hour of calls that come, are interrupted, and go; what grows is a leak.

Calls last about a minute and a half and are replaced, so some thousands come and go. Once a minute everything that
could grow is read: memory, tasks, sockets, open files, what the service says of itself.
"""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import trio

from web.bench.contenders import Contender, ours
from web.bench.driver import Driver, load_generator
from web.bench.media import Say, machine
from web.bench.process import open_files, resident_bytes

REPLACED_A_MINUTE = 0.7  # of all calls
PIECE_S, PIECES_A_MINUTE = 5.0, 12
MOST_GROWTH, MOST_LATE_GROWTH = 1.10, 1.02
"""Of memory: from the first minute to the last, and from the middle to the last. A fresh process still fills its caches
(SQLite's, the allocator's, five minutes' worth of ended calls that late webhooks must find); an old one must not."""
MOST_MORE_BLOCKS = 1.03
"""Of what Python holds, from the middle to the last minute: resident memory has fragments in it, this has none."""
COMING_AND_GOING = 48
"""Tasks, sockets and files of calls that begin or end just then, and of HTTP connections that happen to be open."""


@dataclass
class Minute:
    """What was read at the end of a minute."""

    minute: int
    resident_mb: float
    tasks: int
    calls: int
    sockets: int
    open_files: int
    remembered: int
    calls_so_far: int
    lost: int
    disordered: int
    stale: int
    p99_ms: float
    blocks: int = 0  # of memory that Python holds (`sys.getallocatedblocks`)


@dataclass
class Soak:
    """A whole run."""

    command: str
    machine: dict[str, Any]
    calls: int
    minutes: list[Minute] = field(default_factory=list)
    left_at_the_end: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


async def soak(calls: int, minutes: int, say: Say) -> Soak:
    """Hold `calls` live calls for so many minutes."""
    result = Soak("callscope " + " ".join(sys.argv[1:]), machine(), calls)
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="callscope-soak-") as folder:
        async with (
            load_generator(cores={cores[-1]}) as driver,
            ours(lambda: driver.agent_url, Path(folder), workers=1, cores={cores[0]}) as service,
        ):
            if not await driver.open_calls(service, calls):
                result.problems.append("not all calls came up")
            for number in range(1, minutes + 1):
                minute = await _minute(driver, service, calls, number, Path(folder))
                result.minutes.append(minute)
                say(
                    f"minute {number}: {minute.resident_mb:.1f} MB, {minute.tasks} tasks, {minute.calls} calls, "
                    f"{minute.sockets} sockets, {minute.open_files} files, {minute.calls_so_far} calls so far, "
                    f"{minute.blocks} blocks, lost {minute.lost}, p99 {minute.p99_ms:.1f} ms"
                )
            await driver.hang_up()
            result.left_at_the_end = await _empty(service)
    _judge(result)
    return result


async def _minute(driver: Driver, service: Contender, calls: int, number: int, folder: Path) -> Minute:
    each = max(1, round(calls * REPLACED_A_MINUTE / PIECES_A_MINUTE))
    lost = disordered = stale = 0
    p99_us = 0.0
    for _ in range(PIECES_A_MINUTE):
        seen = await driver.measure(PIECE_S - 1.0, interrupt_every_s=10.0)
        lost, disordered, stale = lost + seen["lost"], disordered + seen["disordered"], stale + seen["stale"]
        p99_us = max([p99_us, *(one["p99"] for one in (seen["to_agent_us"], seen["to_line_us"]) if one)])
        await driver.drop_oldest(each)
        await trio.sleep(1.0)
        await driver.open_calls(service, calls)
    for path in (folder / "recordings").glob("*.wav"):
        path.unlink()  # half an hour of them would fill the disk
    numbers = await service.numbers()
    return Minute(
        minute=number,
        resident_mb=resident_bytes(service.pid) / 1e6,
        tasks=int(numbers["callscope_tasks"]),
        calls=int(numbers["callscope_calls_live"]),
        sockets=int(numbers["callscope_media_sockets"]),
        open_files=open_files(service.pid),
        remembered=int(numbers["callscope_calls_remembered"]),
        calls_so_far=int(numbers["callscope_calls_admitted_total"]),
        lost=lost,
        disordered=disordered,
        stale=stale,
        p99_ms=p99_us / 1000,
        blocks=int(numbers["callscope_memory_blocks"]),
    )


async def _empty(service: Contender) -> dict[str, float]:
    """What is left when the last caller has hung up."""
    names = ("calls_live", "call_tasks", "media_sockets")
    left: dict[str, float] = {}
    with trio.move_on_after(30.0):
        while True:
            numbers = await service.numbers()
            left = {name: numbers[f"callscope_{name}"] for name in names}
            if not any(left.values()):
                break
            await trio.sleep(0.5)
    return {**left, "resident_mb": resident_bytes(service.pid) / 1e6}


def _judge(result: Soak) -> None:
    first, middle, last = (result.minutes[index] for index in (0, len(result.minutes) // 2, -1))
    for earlier, most in ((first, MOST_GROWTH), (middle, MOST_LATE_GROWTH)):
        if last.resident_mb > earlier.resident_mb * most:
            result.problems.append(
                f"memory grew from {earlier.resident_mb:.1f} MB in minute {earlier.minute} to {last.resident_mb:.1f}"
            )
    if last.blocks > middle.blocks * MOST_MORE_BLOCKS:
        result.problems.append(f"blocks of memory grew from {middle.blocks} in minute {middle.minute} to {last.blocks}")
    for name in ("tasks", "sockets", "open_files"):
        if getattr(last, name) > getattr(first, name) + COMING_AND_GOING:
            result.problems.append(f"{name} grew from {getattr(first, name)} to {getattr(last, name)}")
    lost = sum(minute.lost + minute.disordered + minute.stale for minute in result.minutes)
    if lost:
        result.problems.append(f"{lost} frames were lost, out of order or stale")
    left = {name: value for name, value in result.left_at_the_end.items() if name != "resident_mb" and value}
    if left:
        result.problems.append(f"left when all had hung up: {left}")


def as_data(result: Soak) -> dict[str, Any]:
    return asdict(result)
