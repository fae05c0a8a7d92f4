"""One media socket in the plane: from its first byte to its last. Plain function calls in the plane's one task.

A wire never calls its listener from inside a `send`, `close` or `abort` of somebody else: those only note what is to be
done, and the plane does it at the end of its round. So a listener may call any wire at any moment.

    SHAKING ──101──▶ OPEN ──our close frame──▶ CLOSING ──theirs──▶ LINGERING ──their FIN──▶ GONE
       │               └──their close frame, or a failure──────────────▲            (each but OPEN has a deadline)
       └──refused──────────────────────────────────────────────────────┘

The listener hears `on_closed` on the way into LINGERING, when nothing more can come; the socket follows.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Protocol

import structlog
import trio
from websockets.frames import EXTERNAL_CLOSE_CODES, CloseCode

from actors.media.failures import log_failure
from actors.media.frames import BINARY, TEXT, MaskPool
from actors.media.handshake import Answering, Asking, DialFailed, HandshakeRefused
from actors.media.outbox import Outbox
from actors.media.session import Message, Session, drain, release
from actors.media.statistics import PlaneStatistics
from actors.media.transport import Fetched, PlainTransport, Transport
from actors.ports import WireListener

__all__ = ["SWEEP_S", "Host", "Limits", "MediaWire"]

log = structlog.get_logger(__name__)

SWEEP_S = 0.1
"""How often the plane looks at every wire's deadlines."""

WRITE_BYTES = 16_384
"""One write offers at most so much; what is taken of it can no longer be dropped."""

CONTROLS_BURST, CONTROLS_A_SWEEP = 100, 2
"""Pings and pongs a peer may send at once, and how many of them are forgiven a sweep (20 a second)."""

