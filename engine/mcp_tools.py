"""MCP servers of an agent file, typed: which of their tools the agent may use, and with which effect. Pure.

What the model is told of a tool stands in the file, not on the server: a server that changes its descriptions later
(a known way to slip orders into a prompt) changes nothing here, and reading a file needs no server.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from engine.http_faults import TOOL_NAME, Fault, header_faults
from engine.http_tools import place_of
from engine.templates import names_in
from engine.tool_parameters import Parameter
from engine.tool_parameters import faults_of as parameter_faults
from engine.tools import ToolEffect, ToolPolicy, policy_faults


class McpTool(ToolPolicy, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One tool of a server. The policy keys of `ToolPolicy` stand beside these."""

    description: Annotated[str, Meta(min_length=1, max_length=1024)]
    effect: Literal["read", "idempotent", "commit"]
    parameters: dict[str, Parameter] = msgspec.field(default_factory=dict)
    remote: str = ""  # its name on the server, where that is another one
    hidden: bool = False  # not shown to the model: for a tool that only undoes another one

    @property
    def policy(self) -> ToolPolicy:
        return ToolPolicy(**{name: getattr(self, name) for name in ToolPolicy.__struct_fields__})


class McpServer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A server: `url` (streamable HTTP) or `command` (a process of this machine, over stdio)."""

    tools: dict[str, McpTool]
    url: str = ""
    command: tuple[str, ...] = ()
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    env: dict[str, str] = msgspec.field(default_factory=dict)  # of the process; it gets little else of ours
    connect_s: Annotated[float, Meta(gt=0, le=60)] = 10.0  # to start it, or connect, and shake hands
    max_bytes: Annotated[int, Meta(ge=1, le=8_388_608)] = 1_048_576  # of an answer over HTTP
    allow_private: bool = False  # http, loopback and private addresses too

    def __repr__(self) -> str:
        return f"McpServer({', '.join(self.tools)})"  # the rest may hold secrets


def faults_of(server: McpServer) -> Iterator[Fault]:
    """What the values of one server cannot mean, each alone or together. Quotes no value."""
    if bool(server.url) == bool(server.command):
        yield "url", "give `url` or `command`, one of them"
    if server.url:
        yield from _url_faults(server)
    if server.command and server.headers:
        yield "headers", "`headers` are for `url`; a process takes `env`"
    if server.url and server.env:
        yield "env", "`env` is for `command`; a URL takes `headers`"
    yield from header_faults(server.headers)
    if not server.tools:
        yield "tools", "`tools` names none: only those that stand here are offered"
    for name, tool in server.tools.items():
        base = f"tools.{name}"
        if not TOOL_NAME.fullmatch(name):
            yield base, f"`{name}` cannot be a tool's name: use letters, digits, - and _; say its own name in `remote`"
        for key, one in tool.parameters.items():
            yield from ((f"{base}.parameters.{key}.{at}", what) for at, what in parameter_faults(one))
        for what in policy_faults("", ToolEffect(tool.effect), tool.policy):
            key = next((one for one in ToolPolicy.__struct_fields__ if f"`{one}`" in what), "")
            yield f"{base}.{key}", what.removeprefix("tool : ")


def _url_faults(server: McpServer) -> Iterator[Fault]:
    try:
        place = place_of(server.url)
    except ValueError as problem:
        yield "url", f"`url` {problem}"
        return
    if not place.is_tls and not server.allow_private:
        yield "url", "`url` must begin with https://; http is for a server of your own, with `allow_private: true`"
    if any(True for _ in names_in([server.url, *server.headers.values()])):
        yield "url", "an MCP server is asked at one address, with one set of headers: no places {…} there"


def words_of(texts: list[str], structured: Any) -> str | None:
    """A result's words: its texts in one line, or its structure; None if it has neither."""
    text = " ".join(" ".join(texts).split())
    if text:
        return text
    return msgspec.json.encode(structured).decode() if structured else None
