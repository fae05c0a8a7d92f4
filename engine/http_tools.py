"""HTTP tools of an agent file: the typed part, and the request that arguments make of it. Pure.

Arguments are a caller's words by way of a model. They can fill a path segment, a query value, a header value or a JSON
value, and nothing around it: not another segment, parameter, header or host (reference/reliability.md S5, S7).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import quote, unquote

import msgspec
from msgspec import Meta

from engine.templates import MISSING, Slot, as_text, fill, fill_all, lone_name, names_in, pieces
from engine.tool_parameters import Parameter
from engine.tools import ToolPolicy

OF_THE_CALL = ("caller.number", "call.id", "idempotency_key")
_CALLERS = ("caller.number", "call.id")
_URL = re.compile(r"(https?)://([^/?#]*)(/[^?#]*)?(?:\?([^#]*))?", re.IGNORECASE)
_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s\[\]{}<>@:%\\|^`\"'\x00-\x20]+))(?::([0-9]{1,5}))?")
_KEPT = "%!$&'()*+,;=:@-._~"  # RFC 3986 pchar, and what is encoded already
_VISIBLE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
_MOST_DECODINGS = 8


class Unsendable(ValueError):
    """These arguments make no request that may be sent. The text is for the model and holds no value."""


class HttpTool(ToolPolicy, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A tool that is one HTTP request. The policy keys of `ToolPolicy` stand beside these."""

    description: Annotated[str, Meta(min_length=1, max_length=1024)]
    effect: Literal["read", "idempotent", "commit"]
    url: Annotated[str, Meta(min_length=1, max_length=2000)]  # {argument} in path and query; never in the host
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    query: dict[str, Any] = msgspec.field(default_factory=dict)
    parameters: dict[str, Parameter] = msgspec.field(default_factory=dict)
    body: Any = None  # JSON; a lone "{x}" keeps x's type
    form: dict[str, Any] = msgspec.field(default_factory=dict)  # or a form, as browsers send it
    result: str = ""  # "{status}, arriving {eta}", from the JSON answer; empty: the whole answer, in one line
    # status (404, 4xx) → words for the caller; they may hold places of the JSON answer
    problems: dict[str, str] = msgspec.field(default_factory=dict)
    connect_s: Annotated[float, Meta(gt=0, le=30)] = 3.0  # to find the host and connect, TLS included
    max_bytes: Annotated[int, Meta(ge=1, le=8_388_608)] = 1_048_576  # of an answer, unpacked
    allow_private: bool = False  # http, loopback and private addresses too: a backend of your own
    hidden: bool = False  # not shown to the model: for a tool that only undoes another one

    def __repr__(self) -> str:
        return f"HttpTool({self.method}, {self.effect})"  # URL, headers and body may hold secrets

    @property
    def policy(self) -> ToolPolicy:
        return ToolPolicy(**{name: getattr(self, name) for name in ToolPolicy.__struct_fields__})

    @property
    def knows_caller(self) -> bool:
        """Whether its requests say who calls: then one caller's answer is not another's."""
        return any(name in names_in([self.url, self.headers, self.query, self.body, self.form]) for name in _CALLERS)

    @property
    def attempt_s(self) -> float:
        """How long one attempt may take: a little less than the run, so that it can say how far it came."""
        return 0.95 * self.longest_s


class Place(msgspec.Struct, frozen=True):
    """Where requests go; fixed in the agent file. `host` without brackets and trailing dot."""

    scheme: str
    host: str
    port: int
    path: str  # still a template
    query: str

    @property
    def is_tls(self) -> bool:
        return self.scheme == "https"


