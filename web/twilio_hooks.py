"""Twilio's webhooks: voice, connect action, status, stream status. Each is proved by its signature before it is read.

Answers come from memory; nothing here waits for a vendor (reference/twilio.md §3 to §6, §12, §13). With several workers
a webhook may be for a call of another one: that one answers it, and here is answered what nobody else can
(specs/decisions/0005-workers.md).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import structlog
from quart import Response, request
from quart_trio import QuartTrio

from actors.call_actor import Arrival
from actors.outbound import Dialler
from actors.supervisor import NextStep, Supervisor
from engine.errors import BadMessage, Refused
from engine.wire import twilio
from engine.wire.signatures import TwilioSignatures, public_url
from web import twiml
from web.bodies import raw_body
from web.settings import Settings
from web.siblings import NOT_KNOWN, Answer, Siblings

log = structlog.get_logger(__name__)

MOST_BYTES = 64 * 1024
MOST_WORD_CHARS = 40
OWNER_S = 5.0  # Twilio waits 15; an owner that takes longer is taken for dead
NOT_ADMITTING = 503  # what a worker that drains answers to a sibling: admit the call yourself


@dataclass(frozen=True)
class _Asked:
    """A request of Twilio's, proved."""

    params: dict[str, str]
    body: bytes

    @property
    def call_sid(self) -> str:
        call_sid = self.params.get("CallSid", "")
        if not call_sid:
            raise BadMessage("no CallSid")
        return call_sid


