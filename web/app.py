"""Where the parts are joined, and the only place: settings and an agent in, a running service out."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass

import httpx
import structlog
import trio
from quart_trio import QuartTrio

from actors.call_actor import Services
from actors.desk import Desk
from actors.journal_sqlite import SqliteJournal
from actors.media import MediaPlane
from actors.outbound import DialBook, Dialler
from actors.ports import Doorkeeper, Refusal, Upgrade, WireListener
from actors.recorder import Recorder
from actors.spending import Spending, earlier
from actors.supervisor import Supervisor
from actors.tools.ledger import SqliteToolLedger
from actors.twilio_leg import TwilioLeg
from actors.twilio_rest import TwilioRest
from actors.vapi_rest import VapiRest
from engine import playout
from engine.errors import Refused
from engine.wire.signatures import TwilioSignatures
from web.agents import LoadedAgent
from web.api import (
    Access,
    Api,
    CallsModel,
    Orders,
    Recordings,
    add_api,
    add_handset,
    add_problems,
    add_sibling_orders,
    handset_origin,
)
from web.asgi_media import add_asgi_media
from web.assistant import Assistant, assistant_answer, call_bodies, prepare_assistant, vapi_auth
from web.clips import line_book
from web.console import add_console
from web.health import Histogram, Meters, add_health, add_numbers
from web.insights.routes import add_insights
from web.reload import Versions
from web.settings import Settings
from web.siblings import Place, Siblings, open_siblings
from web.turn_meters import TurnMeters
from web.twilio_hooks import add_refusals, add_twilio_hooks
from web.vapi_hooks import VapiDoor, add_vapi_hooks

log = structlog.get_logger(__name__)

JOURNAL, DIALS = "journal.sqlite3", "outbound.sqlite3"
MOST_BODY_BYTES = 8 * 1024 * 1024  # an end-of-call report carries the whole conversation (reference/vapi.md §6.1)
# A kept connection is given up before any server would: a request that meets its closing looks like a lost one.
CONNECTIONS = httpx.Limits(max_connections=200, max_keepalive_connections=50, keepalive_expiry=2.0)
_MEDIA_PATH = re.compile(r"/media(?:/w([0-9]{1,3}))?/?")
MEDIA_COUNTERS = (
    "opened", "refused", "frames_in", "frames_out", "bytes_in", "bytes_out", "audio_ms_dropped", "protocol_errors",
    "listener_errors", "vanished", "stalled", "tls_dials", "tls_resumed", "late_ticks",
)  # fmt: skip
ASGI_DRAIN_S = 2.0  # under a server of others we have but its own grace


@dataclass
class Runtime:
    """One running service: what the doors need, and what a shutdown must drain."""

    settings: Settings
    plane: MediaPlane
    supervisor: Supervisor
    journal: SqliteJournal
    doorkeeper: Doorkeeper
    signatures: TwilioSignatures
    assistant: Assistant
    vapi_door: VapiDoor
    turns: TurnMeters
    calls: CallsModel
    orders: Orders
    dialler: Dialler
    siblings: Siblings | None = None  # the other workers, when there are any

    def not_ready(self) -> str:
        """Why no calls should come; empty when they may."""
        if self.supervisor.draining:
            return "draining"
        return "" if self.assistant.id else self.assistant.why_not

    def not_dialling(self) -> str:
        """Why no call should be made; empty when one may. Who is called must find an agent."""
        limits, spent_usd = self.supervisor.services.agent.limits, self.supervisor.spending.today_usd
        if limits.spend_usd_per_day is not None and spent_usd >= limits.spend_usd_per_day:
            return "the money of this day is spent"
        if len(self.supervisor.live) >= limits.concurrent_calls:
            return "there is no room for another call"
        return self.not_ready()

    def api(self, *, reachable: bool) -> Api:
        """What the API's routes need."""

        return Api(
            model=self.calls,
            access=Access(self.settings, reachable=reachable),
            recordings=Recordings(self.settings.data),
            orders=self.orders,
            dialler=self.dialler,
            not_dialling=self.not_dialling,
        )

    def gauges(self) -> dict[str, float]:
        media = self.plane.statistics()
        return {
            "calls_live": len(self.supervisor.live),
            "call_tasks": self.supervisor.tasks,
            "calls_remembered": self.supervisor.remembered,
            "spent_today_usd": self.supervisor.spending.today_usd,
            "media_sockets": media.sockets_now,
            "media_handshakes": media.handshakes_now,
            "media_queued_ms": media.queued_ms_now,
            "media_queued_ms_most": media.queued_ms_most,
            "journal_records_waiting": self.journal.statistics().waiting,
            "tasks": trio.lowlevel.current_statistics().tasks_living,
            "compiled": float(not playout.__file__.endswith(".py")),
            "memory_blocks": sys.getallocatedblocks(),  # Python's own count: it knows no fragments
        }

    def counters(self) -> dict[str, float]:
        counts = {f"calls_{name}": float(value) for name, value in asdict(self.supervisor.statistics).items()}
        if self.siblings is not None:
            told = {**asdict(self.siblings.statistics), **asdict(self.siblings.passing.statistics)}
            counts |= {f"siblings_{name}": float(value) for name, value in told.items()}
        media = self.plane.statistics()
        counts |= {f"media_{name}": float(getattr(media, name)) for name in MEDIA_COUNTERS}
        return {**counts, "journal_records_lost": float(self.journal.statistics().lost)}

    def histograms(self) -> dict[str, Histogram]:
        return {"loop_lag_seconds": {"buckets": self.plane.lag.buckets(), "sum": self.plane.lag.sum_s}}


