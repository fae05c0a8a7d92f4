"""A quick way for one address: connections whose request line names it are served here, without ASGI.

One Trio task a connection. A request that needs no waiting costs three system calls and one sleep. At each request's
end the next one is looked at before anything is taken: when it is not for us, the connection goes back to the front
door unspoilt (a proxy sends all kinds of requests over one connection of its pool). Measured in `callscope bench`.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from math import inf

import structlog
import trio

from actors.media.failures import log_failure
from web.http_reading import PIECE_BYTES, Doing, Gone, Limits, Line, Request, Unservable, read_request

__all__ = ["Answer", "FastHttp", "Later"]

log = structlog.get_logger(__name__)

SWEEP_S = 1.0
MOST_IN_A_ROW = 4  # requests of one pipelining peer before others have their turn


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is told."""

    status: int
    body: bytes = field(repr=False)
    content_type: str = "application/json"


Later = Callable[[], Awaitable[Answer]]
Handler = Callable[[Request], Answer | Later]


class FastHttp:
    """Serves `POST path`.

    Args:
        handler: answers at once, or returns what to await for the answer. That must end in a time of its own, and is
            not cancelled when the peer goes.
        sweep_s: how often time-outs are looked at: one sweep for all connections is cheaper than a timer for each.
    """

    def __init__(self, path: str, handler: Handler, *, limits: Limits | None = None, sweep_s: float = SWEEP_S) -> None:
        begin = b"POST " + path.encode("ascii")
        self._beginnings = (begin + b" ", begin + b"?")
        self._handler, self._limits, self._sweep_s = handler, limits or Limits(), sweep_s
        self._lines: set[Line] = set()
        self._is_closing = False

    def is_ours(self, head: bytes) -> bool:
        """Whether a request that begins like this is served here. Too little of it: no."""
        return head.startswith(self._beginnings)

    async def run(self) -> None:
        """Beat time for the time-outs, until cancelled."""
        while True:
            await trio.sleep(self._sweep_s)
            now = trio.current_time()
            for line in self._lines:
                if line.deadline < now:
                    line.scope.cancel()

    def close(self) -> None:
        """From now on each answer is its connection's last; those that wait for nothing go at once."""
        self._is_closing = True
        for line in self._lines:
            if line.doing is Doing.NOTHING:
                line.scope.cancel()

    async def serve(self, stream: trio.SocketStream) -> bool:
        """Serve a connection. It stays the caller's to close.

        Returns:
            whether it lives on: its next request is not ours (or too little of it is here to say) and is untouched.
        """
        ours = stream.socket  # ours shares the descriptor for a while: trio's own calls cost a task switch each
        sock = socket.socket(ours.family, ours.type, ours.proto, fileno=ours.fileno())
        sock.setblocking(False)
        line = Line(sock)
        self._lines.add(line)
        try:
            with line.scope:
                return await self._requests(line)
            if line.doing is Doing.READING:
                await self._refuse(line, 408)
        except Unservable as problem:
            await self._refuse(line, problem.status)
        except (Gone, OSError):
            pass
        finally:
            self._lines.discard(line)
            sock.detach()
        return False

    async def _requests(self, line: Line) -> bool:
        in_a_row, maybe_more = 0, True
        while True:
            if not (maybe_more and line.look()):
                if self._is_closing:
                    return False
                line.deadline = trio.current_time() + self._limits.idle_s
                await trio.lowlevel.wait_readable(line.sock)
                in_a_row, maybe_more = 0, True
                continue
            if not self.is_ours(line.seen):
                return bool(line.seen)
            line.doing = Doing.READING
            line.deadline = trio.current_time() + self._limits.request_s
            request = await read_request(line, self._limits)
            maybe_more = line.take()
            line.doing = Doing.ANSWERING
            answer = await self._answer(line, request)
            keep = request.keep_alive and not self._is_closing
            await line.send(_response(answer, keep=keep))
            if not keep:
                if maybe_more:
                    await self._see_out(line)
                return False
            line.doing = Doing.NOTHING
            in_a_row += 1
            if in_a_row >= MOST_IN_A_ROW:
                in_a_row = 0
                await trio.lowlevel.checkpoint()

    async def _answer(self, line: Line, request: Request) -> Answer:
        try:
            answer = self._handler(request)
            if not isinstance(answer, Answer):
                line.deadline = inf
                answer = await answer()
                line.deadline = trio.current_time() + self._limits.send_s
        except Exception as error:  # a bug of ours: this request's, and nobody else's
            log_failure("fast_http.bug", error)
            line.deadline = trio.current_time() + self._limits.send_s
            answer = Answer(500, b'{"error": "internal"}')
        return answer

    async def _refuse(self, line: Line, status: int) -> None:
        """The connection's last words; its time-outs are over, so this has its own."""
        log.info("fast_http.refused", status=status)
        with suppress(OSError):
            line.sock.send(_response(Answer(status, b"", "text/plain"), keep=False))
            await self._see_out(line)

    async def _see_out(self, line: Line) -> None:
        """Let a peer that still sends read our answer: closing on unread bytes would destroy it."""
        line.deadline = inf
        line.sock.shutdown(socket.SHUT_WR)
        with trio.move_on_after(self._limits.linger_s):
            while await line.receive(PIECE_BYTES):
                pass


def _response(answer: Answer, *, keep: bool) -> bytes:
    return b"%b%d\r\ndate: %b\r\n%b%b" % (
        _beginning(answer.status, answer.content_type),
        len(answer.body),
        _date(int(time.time())),
        b"\r\n" if keep else b"connection: close\r\n\r\n",
        answer.body,
    )


@lru_cache(maxsize=64)
def _beginning(status: int, content_type: str) -> bytes:
    phrase = HTTPStatus(status).phrase
    return f"HTTP/1.1 {status} {phrase}\r\ncontent-type: {content_type}\r\ncontent-length: ".encode("latin-1")


@lru_cache(maxsize=1)
def _date(now_s: int) -> bytes:
    return formatdate(now_s, usegmt=True).encode("ascii")