def add_twilio_hooks(
    app: QuartTrio,
    *,
    supervisor: Supervisor,
    signatures: TwilioSignatures,
    settings: Settings,
    siblings: Siblings | None = None,
    for_siblings: bool = False,
    dialler: Dialler | None = None,
) -> None:
    """Routes under `/webhook/twilio`.

    Args:
        dialler: knows the calls that we made; their addresses carry our call id (`?call=`).
        siblings: the other workers; None when there are none.
        for_siblings: these routes are those that siblings ask. They answer for this worker alone: 404 for a call that
            it does not have, 503 when it may not admit one.
    """
    worker = siblings.place.worker if siblings else None

    async def asked() -> _Asked:
        """The request, once its signature is proved.

        Raises:
            Refused: not signed by our account.
            BadMessage: no form that Twilio would send.
        """
        url = public_url(settings.public_url, request.path, request.query_string)
        if request.method == "GET":
            signatures.check_get(url, request.headers)
            return _Asked(dict(request.args.items()), b"")
        body = await raw_body()
        if len(body) > MOST_BYTES:
            raise BadMessage("form too large")
        pairs = twilio.read_form(body)
        signatures.check_form(url, pairs, request.headers)
        return _Asked(dict(pairs), body)

    async def ask_owner(given: _Asked) -> Answer | None:
        """What the call's owner answers; None: that is us, it knows nothing of it, or it cannot be reached."""
        if siblings is None or for_siblings or supervisor.knows(given.call_sid):
            return None
        owner = siblings.owner_of_call(given.call_sid)
        if owner == siblings.place.worker:
            return None
        answer = await siblings.forward(owner, *_as_it_came(given.body), within_s=OWNER_S)
        return answer if answer is not None and answer.status < 500 and answer.is_known else None

    async def ask_whoever_has_it(given: _Asked) -> Response | None:
        """The answer of the worker that has the call: its owner, or who admitted it while that was away. None: us."""
        if supervisor.knows(given.call_sid):
            return None
        if for_siblings:
            return Response("", NOT_KNOWN)
        answer = await ask_owner(given)
        if answer is None and siblings is not None:
            owner = siblings.owner_of_call(given.call_sid)
            answer = await siblings.ask_all(*_as_it_came(given.body), besides=[owner])
        return None if answer is None else _relayed(answer)

    @app.route("/webhook/twilio", methods=["GET", "POST"])
    async def voice() -> Response:
        """A call rings: admit it, and connect its stream to the media plane."""
        given = await asked()
        hook = twilio.VoiceWebhook.of(given.params)
        answer = await ask_owner(given)
        if answer is not None:
            return _relayed(answer)
        if for_siblings and supervisor.draining and not supervisor.knows(hook.call_sid):
            return Response("", NOT_ADMITTING)
        arrival = Arrival(
            call_sid=hook.call_sid,
            account_sid=hook.account_sid,
            from_number=hook.from_number,
            to_number=hook.to_number,
            direction=hook.direction,
        )
        dial = await dialler.answered(request.args.get("call", ""), hook.call_sid) if dialler else None
        if dial is not None:
            arrival = replace(arrival, call_id=dial.call_id, variables=dial.variables, ordered_by=dial.who)
        admitted = supervisor.admit(arrival)
        if isinstance(admitted, NextStep):
            if dialler is not None and dial is not None:
                await dialler.turned_away(dial.call_id)
            return _xml(twiml.go_on(admitted))
        return _xml(
            twiml.connect_stream(
                media_url=settings.media_url_of(worker),
                next_url=settings.public_url + "/webhook/twilio/next",
                stream_status_url=settings.public_url + "/webhook/twilio/stream",
                token=admitted.token,
                apology=supervisor.services.agent.fallback.words,
            )
        )

    @app.route("/webhook/twilio/next", methods=["GET", "POST"])
    async def next_step() -> Response:
        """Twilio has the call back: its stream is over."""
        given = await asked()
        return await ask_whoever_has_it(given) or _xml(twiml.go_on(supervisor.next_step(given.call_sid)))

    @app.route("/webhook/twilio/status", methods=["GET", "POST"])
    async def status() -> Response:
        given = await asked()
        answer = await ask_whoever_has_it(given)
        if answer is None:
            supervisor.status(given.call_sid, given.params.get("CallStatus", ""))
        if dialler is not None and not for_siblings and (call_id := request.args.get("call")):
            await dialler.status(call_id, given.params)
        return answer or Response("", 204)

    @app.route("/webhook/twilio/amd", methods=["GET", "POST"])
    async def machine_detection() -> Response:
        """Who answered a call of ours (reference/twilio.md §14). It may come after the call's end."""
        given = await asked()
        answer = await ask_whoever_has_it(given)
        answered_by = given.params.get("AnsweredBy", "")[:MOST_WORD_CHARS]
        if answer is None:
            supervisor.answered_by(given.call_sid, answered_by)
        if dialler is not None and not for_siblings and (call_id := request.args.get("call")):
            await dialler.machine(call_id, answered_by)
        return answer or Response("", 204)

    @app.route("/webhook/twilio/stream", methods=["GET", "POST"])
    async def stream_status() -> Response:
        given = await asked()
        answer = await ask_whoever_has_it(given)
        if answer is None:
            event, error = given.params.get("StreamEvent", ""), given.params.get("StreamError", "")
            supervisor.stream_status(given.call_sid, event, error)
        return answer or Response("", 204)


def _as_it_came(body: bytes) -> tuple[str, bytes, list[tuple[bytes, bytes]], bytes]:
    """The present request, raw, for a sibling that checks its signature again."""
    scope = request.scope
    query = scope["query_string"]
    target = scope["raw_path"] + (b"?" + query if query else b"")
    return request.method, target, list(scope["headers"]), body


def _relayed(answer: Answer) -> Response:
    return Response(answer.body, answer.status, content_type=answer.content_type)


def _xml(text: str) -> Response:
    return Response(text, 200, content_type=twiml.CONTENT_TYPE)


def add_refusals(app: QuartTrio) -> None:
    """What is refused or unreadable: a plain status, told in the log without the sender's words."""

    @app.errorhandler(Refused)
    async def refused(problem: Refused) -> Response:
        log.warning("refused", path=request.path, why=problem.why)
        if request.path.startswith("/webhook/vapi"):
            return Response('{"error": "unauthorized"}', problem.status, content_type="application/json")
        return Response("", problem.status)

    @app.errorhandler(BadMessage)
    async def unreadable(problem: BadMessage) -> Response:
        log.warning("unreadable", path=request.path, why=problem.why)
        return Response(problem.why + "\n", 400, content_type="text/plain; charset=utf-8")
