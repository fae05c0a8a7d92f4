"""Which pages may use a twin: those that were loaded from this machine. A browser says where its page came from.

The twins' own routes need no key, so that any program here can use them. A page of another origin, open in the user's
browser on the same machine, is no such program.
"""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urlsplit

from quart import Response, request
from quart_trio import QuartTrio

from web.settings import is_loopback

__all__ = ["is_ours", "refuse_foreign_pages"]

TWIN_ROUTES = "/twin/"


def is_ours(origin: str) -> bool:
    """Whether a page from there was loaded from this machine. `null` (a file, a sandbox) was not."""
    with suppress(ValueError):
        return urlsplit(origin).scheme in ("http", "https") and is_loopback(origin)
    return False


def refuse_foreign_pages(app: QuartTrio) -> None:
    """On the twin's own routes. A program says no origin, and goes on as before."""

    @app.before_request
    async def refuse() -> Response | None:
        origin = request.headers.get("Origin")
        if origin is None or is_ours(origin) or not request.path.startswith(TWIN_ROUTES):
            return None
        return Response("only pages of this machine may use the twin\n", 403, content_type="text/plain")
