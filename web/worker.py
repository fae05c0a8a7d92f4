"""One worker of several: its doors for the other workers, and how it ends when its parent says so (web.workers).

The parent holds the other ends of our standard input and output. We say, in lines of JSON, `ready` and `empty`. It
says `hurry`, and closes our input once all workers are empty. Input that ends while we have calls means that the parent
itself is gone: nobody looks after us any more, and we hold a port that its successor wants, so we hurry then too.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field

import structlog
import trio
from hypercorn.config import Config

from actors.supervisor import Supervisor
from web.app import Runtime, create_app
from web.fast_http import Answer, FastHttp, Later
from web.front_door import PassOn, serve
from web.http_reading import Request
from web.passing import receive_sockets
from web.siblings import Siblings, worker_in
from web.vapi_hooks import VAPI_PATH

__all__ = ["GOODBYE_S", "HURRY", "Orders", "drain", "pass_on_to", "say", "serve_siblings", "vapi_way", "wait_drained"]

log = structlog.get_logger(__name__)

GOODBYE_S = 10.0  # the longest that calls are given for their last words (Supervisor.drain)
MARGIN_S = 2.0  # so much longer than its own drain a worker serves its siblings
GRACEFUL_S = 1.0
# Twilio asks what comes next once a call has ended here; unanswered, its caller would hear the apology that stands
# behind `<Connect>`. Vapi's report comes about then too.
LAST_WEBHOOKS_S = 3.0
HURRY = b"hurry\n"


def say(**what: object) -> None:
    """A line for the parent. Written at once, and to nobody when it is gone."""
    with suppress(OSError):
        os.write(1, json.dumps(what).encode() + b"\n")


def vapi_way(runtime: Runtime, *, for_siblings: bool = False) -> FastHttp:
    """The quick way for Vapi's webhooks."""

    def first_step(asked: Request) -> Answer | Later:
        return runtime.vapi_door.first_step(
            asked.headers, asked.body, time.time(), query=asked.query, for_sibling=for_siblings
        )

    return FastHttp(VAPI_PATH, first_step)


def pass_on_to(siblings: Siblings) -> PassOn:
    """For the front door: a media connection whose address names another worker is that worker's."""

    async def pass_on(head: bytes, fd: int, peer: str) -> bool:
        worker = worker_in(head)
        if worker is None or worker not in siblings.place.others:
            return False
        return await siblings.passing.send(worker, fd, peer)

    return pass_on


async def serve_siblings(
    runtime: Runtime,
    siblings: Siblings,
    config: Config,
    stop: trio.Event,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer the other workers' requests, and take connections from them, until `stop`."""

    def adopt(sock: socket.socket, peer: str) -> None:
        runtime.plane.adopt(sock, runtime.doorkeeper, peer=peer)

    place = siblings.place
    async with trio.open_nursery() as nursery:
        await nursery.start(receive_sockets, place.fds_path(place.worker), adopt)
        await serve(
            create_app(runtime, for_siblings=True),
            [await place.listen()],
            plane=runtime.plane,
            doorkeeper=runtime.doorkeeper,
            is_media=lambda head: False,
            shutdown_trigger=stop.wait,
            graceful_s=GRACEFUL_S,
            hypercorn_config=config,
            fast=vapi_way(runtime, for_siblings=True),
            task_status=task_status,
        )
        nursery.cancel_scope.cancel()


@dataclass
class Orders:
    """What the parent has said. Signals are orders too: a service manager may send them to every process by itself,
    so a second one is not taken for haste, as it is where a person stops a single process."""

    drain: trio.Event = field(default_factory=trio.Event)
    hurry: trio.Event = field(default_factory=trio.Event)
    leave: trio.Event = field(default_factory=trio.Event)

    async def run(self) -> None:
        """Listen until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hear_signals)
            nursery.start_soon(self._hear_parent)

    async def _hear_signals(self) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                self.drain.set()

    async def _hear_parent(self) -> None:
        said = b""
        async with trio.lowlevel.FdStream(os.dup(0)) as parent:
            async for some in parent:
                said = (said + some)[-len(HURRY) :]
                if said == HURRY:
                    self.drain.set()
                    self.hurry.set()
        self.drain.set()
        self.hurry.set()
        self.leave.set()


async def drain(supervisor: Supervisor, *, patience_s: float) -> None:
    """Admit nobody, let calls finish, end the rest with words; then stay for the last webhooks of those that were."""
    had_calls = bool(supervisor.live)
    await supervisor.drain(patience_s=patience_s, goodbye_s=GOODBYE_S)
    if had_calls:
        await trio.sleep(LAST_WEBHOOKS_S)


async def wait_drained(supervisor: Supervisor, orders: Orders, *, patience_s: float) -> None:
    """Serve until there is an order to end; then admit nobody, let calls finish, and wait until nobody needs us.

    A worker without calls goes on serving: its siblings' calls may still get webhooks, and the kernel gives a
    connection to whoever accepts it first. It waits for the parent's word that all are empty, but not for ever.
    """
    async with trio.open_nursery() as nursery:
        nursery.start_soon(orders.run)
        await orders.drain.wait()
        began_at = trio.current_time()
        log.info("draining", calls=len(supervisor.live), patience_s=patience_s)

        async def hurry() -> None:
            await orders.hurry.wait()
            await supervisor.drain(patience_s=0.0, goodbye_s=GOODBYE_S)

        nursery.start_soon(hurry)
        await drain(supervisor, patience_s=patience_s)
        say(empty=True)
        with trio.move_on_at(began_at + patience_s + GOODBYE_S + LAST_WEBHOOKS_S + MARGIN_S):
            await orders.leave.wait()
        nursery.cancel_scope.cancel()
