"""`callscope serve`: production. The vendors are Twilio and Vapi, unless base URLs say otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import structlog
import trio

from engine.errors import BadSettings
from web.agents import LoadedAgent, example, load_agent
from web.children import end_with_parent
from web.front_door import listen
from web.logs import set_up_logs
from web.serve import DRAIN_PATIENCE_S, serve_calls
from web.settings import Settings, environment, settings_from

log = structlog.get_logger(__name__)


def serve(
    *,
    agent: Path | None = None,
    host: str = "0.0.0.0",  # noqa: S104 — a server in a container must be reachable from outside it
    port: int | None = None,
    fd: int | None = None,
    drain: float = DRAIN_PATIENCE_S,
    log_json: bool = False,
) -> None:
    """Serve real calls. Settings come from the environment or `.env`; what is missing is named, all at once.

    Parameters
    ----------
    agent
        The agent file, or its folder; the bistro example when left out.
    host
        The address to listen on.
    port
        The port to listen on; PORT, or 8080, when left out. 0 takes a free one.
    fd
        A listening socket inherited from the parent process, instead of host and port.
    drain
        Seconds that live calls may go on after SIGTERM before they are ended with words.
    log_json
        Write the log as JSON lines.
    """
    set_up_logs(json=log_json)
    end_with_parent()
    settings = settings_from(environment())
    loaded = load_agent(agent or example())
    if loaded.agent.assistant is None and not (loaded.agent.assistant_id or settings.vapi_assistant_id):
        raise BadSettings("no assistant: give the agent file an `assistant:`, or set VAPI_ASSISTANT_ID to one of yours")
    trio.run(_serve, settings, loaded, host, settings.port if port is None else port, fd, drain)


async def _serve(settings: Settings, loaded: LoadedAgent, host: str, port: int, fd: int | None, drain: float) -> None:
    try:
        listeners = await listen(host, port, fd=fd)
    except OSError as problem:
        raise BadSettings(
            f"cannot listen on {host}:{port} ({problem.strerror}); choose another with --port"
        ) from problem
    bound = listeners[0].socket.getsockname()
    async with trio.open_nursery() as nursery:

        async def tell(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            await serve_calls(settings, loaded, listeners, drain_patience_s=drain, task_status=task_status)
            nursery.cancel_scope.cancel()

        await nursery.start(tell)
        print(json.dumps({"ready": True, "url": settings.public_url, "port": bound[1]}), flush=True)
        log.info("serving", public_url=settings.public_url, port=bound[1], agent=loaded.agent.name)
