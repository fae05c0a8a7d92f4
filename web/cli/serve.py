"""`callscope serve`: production. The vendors are Twilio and Vapi, unless base URLs say otherwise."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar, TypeVarTuple

import structlog
import trio
from cyclopts import Parameter

from engine.errors import BadSettings
from web.agents import LoadedAgent, example, load_agent
from web.children import end_with_parent
from web.front_door import listen
from web.logs import set_up_logs
from web.serve import DRAIN_PATIENCE_S, serve_calls
from web.settings import Settings, environment, settings_from
from web.siblings import MOST_WORKERS, Place
from web.worker import say
from web.workers import LEAVE_S, Workers, open_run_dir

log = structlog.get_logger(__name__)

Given = TypeVarTuple("Given")
Result = TypeVar("Result")

_Ours = Parameter(show=False)  # what a parent tells its workers


def serve(
    folder: Path | None = None,
    /,
    *,
    agent: Path | None = None,
    host: str = "0.0.0.0",  # noqa: S104 — a server in a container must be reachable from outside it
    port: int | None = None,
    fd: list[int] | None = None,
    drain: float = DRAIN_PATIENCE_S,
    workers: int = 1,
    reload: Annotated[bool, Parameter(negative="")] = False,
    log_json: bool = False,
    worker: Annotated[int | None, _Ours] = None,
    of: Annotated[int, _Ours] = 1,
    run_dir: Annotated[Path | None, _Ours] = None,
) -> None:
    """Serve real calls. Settings come from the environment or `.env`; what is missing is named, all at once.

    Parameters
    ----------
    folder
        The same as --agent.
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
    workers
        Processes that share the port and the calls; one for each core is plenty.
    reload
        When the agent file, its tools or its clips change, new calls get the new version; live calls keep theirs.
    log_json
        Write the log as JSON lines.
    """
    set_up_logs(json=log_json)
    settings = settings_from(environment())
    loaded = load_agent(agent or folder or example())
    if loaded.agent.assistant is None and not (loaded.agent.assistant_id or settings.vapi_assistant_id):
        raise BadSettings("no assistant: give the agent file an `assistant:`, or set VAPI_ASSISTANT_ID to one of yours")
    if not 1 <= workers <= MOST_WORKERS:
        raise BadSettings(f"--workers is from 1 to {MOST_WORKERS}, got {workers}")
    port = settings.port if port is None else port
    if worker is not None and run_dir is not None:
        structlog.contextvars.bind_contextvars(worker=worker)
        _run(_serve, settings, loaded, host, port, fd, drain, Place(worker, of, run_dir), reload)
        return
    end_with_parent()
    if workers == 1:
        _run(_serve, settings, loaded, host, port, fd, drain, None, reload)
        return
    more = ["--agent", str(loaded.path), "--drain", str(drain), *(["--log-json"] if log_json else [])]
    more += ["--reload"] if reload else []
    status = _run(_serve_with_workers, settings, host, port, fd, drain, workers, more)
    if status:
        raise SystemExit(status)


def _run(serve: Callable[[*Given], Awaitable[Result]], *given: *Given) -> Result:
    """Run it; what was wrong with a setting comes out bare, however many nurseries it came through."""
    try:
        return trio.run(serve, *given)
    except* BadSettings as group:
        problem: BaseException = group
        while isinstance(problem, BaseExceptionGroup):
            problem = problem.exceptions[0]
        raise problem from None


async def _serve(
    settings: Settings,
    loaded: LoadedAgent,
    host: str,
    port: int,
    fds: Sequence[int] | None,
    drain: float,
    place: Place | None,
    reload: bool,
) -> None:
    listeners = await _listen(host, port, fds)
    bound = listeners[0].socket.getsockname()
    async with trio.open_nursery() as nursery:

        async def tell(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            await serve_calls(
                settings,
                loaded,
                listeners,
                drain_patience_s=drain,
                place=place,
                reload=reload,
                task_status=task_status,
            )
            nursery.cancel_scope.cancel()

        await nursery.start(tell)
        say(ready=True, url=settings.public_url, port=bound[1])
        log.info("serving", public_url=settings.public_url, port=bound[1], agent=loaded.agent.name)


async def _serve_with_workers(
    settings: Settings,
    host: str,
    port: int,
    fds: Sequence[int] | None,
    drain: float,
    count: int,
    more: Sequence[str],
) -> int:
    """Be the parent. Returns the exit status."""
    listeners = await _listen(host, port, fds)
    bound = listeners[0].socket.getsockname()
    shared = [listener.socket.fileno() for listener in listeners]

    async def tell() -> None:
        say(ready=True, url=settings.public_url, port=bound[1], workers=count, pids=fleet.pids)
        log.info("serving", public_url=settings.public_url, port=bound[1], workers=count)

    async with open_run_dir() as run_dir:

        def command(number: int) -> list[str]:
            given = [part for one in shared for part in ("--fd", str(one))]
            place = ["--worker", str(number), "--of", str(count), "--run-dir", str(run_dir)]
            return ["web", "serve", *given, *place, *more]

        fleet = Workers(command, of=count, pass_fds=shared, leave_within_s=drain + LEAVE_S)
        status = await fleet.run(tell)
    for listener in listeners:
        listener.socket.close()
    return status


async def _listen(host: str, port: int, fds: Sequence[int] | None) -> list[trio.SocketListener]:
    try:
        if fds:
            return [listener for fd in fds for listener in await listen(host, port, fd=fd)]
        return await listen(host, port)
    except OSError as problem:
        raise BadSettings(
            f"cannot listen on {host}:{port} ({problem.strerror}); choose another with --port"
        ) from problem