@asynccontextmanager
async def open_runtime(
    settings: Settings, loaded: LoadedAgent, *, place: Place | None = None, reload: bool = False
) -> AsyncIterator[Runtime]:
    """Everything but the doors, running. On leaving, calls that still live are ended.

    Args:
        place: which worker of how many we are; None for a process that serves alone.
        reload: new calls get what the agent's files say then.
    """
    async with (
        open_siblings(place) as siblings,
        loaded.ways_out.open(),
        httpx.AsyncClient(timeout=httpx.Timeout(10.0, connect=3.0), limits=CONNECTIONS) as http,
        trio.open_nursery() as nursery,
    ):
        plane = MediaPlane()
        journal = SqliteJournal(settings.data / JOURNAL)
        recorder = Recorder(settings.data / "recordings")
        vapi = VapiRest(http, base_url=settings.vapi_base_url, api_key=settings.vapi_api_key)
        twilio = _twilio_rest(http, settings)
        assistant = Assistant()
        turns = TurnMeters()
        services = Services(
            plane=plane,
            journal=journal,
            recorder=recorder,
            vapi=vapi,
            twilio=twilio,
            toolbox=loaded.toolbox,
            agent=loaded.agent,
            next_url=settings.public_url + "/webhook/twilio/next",
            agent_call_body=call_bodies(settings, loaded, assistant, place),
            lines=await line_book(loaded.agent.silence, loaded.path.parent),
            noted=turns.noted,
            ledger=SqliteToolLedger(journal.path),
        )
        spending = Spending(workers=place.of if place else 1)
        limits = loaded.agent.limits
        spending.restore(await trio.to_thread.run_sync(earlier, settings.data / JOURNAL, limits, time.time()))
        supervisor = Supervisor(services, spending=spending)
        signatures = _signatures(settings)
        calls_model = CallsModel(
            settings.data,
            dead_before_s=time.time() if place is None else None,
            closing=lambda: supervisor.draining and not supervisor.live,
        )
        runtime = Runtime(
            turns=turns,
            calls=calls_model,
            orders=Orders(Desk(supervisor.call, loaded.agent), journal, loaded.agent, siblings),
            dialler=Dialler(
                agent=lambda: supervisor.services.agent,
                folder=loaded.path.parent,
                book=DialBook(settings.data / DIALS),
                twilio=twilio,
                journal=journal,
                public_url=settings.public_url,
                from_number=settings.twilio_phone_number,
                any_hour=settings.offline,
            ),
            settings=settings,
            plane=plane,
            supervisor=supervisor,
            journal=journal,
            doorkeeper=_doorkeeper(settings, supervisor, plane, signatures, place),
            signatures=signatures,
            assistant=assistant,
            vapi_door=VapiDoor(
                supervisor=supervisor,
                auth=vapi_auth(settings),
                assistant_answer=assistant_answer(settings, loaded),
                siblings=siblings,
                hurry=plane.give_way,
            ),
            siblings=siblings,
        )
        await nursery.start(journal.run)
        await nursery.start(recorder.run)
        await nursery.start(plane.run)
        await nursery.start(calls_model.run)
        calls = await _start_calls(nursery, supervisor)
        nursery.start_soon(prepare_assistant, vapi, settings, loaded, assistant, place)
        if reload:
            versions = Versions(
                settings,
                loaded,
                supervisor=supervisor,
                door=runtime.vapi_door,
                vapi=vapi,
                assistant=assistant,
                place=place,
            )
            nursery.start_soon(versions.run)
        try:
            yield runtime
        finally:
            calls.cancel()
            with trio.move_on_after(5.0, shield=True):
                await journal.flush()
            nursery.cancel_scope.cancel()


