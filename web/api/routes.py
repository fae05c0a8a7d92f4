"""The REST API: addresses, parameters and roles. What is behind each is in the modules beside this one.

Every answer of an address under /api is typed (`web.api.types`) or a problem (`web.api.problems`); /openapi.json is
made from the same types.
"""

from __future__ import annotations

import importlib.metadata
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
import trio
from quart import Response, request
from quart_trio import QuartTrio

from actors.outbound import Dialler
from engine.journal import Record
from web.api import types as t
from web.api.access import Access, Identity
from web.api.detail import call_detail, recording_offset_ms
from web.api.diagram import diagram
from web.api.dials import add_dials
from web.api.headers import secure_answer
from web.api.index import Place, Wanted
from web.api.lanes import lanes
from web.api.model import MOST_VIEWERS, CallsModel
from web.api.openapi import openapi
from web.api.orders import Orders
from web.api.parameters import flag, integer, moment, text
from web.api.problems import Problem, add_problems, no_such_call
from web.api.recordings import MOST_POINTS, Opened, Recordings, recording_response
from web.api.redact import record_rows
from web.api.sse import event_stream
from web.api.summary import Summary, summarise
from web.api.taking import body_of, idempotency_key
from web.scenario_text import scenario_text

__all__ = ["Api", "add_api"]

log = structlog.get_logger(__name__)

_PLAIN = re.compile(r"[^A-Za-z0-9_-]")
MOST_ID_CHARS = 64
MOST_SEQ = 2**53


@dataclass(frozen=True)
class Api:
    """What the routes need.

    Args:
    """

    model: CallsModel
    access: Access
    recordings: Recordings
    orders: Orders
    dialler: Dialler
    not_dialling: Callable[[], str]


def version() -> str:
    try:
        return importlib.metadata.version("callscope")
    except importlib.metadata.PackageNotFoundError:
        return "0"


def add_api(app: QuartTrio, api: Api) -> None:
    """Routes under `/api`, and `/openapi.json`."""
    add_problems(app)
    add_calls(app, api)
    add_recordings(app, api)
    add_orders(app, api)
    add_dials(app, api.dialler, api.access, not_dialling=api.not_dialling)
    add_session(app, api)
    document = msgspec.json.encode(openapi(version()))

    @app.get("/openapi.json")
    async def described() -> Response:
        return secure_answer(Response(document, 200, content_type="application/json"))

    @app.get("/api/diagram")
    async def rules() -> Response:
        api.access.require()
        return _json(await trio.to_thread.run_sync(diagram))

    @app.get("/api/events")
    async def events() -> Response:
        who = api.access.require()
        if api.model.viewers >= MOST_VIEWERS:
            detail = "Too many pages watch already. Close some, or try again later."
            raise Problem(503, detail, headers={"Retry-After": "30"})
        after_seq = integer("after", -1, -1, MOST_SEQ, request.headers.get("Last-Event-ID"))
        call_id = request.args.get("call")
        if call_id is not None:
            await known(api, call_id)
        stream = event_stream(
            api.model,
            version=version(),
            call_id=call_id,
            after_seq=after_seq,
            is_over=lambda: api.access.is_over(who),
        )
        return secure_answer(stream, https=api.access.https)

    @app.after_request
    async def secured(response: Response) -> Response:
        return secure_answer(response, https=api.access.https) if request.path.startswith("/api/") else response


def add_calls(app: QuartTrio, api: Api) -> None:
    @app.get("/api/calls")
    async def listed() -> Response:
        api.access.require()
        found, place = await api.model.page(_wanted())
        now = time.time()
        return _json(
            t.CallList(
                [summary.row(now) for summary in found],
                place.cursor() if place is not None else None,
                api.model.live,
                api.model.catching_up,
            )
        )

    @app.get("/api/calls/<call_id>")
    async def one(call_id: str) -> Response:
        who = api.access.require()
        summary, records = await whole(api, call_id)
        _noted(who, "call", call_id)
        info = await _recording_info(api, summary, records)
        return await _made(
            lambda: call_detail(summary, records, info, now_wall_s=time.time(), transfer_to=api.orders.transfer_to())
        )

    @app.get("/api/calls/<call_id>/lanes")
    async def over_time(call_id: str) -> Response:
        api.access.require()
        _, records = await whole(api, call_id)
        return await _made(lambda: lanes(records))

    @app.get("/api/calls/<call_id>/scenario")
    async def as_scenario(call_id: str) -> Response:
        who = api.access.require()
        summary, records = await whole(api, call_id)
        if not summary.ended:
            raise Problem(409, "The call is not over: its scenario would end in the middle.", kind="live")
        _noted(who, "scenario", call_id)
        scenario = await trio.to_thread.run_sync(scenario_text, records)
        response = Response(scenario, 200, content_type="application/yaml; charset=utf-8")
        response.headers["Content-Disposition"] = f'attachment; filename="{_PLAIN.sub("", call_id)}.yaml"'
        return response

    @app.get("/api/calls/<call_id>/records")
    async def journal(call_id: str) -> Response:
        who = api.access.require()
        after, limit = integer("after", -1, -1, MOST_SEQ), integer("limit", 500, 1, 2000)
        _, records = await whole(api, call_id)
        _noted(who, "records", call_id)
        found = [record for record in records if record.seq > after][: limit + 1]
        more = len(found) > limit
        return await _made(lambda: t.RecordList(record_rows(found[:limit]), found[limit - 1].seq if more else None))


