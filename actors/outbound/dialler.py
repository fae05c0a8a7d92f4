"""Makes the service's own calls: what the agent file allows, once for each key, through Twilio's REST side.

Twilio has no idempotency key for new calls (reference/twilio.md §17.1), so a request whose answer was lost is never
made again: every address that Twilio gets carries our call id, and the callbacks tell what became of it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import structlog
import trio

from actors.call_journal import CallJournal
from actors.outbound.book import NO_ROOM, DialBook, KeyTaken, TooMany
from actors.outbound.dials import Dial, Wanted
from actors.ports import Journal
from engine.agent import Agent
from engine.errors import BadSettings, CallscopeError, TwilioTrouble
from engine.interrupting import local_minutes, minutes_of
from engine.journal import Kind
from engine.outbound import (
    FINAL,
    LOST_SPAN_S,
    Outbound,
    Refusal,
    detection,
    hours_refusal,
    number_refusal,
    numbers_of,
    variables_refusal,
)

log = structlog.get_logger(__name__)

BOOK_THREADS = 2
LONGEST_REQUEST_S, LONGEST_BOOKING_S = 30.0, 10.0
PROGRESS = frozenset({"queued", "initiated", "ringing", "in-progress"})
_NO_OUTBOUND = Refusal("no-outbound", "The agent file has no `outbound:`, so the service makes no calls.", status=409)
_NO_NUMBER = Refusal("no-number", "There is no number to call from: set `outbound.from` or TWILIO_PHONE_NUMBER.", 409)


Answer = TypeVar("Answer")


class NotDialled(CallscopeError):
    """A call that is not made; `why` says it without what was asked for."""

    def __init__(self, why: Refusal) -> None:
        super().__init__(why.detail)
        self.why = why


class Calls(Protocol):
    """The part of Twilio's REST side that makes calls."""

    async def create_call(
        self,
        *,
        to: str,
        from_: str,
        url: str,
        status_url: str | None = None,
        status_events: Sequence[str] = ("completed",),
        more: Mapping[str, Any] | None = None,
    ) -> str: ...


