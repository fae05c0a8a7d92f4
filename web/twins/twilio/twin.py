"""The Twilio twin itself: its numbers, its calls, and the one clock that all sound runs on."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import httpx
import msgspec
import structlog
import trio

from engine.agent import CallerStep
from engine.audio import FRAME_MS
from web.twins.speech.sounds import SOUNDS
from web.twins.twilio.call import StatusPlan, TwinCall
from web.twins.twilio.callee import Callee, act, detect
from web.twins.twilio.caller import follow_script, rendered
from web.twins.twilio.handset import Handset
from web.twins.twilio.interpreter import Interpreter, tell_status
from web.twins.twilio.problems import RestError
from web.twins.twilio.settings import Faults, TwinSettings
from web.twins.twilio.webhooks import Webhooks

log = structlog.get_logger(__name__)

MOST_CALLS = 5_000  # remembered; older ones are forgotten first
BEHIND_S = 1.0  # a clock that is later than this starts anew instead of racing
ANSWER_S = 20.0
BUSY, NOT_ANSWERING = "+15005550002", "+15005550004"


@dataclass
class Number:
    """One of the account's phone numbers."""

    sid: str
    phone_number: str
    voice_url: str = ""
    voice_method: str = "POST"
    voice_fallback_url: str = ""
    voice_fallback_method: str = "POST"
    status_callback: str = ""
    status_callback_method: str = "POST"
    friendly_name: str = ""
    updated_s: float = field(default_factory=time.time)


class CallRequest(msgspec.Struct, forbid_unknown_fields=True, rename={"from_number": "from", "to_number": "to"}):
    """`POST /twin/calls`: let a scripted caller phone one of the numbers."""

    from_number: str
    to_number: str
    script: list[CallerStep] = []
    voice: str = "en-GB"
    sounds: str = ""  # the folder that holds the files which the script names as sounds


