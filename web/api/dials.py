"""The calls that the service makes: `POST /api/calls`, and how far each is."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import msgspec
import structlog
from msgspec import UNSET
from quart import Response
from quart_trio import QuartTrio

from actors.outbound import Dial, Dialler, NotDialled, Wanted
from engine.masking import masked
from web.api import types as t
from web.api.access import Access
from web.api.problems import Problem, no_such_call
from web.api.summary import iso
from web.api.taking import body_of, idempotency_key

__all__ = ["add_dials"]

log = structlog.get_logger(__name__)

MOST_ID_CHARS = 64
CAP_AGAIN_S = 60


def add_dials(app: QuartTrio, dialler: Dialler, access: Access, *, not_dialling: Callable[[], str]) -> None:
    """Routes under `/api/calls`.

    Args:
        not_dialling: why no call should be made now; empty when it may.
    """

    @app.post("/api/calls")
    async def dialled() -> Response:
        who = access.require("operator", changes=True)
        wanted = await body_of(t.NewCall)
        key = idempotency_key()
        if not key:
            detail = "Send an Idempotency-Key: asked again with the same one, nobody is called twice."
            raise Problem(400, detail, kind="no-key")
        agent = dialler.agent()
        if wanted.agent is not UNSET and wanted.agent != agent.name:
            raise Problem(409, "This service has another agent than `agent`.", kind="other-agent")
        if agent.outbound is not None and (why := not_dialling()):
            raise Problem(503, f"Not now: {why}.", kind="not-ready")
        try:
            dial = await dialler.dial(Wanted(wanted.to, key, who.who, wanted.variables))
        except NotDialled as refused:
            headers = {"Retry-After": str(CAP_AGAIN_S)} if refused.why.status == 429 else None
            raise Problem(refused.why.status, refused.why.detail, kind=refused.why.kind, headers=headers) from None
        except sqlite3.Error:
            log.exception("the book of outbound calls fails")
            raise Problem(503, "The book of calls cannot be written, so nobody is called.", kind="book") from None
        log.info("api.dialled", who=who.who, call=dial.call_id, status=dial.status)
        return _json(_shown(dial), 202)

    @app.get("/api/calls/<call_id>/dial")
    async def how_far(call_id: str) -> Response:
        access.require()
        fits = len(call_id) <= MOST_ID_CHARS and call_id.isascii() and call_id.isprintable()
        dial = await dialler.find(call_id) if fits else None
        if dial is None:
            raise no_such_call()
        return _json(_shown(dial))


def _shown(dial: Dial) -> t.Dialled:
    return msgspec.convert(
        {
            "id": dial.call_id,
            "to": masked(dial.to),
            "status": dial.status,
            "over": dial.is_over,
            "reason": dial.reason,
            "answered_by": dial.answered_by,
            "began_at": iso(dial.begun_s),
        },
        t.Dialled,
    )


def _json(what: t.Dialled, status: int = 200) -> Response:
    return Response(msgspec.json.encode(what), status, content_type="application/json")
