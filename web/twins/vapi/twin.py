"""The Vapi twin itself: what it keeps, the calls that live in it, and who may open a socket."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any

import msgspec
import structlog
import trio

from actors.ports import Refusal, Upgrade, WireListener
from engine.agent import TwinPlan
from web.twins.vapi.clock import epoch_ms
from web.twins.vapi.creation import make_call
from web.twins.vapi.dials import Dials, Faults
from web.twins.vapi.line import PHONE_ONLY, control_of
from web.twins.vapi.live import Kit, LiveCall
from web.twins.vapi.mouth import tick_s
from web.twins.vapi.phone import ring_unanswered
from web.twins.vapi.problems import INVALID_KEY, NO_AUTHORIZATION, Problem
from web.twins.vapi.settings import TwinSettings
from web.twins.vapi.shelves import CredentialShelf, Shelf
from web.twins.vapi.state import CallRecord

__all__ = ["VapiTwin"]

log = structlog.get_logger(__name__)

MOST_CALLS_KEPT = 2000
MOST_CALLS_WITH_SOUND = 200
HANG_AT_MOST_S = 60.0
_TRANSPORT = re.compile(r"/([0-9a-f-]{36})/transport(?:\?.*)?")


class VapiTwin:
    """Made by `serve_twin`. `url` is its base address: what `VAPI_BASE_URL` is set to."""

    def __init__(self, settings: TwinSettings, url: str) -> None:
        self.settings, self.url = settings, url
        self.dials: Dials = settings.dials
        self.faults = Faults()
        self.assistants = Shelf("Assistant", settings.org_id, lambda: self.dials.replication_lag_ms)
        self.numbers = Shelf("Phone number", settings.org_id)
        self.credentials = CredentialShelf("Credential", settings.org_id)
        self.records: dict[str, CallRecord] = {}
        self.live: dict[str, LiveCall] = {}
        self._with_sound: deque[CallRecord] = deque()
        self._made = 0
        self.stopping = trio.Event()
        self._kit: Kit | None = None
        self._nursery: trio.Nursery | None = None
        agent = settings.agent
        if agent is not None and agent.assistant_id:
            self.assistants.create({"name": agent.name[:40]}, known_id=agent.assistant_id)

    @property
    def kit(self) -> Kit:
        assert self._kit is not None
        return self._kit

    def begin(self, kit: Kit, nursery: trio.Nursery) -> None:
        """From now on calls may come; they live in this nursery."""
        self._kit, self._nursery = kit, nursery

    def learn(self, plan: TwinPlan) -> None:
        """The script of the calls that begin from now on.

        Raises:
            ValueError: the recogniser does not know a word of its phrases.
        """
        kit = self.kit
        phrases = [phrase for reply in plan.replies for phrase in reply.hear]
        self._kit = replace(kit, plan=plan, grammar=kit.speech.grammar(phrases) if phrases else None)

    def stop(self) -> None:
        """Shut down; `serve_twin` returns soon after."""
        self.stopping.set()

    def check_key(self, header: str | None) -> None:
        """
        Raises:
            Problem: 401 with Vapi's own words.
        """
        if not header:
            raise Problem(401, NO_AUTHORIZATION)
        if header != f"Bearer {self.settings.api_key}":
            raise Problem(401, INVALID_KEY)

    # ---- calls

    async def create_call(self, body: Any) -> dict[str, Any]:
        """The answer to POST /call.

        Raises:
            Problem: refused, for a good reason or because of a fault that was ordered.
        """
        await trio.sleep(self.dials.create_delay_ms / 1000)
        fault = self.faults.take()
        if fault is not None and fault.create_status == "hang":
            with trio.move_on_after(HANG_AT_MOST_S):
                await self.stopping.wait()
            raise Problem(503, "The twin hung, as it was told to.")
        if fault is not None and isinstance(fault.create_status, int):
            raise Problem(fault.create_status, _fault_text(fault.create_status), raw=fault.create_body)
        customers = body.get("customers") if isinstance(body, dict) else None
        if not customers:
            return self._start(body, fault)
        each = {name: entry for name, entry in body.items() if name != "customers"}
        calls = [self._start({**each, "customer": customer}, fault) for customer in customers]
        limits = [call.pop("subscriptionLimits") for call in calls]
        return {"results": calls, "errors": [], "subscriptionLimits": limits[-1]}

    def _start(self, body: Any, fault: Faults | None) -> dict[str, Any]:
        org_id = self.settings.org_id
        record = make_call(body, assistants=self.assistants, numbers=self.numbers, org_id=org_id, base_url=self.url)
        if len(self.live) >= self.dials.concurrency_limit:
            raise Problem(400, "Over Concurrency Limit")
        record.fault = fault
        plan = record.assistant.get("monitorPlan") or {}
        if plan.get("controlEnabled", True):
            record.monitor = {"controlUrl": f"{self.url}/{record.id}/control"}
        self._keep(record)
        assert self._nursery is not None
        if record.is_websocket:
            self._made += 1
            chance = Random(f"{self.settings.seed}/{self._made}")  # noqa: S311 — how late audio is; no secret
            call = self.live[record.id] = LiveCall(record, self.kit, chance)
            self._with_sound.append(record)
            if len(self._with_sound) > MOST_CALLS_WITH_SOUND:
                self._with_sound.popleft().generated.clear()
            self._nursery.start_soon(self._live, call)
        else:
            self._nursery.start_soon(ring_unanswered, record, self.dials, self.kit.webhooks)
        limit = self.dials.concurrency_limit
        answer = {**record.body, **({} if record.is_websocket else self._monitor(record))}
        return answer | {
            "subscriptionLimits": {
                "concurrencyBlocked": False,
                "concurrencyLimit": limit,
                "remainingConcurrentCalls": limit - len(self.live),
            }
        }

    def _keep(self, record: CallRecord) -> None:
        while len(self.records) >= MOST_CALLS_KEPT:
            oldest = next((one for one in self.records if one not in self.live), None)
            if oldest is None:
                raise Problem(400, "Over Concurrency Limit")
            del self.records[oldest]
        self.records[record.id] = record

    async def _live(self, call: LiveCall) -> None:
        try:
            await call.run()
        finally:
            self.live.pop(call.record.id, None)
        await self._save(call.record)

    async def _save(self, record: CallRecord) -> None:
        if self.settings.data is None:
            return
        folder = trio.Path(self.settings.data)
        await folder.mkdir(parents=True, exist_ok=True)
        text = msgspec.json.format(msgspec.json.encode({"call": record.body, **record.timeline.as_json()}), indent=1)
        await (folder / f"{record.id}.json").write_bytes(text)

    def record(self, call_id: str) -> CallRecord:
        """
        Raises:
            Problem: 404.
        """
        record = self.records.get(call_id)
        if record is None:
            raise Problem(404, "Call not found.")
        return record

    def seen(self, record: CallRecord) -> dict[str, Any]:
        """The call as GET shows it: with `monitor`, without the address of the socket (§3, §4.1)."""
        body = {name: entry for name, entry in record.body.items() if name != "cost"}
        body["transport"] = {k: v for k, v in body["transport"].items() if k != "websocketCallUrl"}
        is_late = epoch_ms() - record.created_ms >= self.dials.monitor_delay_ms
        monitor = self._monitor(record) if is_late else {}
        return {**body, **monitor, "cost": record.body["cost"]}

    def _monitor(self, record: CallRecord) -> dict[str, Any]:
        return {"monitor": record.monitor} if record.monitor else {}

    def delete(self, call_id: str) -> dict[str, Any]:
        """Deletes the record; on a live call that is a hang-up too (§2)."""
        record = self.record(call_id)
        call = self.live.get(call_id)
        if call is not None:
            call.end("call-deleted")
        del self.records[call_id]
        return self.seen(record)

    def control(self, call_id: str, payload: bytes, header: str | None) -> None:
        """Live control (§5).

        Raises:
            Problem: no such call, it is over, or the message is none.
        """
        record = self.record(call_id)
        plan = record.assistant.get("monitorPlan") or {}
        if record.monitor is None:
            raise Problem(404, "Call not found.")
        if plan.get("controlAuthenticationEnabled"):
            self.check_key(header)
        call = self.live.get(call_id)
        if call is None or call.is_over:
            raise Problem(400, "Call has ended.")
        try:
            message = control_of(payload)
        except ValueError as error:
            raise Problem(400, [str(error)]) from error
        if message["type"] in PHONE_ONLY:
            raise Problem(400, [f"{message['type']} does nothing on a websocket call"])
        call.control(message)

    # ---- sockets

    def is_media(self, head: bytes) -> bool:
        """Whether a new connection is a call's socket. One that shall never open goes to the ASGI side, which waits."""
        call = self._called(head.decode("latin-1").split(" ")[1]) if head.startswith(b"GET /") else None
        if call is None:
            return False
        fault = call.record.fault
        return fault is None or fault.socket != "never_opens"

    def admit(self, upgrade: Upgrade) -> WireListener | Refusal:
        """The doorkeeper. The address alone suffices to join (§4.2); a second one may not."""
        call = self._called(upgrade.path)
        if call is None or call.is_over:
            return Refusal(404)
        fault = call.record.fault
        if call.is_taken or (fault is not None and fault.socket == "refuse"):
            return Refusal(403)
        return call.line

    def _called(self, path: str) -> LiveCall | None:
        match = _TRANSPORT.fullmatch(path)
        return self.live.get(match[1]) if match else None

    async def beat(self) -> None:
        """The one ticker of all calls: audio out on an absolute schedule."""
        due = trio.current_time()
        while True:
            due = max(due + tick_s(self.dials), trio.current_time())
            await trio.sleep_until(due)
            now = trio.current_time()
            for call in tuple(self.live.values()):
                call.pump(now)

    def order(self, wishes: Mapping[str, Any]) -> dict[str, Any]:
        """POST /twin/faults: dials by name, and the faults of the next calls."""
        dials = {name: entry for name, entry in wishes.items() if hasattr(self.dials, name)}
        faults = Faults.of({name: entry for name, entry in wishes.items() if name not in dials})
        for name, entry in dials.items():
            self.dials.turn(name, entry)
        if len(dials) < len(wishes):
            self.faults = faults
        return self.orders()

    def orders(self) -> dict[str, Any]:
        return {"dials": msgspec.to_builtins(self.dials), "faults": msgspec.to_builtins(self.faults)}


def _fault_text(status: int) -> str:
    texts = {401: INVALID_KEY, 429: "Rate limit exceeded", 404: "Assistant not found.", 500: "Internal server error"}
    return texts.get(status, "The twin was told to fail.")