class TwilioTwin:
    """State and behaviour; the HTTP faces are in `rest` and `app`."""

    def __init__(self, settings: TwinSettings, http: httpx.AsyncClient) -> None:
        self.settings = settings
        self.faults = Faults()
        self.calls: dict[str, TwinCall] = {}
        self.callees: dict[str, Callee] = {}  # by their number
        self.numbers = {number: Number("PN" + secrets.token_hex(16), number) for number in settings.numbers}
        self.webhooks = Webhooks(http, settings, lambda: self.faults)
        self.late_ticks = 0
        self._rung = 0
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the calls and beat their time, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._beat)
            task_status.started()
            await trio.sleep_forever()

    async def _beat(self) -> None:
        """Every 20 ms, by the clock and not by the last beat, so that nothing drifts."""
        due = trio.current_time()
        while True:
            due += FRAME_MS / 1000
            now = trio.current_time()
            if now - due > BEHIND_S:
                self.late_ticks += round((now - due) * 1000 / FRAME_MS)
                due = now
            await trio.sleep_until(due)
            for call in self.calls.values():
                if call.is_live:
                    call.tick()

    # --- calls ------------------------------------------------------------------------------------------------------

    def ring(self, request: CallRequest, handset: Handset | None = None) -> TwinCall:
        """An inbound call by a scripted caller, or by whoever holds the handset; by the script when it has both.

        Raises:
            RestError: the number is not ours or leads nowhere; the script cannot be acted out.
        """
        number = self.numbers.get(request.to_number)
        if number is None or not number.voice_url:
            raise RestError(400, 21210, f"{request.to_number} is no number of this account, or has no voice URL")
        for problem in filter(None, (script_problem(step, request) for step in request.script)):
            raise RestError(400, 21205, problem)
        plan = StatusPlan(number.status_callback, number.status_callback_method)
        call = self._new_call(request.from_number, request.to_number, "inbound", number.sid, plan, handset)
        call.status = "ringing"
        self._start(self._inbound, call, number, request)
        return call

    def dial(self, wanted: Mapping[str, Any], plan: StatusPlan) -> TwinCall:
        """A call placed by REST: to who lives at that number, or to somebody who only listens."""
        number = self.numbers[wanted["From"]]
        call = self._new_call(wanted["From"], wanted["To"], "outbound-api", number.sid, plan)
        self._start(self._outbound, call, dict(wanted), self.callees.get(wanted["To"]) or _somebody(wanted["To"]))
        return call

    def expect(self, callee: Callee) -> None:
        """Who answers this number from now on.

        Raises:
            RestError: the script cannot be acted out.
        """
        for problem in filter(None, (script_problem(step, callee) for step in callee.script)):
            raise RestError(400, 21205, problem)
        self.callees[callee.number] = callee

    def _new_call(
        self, from_number: str, to_number: str, direction: str, number_sid: str, plan: StatusPlan,
        handset: Handset | None = None,
    ) -> TwinCall:  # fmt: skip
        sid = "CA" + secrets.token_hex(16)
        self._rung += 1
        chance = Random(f"{self.faults.seed}/{self._rung}")  # noqa: S311 — of a line; no secret

        def faults() -> Faults:
            return self.faults

        call = TwinCall(
            sid, self.settings.account_sid, from_number, to_number, direction, number_sid, plan,
            chance=chance, faults=handset.faults_over(faults) if handset is not None else faults, handset=handset,
        )  # fmt: skip
        while len(self.calls) >= MOST_CALLS:
            del self.calls[next(iter(self.calls))]
        self.calls[sid] = call
        return call

    def _start(self, run: Any, *arguments: Any) -> None:
        if self._nursery is None:
            raise RestError(503, 20503, "the twin is not running")
        self._nursery.start_soon(partial(self._isolated, run, *arguments))

    async def _isolated(self, run: Any, call: TwinCall, *more: Any) -> None:
        """One call's trouble stays that call's."""
        try:
            await run(call, *more)
        except* Exception as group:
            log.exception("twin call failed", call=call.sid, exc_info=group)
            call.tap.note("twin failed", why=repr(group.exceptions[0]))
        finally:
            if not call.ended.is_set():
                call.status = call.status if call.is_over else "failed"
                call.ended.set()

    async def _inbound(self, call: TwinCall, number: Number, request: CallRequest) -> None:
        render = partial(rendered, speak=self.settings.speak, voice=request.voice, folder=Path(request.sounds))
        # made before the phone rings, so that nobody waits for a voice
        audio = [await trio.to_thread.run_sync(render, step) for step in request.script]
        await trio.sleep(self.settings.ring_s)
        if call.ended_by:  # hung up while it rang
            call.status = "canceled"
            await self._end(call)
            return
        fallback = (number.voice_fallback_url, number.voice_fallback_method)
        async with trio.open_nursery() as nursery:
            if request.script or call.handset is None:
                nursery.start_soon(self._person, call, request.script, audio)
            await self._interpret(call, number.voice_url, number.voice_method, fallback)
            nursery.cancel_scope.cancel()
        await self._end(call)

    async def _outbound(self, call: TwinCall, wanted: Mapping[str, Any], callee: Callee) -> None:
        await tell_status(call, self.webhooks, "initiated")
        call.status = "ringing"
        await tell_status(call, self.webhooks, "ringing")
        await trio.sleep(self.settings.ring_s)
        if call.ended_by or not callee.picks_up:
            call.status = "canceled" if call.ended_by else callee.answers
            await self._end(call)
            return
        call.status, call.started_s = "in-progress", time.time()
        await tell_status(call, self.webhooks, "answered")
        if wanted.get("Twiml") and not wanted.get("Url"):
            call.redirected = ("twiml", wanted["Twiml"])
        fallback = (wanted.get("FallbackUrl", ""), wanted.get("FallbackMethod", "POST"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(act, call, callee, speak=self.settings.speak))
            nursery.start_soon(detect, call, callee, wanted, self.webhooks)
            await self._interpret(call, wanted.get("Url", ""), wanted.get("Method", "POST"), fallback)
            nursery.cancel_scope.cancel()
        await self._end(call)

    async def _interpret(self, call: TwinCall, url: str, method: str, fallback: tuple[str, str]) -> None:
        assert self._nursery is not None
        interpreter = Interpreter(call, self.webhooks, self.settings, self._nursery)
        await interpreter.run(url, method, fallback=fallback)

    async def _person(self, call: TwinCall, script: Sequence[CallerStep], audio: Sequence[bytes]) -> None:
        with trio.move_on_after(ANSWER_S):
            while not call.is_live:
                await trio.sleep(FRAME_MS / 1000)
        if call.is_live:
            await follow_script(call, script, audio)

    async def _end(self, call: TwinCall) -> None:
        if not call.is_over:
            call.status = "completed"
        call.ended_s = time.time()
        call.ended_by = call.ended_by or "server"
        call.tap.note("ended", by=call.ended_by, status=call.status)
        if self.settings.data is not None:
            await trio.to_thread.run_sync(_save, self.settings.data, call)
        call.ended.set()
        await tell_status(call, self.webhooks, "completed")


def _somebody(number: str) -> Callee:
    if number == BUSY:
        return Callee(number, answers="busy")
    return Callee(number, answers="no-answer" if number == NOT_ANSWERING else "person")


def script_problem(step: CallerStep, request: CallRequest | Callee) -> str:
    """Why a step cannot be acted out; empty when it can."""
    if step.sound and step.sound not in SOUNDS and not (Path(request.sounds) / step.sound).is_file():
        return f"no sound {step.sound!r}: neither one of {', '.join(SOUNDS)} nor a file in {request.sounds or '.'}"
    return ""


def _save(folder: Path, call: TwinCall) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{call.sid}.wav").write_bytes(call.tap.wav())