async def _start_calls(nursery: trio.Nursery, supervisor: Supervisor) -> trio.CancelScope:
    """The supervisor in a scope of its own, so that calls end before what they write to."""
    scope = trio.CancelScope()

    async def run(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with scope:
            await supervisor.run(task_status=task_status)

    await nursery.start(run)
    return scope


def create_app(runtime: Runtime, *, for_siblings: bool = False, reachable: bool = False) -> QuartTrio:
    """The ASGI app of a running service. Websockets are the media plane's, or `add_asgi_media`'s.

    Args:
        for_siblings: the app that other workers ask. It answers for this worker alone, and asks nobody.
        reachable: other machines can connect to where it listens: the API then needs keys.
    """
    app = QuartTrio("callscope")
    _add_doors(app, runtime, for_siblings=for_siblings, reachable=reachable)
    return app


def create_asgi_app(settings: Settings, loaded: LoadedAgent) -> QuartTrio:
    """An app that opens its own runtime when a server starts it: `hypercorn -k trio web.asgi:app`, for development."""
    app = QuartTrio("callscope")
    stop, stopped = trio.Event(), trio.Event()

    async def live(*, task_status: trio.TaskStatus[Runtime] = trio.TASK_STATUS_IGNORED) -> None:
        try:
            async with open_runtime(settings, loaded) as runtime:
                task_status.started(runtime)
                await stop.wait()
                await runtime.supervisor.drain(patience_s=ASGI_DRAIN_S)
        finally:
            stopped.set()

    @app.before_serving
    async def start() -> None:
        runtime = await app.nursery.start(live)
        _add_doors(app, runtime)
        add_asgi_media(app, runtime.doorkeeper)
        log.warning("media comes in over ASGI: one worker, slower than `callscope serve`")

    @app.after_serving
    async def end() -> None:
        stop.set()
        with trio.move_on_after(2 * ASGI_DRAIN_S, shield=True):
            await stopped.wait()

    return app


def _add_doors(app: QuartTrio, runtime: Runtime, *, for_siblings: bool = False, reachable: bool = False) -> None:
    app.config["MAX_CONTENT_LENGTH"] = MOST_BODY_BYTES
    add_refusals(app)
    add_twilio_hooks(
        app,
        supervisor=runtime.supervisor,
        signatures=runtime.signatures,
        settings=runtime.settings,
        siblings=runtime.siblings,
        for_siblings=for_siblings,
        dialler=runtime.dialler,
    )
    add_vapi_hooks(app, runtime.vapi_door, for_siblings=for_siblings)
    meters = Meters(runtime.gauges, runtime.counters, runtime.histograms, runtime.turns)
    if for_siblings:
        add_numbers(app, meters)
        add_problems(app)
        add_sibling_orders(app, runtime.orders)
    else:
        add_health(app, not_ready=runtime.not_ready, meters=meters, siblings=runtime.siblings)
        api = runtime.api(reachable=reachable)
        add_api(app, api)
        add_insights(app, api)
        add_handset(app, api.access, runtime.settings, runtime.journal.path, lambda: runtime.supervisor.services.agent)
        add_console(app, api, connects_to=handset_origin(runtime.settings))


def _doorkeeper(
    settings: Settings,
    supervisor: Supervisor,
    plane: MediaPlane,
    signatures: TwilioSignatures,
    place: Place | None = None,
) -> Doorkeeper:
    """Who may open a media stream: Twilio, by its signature over the address that we gave it (twilio.md §6.3).

    With several workers that address names one; the signature is over the address that was asked, whoever gets it.
    """

    def keep(upgrade: Upgrade) -> WireListener | Refusal:
        asked = _MEDIA_PATH.fullmatch(upgrade.path.split("?")[0])
        if asked is None or (asked[1] is not None and place is None):
            return Refusal(404)
        try:
            signatures.check_handshake(settings.media_url_of(asked[1]), upgrade.headers)
        except Refused as refused:
            log.warning("stream refused", why=refused.why, peer=upgrade.peer)
            return Refusal(refused.status)
        return TwilioLeg(claim=supervisor.claim, clock=trio.current_time, every_tick=plane.every_tick)

    return keep


def _signatures(settings: Settings) -> TwilioSignatures:
    tokens = [settings.twilio_auth_token, settings.twilio_auth_token_secondary]
    return TwilioSignatures([token for token in tokens if token])


def _twilio_rest(http: httpx.AsyncClient, settings: Settings) -> TwilioRest:
    return TwilioRest(
        http,
        account_sid=settings.twilio_account_sid,
        auth_token=settings.twilio_auth_token,
        base_url=settings.twilio_base_url,
    )
