"""What the actors need from outside, as protocols. `web` and the fakes in `tests/fakes/` fulfil them.

Nothing here knows which package carries a websocket or where a journal is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from engine.journal import Record


class Wire(Protocol):
    """One open websocket, whatever carries it. All calls are synchronous and never block.

    What cannot be written at once waits in a bounded queue that is counted in milliseconds of audio; when it
    is full the oldest *audio* is dropped and counted, never a control message.
    """

    owner: str
    """Whose wire it is, set by who uses it: the call's id. For statistics."""

    @property
    def is_open(self) -> bool: ...

    def send_text(self, payload: bytes, audio_ms: int = 0) -> None:
        """Send one text message (UTF-8 JSON bytes). `audio_ms` > 0 marks it as audio that may be dropped.

        Sending on a closed wire does nothing.
        """

    def send_binary(self, payload: bytes, audio_ms: int = 0) -> None:
        """Send one binary message; as `send_text`."""

    def drop_unsent_audio(self) -> int:
        """Forget audio that still waits in our own queue (barge-in). Returns the milliseconds dropped."""

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Start the closing handshake; the socket is gone within the plane's close deadline, whatever the peer does."""

    def abort(self) -> None:
        """Drop the socket now."""


class WireListener(Protocol):
    """Who hears what comes in on a wire. Called from the media plane's one task: never blocks, never raises.

    An exception that does escape ends this wire (close 1011) and is reported to `on_closed`, nothing else.
    """

    def on_open(self, wire: Wire) -> None:
        """The opening handshake is done. Called once, before anything else."""

    def on_text(self, payload: bytes) -> None:
        """One whole text message."""

    def on_binary(self, payload: bytes) -> None:
        """One whole binary message."""

    def on_closed(self, code: int, reason: str) -> None:
        """The wire is gone. Called exactly once, last; 1006 when the peer vanished without a close frame."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """The request that asks for a websocket. Header names are lower case."""

    path: str
    headers: Mapping[str, str]
    peer: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Answer an upgrade with this HTTP status instead of 101. The body says nothing an attacker could use."""

    status: int
    body: str = ""


class Doorkeeper(Protocol):
    """Decides on an upgrade: a listener for the new wire, or a refusal. Pure and quick."""

    def __call__(self, upgrade: Upgrade, /) -> WireListener | Refusal: ...


@dataclass(frozen=True, slots=True)
class AgentCall:
    """A Vapi call. Both addresses are secrets: whoever has one is the caller (reference/vapi.md §4.1)."""

    id: str
    websocket_url: str = field(repr=False)
    control_url: str | None = field(default=None, repr=False)


class VapiCalls(Protocol):
    """Vapi's REST side, as far as a call needs it."""

    async def create_call(self, body: Mapping[str, Any], *, deadline_s: float) -> AgentCall:
        """Create a call on the websocket transport.

        Raises:
            VapiTrouble: refused, or not answered within the deadline.
        """

    async def end_call(self, call: AgentCall) -> None:
        """End a call whose socket never opened, so that it stops costing; best effort.

        Raises:
            VapiTrouble: it could not be told.
        """


class TwilioCalls(Protocol):
    """Twilio's REST side, as far as a call needs it."""

    async def redirect(self, call_sid: str, *, url: str) -> bool:
        """Make a live call ask this URL for its next TwiML; False when the call is over already.

        Raises:
            TwilioTrouble: refused, or not answered.
        """


class Recording(Protocol):
    """The recording of one call: what the bridge writes to, 50 times a second."""

    def tap(self, caller_mulaw: bytes, heard_mulaw: bytes) -> None: ...


class Recorder(Protocol):
    """Makes recordings; their files are named by the call's id alone."""

    def open(self, call_id: str) -> Recording: ...

    async def close(self, recording: Recording) -> Mapping[str, Any]:
        """Finish the file. Returns what the journal keeps about it: path, lengths, problem."""


class Plane(Protocol):
    """The media plane, as far as a call needs it."""

    def clock(self) -> float:
        """Trio's time, as exact as audio needs it: what is heard together is given the same time."""

    async def dial(
        self, url: str, listener: WireListener, *, headers: Mapping[str, str] = ..., timeout_s: float = ...
    ) -> Wire:
        """Open a websocket.

        Raises:
            ConnectionError: it could not be opened within the time; the text says why.
        """

    def every_tick(self, callback: Callable[[float], None], *, ticks: int = 1) -> Callable[[], None]:
        """Call back about every `ticks` × 20 ms, until the returned function is called."""


class Journal(Protocol):
    """Where a call's records go. One contract suite (`tests/contracts/test_journal.py`) runs on all implementations."""

    def append(self, record: Record) -> None:
        """Keep the record, soon and in order. Never blocks; a full queue counts the record as lost."""

    async def commit(self, record: Record) -> None:
        """Keep the record and return once it is durable (tool intents and results).

        Raises:
            JournalUnavailable: it could not be kept.
        """

    async def flush(self) -> None:
        """Return once everything appended so far is durable."""

    async def read(self, call_id: str) -> Sequence[Record]:
        """All records of one call in order; empty when there is no such call."""

    def statistics(self) -> JournalStatistics: ...


@dataclass(frozen=True, slots=True)
class JournalStatistics:
    appended: int
    durable: int
    lost: int
    waiting: int