@dataclass
class Dialler:
    """Makes calls, and keeps what becomes of those that nobody answers.

    Args:
        agent: the present one; asked anew for each call.
        folder: where the agent file stands, and the do-not-call list beside it.
        public_url: ours, without a slash at the end.
        any_hour: the numbers ring at stand-ins on this machine: nobody is woken.
    """

    agent: Callable[[], Agent]
    folder: Path
    book: DialBook
    twilio: Calls
    journal: Journal
    public_url: str
    from_number: str = ""
    any_hour: bool = False
    wall_clock: Callable[[], float] = time.time
    new_id: Callable[[], str] = lambda: f"call-{secrets.token_hex(13)}"
    _threads: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(BOOK_THREADS))

    async def dial(self, wanted: Wanted) -> Dial:
        """Make a call, or find the one that this key made before.

        Raises:
            NotDialled: the agent file, its lists, the hour or a cap forbid it; or the key is another call's.
        """
        agent = self.agent()
        outbound = agent.outbound
        if outbound is None:
            raise NotDialled(_NO_OUTBOUND)
        from_number = outbound.from_ or self.from_number
        refusal = _NO_NUMBER if not from_number else await self._refusal(outbound, wanted)
        longest_s = outbound.ring_s + agent.limits.max_duration_s + LOST_SPAN_S

        def enter() -> tuple[Dial, bool]:
            if refusal is None:
                now_s, call_id = self.wall_clock(), self.new_id()
                return self.book.enter(
                    wanted, call_id=call_id, from_number=from_number, caps=outbound, now_s=now_s, longest_s=longest_s
                )
            known = self.book.of_key(wanted)  # what was allowed when it was asked for stays an answer
            if known is None:
                raise NotDialled(refusal)
            return known, False

        try:
            dial, is_new = await self._in_thread(enter)
        except KeyTaken:
            detail = "This Idempotency-Key belongs to another call. Take a new one for a new call."
            raise NotDialled(Refusal("key-used", detail)) from None
        except TooMany as cap:
            raise NotDialled(Refusal("cap", f"Not now: {cap}.", status=429)) from None
        if not is_new:
            return dial
        return await self._place(dial, outbound, agent)

    async def find(self, call_id: str) -> Dial | None:
        return await self._in_thread(self.book.get, call_id)

    # --- what Twilio tells -----------------------------------------------------------------------------------------

    async def answered(self, call_id: str, call_sid: str) -> Dial | None:
        """Somebody, or something, picked up: the dial, if it is one of ours."""
        return await self._in_thread(self.book.admit, call_id, call_sid) if call_id else None

    async def turned_away(self, call_id: str) -> None:
        await self._in_thread(self.book.turned_away, call_id)

    async def status(self, call_id: str, params: Mapping[str, str]) -> None:
        """A status callback. The end of a call that nobody answered is its journal."""
        status, number = params.get("CallStatus", ""), params.get("SequenceNumber", "0")
        if status not in FINAL | PROGRESS or not number.isdecimal():
            return
        over = await self._in_thread(
            lambda: self.book.told(
                call_id,
                call_sid=params.get("CallSid", ""),
                status=status,
                seq=int(number),
                answered_by=params.get("AnsweredBy", "")[:40],
            )
        )
        if over is not None:
            self._write(over)

    async def machine(self, call_id: str, answered_by: str) -> None:
        await self._in_thread(self.book.machine, call_id, answered_by)

    # --- the way to Twilio -----------------------------------------------------------------------------------------

    async def _refusal(self, outbound: Outbound, wanted: Wanted) -> Refusal | None:
        try:
            kept_out = await self._in_thread(self._do_not_call, outbound.do_not_call)
        except (OSError, UnicodeDecodeError, BadSettings) as unread:
            log.error("the do-not-call list cannot be read: nobody is called", why=type(unread).__name__)  # noqa: TRY400
            return Refusal("do-not-call", "The do-not-call list cannot be read, so nobody is called.", status=503)
        refusal = number_refusal(outbound, wanted.to, kept_out) or variables_refusal(outbound, wanted.variables)
        if refusal is not None or self.any_hour:
            return refusal
        here = local_minutes(self.wall_clock(), outbound.timezone)
        return hours_refusal(outbound, minutes_of(outbound.hours), here)

    def _do_not_call(self, name: str) -> frozenset[str]:
        """Read for each call: whoever is put on it is not called from then on."""
        return numbers_of((self.folder / name).read_text(encoding="utf-8")) if name else frozenset()

    async def _place(self, dial: Dial, outbound: Outbound, agent: Agent) -> Dial:
        """Ask Twilio, once. Who asked may leave meanwhile; the request must not be forgotten half-way."""
        status, reason, call_sid = "unknown", "Twilio did not answer", ""
        with trio.CancelScope(shield=True) as shield:
            shield.deadline = trio.current_time() + LONGEST_REQUEST_S
            try:
                call_sid = await self.twilio.create_call(
                    to=dial.to,
                    from_=dial.from_,
                    url=self._url("/webhook/twilio", dial),
                    status_url=self._url("/webhook/twilio/status", dial),
                    status_events=("initiated", "ringing", "answered", "completed"),
                    more=self._settings(dial, outbound, agent),
                )
                status, reason = "queued", ""
            except TwilioTrouble as trouble:
                if trouble.status is not None and trouble.status < 500:
                    status, reason = "failed", f"Twilio refused: {trouble.code or trouble.status}"
                elif trouble.retry:  # the request never left
                    status, reason = "failed", "Twilio could not be reached"
                log.warning("not dialled", call=dial.call_id, why=reason)
        with trio.CancelScope(shield=True) as shield:
            shield.deadline = trio.current_time() + LONGEST_BOOKING_S
            await self._in_thread(self.book.placed, dial.call_id, call_sid, status, reason)
        now = await self.find(dial.call_id)
        assert now is not None
        if now.status == "failed" and status == "failed":
            self._write(now)
        return now

    def _settings(self, dial: Dial, outbound: Outbound, agent: Agent) -> dict[str, Any]:
        settings: dict[str, Any] = {"timeout": outbound.ring_s, "time_limit": round(agent.limits.max_duration_s) + 60}
        if detection(outbound):
            settings |= {
                "machine_detection": detection(outbound),
                "async_amd": "true",  # a string (§14); the person is greeted at once
                "async_amd_status_callback": self._url("/webhook/twilio/amd", dial),
            }
        return settings

    def _url(self, path: str, dial: Dial) -> str:
        return f"{self.public_url}{path}?call={dial.call_id}"

    def _write(self, dial: Dial) -> None:
        """The whole journal of a call that never was one."""
        rang_s = max(0.0, self.wall_clock() - dial.begun_s)
        now = trio.current_time()
        journal = CallJournal(self.journal, dial.call_id, opened_at=now - rang_s)
        opened = {
            "agent": self.agent().name,
            "direction": "outbound-api",
            "from": dial.from_,
            "to": dial.to,
            "twilio_call_sid": dial.call_sid,
            "ordered_by": dial.who,
            "opened_at_s": now - rang_s,
        }
        journal.keep(Kind.OPENED, "Opened", now - rang_s, opened)
        outcome = "declined" if dial.reason == NO_ROOM else dial.status
        closed = {"reason": dial.reason or dial.status, "outcome": outcome, "duration_ms": round(rang_s * 1000)}
        journal.keep(Kind.CLOSED, "Closed", now, closed)

    async def _in_thread(self, work: Callable[..., Answer], *given: Any) -> Answer:
        return await trio.to_thread.run_sync(work, *given, limiter=self._threads)
