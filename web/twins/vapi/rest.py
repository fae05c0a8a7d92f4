"""The HTTP side: Vapi's REST paths, live control, and the twin's own `/twin/…` (vapi.md §2, §3, §5, §13)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import msgspec
import trio
from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from web.twins.origins import refuse_foreign_pages
from web.twins.vapi.checks import Check
from web.twins.vapi.problems import Problem
from web.twins.vapi.ringing import ring
from web.twins.vapi.schemas import ASSISTANT, CALL_PATCH, CREDENTIAL, PHONE_NUMBERS, refuse
from web.twins.vapi.shelves import Shelf, page
from web.twins.vapi.twin import VapiTwin

__all__ = ["create_app"]

MOST_BODY_BYTES = 2_000_000
_CALL_FILTERS = ("id", "assistantId", "phoneNumberId")
_SECRETS = ("twilioAuthToken", "twilioApiKey", "twilioApiSecret", "authenticationPlan")

Make = Callable[[Any], tuple[dict[str, Any], dict[str, Any]]]


def create_app(twin: VapiTwin) -> QuartTrio:
    app = QuartTrio("vapi-twin")
    app.config["MAX_CONTENT_LENGTH"] = MOST_BODY_BYTES
    refuse_foreign_pages(app)
    _add_errors(app)
    _add_calls(app, twin)
    _add_shelf(app, twin, "assistant", twin.assistants, lambda body: _checked(ASSISTANT, body), ASSISTANT)
    _add_shelf(app, twin, "credential", twin.credentials, lambda body: _checked(CREDENTIAL, body), CREDENTIAL)
    _add_shelf(app, twin, "phone-number", twin.numbers, _new_number, None)
    _add_live(app, twin)
    _add_own(app, twin)
    return app


def _add_errors(app: QuartTrio) -> None:
    @app.errorhandler(Problem)
    async def problem(error: Problem) -> Response:
        return _json(error.body(), error.status)

    @app.errorhandler(HTTPException)
    async def http(error: HTTPException) -> Response:
        status = error.code or 500
        text = f"Cannot {request.method} {request.path}" if status == HTTPStatus.NOT_FOUND else error.name
        return _json(Problem(status, text).body(), status)


def _add_calls(app: QuartTrio, twin: VapiTwin) -> None:
    @app.post("/call")
    async def create() -> Response:
        _authorized(twin)
        answer = await twin.create_call(await _body())
        return _json(answer, HTTPStatus.CREATED)

    @app.get("/call")
    async def listed() -> Response:
        _authorized(twin)
        calls = [twin.seen(one) for one in twin.records.values()]
        return _json(page(calls, request.args, by=_CALL_FILTERS))

    @app.get("/call/<call_id>")
    async def seen(call_id: str) -> Response:
        _authorized(twin)
        return _json(twin.seen(twin.record(call_id)))

    @app.patch("/call/<call_id>")
    async def change(call_id: str) -> Response:
        _authorized(twin)
        body = await _body()
        refuse(CALL_PATCH, body)
        record = twin.record(call_id)
        record.touch(**body)
        return _json(twin.seen(record))

    @app.delete("/call/<call_id>")
    async def delete(call_id: str) -> Response:
        _authorized(twin)
        return _json(twin.delete(call_id))


def _add_shelf(app: QuartTrio, twin: VapiTwin, path: str, shelf: Shelf, make: Make, change: Check | None) -> None:
    """POST, GET (both), PATCH and DELETE of one kind of resource."""

    async def create() -> Response:
        _authorized(twin)
        body, more = make(await _body())
        return _json(_public(shelf.create(body, **more)), HTTPStatus.CREATED)

    async def listed() -> Response:
        _authorized(twin)
        return _json([_public(one) for one in page(shelf.all(), request.args)])

    async def get(one_id: str) -> Response:
        _authorized(twin)
        return _json(_public(shelf.get(one_id)))

    async def patch(one_id: str) -> Response:
        _authorized(twin)
        body = await _body()
        shelf.get(one_id)
        refuse(change or _number_check(body, 1), body)
        return _json(_public(shelf.change(one_id, body)))

    async def delete(one_id: str) -> Response:
        _authorized(twin)
        return _json(_public(shelf.delete(one_id)))

    one: list[tuple[str, Callable[[str], Awaitable[Response]]]] = [("GET", get), ("PATCH", patch), ("DELETE", delete)]
    for method, handler in one:
        app.add_url_rule(f"/{path}/<one_id>", f"{path}-{method}", handler, methods=[method])
    app.add_url_rule(f"/{path}", f"{path}-POST", create, methods=["POST"])
    app.add_url_rule(f"/{path}", f"{path}-list", listed, methods=["GET"])


def _add_live(app: QuartTrio, twin: VapiTwin) -> None:
    @app.post("/<call_id>/control")
    async def control(call_id: str) -> Response:
        payload = await request.get_data(cache=False, as_text=False)
        assert isinstance(payload, bytes)
        twin.control(call_id, payload, request.headers.get("Authorization"))
        return _json({})

    @app.websocket("/<call_id>/transport")
    async def never_opens(call_id: str) -> None:
        """Only a call with that fault comes here (`VapiTwin.is_media`): its handshake is never answered."""
        await trio.sleep_forever()


def _add_own(app: QuartTrio, twin: VapiTwin) -> None:
    @app.get("/twin/faults")
    async def faults() -> Response:
        return _json(twin.orders())

    @app.post("/twin/faults")
    async def order() -> Response:
        return _json(twin.order(await _body()))

    @app.get("/twin/calls")
    async def calls() -> Response:
        listed = [{"id": one.id, "status": one.status} for one in twin.records.values()]
        return _json({"calls": listed, "live": len(twin.live)})

    @app.get("/twin/calls/<call_id>")
    async def timeline(call_id: str) -> Response:
        record = twin.record(call_id)
        head = {"id": record.id, "status": record.status, "endedReason": record.body.get("endedReason")}
        messages = record.history.openai if record.history is not None else []
        return _json(head | {"history": messages} | record.timeline.as_json())

    @app.get("/twin/calls/<call_id>/generated")
    async def generated(call_id: str) -> Response:
        """All that the assistant's voice made, heard or not: for who compares it with what was heard."""
        made = twin.record(call_id).generated
        return _json([{"words": words, "mulaw": b64encode(mulaw).decode()} for words, mulaw in made])

    @app.post("/twin/ring")
    async def ring_now() -> Response:
        return _json(await ring(await _body(), webhooks=twin.kit.webhooks, settings=twin.settings))


def _authorized(twin: VapiTwin) -> None:
    twin.check_key(request.headers.get("Authorization"))


async def _body() -> Any:
    """The request's JSON object.

    Raises:
        Problem: it is none.
    """
    raw = await request.get_data(cache=False, as_text=False)
    try:
        body = msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        raise Problem(400, f"The body is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise Problem(400, ["body must be an object"])
    return body


def _checked(check: Check, body: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    refuse(check, body)
    return body, {}


def _new_number(body: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    refuse(_number_check(body, 0), body)
    return body, {"status": "active"}


def _number_check(body: Any, which: int) -> Check:
    """By provider, in PATCH too (§13.1)."""
    checks = PHONE_NUMBERS.get(str(body.get("provider")))
    if checks is None:
        raise Problem(400, [f"provider must be one of the following values: {', '.join(PHONE_NUMBERS)}"])
    return checks[which]


def _public(resource: dict[str, Any]) -> dict[str, Any]:
    """Without what only Vapi itself may read."""
    return {name: entry for name, entry in resource.items() if name not in _SECRETS}


def _json(body: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, content_type="application/json; charset=utf-8")
