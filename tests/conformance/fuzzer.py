"""The other side of a conformance run, in a process of its own: Autobahn's cases, driven by `kosoku`.

kosoku lives on asyncio and threads, and its cases are Python that must not share our interpreter's lock. It talks to
its parent by one line on stdout (`port N`, when it is the server) and by a file of verdicts at its end. Started by
`peers.py`, with one argument of JSON: an `Order`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any, TypedDict

from kosoku import FailureError, run_fuzzingclient, run_fuzzingserver


class Order(TypedDict):
    url: str
    """Of the server under test; empty: a client is under test, and it comes to us."""
    cases: list[str]
    without: list[str]
    concurrency: int
    """How many cases at once; when a client is under test, that is the client's choice."""
    verdicts: str
    """The file to write."""


async def _run(order: Order) -> list[Any]:
    if order["url"]:
        return list(await run_fuzzingclient(order["url"], order["cases"], order["without"], order["concurrency"]))
    results: list[Any] = []
    async with run_fuzzingserver(order["cases"], order["without"], host="127.0.0.1", port=0) as server:
        print(f"port {server.port}", flush=True)
        results += await server.get_result()
    return results


def _facts(result: Any) -> dict[str, Any]:
    return {
        "case": result.case_id,
        "behavior": result.behavior.value,
        "behavior_close": result.behavior_close.value,
        "duration_ms": result.duration,
        "close_code": result.remote_close_code,
        "description": result.description,
        "expectation": result.expectation,
        "result": f"{result.result} {result.result_close}",
        "received": repr(result.received)[:300],
    }


def main(order: Order) -> None:
    """Write the verdict of every case that was run, whatever it is."""
    try:
        results = asyncio.run(_run(order))
    except FailureError as failure:
        results = list(failure.results)
    Path(order["verdicts"]).write_text(json.dumps([_facts(result) for result in results], indent=1))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
    sys.stdout.flush()
    os._exit(0)  # not the long way: kosoku's threads may still want the interpreter, and abort (SIGABRT was seen)