def add_recordings(app: QuartTrio, api: Api) -> None:
    @app.get("/api/calls/<call_id>/recording.wav")
    async def listened(call_id: str) -> Response:
        who = api.access.require()
        await known(api, call_id)
        opened: Opened | None = await trio.to_thread.run_sync(api.recordings.open, call_id)
        if opened is None:
            raise _no_recording()
        _noted(who, "recording", call_id)
        return recording_response(opened, request.headers.get("Range"), head=request.method == "HEAD")

    @app.get("/api/calls/<call_id>/waveform")
    async def peaks(call_id: str) -> Response:
        api.access.require()
        points = integer("points", 1000, 1, MOST_POINTS)
        await known(api, call_id)
        waveform = await trio.to_thread.run_sync(api.recordings.waveform, call_id, points)
        if waveform is None:
            raise _no_recording()
        return _json(waveform)


def add_orders(app: QuartTrio, api: Api) -> None:
    @app.post("/api/calls/<call_id>/actions")
    async def ordered(call_id: str) -> Response:
        who = api.access.require("operator", changes=True)
        act = await body_of(t.Act)
        key = idempotency_key()
        summary = await known(api, call_id)
        await api.orders.act(call_id, act, who.who, key, is_live=not summary.ended)
        return _json(t.Accepted(True), 202)


def add_session(app: QuartTrio, api: Api) -> None:
    access = api.access

    def session(identity: Identity | None) -> t.Session:
        if identity is None:
            return t.Session(None, None, None, True)
        return t.Session(identity.role, identity.who, access.csrf(identity), access.needs_login())

    @app.get("/api/session")
    async def who_am_i() -> Response:
        return _json(session(access.identify()))

    @app.post("/api/session")
    async def log_in() -> Response:
        access.check_address()
        login = await body_of(t.Login)
        if not access.needs_login():
            raise Problem(409, "No login is needed here: this service is open to this machine alone.", kind="open")
        key = access.key_of(login.key)
        response = Response("", 200, content_type="application/json")
        identity = access.log_in(response, key)
        response.set_data(msgspec.json.encode(session(identity)))
        log.info("api.login", who=identity.who, role=identity.role)
        return response

    @app.delete("/api/session")
    async def log_out() -> Response:
        identity = access.identify()
        response = Response("", 204)
        if identity is not None:
            access.check_csrf(identity)
        await access.log_out(response, identity)
        return response


# --- what the routes share ----------------------------------------------------------------------------------------


async def known(api: Api, call_id: str) -> Summary:
    """The call.

    Raises:
        Problem: 404.
    """
    summary = await api.model.get(call_id) if len(call_id) <= MOST_ID_CHARS and "\0" not in call_id else None
    if summary is None:
        raise no_such_call()
    return summary


async def whole(api: Api, call_id: str) -> tuple[Summary, list[Record]]:
    """The call and its records.

    Raises:
        Problem: 404, also for one that the journal does not have any more.
    """
    noted = await known(api, call_id)
    records = await api.model.records(call_id)
    if not records:
        await api.model.forget(call_id)
        raise no_such_call()
    summary = summarise(records)
    if not summary.ended and noted.ended:
        summary.lose()
    return summary, records


async def _recording_info(api: Api, summary: Summary, records: list[Record]) -> t.RecordingInfo | None:
    duration_ms = await trio.to_thread.run_sync(api.recordings.duration_ms, summary.id)
    if duration_ms is None:
        return None
    return t.RecordingInfo(
        url=f"/api/calls/{summary.id}/recording.wav",
        duration_ms=duration_ms,
        offset_ms=recording_offset_ms(records),
        problem=summary.recording_problem,
        waveform_url=f"/api/calls/{summary.id}/waveform",
    )


def _no_recording() -> Problem:
    return Problem(
        410, "This call has no recording: it was deleted, or none was made. The journal of the call is still there.",
        kind="no-recording",
    )  # fmt: skip


def _wanted() -> Wanted:
    given = request.args
    state = given.get("state", "all")
    if state not in ("live", "ended", "all"):
        raise Problem(400, "`state` is live, ended or all.", kind="parameter")
    cursor = given.get("cursor")
    try:
        after = Place.of(cursor) if cursor else None
    except ValueError:
        detail = "`cursor` is not one of ours: give back `next` of the page before, unchanged."
        raise Problem(400, detail, kind="parameter") from None
    return Wanted(
        state=state,
        **{name: text(name) for name in ("q", "agent", "reason", "outcome", "fault", "caller")},
        marked=flag("marked"),
        since_ms=moment("since"),
        until_ms=moment("until"),
        after=after,
        limit=integer("limit", 50, 1, 200),
    )


def _json(what: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(what), status, content_type="application/json")


async def _made(make: Callable[[], Any]) -> Response:
    """What takes milliseconds to make of a long call, made and written in a thread."""
    body = await trio.to_thread.run_sync(lambda: msgspec.json.encode(make()))
    return Response(body, 200, content_type="application/json")


def _noted(who: Identity, what: str, call_id: str) -> None:
    """Who has read what of whose (reference/reliability.md S11)."""
    log.info("api.read", who=who.who, role=who.role, what=what, call=call_id)