_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds one wire."""

    max_message_bytes: int
    max_dialled_message_bytes: int
    audio_queue_ms: int
    handshake_timeout_s: float
    close_timeout_s: float
    ping_interval_s: float
    ping_timeout_s: float
    stall_timeout_s: float
    max_queue_bytes: int
    max_fragments: int
    in_place: bool


class Host(Protocol):
    """What a wire needs of its plane."""

    limits: Limits
    counts: PlaneStatistics
    masks: MaskPool
    to_flush: list[MediaWire]
    """Who has something to write, or perhaps has: `is_flush_due` says that a wire stands here."""
    is_awake: bool

    def wake(self) -> None: ...
    def flush_later(self, wire: MediaWire) -> None: ...
    def read_again(self, wire: MediaWire) -> None: ...
    def watch(self, wire: MediaWire, *, for_room: bool) -> None: ...
    def forget(self, wire: MediaWire) -> None: ...
    def report(self, listener: WireListener, code: int, reason: str) -> None: ...


class Stage(enum.Enum):
    SHAKING = enum.auto()
    OPEN = enum.auto()
    CLOSING = enum.auto()
    LINGERING = enum.auto()
    GONE = enum.auto()


OPEN = Stage.OPEN


class MediaWire:
    """Implements `actors.ports.Wire`. Made by the plane only; every method belongs to Trio's thread."""

    __slots__ = (
        "_blocked_at", "_broken", "_close_code", "_close_reason", "_controls", "_counts", "_deadline",
        "_ends_after_flush", "_handshake", "_host", "_is_blocked", "_is_dialled", "_is_plain", "_limits", "_listener",
        "_live", "_next_ping", "_outbox", "_ping_number", "_ping_sent_at", "_protocol",
        "_send_at_once", "_session", "_stage",
        "_transport",
        "failure", "fd", "fetch", "is_flush_due", "is_read_due", "owner", "peer", "shaken", "waits_inside", "watched",
    )  # fmt: skip

    def __init__(self, host: Host, fd: int, transport: Transport, handshake: Answering | Asking, peer: str) -> None:
        self.fd, self.peer, self.owner = fd, peer, ""
        self.is_flush_due = self.is_read_due = False
        self.shaken = trio.Event()
        """The opening handshake is over: well, or with `failure`."""
        self.failure: DialFailed | None = None
        self._host, self._transport = host, transport
        self._limits, self._counts = host.limits, host.counts
        self._handshake: Answering | Asking | None = handshake
        self._protocol = handshake.protocol
        self._is_dialled = isinstance(handshake, Asking)
        self._is_plain = isinstance(transport, PlainTransport)
        self.watched = transport.watched
        self.fetch = transport.fetch
        """Read the socket once, without a word to anybody; then `take`."""
        self.waits_inside = False
        """Whole frames wait in the session because its turn was over: `read` before anything is fetched."""
        self._session: Session | None = None
        self._live: Session | None = None
        """The same while the wire is open: a listener hears, and something may be sent."""
        self._listener: WireListener | None = None
        self._outbox = Outbox(self._limits.audio_queue_ms)
        self._stage = Stage.SHAKING
        self._ends_after_flush = False
        self._broken = ""
        """Why nothing can be written any more, though what has come may still be read."""
        self._is_blocked, self._blocked_at = False, inf
        self._send_at_once: Callable[[bytes], int] | None = None
        now = trio.current_time()
        self._deadline = inf if self._is_dialled else now + self._limits.handshake_timeout_s
        self._close_code, self._close_reason = 1006, ""
        self._controls = 0
        self._next_ping, self._ping_sent_at, self._ping_number = inf, inf, 0
        self._counts.handshakes_now += 1
        self._post(drain(handshake.protocol))

    # ---- the port: Wire

    @property
    def is_open(self) -> bool:
        return self._live is not None

    @property
    def queued_ms(self) -> int:
        return self._outbox.audio_ms

    def send_text(self, payload: bytes, audio_ms: int = 0) -> None:
        live = self._live
        if live is not None and live.ending is None:
            self._put(live.encode(TEXT, payload), audio_ms)

    def send_binary(self, payload: bytes, audio_ms: int = 0) -> None:
        live = self._live
        if live is not None and live.ending is None:
            self._put(live.encode(BINARY, payload), audio_ms)

    def drop_unsent_audio(self) -> int:
        return self._outbox.drop_audio()

    def close(self, code: int = 1000, reason: str = "") -> None:
        session = self._live
        if session is None:
            return
        self._live, self._stage = None, Stage.CLOSING
        self._find_way()
        self._deadline = trio.current_time() + self._limits.close_timeout_s
        if session.ending is not None:  # the peer was first: its close frame came with what is being heard now
            self._close_code, self._close_reason = session.ending.code, session.ending.reason
            return
        self._close_code, self._close_reason = _sendable(code), _clip(reason)
        session.close(self._close_code, self._close_reason)
        self._post(session.to_send())

    def abort(self) -> None:
        self._abort("aborted by us")

    # ---- called by the plane

    def read(self) -> None:
        """What waits inside, or else in the socket."""
        if self._stage is Stage.GONE:
            return
        if self.waits_inside:
            self._take(b"")
            self._after_reading()
            more = True  # what came meanwhile was told, and nobody looked
        else:
            fetched = self.fetch()
            if more := type(fetched) is bytes and bool(fetched):
                self._counts.bytes_in += len(fetched)
            self.take_with_care(fetched)
        if more:
            self._host.read_again(self)

    def take(self, fetched: bytes) -> int:
        """Bytes that `fetch` gave. Nearly always one whole frame of an open wire, so that comes first, in few steps.

        Returns how many messages the counts do not know of yet: 1, or 0.
        """
        live = self._live
        if live is None:
            self.take_with_care(fetched)
            return 0
        payload = live.one(fetched)
        listener = self._listener
        if payload is None or listener is None:
            self.take_with_care(fetched)
            return 0
        try:
            if live.is_text:
                listener.on_text(payload)
            else:
                listener.on_binary(payload)
        except Exception as error:
            self._listener_failed(error)
        if self._broken or not self._is_plain:
            self._after_reading()
        return 1

    def take_with_care(self, fetched: Fetched) -> None:
        """Whatever `fetch` gave."""
        if self._stage is Stage.GONE:
            return
        if fetched is None and not self._broken:
            self._host.flush_later(self)  # TLS moved on: what waited for its handshake may go now
        elif fetched is None:
            self._lost(self._broken)
        elif isinstance(fetched, OSError):
            self._lost(type(fetched).__name__)
        elif not fetched:
            self._lost("the peer closed the connection")
        else:
            self._take(fetched)
            self._after_reading()

    def _after_reading(self) -> None:
        if self._broken:
            self._host.read_again(self)
        if self._is_plain:
            return
        if self._transport.owes:
            self._host.flush_later(self)
        if self._transport.at_end and not (self._session is not None and self._session.backlog):
            self._lost("the peer closed the connection")

    def flush(self) -> int:
        """Write what waits, as far as the socket takes it. Returns how many bytes it took."""
        self.is_flush_due = False
        outbox = self._outbox
        only, send = outbox.only, self._send_at_once
        if only is None or send is None:
            return self._flush_with_care()
        try:
            taken = send(only)
        except OSError:
            taken = 0  # it will say so again, below
        if taken == len(only):
            outbox.only = None
            return taken
        outbox.spread()
        outbox.written(taken)
        return taken + self._flush_with_care()

    def _find_way(self) -> None:
        """Whether a lone frame may just be sent: the wire is open, and nothing is broken or stuck."""
        is_well = self._live is not None and not self._is_blocked and not self._broken
        self._send_at_once = self._transport.at_once if is_well else None

    def _flush_with_care(self) -> int:
        outbox, transport, progress = self._outbox, self._transport, 0
        if self._stage is Stage.GONE or self._broken:
            outbox.clear()
            return 0
        try:
            while outbox:
                chunk = outbox.next_bytes(WRITE_BYTES)
                taken = transport.send(chunk)
                progress += taken
                if taken == outbox.size:
                    outbox.clear()
                    break
                outbox.written(taken)
                if taken < len(chunk):
                    break
            if transport.owes:
                transport.send(b"")
            elif self._ends_after_flush and not outbox:
                self._ends_after_flush = False
                transport.end()
        except OSError as error:
            # What the peer said before it went may still be unread: its close frame, with the true reason.
            self._broken = type(error).__name__
            self._find_way()
            outbox.clear()
            self._host.read_again(self)
            return progress
        is_blocked = transport.owes or (bool(outbox) and transport.ready)
        if is_blocked or self._is_blocked:
            self._note_blocked(is_blocked, progress > 0)
        return progress

    def check(self, now: float) -> None:
        """Look at the deadlines; called every `SWEEP_S`."""
        if now >= self._deadline:
            self._deadline_passed()
        elif now - self._blocked_at >= self._limits.stall_timeout_s:
            self._stalled("the peer does not read")
        elif now - self._ping_sent_at >= self._limits.ping_timeout_s:
            self._stalled("the peer does not answer a ping")
        elif now >= self._next_ping and self._live is not None:
            self._next_ping = now + self._limits.ping_interval_s
            self._ping_number += 1
            self._ping_sent_at = min(now, self._ping_sent_at)
            self._live.ping(str(self._ping_number).encode())
            self._post(self._live.to_send())
        if self._controls:
            self._controls = max(0, self._controls - CONTROLS_A_SWEEP)

    def stop(self) -> None:
        """The plane ends: say so if that is possible without waiting, and go."""
        if self._live is not None:
            self.close(CloseCode.GOING_AWAY, "shutting down")
            self._counts.bytes_out += self.flush()
        if self._stage is Stage.SHAKING:
            self._give_up_handshake("the media plane stopped")
        self._finish(CloseCode.GOING_AWAY, "the media plane stopped")
        self._drop()

    # ---- reading

    def _take(self, data: bytes) -> None:
        session = self._session
        if session is None:
            if self._stage is Stage.SHAKING:
                self._shake(data)
            return  # refused, and lingering: what still comes is thrown away
        messages = session.receive(data)
        if messages:
            self._counts.frames_in += len(messages)
            self._deliver(messages)
        if session.touched:
            self._after_library(session)
        self.waits_inside = session.backlog
        if self.waits_inside:
            self._host.read_again(self)

    def _deliver(self, messages: list[Message]) -> None:
        listener = self._listener
        assert listener is not None
        try:
            for opcode, payload in messages:
                if self._stage is not OPEN:
                    return
                if opcode == TEXT:
                    listener.on_text(payload)
                else:
                    listener.on_binary(payload)
        except Exception as error:
            self._listener_failed(error)

    def _after_library(self, session: Session) -> None:
        session.touched = False
        if self._stage is Stage.GONE:
            return
        self._post(session.to_send())
        if session.pings:
            self._controls += session.pings
            session.pings = 0
            if session.pong is not None:
                self._ping_sent_at, session.pong = inf, None
            if self._controls > CONTROLS_BURST:
                self._fail(CloseCode.POLICY_VIOLATION, "too many pings")
                return
        ending = session.ending
        if ending is None or self._stage is Stage.LINGERING:
            return
        if ending.ours:
            self._counts.protocol_errors += 1
        if self._stage is Stage.CLOSING and not ending.ours:
            self._finish(self._close_code, self._close_reason)
        else:
            self._finish(ending.code, ending.reason)
        self._linger()

    # ---- the opening handshake

    def _shake(self, data: bytes) -> None:
        handshake = self._handshake
        if handshake is None:
            return
        try:
            opened = handshake.feed(data)
        except HandshakeRefused as refusal:
            log.info("media.refused", status=refusal.status, peer=self.peer)
            answer, _ = drain(self._protocol)
            self._end_handshake()
            self._counts.refused += 1
            self._post((answer or _BAD_REQUEST, True))
            self._linger()
            return
        except DialFailed as error:
            self.failure = error
            self._give_up_handshake(error.reason)
            return
        if opened is not None:
            self._opened(*opened)

    def _opened(self, listener: WireListener, rest: bytes) -> None:
        protocol, limits, self._handshake = self._protocol, self._limits, None
        self._post(drain(protocol))
        max_bytes = limits.max_dialled_message_bytes if self._is_dialled else limits.max_message_bytes
        self._session = Session(
            protocol,
            self._host.masks,
            max_message_bytes=max_bytes,
            max_fragments=limits.max_fragments,
            in_place=limits.in_place,
        )
        self._listener = listener
        self._stage, self._live, self._deadline = Stage.OPEN, self._session, inf
        self._find_way()
        if self._is_dialled:
            self._next_ping = trio.current_time() + limits.ping_interval_s
        self._counts.opened += 1
        try:
            listener.on_open(self)
        except Exception as error:
            self._listener_failed(error)
        self._end_handshake()
        if rest:
            self._take(rest)

    def _end_handshake(self) -> None:
        self._counts.handshakes_now -= 1
        self.shaken.set()

    def _give_up_handshake(self, reason: str) -> None:
        if self._is_dialled:
            self.failure = self.failure or DialFailed(reason)
        else:
            self._counts.refused += 1
        self._end_handshake()
        self._drop()

    # ---- writing

    def _put(self, frame: bytes, audio_ms: int) -> None:
        self._counts.frames_out += 1
        outbox = self._outbox
        if outbox.only is None and not outbox.queued_bytes:
            outbox.only, outbox.only_ms = frame, audio_ms
        elif outbox.put(frame, audio_ms) and (outbox.is_over or outbox.size > self._limits.max_queue_bytes):
            self._overflow()
        if not self.is_flush_due:
            self.is_flush_due = True
            host = self._host
            host.to_flush.append(self)
            if not host.is_awake:
                host.wake()

    def _post(self, writes: tuple[bytes, bool]) -> None:
        """Queue what the library wrote: control frames, heads, and the end of the stream."""
        data, ends = writes
        self._ends_after_flush |= ends
        if data:
            self._outbox.put(data, 0)
        if data or ends:
            self._host.flush_later(self)

    def _overflow(self) -> None:
        if not self._is_blocked:
            self._counts.bytes_out += self.flush()  # perhaps only a burst inside one round: the socket may have room
        if self._outbox.is_over:
            self._counts.audio_ms_dropped += self._outbox.shed()
        if self._outbox.size > self._limits.max_queue_bytes:
            self._stalled("the peer does not read: too much waits for it")

    def _note_blocked(self, is_blocked: bool, has_moved: bool) -> None:
        if is_blocked != self._is_blocked:
            self._is_blocked = is_blocked
            self._find_way()
            self._host.watch(self, for_room=is_blocked)
            has_moved = True
        if has_moved:
            self._blocked_at = trio.current_time() if is_blocked else inf

    # ---- the ways to end

    def _fail(self, code: int, reason: str) -> None:
        if self._session is not None and self._stage in (Stage.OPEN, Stage.CLOSING):
            self._counts.protocol_errors += code != CloseCode.INTERNAL_ERROR
            self._session.fail(code, reason)
            self._finish(code, reason)
            self._post(self._session.to_send())
            self._linger()

    def _listener_failed(self, error: Exception) -> None:
        log_failure("media.listener_failed", error, peer=self.peer)
        self._counts.listener_errors += 1
        if self._stage in (Stage.OPEN, Stage.CLOSING):
            self._fail(CloseCode.INTERNAL_ERROR, "the listener failed")

    def _stalled(self, reason: str) -> None:
        log.warning("media.stalled", reason=reason, peer=self.peer, unsent_bytes=self._outbox.size)
        self._counts.stalled += 1
        self._abort(reason)

    def _deadline_passed(self) -> None:
        if self._stage is Stage.SHAKING:
            log.info("media.handshake_too_slow", peer=self.peer)
            self._give_up_handshake("no upgrade in time")
        else:
            self._abort("no answer to our close frame")

    def _lost(self, reason: str) -> None:
        """The stream has ended, or broken."""
        if self._stage is Stage.SHAKING:
            self._give_up_handshake(reason)
        elif self._stage is not Stage.GONE:
            if self._listener is not None and self._stage is not Stage.LINGERING:
                self._counts.vanished += 1
            if self._outbox and not self._broken:
                # Perhaps it has ended only its own half, and still reads: our close frame, say.
                self._counts.bytes_out += self.flush()
            self._finish(CloseCode.ABNORMAL_CLOSURE, reason)
            self._drop()

    def _abort(self, reason: str) -> None:
        if self._stage is Stage.SHAKING:
            self._give_up_handshake(reason)
        elif self._stage is not Stage.GONE:
            self._finish(CloseCode.ABNORMAL_CLOSURE, reason)
            self._drop(by_reset=True)

    def _finish(self, code: int, reason: str) -> None:
        """Have the listener told, once."""
        self._live = None
        self._find_way()
        self._next_ping = self._ping_sent_at = inf
        listener, self._listener = self._listener, None
        if listener is not None:
            self._host.report(listener, int(code), reason)

    def _linger(self) -> None:
        if self._stage is not Stage.GONE:
            self._stage = Stage.LINGERING
            self._deadline = trio.current_time() + self._limits.close_timeout_s

    def _drop(self, *, by_reset: bool = False) -> None:
        if self._stage is not Stage.GONE:
            self._stage, self._live = Stage.GONE, None
            self._find_way()
            release(self._protocol)
            self._session = self._handshake = None
            self._outbox.clear()
            self._host.forget(self)
            if by_reset:
                self._transport.reset()
            else:
                self._transport.close()


def _sendable(code: int) -> int:
    """A code that may stand in a close frame: 1005, 1006 and the like only describe what happened."""
    if code in EXTERNAL_CLOSE_CODES or 3000 <= code < 5000:
        return int(code)
    return CloseCode.NORMAL_CLOSURE if code == CloseCode.NO_STATUS_RCVD else CloseCode.INTERNAL_ERROR


def _clip(reason: str) -> str:
    """A control frame has room for 123 bytes of reason."""
    return reason.encode()[:123].decode(errors="ignore")
