"""One process that serves calls: a listening port, the front door, and a shutdown that does not cut people off."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from typing import Any

import structlog
import trio
from hypercorn.config import Config

from web.agents import LoadedAgent
from web.app import create_app, open_runtime
from web.fast_http import FastHttp
from web.front_door import serve
from web.settings import Settings
from web.vapi_hooks import VAPI_PATH

log = structlog.get_logger(__name__)

DRAIN_PATIENCE_S = 30.0
# Hypercorn can take a connection for idle while a request is under way on it (the next request of a kept connection
# overtakes its own "idle" note), and closes it when this is over: so it must be longer than any answer of ours.
KEEP_ALIVE_S = 75.0


def is_media(head: bytes) -> bool:
    """Whether a connection's first bytes ask for the media socket."""
    return head.startswith((b"GET /media ", b"GET /media?", b"GET /media/"))


async def serve_calls(
    settings: Settings,
    loaded: LoadedAgent,
    listeners: Sequence[trio.SocketListener],
    *,
    drain_patience_s: float = DRAIN_PATIENCE_S,
    stop: trio.Event | None = None,
    task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until SIGTERM or SIGINT (or `stop`); then admit nobody, let calls finish, and leave.

    A second signal ends the patience: calls get their words at once.
    """
    async with open_runtime(settings, loaded) as runtime:

        async def shutdown() -> None:
            if stop is not None:
                await stop.wait()
                await runtime.supervisor.drain(patience_s=drain_patience_s)
                return
            with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                await anext(signals)
                log.info("draining", calls=len(runtime.supervisor.live), patience_s=drain_patience_s)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_hurry, signals, runtime.supervisor)
                    await runtime.supervisor.drain(patience_s=drain_patience_s)
                    nursery.cancel_scope.cancel()

        config = Config()
        config.errorlog = None
        config.accesslog = None
        config.keep_alive_timeout = KEEP_ALIVE_S
        await serve(
            create_app(runtime),
            listeners,
            plane=runtime.plane,
            doorkeeper=runtime.doorkeeper,
            is_media=is_media,
            shutdown_trigger=shutdown,
            hypercorn_config=config,
            fast=FastHttp(
                VAPI_PATH, lambda asked: runtime.vapi_door.first_step(asked.headers, asked.body, time.time())
            ),
            task_status=task_status,
        )


async def _hurry(signals: Any, supervisor: Any) -> None:
    await anext(signals)
    await supervisor.drain(patience_s=0.0)
