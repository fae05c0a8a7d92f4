"""One process that serves calls: a listening port, the front door, and a shutdown that does not cut people off."""

from __future__ import annotations

import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from ipaddress import ip_address
from typing import Any

import structlog
import trio
from hypercorn.config import Config

from actors.supervisor import Supervisor
from web.agents import LoadedAgent
from web.app import create_app, open_runtime
from web.front_door import serve
from web.memory import calm_collector, steady_allocator, trim_until
from web.settings import Settings
from web.siblings import Place
from web.worker import Orders, drain, pass_on_to, serve_siblings, vapi_way, wait_drained

log = structlog.get_logger(__name__)

DRAIN_PATIENCE_S = 30.0
# Hypercorn can take a connection for idle while a request is under way on it (the next request of a kept connection
# overtakes its own "idle" note), and closes it when this is over: so it must be longer than any answer of ours.
KEEP_ALIVE_S = 75.0


def is_media(head: bytes) -> bool:
    """Whether a connection's first bytes ask for the media socket."""
    return head.startswith((b"GET /media ", b"GET /media?", b"GET /media/"))


def is_reachable(listeners: Sequence[trio.SocketListener]) -> bool:
    """Whether other machines can connect to one of these."""
    inet = [one.socket for one in listeners if one.socket.family in (socket.AF_INET, socket.AF_INET6)]
    return not all(ip_address(one.getsockname()[0].partition("%")[0]).is_loopback for one in inet)


async def serve_calls(
    settings: Settings,
    loaded: LoadedAgent,
    listeners: Sequence[trio.SocketListener],
    *,
    drain_patience_s: float = DRAIN_PATIENCE_S,
    stop: trio.Event | None = None,
    place: Place | None = None,
    reload: bool = False,
    task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until SIGTERM or SIGINT (or `stop`); then admit nobody, let calls finish, and leave.

    A second signal ends the patience: calls get their words at once. A worker of several, with a `place` among them,
    takes its orders from its parent (web.worker).
    """
    config = Config()
    config.errorlog = None
    config.accesslog = None
    config.keep_alive_timeout = KEEP_ALIVE_S
    async with open_runtime(settings, loaded, place=place, reload=reload) as runtime, trio.open_nursery() as nursery:
        calm_collector()
        trim = steady_allocator()
        supervisor, siblings = runtime.supervisor, runtime.siblings
        over = trio.Event()
        if trim is not None:
            nursery.start_soon(trim_until, over, trim)
        if siblings is not None:
            await nursery.start(serve_siblings, runtime, siblings, config, over)
        shutdown: Callable[[], Awaitable[None]]
        if stop is not None:
            shutdown = partial(_wait_stopped, stop, supervisor, patience_s=drain_patience_s)
        elif siblings is not None:
            shutdown = partial(wait_drained, supervisor, Orders(), patience_s=drain_patience_s)
        else:
            shutdown = partial(_wait_signalled, supervisor, patience_s=drain_patience_s)
        await serve(
            create_app(runtime, reachable=is_reachable(listeners)),
            listeners,
            plane=runtime.plane,
            doorkeeper=runtime.doorkeeper,
            is_media=is_media,
            shutdown_trigger=shutdown,
            hypercorn_config=config,
            fast=vapi_way(runtime),
            pass_on=pass_on_to(siblings) if siblings else None,
            task_status=task_status,
        )
        over.set()


async def _wait_stopped(stop: trio.Event, supervisor: Supervisor, *, patience_s: float) -> None:
    await stop.wait()
    await supervisor.drain(patience_s=patience_s)


async def _wait_signalled(supervisor: Supervisor, *, patience_s: float) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        await anext(signals)
        log.info("draining", calls=len(supervisor.live), patience_s=patience_s)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_hurry, signals, supervisor)
            await drain(supervisor, patience_s=patience_s)
            nursery.cancel_scope.cancel()


async def _hurry(signals: Any, supervisor: Supervisor) -> None:
    await anext(signals)
    await supervisor.drain(patience_s=0.0)
