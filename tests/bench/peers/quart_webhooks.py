"""Vapi's server messages, answered as Quart's tutorial would: the webhook peer on our own stack.

VAPI_SERVER_SECRET=… python quart_webhooks.py
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart import request
from quart_trio import QuartTrio

app = QuartTrio(__name__)


async def instant(**arguments: Any) -> str:
    return "ok"


async def slow(seconds: float) -> str:
    await trio.sleep(seconds)
    return "ok"


async def crash() -> str:
    raise RuntimeError("a tool's mistake")


TOOLS: dict[str, Callable[..., Awaitable[str]]] = {"slow": slow, "crash": crash}


async def run(call: dict[str, Any]) -> dict[str, str]:
    """Run the function, as a tutorial does: what it does not know is `instant` here."""
    function = call["function"]
    tool: Callable[..., Awaitable[str]] = TOOLS.get(function["name"], instant)
    try:
        return {"toolCallId": call["id"], "result": await tool(**function["arguments"])}
    except Exception as error:
        return {"toolCallId": call["id"], "error": f"{function['name']} failed: {error}"}


@app.post("/webhook/vapi")
async def webhook() -> Any:
    body = await request.get_json()  # before any answer: hypercorn can lose the connection of a body left unread
    if request.headers.get("x-vapi-secret") != app.config["VAPI_SERVER_SECRET"]:
        return {"error": "unauthorized"}, 401
    message = body["message"]
    match message["type"]:
        case "tool-calls":
            return {"results": [await run(call) for call in message["toolCallList"]]}
        case "assistant-request":
            return {"assistantId": "a"}
        case _:
            return {}


def exit_with_stdin() -> None:
    """Whoever started us has gone, or wants us to."""
    sys.stdin.buffer.read()
    os._exit(0)


async def main() -> None:
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.backlog = 1024
    async with trio.open_nursery() as nursery:
        (bound,) = await nursery.start(serve, app, config)
        print(json.dumps({"ready": True, "port": int(bound.rsplit(":", 1)[1])}), flush=True)


if __name__ == "__main__":
    if not os.environ.get("VAPI_SERVER_SECRET"):
        sys.exit("VAPI_SERVER_SECRET is not set")
    app.config["VAPI_SERVER_SECRET"] = os.environ["VAPI_SERVER_SECRET"]
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    threading.Thread(target=exit_with_stdin, daemon=True).start()
    trio.run(main)
