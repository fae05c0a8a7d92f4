"""What the values of an HTTP tool in an agent file cannot mean, each alone or together. Pure.

No fault quotes a value of the URL, headers or body: secrets of the environment stand in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches

import msgspec

from engine.http_tools import OF_THE_CALL, HttpTool, Unsendable, place_of, segment
from engine.templates import lone_name, names_in, pieces
from engine.tool_parameters import faults_of as parameter_faults
from engine.tools import ToolEffect, ToolPolicy, policy_faults

TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # a function's name with every model vendor
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_BAD_HEADER_TEXT = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_STATUS = re.compile(r"[345][0-9][0-9]|[345]xx")
_OURS = frozenset({
    "host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "keep-alive", "expect",
    "proxy-connection", "accept-encoding", "idempotency-key",
})  # fmt: skip
_METHODS_WITHOUT_BODY = ("GET", "DELETE")


Fault = tuple[str, str]
"""A key below the tool, or "", and what is wrong there. Never quotes a value: it may be a secret."""


def faults_of(tool: HttpTool) -> Iterator[Fault]:
    """What the values of one HTTP tool cannot mean, each alone or together."""
    for name, one in tool.parameters.items():
        base = f"parameters.{name}"
        if name in OF_THE_CALL or not TOOL_NAME.fullmatch(name):
            yield (
                base,
                f"`{name}` cannot be a parameter's name: use letters, digits, - and _; `idempotency_key` is taken",
            )
        yield from ((f"{base}.{key}", what) for key, what in parameter_faults(one))
    yield from _url_faults(tool)
    yield from header_faults(tool.headers)
    yield from _body_faults(tool)
    yield from _place_faults(tool)
    yield from _policy_faults(tool)
    for status in tool.problems:
        if not _STATUS.fullmatch(status):
            yield f"problems.{status}", f"`{status}` is no status of a problem: write one like 404, or 4xx for them all"


def _url_faults(tool: HttpTool) -> Iterator[Fault]:
    try:
        place = place_of(tool.url)
    except ValueError as problem:
        yield "url", f"`url` {problem}"
        return
    if not place.is_tls and not tool.allow_private:
        yield "url", "`url` must begin with https://; http is for a backend of your own, with `allow_private: true`"
    constant = ["".join(one if isinstance(one, str) else "x" for one in pieces(part)) for part in place.path.split("/")]
    try:
        for part in constant:
            segment(part.replace("{", "").replace("}", ""), {})
    except Unsendable:
        yield "url", "`url` must hold no `.` or `..` part"
    for name in names_in(place.path):
        one = tool.parameters.get(name)
        if one is not None and (one.optional or one.default is not None) and one.default is None:
            yield "url", f"`{name}` is optional, but the path of `url` always needs it"
        if one is not None and one.type in ("array", "object"):
            yield "url", f"`{name}` is of type {one.type} and cannot stand in a URL"


def header_faults(headers: Mapping[str, str]) -> Iterator[Fault]:
    """What cannot be sent as a header."""
    for name, text in headers.items():
        at = f"headers.{name}"
        if not _HEADER_NAME.fullmatch(name):
            yield at, f"{name!r} is no header name"
        elif name.lower() in _OURS:
            yield at, f"Callscope sends `{name}` itself; leave it out"
        elif _BAD_HEADER_TEXT.search(text) or not text.isascii():
            yield at, f"the value of `{name}` must be one line of ASCII"


def _body_faults(tool: HttpTool) -> Iterator[Fault]:
    if tool.body is not None and tool.form:
        yield "form", "give `body` or `form`, not both"
    for key in ("body", "form"):
        if getattr(tool, key) and tool.method in _METHODS_WITHOUT_BODY:
            yield key, f"a {tool.method} has no `{key}`: write `method: POST`, or use `query`"
    try:
        msgspec.json.encode(tool.body)
    except (TypeError, ValueError, OverflowError, RecursionError):
        yield "body", "`body` holds something that is not JSON"
    for key in ("query", "form"):
        for name, value in getattr(tool, key).items():
            flat = value if isinstance(value, list) else [value]
            if any(isinstance(one, dict | list) or one is None for one in flat):
                yield f"{key}.{name}", f"`{name}` must be a text, a number, true, false, or a list of them"
            whole = tool.parameters.get(lone_name(value) or "") if isinstance(value, str) else None
            if whole is not None and (
                whole.type == "object" or (whole.items and whole.items.type in ("array", "object"))
            ):
                yield f"{key}.{name}", f"`{name}`: an object cannot stand in a {key}; use `body`"


def _place_faults(tool: HttpTool) -> Iterator[Fault]:
    """Places that nothing fills, and parameters that fill nothing. Tells known names only: a secret may hold braces."""
    known = [*tool.parameters, *OF_THE_CALL]
    used: set[str] = set()
    for at, value in _templates(tool):
        for name in names_in(value):
            used.add(name)
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f"did you mean {{{near[0]}}}?" if near else f"known are {', '.join(known)}"
                yield at, f"`{at.split('.')[-1]}` holds a place {{…}} that is no parameter; {hint}"
    for name in tool.parameters:
        if name not in used:
            yield f"parameters.{name}", f"`{name}` is used nowhere: put {{{name}}} into url, query, headers or body"


def _templates(tool: HttpTool) -> Iterator[tuple[str, object]]:
    """Everything that may hold places, and where it stands."""
    yield from (("url", tool.url), ("body", tool.body))
    for key in ("headers", "query", "form"):
        yield from ((f"{key}.{name}", value) for name, value in getattr(tool, key).items())


def _policy_faults(tool: HttpTool) -> Iterator[Fault]:
    """The rules of every tool's policy, each at its key."""
    for what in policy_faults("", ToolEffect(tool.effect), tool.policy):
        key = next((one for one in ToolPolicy.__struct_fields__ if f"`{one}`" in what), "")
        yield key, what.removeprefix("tool : ")
