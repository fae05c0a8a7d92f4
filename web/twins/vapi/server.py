"""Runs one twin: REST, sockets and calls on one port, in one Trio process."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable

import httpx
import trio

from actors.media import MediaPlane
from engine.agent import TwinPlan
from web.front_door import listen, serve
from web.twins.vapi.live import Kit
from web.twins.vapi.rest import create_app
from web.twins.vapi.settings import Speech, TwinSettings
from web.twins.vapi.twin import VapiTwin
from web.twins.vapi.webhooks import Webhooks

__all__ = ["serve_twin", "webhook_client"]

GRACEFUL_S = 0.5


async def serve_twin(
    settings: TwinSettings,
    speech: Speech,
    *,
    client: httpx.AsyncClient,
    task_status: trio.TaskStatus[VapiTwin] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `twin.stop()` or a cancellation; `await nursery.start(...)` gives the twin, ready for calls.

    `client` sends the webhooks; `webhook_client()` makes a good one.

    Raises:
        OSError: the address is taken.
        ValueError: the recogniser does not know a word of the agent's phrases.
    """
    listeners = await listen(settings.host, settings.port, fd=settings.fd)
    port = listeners[0].socket.getsockname()[1]
    twin = VapiTwin(settings, f"http://{settings.host}:{port}")
    plan = settings.agent.twin if settings.agent else TwinPlan()
    phrases = [phrase for reply in plan.replies for phrase in reply.hear]
    plane = MediaPlane()
    async with trio.open_nursery() as nursery:
        webhooks = Webhooks(client, settings.dials, twin.credentials, nursery, settings.seed)
        kit = Kit(
            dials=settings.dials,
            speech=speech,
            plan=plan,
            grammar=speech.grammar(phrases) if phrases else None,
            voice=_in_a_thread(speech.voice),
            webhooks=webhooks,
            partials=trio.CapacityLimiter(1),
        )
        twin.begin(kit, nursery)
        await nursery.start(plane.run)
        nursery.start_soon(twin.beat)
        run = functools.partial(
            serve,
            create_app(twin),
            listeners,
            plane=plane,
            doorkeeper=twin.admit,
            is_media=twin.is_media,
            shutdown_trigger=twin.stopping.wait,
            graceful_s=GRACEFUL_S,
        )
        await nursery.start(_then_cancel, run, nursery.cancel_scope)
        task_status.started(twin)


def webhook_client() -> httpx.AsyncClient:
    """Room for the webhooks of many calls. No proxy of the environment stands between a twin and who it talks to."""
    return httpx.AsyncClient(trust_env=False, limits=httpx.Limits(max_connections=400, max_keepalive_connections=50))


async def _then_cancel(
    run: Callable[..., Awaitable[None]], scope: trio.CancelScope, *, task_status: trio.TaskStatus[None]
) -> None:
    """When the door closes, the calls end with it."""
    await run(task_status=task_status)
    scope.cancel()


def _in_a_thread(voice: Callable[[str], bytes]) -> Callable[[str], Awaitable[bytes]]:
    """Speech is made off the loop, one at a time: 10 ms of it would be a late frame for everybody."""
    limiter = trio.CapacityLimiter(1)

    async def speak(words: str) -> bytes:
        return await trio.to_thread.run_sync(voice, words, limiter=limiter, abandon_on_cancel=True)

    return speak
