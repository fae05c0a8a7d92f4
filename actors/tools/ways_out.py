"""Where the tools of agent files lead out of the process. One for all versions of a file: it outlives each of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import trio

from actors.tools.mcp import McpHub
from actors.tools.outbound import Outbound


class WaysOut:
    """HTTP connections and MCP sessions. Tools may be made before it is open; they work while it is."""

    def __init__(self, http: Outbound | None = None, mcp: McpHub | None = None) -> None:
        self.http, self.mcp = http or Outbound(), mcp or McpHub()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Hold sessions; at the end close them and every kept connection."""
        async with aclosing(self.http), trio.open_nursery() as sessions:
            await sessions.start(self.mcp.run)
            try:
                yield
            finally:
                sessions.cancel_scope.cancel()
