"""Webhooks and sound on the same core: whether a hundred calls hear anything of a storm of webhooks."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import trio

from web.bench.contenders import ours
from web.bench.driver import load_generator
from web.bench.http_driver import http_generator, status_updates
from web.bench.servers import CALL_ID

CALLS = 100
SETTLE_S = 2.0


async def beside_media(secret: str, rate: float, seconds: float) -> dict[str, Any]:
    """So many webhooks a second while `CALLS` calls talk, and the same calls without them.

    Returns: what both felt; `media_ms_p99_alone` is what a frame's way took before the webhooks came.
    """
    allowed = sorted(os.sched_getaffinity(0))
    cores, generator_cores = {allowed[0]}, {allowed[-1]}
    with tempfile.TemporaryDirectory(prefix="callscope-bench-") as folder:
        async with (
            http_generator(cores=generator_cores) as webhooks,
            load_generator(cores=generator_cores) as media,
            ours(lambda: media.agent_url, Path(folder), workers=1, cores=cores) as service,
        ):
            if not await media.open_calls(service, CALLS):
                raise RuntimeError("the calls of the bench did not come up")
            await trio.sleep(SETTLE_S)
            alone = await media.measure(seconds)
            heard: dict[str, Any] = {}

            async def listen() -> None:
                heard.update(await media.measure(seconds))

            updates = status_updates(secret, [CALL_ID.format(number) for number in range(1, CALLS + 1)])
            async with trio.open_nursery() as nursery:
                nursery.start_soon(listen)
                storm = await webhooks.load(service.port, updates, seconds=seconds, rate=rate)
    return {
        "calls": CALLS,
        "rate": round(rate),
        "requests_per_s": round(storm["requests_per_s"]),
        "latency_ms_p99": round(storm["latency_ms"]["p99"], 3),
        "bad": storm["bad"],
        "unanswered": storm["unanswered"],
        "media_ms_p99_alone": _p99_ms(alone),
        "media_ms_p99": _p99_ms(heard),
        "frames_lost": heard["lost"] + heard["disordered"] + (CALLS - heard["open"]),
    }


def _p99_ms(seen: dict[str, Any]) -> float:
    worst_us = float(max(seen["to_agent_us"]["p99"], seen["to_line_us"]["p99"]))
    return round(worst_us / 1000, 3)
