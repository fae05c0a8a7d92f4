"""Twilio's webhooks: voice, connect action, status, stream status. Each is proved by its signature before it is read.

Answers come from memory; nothing here waits for a vendor (reference/twilio.md §3 to §6, §12, §13).
"""

from __future__ import annotations

import structlog
from quart import Response, request
from quart_trio import QuartTrio

from actors.call_actor import Arrival
from actors.supervisor import NextStep, Supervisor
from engine.errors import BadMessage, Refused
from engine.wire import twilio
from engine.wire.signatures import TwilioSignatures, public_url
from web import twiml
from web.bodies import raw_body
from web.settings import Settings

log = structlog.get_logger(__name__)

MOST_BYTES = 64 * 1024


def add_twilio_hooks(
    app: QuartTrio, *, supervisor: Supervisor, signatures: TwilioSignatures, settings: Settings
) -> None:
    """Routes under `/webhook/twilio`."""

    async def params() -> dict[str, str]:
        """The request's parameters, once its signature is proved.

        Raises:
            Refused: not signed by our account.
            BadMessage: no form that Twilio would send.
        """
        url = public_url(settings.public_url, request.path, request.query_string)
        if request.method == "GET":
            signatures.check_get(url, request.headers)
            return dict(request.args.items())
        body = await raw_body()
        if len(body) > MOST_BYTES:
            raise BadMessage("form too large")
        pairs = twilio.read_form(body)
        signatures.check_form(url, pairs, request.headers)
        return dict(pairs)

    @app.route("/webhook/twilio", methods=["GET", "POST"])
    async def voice() -> Response:
        """A call rings: admit it, and connect its stream to the media plane."""
        hook = twilio.VoiceWebhook.of(await params())
        arrival = Arrival(
            call_sid=hook.call_sid,
            account_sid=hook.account_sid,
            from_number=hook.from_number,
            to_number=hook.to_number,
            direction=hook.direction,
        )
        admitted = supervisor.admit(arrival)
        if isinstance(admitted, NextStep):
            return _xml(twiml.go_on(admitted))
        return _xml(
            twiml.connect_stream(
                media_url=settings.media_url,
                next_url=settings.public_url + "/webhook/twilio/next",
                stream_status_url=settings.public_url + "/webhook/twilio/stream",
                token=admitted.token,
                apology=supervisor.services.agent.fallback.words,
            )
        )

    @app.route("/webhook/twilio/next", methods=["GET", "POST"])
    async def next_step() -> Response:
        """Twilio has the call back: its stream is over."""
        given = await params()
        return _xml(twiml.go_on(supervisor.next_step(_call_sid(given))))

    @app.route("/webhook/twilio/status", methods=["GET", "POST"])
    async def status() -> Response:
        given = await params()
        supervisor.status(_call_sid(given), given.get("CallStatus", ""))
        return Response("", 204)

    @app.route("/webhook/twilio/stream", methods=["GET", "POST"])
    async def stream_status() -> Response:
        given = await params()
        supervisor.stream_status(_call_sid(given), given.get("StreamEvent", ""), given.get("StreamError", ""))
        return Response("", 204)


def _call_sid(given: dict[str, str]) -> str:
    call_sid = given.get("CallSid", "")
    if not call_sid:
        raise BadMessage("no CallSid")
    return call_sid


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
