"""Serves an example's backend: the ASGI `app` of a Python file, on loopback, as a process of its own.

    python -m web.backend specs/agents/restaurant/backend.py --port 8790

`callscope demo` starts it when the agent file says `twin: {backend: backend.py}`, and gives its address to the
service as BACKEND_URL.
"""

from __future__ import annotations

import importlib.util
import json
import signal
from pathlib import Path
from typing import Any

import trio
from cyclopts import run
from hypercorn.config import Config
from hypercorn.trio import serve

from engine.errors import BadSettings
from web.children import end_with_parent


def load_app(path: Path) -> Any:
    """The file's `app`.

    Raises:
        BadSettings: there is no such file, or no `app` in it.
    """
    spec = importlib.util.spec_from_file_location(f"callscope_backend_{path.parent.name}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise BadSettings(f"the backend {path} is not there")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    app = getattr(module, "app", None)
    if app is None:
        raise BadSettings(f"{path} has no `app`: the ASGI application that the demo serves")
    return app


def main(path: Path, /, *, port: int = 8790) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Parameters
    ----------
    path
        A Python file with an ASGI `app`.
    port
        The port to listen on; 0 takes a free one.
    """
    end_with_parent()
    trio.run(_serve, load_app(path), port)


async def _serve(app: Any, port: int) -> None:
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.accesslog = config.errorlog = None
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:

        async def told_to_stop() -> None:
            await anext(signals)

        async with trio.open_nursery() as nursery:

            async def listen(*, task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED) -> None:
                await serve(app, config, shutdown_trigger=told_to_stop, task_status=task_status)

            (url, *_) = await nursery.start(listen)
            print(json.dumps({"ready": True, "url": url}), flush=True)


if __name__ == "__main__":
    run(main)
