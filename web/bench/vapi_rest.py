"""Just enough of Vapi's REST side for the load: assistants, and calls whose websocket is the load generator's."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import trio
from hypercorn.config import Config
from quart import Response, jsonify
from quart_trio import QuartTrio

from actors.media import MediaPlane
from actors.ports import Refusal
from web.front_door import listen, serve
from web.serve import KEEP_ALIVE_S

ASSISTANT = {"id": "00000000-0000-4000-8000-000000000001", "name": "bench"}


def _app(agent_url: Callable[[], str]) -> QuartTrio:
    app = QuartTrio("bench-vapi")
    numbers = itertools.count(1)

    @app.get("/assistant")
    async def assistants() -> Response:
        return jsonify([ASSISTANT])

    @app.route("/assistant/<assistant_id>", methods=["GET", "PATCH"])
    async def assistant(assistant_id: str) -> Response:
        return jsonify(ASSISTANT)

    @app.post("/call")
    async def call() -> tuple[Response, int]:
        made = f"00000000-0000-4000-9000-{next(numbers):012d}"
        return jsonify({"id": made, "status": "queued", "transport": {"websocketCallUrl": agent_url()}}), 201

    @app.delete("/call/<call_id>")
    async def delete(call_id: str) -> Response:
        return jsonify({"id": call_id})

    return app


async def run_vapi_rest(
    agent_url: Callable[[], str], *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve until cancelled; starts with its base URL. Behind our own door, which cures what stack.md A.3 tells."""
    listeners = await listen("127.0.0.1", 0)
    config = Config()
    config.keep_alive_timeout = KEEP_ALIVE_S  # Hypercorn's 5 s end a request that comes just then: one call in a soak
    async with trio.open_nursery() as nursery:
        run = partial(
            serve,
            _app(agent_url),
            listeners,
            plane=MediaPlane(),
            doorkeeper=lambda upgrade: Refusal(404),
            is_media=lambda head: False,
            shutdown_trigger=trio.sleep_forever,
            hypercorn_config=config,
        )
        await nursery.start(run)
        task_status.started(f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}")
