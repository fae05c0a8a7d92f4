"""The OpenAPI document, made from `web.api.types`: what the code answers and what is written of it are one thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from web.api import types as t
from web.api.handset import Handset, HandsetCall
from web.api.problems import ProblemDocument
from web.insights import types as i

__all__ = ["OPERATIONS", "Operation", "openapi"]

_CALL_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1, "maxLength": 64}}
_REFUSALS = {
    401: "no key, or a wrong one",
    403: "not with this role, or without a CSRF token",
    421: "a foreign Host",
    429: "too many wrong keys from there",
}


def _query(name: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema or {"type": "string"}}


def _limit(most: int, default: int) -> dict[str, Any]:
    return _query("limit", "at most so many", type="integer", minimum=1, maximum=most, default=default)


@dataclass(frozen=True)
class Operation:
    """One method at one address."""

    method: str
    path: str
    name: str
    summary: str
    answer: Any = None  # a type, or a media type
    status: int = 200
    role: str | None = "viewer"  # None: for everybody
    query: Sequence[Mapping[str, Any]] = ()
    body: Any = None
    headers: Sequence[Mapping[str, Any]] = ()
    problems: Mapping[int, str] = field(default_factory=dict)
    also: Sequence[int] = ()  # other successes


_UNKNOWN = {404: "no such call"}
_BAD = {400: "a parameter that cannot be"}
_MOMENT = "ISO 8601, or milliseconds since 1970"
_FILTERS = (
    _query("agent", "exactly this agent"),
    _query("reason", "exactly this reason"),
    _query("outcome", "exactly this outcome: the engine's, or that of the insights"),
    _query("fault", "whose fault the end was (finished calls)"),
    _query("caller", "how the other side's masked number begins (finished calls)"),
    _query("marked", "only those that are marked, or only the others", type="boolean"),
    _query("since", f"began at or after: {_MOMENT}"),
    _query("until", f"began before: {_MOMENT}"),
)
_OFFSET = _query("offset_min", "minutes from UTC to the reader's clock, for its days and hours", type="integer",
                 minimum=-840, maximum=840, default=0)  # fmt: skip

OPERATIONS: Sequence[Operation] = (
    Operation(
        "get", "/api/calls", "listCalls", "Calls, the newest first", t.CallList,
        query=(
            _query("state", "which", type="string", enum=["live", "ended", "all"], default="all"),
            _query("q", "words that id, agent, masked numbers, outcome, reason or last words hold"),
            *_FILTERS,
            _limit(200, 50),
            _query("cursor", "`next` of the page before"),
        ),
        problems=_BAD,
    ),
    Operation(
        "get", "/api/calls.csv", "exportCalls", "Finished calls as a table, the newest first", "text/csv",
        query=_FILTERS, problems=_BAD,
    ),
    Operation(
        "get", "/api/insights", "getInsights", "What finished calls have in common", i.Insights,
        query=(*_FILTERS, _OFFSET), problems=_BAD,
    ),
    Operation(
        "get", "/api/insights.csv", "exportInsights", "Finished calls by hour, day or week", "text/csv",
        query=(*_FILTERS, _OFFSET), problems=_BAD,
    ),
    Operation(
        "post", "/api/calls", "dial", "Call somebody, as the agent file's `outbound` allows", t.Dialled, status=202,
        role="operator", body=t.NewCall,
        headers=(
            {
                "name": "Idempotency-Key", "in": "header", "required": True,
                "schema": {"type": "string", "minLength": 1, "maxLength": 200},
                "description": "The same key is the same call, however often it is asked for",
            },
            {"name": "X-CSRF-Token", "in": "header", "schema": {"type": "string"}},
        ),
        problems={
            400: "not understood", 409: "outside the hours, another agent, or one that makes no calls",
            413: "too large", 415: "not JSON", 422: "not allowed, or does not fit", 429: "a cap is reached",
            503: "the service is not ready, or its do-not-call list cannot be read",
        },
    ),
    Operation("get", "/api/calls/{id}/dial", "getDial", "How far a call is that the service made", t.Dialled,
              problems=_UNKNOWN),
    Operation("get", "/api/calls/{id}", "getCall", "One call whole", t.CallDetail, problems=_UNKNOWN),
    Operation("get", "/api/calls/{id}/lanes", "getLanes", "One call over time", t.Lanes, problems=_UNKNOWN),
    Operation(
        "get", "/api/calls/{id}/records", "getRecords", "The journal of one call", t.RecordList,
        query=(
            _query("after", "behind this number", type="integer", minimum=-1, default=-1),
            _limit(2000, 500),
        ),
        problems=_BAD | _UNKNOWN,
    ),
    Operation(
        "get", "/api/calls/{id}/recording.wav", "getRecording",
        "What was said (left) and what the caller heard (right)", "audio/wav", also=(206,),
        headers=({"name": "Range", "in": "header", "schema": {"type": "string"}},),
        problems=_UNKNOWN | {410: "it was deleted, or never made", 416: "not a range of it"},
    ),
    Operation(
        "get", "/api/calls/{id}/waveform", "getWaveform", "Its peaks", t.Waveform,
        query=(_query("points", "so many for each channel", type="integer", minimum=1, maximum=20_000, default=1000),),
        problems=_BAD | _UNKNOWN | {410: "it was deleted, or never made"},
    ),
    Operation(
        "post", "/api/calls/{id}/actions", "act", "Order something of a call", t.Accepted, status=202, role="operator",
        body=t.Act,
        headers=(
            {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "maxLength": 200}},
            {"name": "X-CSRF-Token", "in": "header", "schema": {"type": "string"}},
        ),
        problems=_UNKNOWN | {
            400: "not understood", 409: "the call is over, or the agent is not there", 413: "too large",
            415: "not JSON", 422: "does not fit", 503: "its worker cannot be reached, or the journal cannot be written",
        },
    ),
    Operation(
        "get", "/api/calls/{id}/export.html", "exportCall", "One call as a page in a single file",
        "text/html", problems=_UNKNOWN,
    ),
    Operation(
        "get", "/api/calls/{id}/scenario", "getScenario", "A finished call as a scenario file; personal data masked",
        "application/yaml", problems=_UNKNOWN | {409: "the call is not over"},
    ),
    Operation("get", "/api/diagram", "getDiagram", "The phases of a call and the rules between them", t.Diagram),
    Operation(
        "get", "/api/events", "getEvents", "What changes, as server-sent events", "text/event-stream",
        query=(
            _query("call", "the records of this call, instead of the rows of all"),
            _query("after", "records behind this number", type="integer", minimum=-1, default=-1),
        ),
        headers=({"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"}},),
        problems=_BAD | _UNKNOWN | {503: "too many viewers"},
    ),
    Operation("get", "/api/handset", "getHandset", "Whether the console can phone the agent", Handset, role="operator"),
    Operation(
        "get", "/api/handset/call", "getHandsetCall", "Which call is that of a handset", HandsetCall, role="operator",
        query=(_query("sid", "Twilio's name of it", type="string", pattern="^CA[0-9a-f]{32}$"),),
        problems=_BAD | {404: "none, or not yet"},
    ),
    Operation("get", "/api/session", "getSession", "Who am I", t.Session, role=None),
    Operation(
        "post", "/api/session", "logIn", "Exchange a key for a cookie", t.Session, role=None, body=t.Login,
        problems={400: "not understood", 409: "no login is needed", 413: "too large", 415: "not JSON",
                  422: "does not fit"},
    ),
    Operation(
        "delete", "/api/session", "logOut", "End the session", None, status=204, role=None,
        headers=({"name": "X-CSRF-Token", "in": "header", "schema": {"type": "string"}},),
    ),
)  # fmt: skip


def openapi(version: str) -> dict[str, Any]:
    """The document, OpenAPI 3.1."""
    types = [found for one in OPERATIONS for found in (one.answer, one.body) if isinstance(found, type)]
    events = [t.Hello, t.Changes, t.Dropped, t.RecordRow]
    _, components = msgspec.json.schema_components(
        [*dict.fromkeys([*types, *events, ProblemDocument])], ref_template="#/components/schemas/{name}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for one in OPERATIONS:
        paths.setdefault(one.path, {})[one.method] = _operation(one)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Callscope",
            "version": version,
            "description": "The calls of a phone agent: lists, records, recordings, live events and orders. "
            "The event stream's data are the schemas Hello, Changes, RecordRow, CallRow and Dropped.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "__Host-callscope"},
            },
        },
    }


def _operation(one: Operation) -> dict[str, Any]:
    path = [_CALL_ID] if "{id}" in one.path else []
    found: dict[str, Any] = {
        "operationId": one.name,
        "summary": one.summary,
        "parameters": [*path, *one.query, *one.headers],
        "responses": {str(status): _success(one, status) for status in (one.status, *one.also)},
        "security": [{"key": []}, {"session": []}, *([{}] if one.role is None else [])],
    }
    if one.body is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(one.body)}}}
    for status, description in sorted({**_REFUSALS, **one.problems, 500: "our fault"}.items()):
        content = {"application/problem+json": {"schema": _ref(ProblemDocument)}}
        found["responses"][str(status)] = {"description": description, "content": content}
    return found


def _success(one: Operation, status: int) -> dict[str, Any]:
    if one.answer is None:
        return {"description": one.summary}
    if isinstance(one.answer, str):
        schema = {"type": "string", "format": "binary"} if one.answer.startswith("audio/") else {"type": "string"}
        if one.answer.endswith("/yaml"):
            schema = {"type": "object"}  # what the text holds
        return {"description": one.summary, "content": {one.answer: {"schema": schema}}}
    return {"description": one.summary, "content": {"application/json": {"schema": _ref(one.answer)}}}


def _ref(kind: type) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}
