"""The media plane: one Trio task that owns every media socket of the process.

It sleeps on one epoll that lies inside Trio's own, then serves all ready sockets in a round of plain function calls
(read, deliver, write, report) without a switch between tasks. Measured, this is what makes hundreds of calls a
core possible (DESIGN §3). Linux only, because of epoll.
"""

from __future__ import annotations

import itertools
import select
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from math import inf
from types import MappingProxyType
from typing import ParamSpec

import structlog
import trio

from actors.media.dialling import connect, target_of
from actors.media.failures import log_failure
from actors.media.frames import MaskPool
from actors.media.handshake import Answering, Asking, DialFailed
from actors.media.session import MAX_FRAGMENTS
from actors.media.statistics import Lag, PlaneStatistics
from actors.media.transport import READ_BYTES, Fetched, PlainTransport, TlsSessions, TlsTransport, Transport, prepare
from actors.media.wire import SWEEP_S, Limits, MediaWire
from actors.ports import Doorkeeper, Wire, WireListener

__all__ = ["TICK_S", "MediaPlane"]

log = structlog.get_logger(__name__)

TICK_S = 0.020
LATE_TICK_S = 0.100
SOCKETS_A_ROUND = 128  # what a call orders, a `clear` say, waits for no more than these
BUSY_SOCKETS, GATHER_S = 4, 0.001
ALONE_S = 0.003  # under load, others' sockets are looked at so often
GIVE_WAY_S = 0.02  # a tool call with two durable records takes about half of it

_IN, _OUT = select.EPOLLIN, select.EPOLLOUT
_END = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})

P = ParamSpec("P")
Tick = Callable[[float], None]


