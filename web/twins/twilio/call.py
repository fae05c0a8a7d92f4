"""One telephone call at the Twilio twin: its resource, its sound, and whoever waits for something to be heard."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from email.utils import formatdate
from random import Random
from typing import TYPE_CHECKING, Any

import trio

from engine.audio import FRAME_BYTES, SILENCE_FRAME
from web.twins.twilio.problems import TEXTS
from web.twins.twilio.room import Room
from web.twins.twilio.settings import Faults
from web.twins.twilio.speaker import Speaker
from web.twins.twilio.tap import NOBODY, SOUND, WORDS, Tap, is_loud

if TYPE_CHECKING:
    from web.twins.twilio.handset import Handset
    from web.twins.twilio.stream import Stream

FINAL = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})
SUBRESOURCES = (
    "notifications", "recordings", "payments", "events", "siprec", "streams", "transcriptions",
    "user_defined_message_subscriptions", "user_defined_messages",
)  # fmt: skip


@dataclass
class StatusPlan:
    """Who is told of this call's progress."""

    url: str = ""
    method: str = "POST"
    events: tuple[str, ...] = ("completed",)


@dataclass
class TwinCall:
    """A call, inbound or placed by REST."""

    sid: str
    account_sid: str
    from_number: str
    to_number: str
    direction: str
    number_sid: str
    plan: StatusPlan = field(default_factory=StatusPlan)
    status: str = "queued"
    created_s: float = field(default_factory=time.time)
    started_s: float | None = None
    ended_s: float | None = None
    ended_by: str = ""
    failed_step: str | None = None
    answered_by: str = ""  # what machine detection found
    errors: list[dict[str, Any]] = field(default_factory=list)
    tap: Tap = field(default_factory=Tap)
    speaker: Speaker = field(default_factory=Speaker)
    mouth: bytearray = field(default_factory=bytearray)
    mouth_has_words: bool = True
    chance: Random = field(default_factory=lambda: Random(1))  # noqa: S311 — of its line; no secret
    faults: Callable[[], Faults] = Faults
    stream: Stream | None = None
    handset: Handset | None = None  # of a live caller
    ended: trio.Event = field(default_factory=trio.Event)
    callbacks_sent: int = 0
    media_messages: int = 0  # that have come from the server
    redirected: tuple[str, str] | None = None  # ("url" | "twiml", value): new instructions by REST
    scope: trio.CancelScope | None = None  # the TwiML document that runs
    _waiting: list[tuple[Callable[[], bool], trio.Event]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._room = Room(self.faults, self.chance)

    @property
    def is_live(self) -> bool:
        return self.status == "in-progress"

    @property
    def is_over(self) -> bool:
        return self.status in FINAL

    def tick(self) -> None:
        """20 ms pass: the caller's mouth, the caller's ear, the stream between them."""
        said, caller = SILENCE_FRAME, NOBODY
        spoken = self.handset.microphone.frame() if self.handset is not None else None
        if self.mouth:
            said = bytes(self.mouth[:FRAME_BYTES]).ljust(FRAME_BYTES, b"\xff")
            del self.mouth[:FRAME_BYTES]
            if is_loud(said):
                caller = WORDS if self.mouth_has_words else SOUND
        elif spoken is not None:
            said, caller = spoken, WORDS if is_loud(spoken) else NOBODY
        if self.stream is not None:
            self.stream.take_what_has_come()
        heard, reached = self.speaker.frame()
        picked_up = self._room.frame(said, self.tap.heard)
        self.tap.add(picked_up, heard, caller=caller, source=self.speaker.source)
        if self.handset is not None:
            self.handset.hear(heard, said)
        if self.stream is not None:
            self.stream.caller_frame(picked_up)
            for name in reached:
                self.stream.return_mark(name, cleared=False)
        for waiting in [one for one in self._waiting if one[0]()]:
            self._waiting.remove(waiting)
            waiting[1].set()

    async def until(self, condition: Callable[[], bool], within_s: float) -> bool:
        """Wait until something is so, looking at each frame; False when it did not come in time."""
        if condition():
            await trio.lowlevel.checkpoint()
            return True
        waiting = (condition, trio.Event())
        self._waiting.append(waiting)
        try:
            with trio.move_on_after(within_s):
                await waiting[1].wait()
                return True
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
        return False

    def error(self, code: int, detail: str = "") -> None:
        """One of Twilio's errors or warnings, as its debugger would show it."""
        self.errors.append({"code": code, "message": TEXTS.get(code, ""), "detail": detail, "at_ms": self.tap.now_ms})
        self.tap.note("error", code=code, detail=detail)

    def hang_up(self, who: str) -> None:
        """End the call: the document that runs is over, and so is the stream."""
        if not self.ended_by:
            self.ended_by = who
        self.redirected = None
        if self.scope is not None:
            self.scope.cancel()

    def go_elsewhere(self, kind: str, value: str) -> None:
        """New instructions by REST replace the document that runs (reference/twilio.md §17.2)."""
        self.redirected = (kind, value)
        if self.scope is not None:
            self.scope.cancel()

    def webhook_params(self) -> dict[str, str]:
        """What every request about this call carries, blank geography included (§3)."""
        params = {
            "AccountSid": self.account_sid,
            "ApiVersion": "2010-04-01",
            "CallSid": self.sid,
            "CallStatus": self.status,
            "Direction": self.direction,
        }
        for name, number in (
            ("From", self.from_number),
            ("Caller", self.from_number),
            ("To", self.to_number),
            ("Called", self.to_number),
        ):
            params |= {name: number, f"{name}City": "", f"{name}Country": "US", f"{name}State": "DC", f"{name}Zip": ""}
        return params

    def resource(self) -> Mapping[str, Any]:
        """The REST resource, with every key that the official SDK reads (§17.3)."""
        uri = f"/2010-04-01/Accounts/{self.account_sid}/Calls/{self.sid}"
        duration = str(round(self.ended_s - self.started_s)) if self.ended_s and self.started_s else None
        return {
            "sid": self.sid,
            "date_created": _date(self.created_s),
            "date_updated": _date(self.ended_s or self.started_s or self.created_s),
            "parent_call_sid": None,
            "account_sid": self.account_sid,
            "to": self.to_number,
            "to_formatted": self.to_number,
            "from": self.from_number,
            "from_formatted": self.from_number,
            "phone_number_sid": self.number_sid,
            "status": self.status,
            "start_time": _date(self.started_s),
            "end_time": _date(self.ended_s),
            "duration": duration,
            "price": None,
            "price_unit": "USD",
            "direction": self.direction,
            "answered_by": self.answered_by or None,
            "api_version": "2010-04-01",
            "forwarded_from": None,
            "group_sid": None,
            "caller_name": None,
            "queue_time": "0",
            "stir_verstat": None,
            "trunk_sid": None,
            "uri": f"{uri}.json",
            "subresource_uris": {name: f"{uri}/{_camel(name)}.json" for name in SUBRESOURCES},
        }

    def story(self) -> dict[str, Any]:
        """All that the twin knows, for `GET /twin/calls/{sid}`."""
        over = self.ended.is_set()
        silences = self.tap.silences() if over else []
        return {
            "sid": self.sid,
            "status": self.status,
            "answered_by": self.answered_by,
            "ended": over,
            "ended_by": self.ended_by,
            "failed_step": self.failed_step,
            "errors": self.errors,
            "barge_ins": self.tap.measured() if over else [],
            "overlaps": [asdict(span) for span in self.tap.overlaps()] if over else [],
            "silences": [asdict(span) for span in silences],
            "longest_silence_ms": max((span.length_ms for span in silences), default=0.0),
            "duration_ms": self.tap.now_ms,
            "events": self.tap.events,
        }


def _date(moment_s: float | None) -> str | None:
    return None if moment_s is None else formatdate(moment_s).replace("-0000", "+0000")


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