class Request(msgspec.Struct, frozen=True):
    """One request without its `Host`."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes | None

    def __repr__(self) -> str:
        return f"Request({self.method})"


def place_of(url: str) -> Place:
    """A URL's parts, by one strict reading: nothing reads it a second time and otherwise.

    Raises:
        ValueError: says what is wrong, without quoting it.
    """
    found = _URL.fullmatch(url)
    if found is None:
        raise ValueError("must begin with https:// and have no # part")
    if "@" in found[2]:
        raise ValueError("must hold no user name or password; send them in `headers`")
    if any(True for _ in names_in(found[2])):
        raise ValueError("must have a fixed host: an argument there would let a caller choose whom we ask")
    authority = _AUTHORITY.fullmatch(found[2])
    if authority is None:
        raise ValueError("needs a host name or address, and at most a port after it")
    host = (authority[1] or authority[2]).lower().removesuffix(".")
    if not host or ".." in host or host.startswith("."):
        raise ValueError("needs a host name without empty parts")
    scheme = found[1].lower()
    port = int(authority[3]) if authority[3] else 443 if scheme == "https" else 80
    if not 1 <= port <= 65535:
        raise ValueError("needs a port from 1 to 65535")
    return Place(scheme, host, port, found[3] or "/", found[4] or "")


def request_of(tool: HttpTool, place: Place, arguments: Mapping[str, Any], of_the_call: Mapping[str, str]) -> Request:
    """The request that these arguments make.

    Args:
        of_the_call: a value for each of `OF_THE_CALL`.

    Raises:
        Unsendable: an argument would break out of its place.
    """
    values = {**arguments, **of_the_call}
    target = "/".join(segment(one, values) for one in place.path.split("/"))
    asked = [*_url_query(place.query, values), *_pairs(tool.query, values)]
    headers, body = _body(tool, values)
    headers |= {name: fill(text, values, _header_value) for name, text in tool.headers.items() if _given(text, values)}
    if tool.effect != "read":
        headers["Idempotency-Key"] = _header_value(of_the_call["idempotency_key"])
    return Request(tool.method, target + ("?" + "&".join(asked) if asked else ""), tuple(headers.items()), body)


def _given(text: str, values: Mapping[str, Any]) -> bool:
    name = lone_name(text)
    return name is None or name in values


def _header_value(text: str) -> str:
    """Visible ASCII as it is, all else percent-encoded: no line can end in it."""
    return quote(text, safe=_VISIBLE)


def segment(template: str, values: Mapping[str, Any]) -> str:
    filled = "".join(
        _in_path(piece.name, values) if isinstance(piece, Slot) else quote(piece, safe=_KEPT)
        for piece in pieces(template)
    )
    if any(part.split(";")[0] in (".", "..") for part in re.split(r"[/\\]", _decoded(filled))):
        raise Unsendable("these arguments would lead to another address")
    return filled


def _in_path(name: str, values: Mapping[str, Any]) -> str:
    """An argument as one path segment. A slash is refused even encoded: many servers decode it before they route."""
    text = as_text(values.get(name, MISSING))
    if not text:
        raise Unsendable(f"{name} must not be empty")
    if re.search(r"[/\\\x00-\x1f\x7f]", _decoded(text)):
        raise Unsendable(f"{name} must hold no slash and no control character")
    return quote(text, safe="")


def _decoded(text: str) -> str:
    for _ in range(_MOST_DECODINGS):
        plain = unquote(text)
        if plain == text:
            return text
        text = plain
    raise Unsendable("these arguments are encoded too many times")


def _url_query(template: str, values: Mapping[str, Any]) -> Iterator[str]:
    for part in filter(None, template.split("&")):
        name, equals, text = part.partition("=")
        if _given(text, values):
            filled = (
                quote(as_text(values.get(piece.name, MISSING)), safe="")
                if isinstance(piece, Slot)
                else quote(piece, safe=_KEPT + "/?")
                for piece in pieces(text)
            )
            yield quote(name, safe=_KEPT + "/?") + equals + "".join(filled)


def _pairs(mapping: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[str]:
    """`name=value` for each that is given; a list is its name several times."""
    for name, filled in fill_all(mapping, values).items():
        for one in filled if isinstance(filled, list) else [filled]:
            yield f"{quote(str(name), safe='')}={quote(as_text(one), safe='')}"


def _body(tool: HttpTool, values: Mapping[str, Any]) -> tuple[dict[str, str], bytes | None]:
    if tool.form:
        form = "&".join(_pairs(tool.form, values)).encode()
        return {"Content-Type": "application/x-www-form-urlencoded"}, form
    if tool.body is None:
        return {}, None
    filled = fill_all(tool.body, values)
    return {"Content-Type": "application/json"}, msgspec.json.encode(None if filled is MISSING else filled)