class MediaPlane:
    """Adopts and dials websockets, and beats time for those who play audio.

    `run` is the one task; every other method may be called from any task of the same Trio loop (never from another
    thread), before `run` too. Limits: `max_message_bytes` of one message in (over it: close 1009; more for whom we
    dialled, as Vapi's `conversation-update` repeats the whole conversation), `audio_queue_ms` of unsent audio a wire,
    `max_queue_bytes` unsent in all a wire (over it: abort), `max_handshakes` adopted sockets that have not yet finished
    their upgrade, `max_fragments` of one message (over it: close 1008). `in_place=False` gives every frame to the
    library, to compare.
    """

    def __init__(
        self,
        *,
        max_message_bytes: int = 65_536,
        max_dialled_message_bytes: int = 1_048_576,
        audio_queue_ms: int = 1_000,
        handshake_timeout_s: float = 5.0,
        close_timeout_s: float = 2.0,
        ping_interval_s: float = 20.0,
        ping_timeout_s: float = 10.0,
        stall_timeout_s: float = 5.0,
        max_queue_bytes: int = 262_144,
        max_handshakes: int = 256,
        max_fragments: int = MAX_FRAGMENTS,
        in_place: bool = True,
    ) -> None:
        self.limits = Limits(
            max_message_bytes=max_message_bytes,
            max_dialled_message_bytes=max_dialled_message_bytes,
            audio_queue_ms=audio_queue_ms,
            handshake_timeout_s=handshake_timeout_s,
            close_timeout_s=close_timeout_s,
            ping_interval_s=ping_interval_s,
            ping_timeout_s=ping_timeout_s,
            stall_timeout_s=stall_timeout_s,
            max_queue_bytes=max_queue_bytes,
            max_fragments=max_fragments,
            in_place=in_place,
        )
        self.counts = PlaneStatistics()
        self.lag = Lag()
        self.masks = MaskPool()
        self._max_handshakes = max_handshakes
        self._epoll = select.epoll()
        self._wires: dict[int, MediaWire] = {}
        self.to_flush: list[MediaWire] = []
        self._to_read: list[MediaWire] = []
        self._to_report: list[tuple[WireListener, int, str]] = []
        self._ticks: dict[int, tuple[Tick, int, int]] = {}
        self._tick_keys = itertools.count()
        self._next_tick, self._next_sweep = inf, inf
        self._tls: ssl.SSLContext | None = None
        self._tls_sessions = TlsSessions(self.counts)
        self._sleep = trio.CancelScope()
        self.is_awake = True
        self._is_over = False
        self._is_busy = False  # many sockets were ready in the last round
        self._is_full = False  # … and there may be more
        self._gives_way_until = self._alone_until = 0.0
        self._now = 0.0  # while a round lasts: when it began

    # ---- for everybody

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. On the way out every socket is closed and every listener told (1001)."""
        try:
            task_status.started()
            while True:
                await self._rest()
                try:
                    self._round()
                finally:
                    self._now = 0.0
        finally:
            self._stop()

    def adopt(self, sock: socket.socket, doorkeeper: Doorkeeper, *, peer: str) -> None:
        """Take a connected socket whose upgrade request is still unread. It is the plane's from here on."""
        if self._is_over or self.counts.handshakes_now >= self._max_handshakes:
            self.counts.refused += 1
            log.warning("media.turned_away", peer=peer, handshakes=self.counts.handshakes_now)
            sock.close()
            return
        handshake = Answering(doorkeeper, peer, self.limits.max_message_bytes)
        try:
            prepare(sock)
            self._add(sock, PlainTransport(sock), handshake, peer)
        except OSError as error:  # it is gone already
            log.info("media.adopt_failed", peer=peer, error=type(error).__name__)
            sock.close()

    async def dial(
        self,
        url: str,
        listener: WireListener,
        *,
        headers: Mapping[str, str] = _NO_HEADERS,
        timeout_s: float = 5.0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> Wire:
        """Open a websocket to `url` (ws or wss) within `timeout_s`, all steps together.

        The listener hears `on_open` just before this returns, and messages may come to it before the caller runs
        again. When the dial fails or is cancelled after that, it hears `on_closed`; before, nothing.

        Raises:
            DialFailed: why, in words without the address, which may be a secret.
        """
        if self._is_over:
            raise DialFailed("the media plane has stopped")
        target = target_of(url)
        wire: MediaWire | None = None
        with trio.move_on_after(timeout_s):
            sock = await connect(target)
            wire = self._dialled(
                sock, Asking(target, listener, headers, self.limits.max_dialled_message_bytes), ssl_context
            )
            try:
                await wire.shaken.wait()
            except trio.Cancelled:
                wire.abort()
                raise
            if wire.failure is not None:
                raise wire.failure
            return wire
        raise DialFailed(f"no {'answer' if wire else 'connection'} within {timeout_s:g} s")

    def every_tick(self, callback: Tick, *, ticks: int = 1) -> Callable[[], None]:
        """Call `callback(trio.current_time())` about every `ticks` × 20 ms from the plane's task, until the returned
        function is called. Ticks that a stall swallowed are not made up for: count time, not ticks. A callback that
        raises is reported and dropped.
        """
        if not self._ticks:
            self._next_tick = trio.current_time() + TICK_S
        key = next(self._tick_keys)
        self._ticks[key] = (callback, ticks, key % ticks)  # the seldom ones are spread over all ticks
        self.wake()

        def unregister() -> None:
            self._ticks.pop(key, None)

        return unregister

    def give_way(self, seconds: float = GIVE_WAY_S) -> None:
        """For so long the thread is not kept while frames gather: something is under way from task to task, and each
        of them would wait for that. Sound is no later for it; frames cost a little more meanwhile.
        """
        self._gives_way_until = trio.current_time() + seconds

    def clock(self) -> float:
        """Trio's time; within a round the time at which the round began, which is nearer to when the frames came."""
        return self._now or trio.current_time()

    def statistics(self) -> PlaneStatistics:
        """The counts, and what waits in each call's queues just now."""
        queued: Counter[str] = Counter()
        for wire in self._wires.values():
            if wire.queued_ms:
                queued[wire.owner] += wire.queued_ms
        return replace(self.counts, sockets_now=len(self._wires), queued_ms_by_call=dict(queued))

    # ---- for the wires

    def flush_later(self, wire: MediaWire) -> None:
        if not wire.is_flush_due:
            wire.is_flush_due = True
            self.to_flush.append(wire)
            self.wake()

    def read_again(self, wire: MediaWire) -> None:
        if not wire.is_read_due:
            wire.is_read_due = True
            self._to_read.append(wire)
            self.wake()

    def watch(self, wire: MediaWire, *, for_room: bool) -> None:
        self._epoll.modify(wire.fd, wire.watched | (_OUT if for_room else 0))

    def forget(self, wire: MediaWire) -> None:
        if self._wires.pop(wire.fd, None) is not None:
            with suppress(OSError):
                self._epoll.unregister(wire.fd)

    def report(self, listener: WireListener, code: int, reason: str) -> None:
        self._to_report.append((listener, code, reason))
        self.wake()

    # ---- the one task

    def wake(self) -> None:
        if not self.is_awake:
            self.is_awake = True
            self._sleep.cancel()

    async def _rest(self) -> None:
        """Sleep until a socket is ready, a deadline passes or somebody wakes us. Always lets other tasks run."""
        if self._to_read or self.to_flush or self._to_report:
            await trio.lowlevel.checkpoint()
            return
        if self._is_busy:
            # Trio's way of waiting costs more than three frames do, and under load the next frame is never far. So we
            # stand still for a moment, in which frames gather, and let the others run: unless one of them wants to.
            # Those whose turn in this pass is still to come do not show, so they say so beforehand (`give_way`).
            now = trio.current_time()
            if self._gives_way_until > now:
                await trio.sleep(GATHER_S)
                return
            tasks = trio.lowlevel.current_statistics()
            if not tasks.tasks_runnable and tasks.seconds_to_next_deadline > GATHER_S:
                if not self._is_full:
                    time.sleep(GATHER_S)  # noqa: ASYNC251
                if now < self._alone_until:
                    return  # a pass of Trio costs as much as some frames do, and nobody is known to want one
            await trio.lowlevel.checkpoint()
            if tasks.tasks_runnable:
                await trio.lowlevel.checkpoint()  # who runs when in a pass is chance: now all of them have
            self._alone_until = trio.current_time() + ALONE_S
            return
        deadline = min(self._next_tick if self._ticks else inf, self._next_sweep if self._wires else inf)
        with trio.CancelScope(deadline=deadline) as self._sleep:
            self.is_awake = False
            try:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
            finally:
                self.is_awake = True

    def _round(self) -> None:
        now = self._now = trio.current_time()
        if self.to_flush:  # what the calls' tasks have ordered since; a `clear` must not wait for this whole round
            self._write_and_report()
        backlog, self._to_read = self._to_read, []
        for wire in backlog:
            wire.is_read_due = False
            self._guarded(wire, wire.read)
        # First all are read, then all is worked on, then all is written: what was said at the same time is heard at the
        # same time, and a peer on this machine is woken once for many frames and not for each (decision 0006).
        fetched, others = self._fetch()
        frames_in = 0
        for wire, data in fetched:
            try:
                frames_in += wire.take(data)
            except Exception as error:
                self._bug(wire, error)
        for wire, nothing in others:
            self._guarded(wire, wire.take_with_care, nothing)
        self.counts.frames_in += frames_in
        if now >= self._next_tick and self._ticks:
            self._tick(now)
        if now >= self._next_sweep:
            self._next_sweep = now + SWEEP_S
            for wire in list(self._wires.values()):
                self._guarded(wire, wire.check, now)
        self._write_and_report()

    def _fetch(self) -> tuple[list[tuple[MediaWire, bytes]], list[tuple[MediaWire, Fetched]]]:
        """Read every ready socket once: who gave bytes, and who gave none."""
        wires = self._wires
        found = self._epoll.poll(0, SOCKETS_A_ROUND)
        self._is_busy = len(found) >= BUSY_SOCKETS
        self._is_full = len(found) >= SOCKETS_A_ROUND
        fetched: list[tuple[MediaWire, bytes]] = []
        others: list[tuple[MediaWire, Fetched]] = []
        bytes_in = 0
        for fd, events in found:
            ready = wires.get(fd)
            if ready is None:
                continue
            if events != _IN:
                if events & _OUT:
                    self.flush_later(ready)
                    if events == _OUT:
                        continue
                if events & _END:
                    self.read_again(ready)  # the end stands behind what is read now, and is told only once
            if ready.waits_inside:
                continue
            data = ready.fetch()
            if type(data) is bytes:
                fetched.append((ready, data))
                size = len(data)
                bytes_in += size
                if size >= READ_BYTES:
                    self.read_again(ready)
            else:
                others.append((ready, data))
        self.counts.bytes_in += bytes_in
        return fetched, others

    def _guarded(self, wire: MediaWire, act: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            act(*args, **kwargs)
        except Exception as error:
            self._bug(wire, error)

    def _bug(self, wire: MediaWire, error: Exception) -> None:
        """A bug of ours: this wire's, and nobody else's."""
        log_failure("media.bug", error, peer=wire.peer)
        wire.abort()

    def _write_and_report(self) -> None:
        while self.to_flush or self._to_report:
            flushing, self.to_flush = self.to_flush, []
            bytes_out = 0
            for wire in flushing:
                try:
                    bytes_out += wire.flush()
                except Exception as error:
                    self._bug(wire, error)
            self.counts.bytes_out += bytes_out
            reports, self._to_report = self._to_report, []
            for listener, code, reason in reports:
                try:
                    listener.on_closed(code, reason)
                except Exception as error:
                    self.counts.listener_errors += 1
                    log_failure("media.listener_failed", error)

    def _tick(self, now: float) -> None:
        late = now - self._next_tick
        self._next_tick = now + TICK_S - late % TICK_S
        self.counts.ticks += 1
        self.counts.late_ticks += late > LATE_TICK_S
        self.lag.note(late)
        number = self.counts.ticks
        for key, (callback, ticks, turn) in tuple(self._ticks.items()):
            if ticks != 1 and number % ticks != turn:
                continue
            try:
                callback(now)
            except Exception as error:
                log_failure("media.tick_failed", error)
                self._ticks.pop(key, None)

    # ---- sockets

    def _dialled(self, sock: socket.socket, handshake: Asking, ssl_context: ssl.SSLContext | None) -> MediaWire:
        uri = handshake.uri
        try:
            prepare(sock)
            transport: Transport = PlainTransport(sock)
            if uri.secure:
                tls = ssl_context or self._default_tls()
                transport = TlsTransport(sock, tls, uri.host, uri.port, self._tls_sessions)
            return self._add(sock, transport, handshake, uri.host)
        except (OSError, ValueError) as error:
            sock.close()
            raise DialFailed(type(error).__name__) from error

    def _default_tls(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()  # 40 ms of blocked loop: once
        return self._tls

    def _add(self, sock: socket.socket, transport: Transport, handshake: Answering | Asking, peer: str) -> MediaWire:
        fd = sock.fileno()
        self._epoll.register(fd, transport.watched)
        if not self._wires:
            self._next_sweep = trio.current_time() + SWEEP_S
            self.wake()
        self._wires[fd] = wire = MediaWire(self, fd, transport, handshake, peer)
        return wire

    def _stop(self) -> None:
        self._is_over = True
        for wire in list(self._wires.values()):
            self._guarded(wire, wire.stop)
        self._write_and_report()
        self._ticks.clear()
        self._epoll.close()
