"""The raw bytes of a request's body: what signatures are computed over."""

from __future__ import annotations

from quart import request


async def raw_body() -> bytes:
    """The body as it came, before any parsing."""
    data = await request.get_data(cache=False, as_text=False)
    return data if isinstance(data, bytes) else data.encode()
