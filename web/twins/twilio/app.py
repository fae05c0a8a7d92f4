"""The Twilio twin as a server: its REST side, and the twin-only routes under `/twin`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import msgspec
import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart import Response, request
from quart_trio import QuartTrio

from engine.errors import CallscopeError
from web.twins.origins import refuse_foreign_pages
from web.twins.speech.sounds import bed
from web.twins.twilio.call import TwinCall
from web.twins.twilio.callee import Callee
from web.twins.twilio.phone import add_phone
from web.twins.twilio.problems import RestError
from web.twins.twilio.rest import add_rest
from web.twins.twilio.settings import Faults, TwinSettings
from web.twins.twilio.twin import CallRequest, TwilioTwin

LONGEST_WAIT_S = 60.0
KEEP_ALIVE_S = 75.0  # longer than any answer: see web/serve.py


def create_twin_app(twin: TwilioTwin) -> QuartTrio:
    """The ASGI app of a twin."""
    app = QuartTrio("twilio-twin")
    refuse_foreign_pages(app)
    add_rest(app, twin)
    _add_twin_routes(app, twin)
    add_phone(app, twin)
    return app


def _add_twin_routes(app: QuartTrio, twin: TwilioTwin) -> None:
    def find(sid: str) -> TwinCall:
        call = twin.calls.get(sid)
        if call is None:
            raise RestError(404, 20404, f"no call {sid}")
        return call

    @app.post("/twin/calls")
    async def ring() -> Response:
        """Let a scripted caller phone one of the numbers."""
        wanted = msgspec.json.decode(await request.get_data(), type=CallRequest)
        return _json({"sid": twin.ring(wanted).sid}, 201)

    @app.post("/twin/callees")
    async def expect() -> Response:
        """Who answers a number when a call to it is placed by REST."""
        twin.expect(msgspec.json.decode(await request.get_data(), type=Callee))
        return _json({}, 201)

    @app.get("/twin/calls/<sid>")
    async def story(sid: str) -> Response:
        return _json(find(sid).story())

    @app.get("/twin/calls/<sid>/wait")
    async def wait(sid: str) -> Response:
        """As above, once the call is over or the time is up."""
        call = find(sid)
        with trio.move_on_after(min(LONGEST_WAIT_S, float(request.args.get("timeout_s", "20")))):
            await call.ended.wait()
        return _json(call.story())

    @app.post("/twin/calls/<sid>/hangup")
    async def hang_up(sid: str) -> Response:
        find(sid).hang_up("caller")
        return _json({})

    @app.get("/twin/calls/<sid>/audio.wav")
    async def audio(sid: str) -> Response:
        return Response(find(sid).tap.wav(), 200, content_type="audio/wav")

    @app.get("/twin/calls/<sid>/<channel>.ulaw")
    async def channel(sid: str, channel: str) -> Response:
        tap = find(sid).tap
        data = {"said": tap.said, "heard": tap.heard}.get(channel)
        if data is None:
            raise RestError(404, 20404, "said or heard")
        return Response(bytes(data), 200, content_type="audio/basic")

    @app.get("/twin/errors")
    async def errors() -> Response:
        return _json([{"call": call.sid, **error} for call in twin.calls.values() for error in call.errors])

    @app.post("/twin/faults")
    async def faults() -> Response:
        """Set the faults; what is not named is off."""
        wanted = msgspec.json.decode(await request.get_data(), type=Faults)
        if wanted.background:
            try:  # made here, off the loop, and not in the first frame that wants it
                await trio.to_thread.run_sync(bed, wanted.background, wanted.background_db)
            except ValueError as problem:
                raise RestError(400, 21205, str(problem)) from problem
        twin.faults = wanted
        return _json(msgspec.to_builtins(twin.faults))

    @app.errorhandler(msgspec.DecodeError)
    async def unreadable(problem: Exception) -> Response:
        return _json({"message": f"{problem}; see web/twins/twilio/twin.py for what is taken"}, 400)


def _json(body: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, content_type="application/json")


class TwinCannotListen(CallscopeError):
    """The address is taken."""


async def serve_twin(
    settings: TwinSettings,
    *,
    bind: str = "127.0.0.1:0",
    shutdown: Callable[[], Awaitable[None]] | None = None,
    task_status: trio.TaskStatus[tuple[str, TwilioTwin]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve a twin until `shutdown` returns or it is cancelled; ready with its base URL and itself."""
    config = Config()
    config.bind = [bind]
    config.errorlog = None
    config.accesslog = None
    config.graceful_timeout = 1.0
    config.websocket_max_message_size = 64 * 1024  # of what handsets send
    config.keep_alive_timeout = KEEP_ALIVE_S
    limits = httpx.Limits(max_connections=400, max_keepalive_connections=50, keepalive_expiry=2.0)
    async with httpx.AsyncClient(limits=limits) as http, trio.open_nursery() as nursery:
        twin = TwilioTwin(settings, http)
        await nursery.start(twin.run)

        async def listen(*, task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED) -> None:
            await serve(
                create_twin_app(twin),
                config,
                shutdown_trigger=shutdown or trio.sleep_forever,
                task_status=task_status,
            )
            nursery.cancel_scope.cancel()

        bound = await nursery.start(listen)
        task_status.started((bound[0], twin))
