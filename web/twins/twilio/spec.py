"""What a `<Stream>` asks for. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True)
class StreamSpec:
    """`<Stream>` with its parameters."""

    url: str
    sid: str
    name: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    status_url: str = ""
    status_method: str = "POST"


def url_problem(url: str) -> int | None:
    """Why Twilio would not open this address; plain `ws` is for loopback only (specs/decisions/0003)."""
    parts = urlsplit(url)
    if parts.scheme == "wss" or (parts.scheme == "ws" and parts.hostname in LOOPBACK):
        return 31920 if parts.query else None
    return 31922
