"""The webhook generator: a process of its own that asks one server, over kept connections, at full speed or evenly.

One epoll loop in plain Python. Orders are JSON lines on its input, answers JSON lines on its output. In an even load
(`rate`) a request's time runs from the moment when it was due, so a server that stands still cannot hide it.
"""

from __future__ import annotations

import random
import re
import resource
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from itertools import cycle

import msgspec

CONNECT_S = 5.0
DRAIN_S = 3.0
GOOD = b"HTTP/1.1 200 "
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Order(msgspec.Struct):
    """What to do. Each request is the bytes of one, as latin-1 text.

    With `rate` (a second) they come at random moments, however quickly they are answered; without, each connection
    sends its next as soon as it has its answer. `once`: until the requests are used up, instead of over and over.

    `kinds` names each request's kind, and then each kind's times are told apart, from just before its bytes are
    written; `wanted` is what a kind's answers hold: without it they are bad.
    """

    port: int
    requests: list[str]
    connections: int
    seconds: float
    rate: float = 0.0
    once: bool = False
    kinds: list[str] = []
    wanted: Mapping[str, str] = {}


class Connection:
    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), CONNECT_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.fd = self.sock.fileno()
        self.seen = b""
        self.due = self.sent_at = 0.0
        self.is_marked = False
        self.kind = ""

    def answer(self) -> bytes | None:
        """One whole answer, when it is here."""
        some = self.sock.recv(65_536)
        if not some:
            raise ConnectionError("the server closed a kept connection")
        self.seen += some
        head = self.seen.find(b"\r\n\r\n")
        if head < 0:
            return None
        length = _LENGTH.search(self.seen, 0, head)
        if length is None or len(self.seen) < head + 4 + int(length[1]):
            return None
        answer, self.seen = self.seen, b""
        return answer


class Round:
    """One order, carried out."""

    def __init__(self, order: Order) -> None:
        self._order = order
        kinds = order.kinds or [""] * len(order.requests)
        requests = [(one.encode("latin-1"), kind) for one, kind in zip(order.requests, kinds, strict=True)]
        self._requests: Iterator[tuple[bytes, str]] = iter(requests) if order.once else cycle(requests)
        self._wanted = {kind: text.encode("latin-1") for kind, text in order.wanted.items()}
        self._connections = {c.fd: c for c in (Connection(order.port) for _ in range(order.connections))}
        self._free = deque(self._connections.values())
        self._epoll = select.epoll()
        self._waiting: deque[float] = deque()
        self._random = random.Random(1)  # noqa: S311 — the same load for everybody
        self._latencies_s: list[float] = []
        self._marked_s: list[float] = []
        self._by_kind_s: dict[str, list[float]] = {}
        self._wrong: dict[str, str] = {}
        self._bad = self._under_way = self._most_waiting = 0
        self._is_used_up = False

    def run(self) -> dict[str, object]:
        for connection in self._free:
            self._epoll.register(connection.fd, select.EPOLLIN)
        began, began_cpu = time.perf_counter(), time.process_time()
        over = began + self._order.seconds
        answered_s = self._even(began, over) if self._order.rate else self._hurried(over)
        cpu_s = time.process_time() - began_cpu
        seconds = max(answered_s, began + 1e-9) - began
        for connection in self._connections.values():
            connection.sock.close()
        self._epoll.close()
        return {
            "requests": len(self._latencies_s),
            "bad": self._bad,
            "unanswered": self._under_way + len(self._waiting),
            "seconds": seconds,
            "requests_per_s": len(self._latencies_s) / seconds,
            "generator_cpu": cpu_s / seconds,
            "most_waiting": self._most_waiting,
            "latency_ms": _summary(self._latencies_s),
            "marked_ms": _summary(self._marked_s),
            "kinds_ms": {kind: _summary(seconds) for kind, seconds in self._by_kind_s.items()},
            "wrong": self._wrong,
            "began": began,
        }

    def _hurried(self, over: float) -> float:
        while (now := time.perf_counter()) < over:
            while self._free and not self._is_used_up:
                self._send(self._free.popleft(), time.perf_counter())
            if not self._under_way:
                break
            self._read(1.0)
        return now

    def _even(self, began: float, over: float) -> float:
        due, now = began, time.perf_counter()
        while now < over + DRAIN_S and (now < over or self._under_way or self._waiting):
            while due <= now and due < over:
                self._waiting.append(due)
                due += self._random.expovariate(self._order.rate)
            while self._waiting and self._free:
                self._send(self._free.popleft(), self._waiting.popleft())
            self._most_waiting = max(self._most_waiting, len(self._waiting))
            self._read(0.0 if self._waiting and self._free else max(0.0, min(due - time.perf_counter(), 0.05)))
            now = time.perf_counter()
        return min(now, over)

    def _send(self, connection: Connection, due: float) -> None:
        request, connection.kind = next(self._requests, (b"", ""))
        if not request:
            self._is_used_up = True
            return
        connection.due, connection.is_marked = due, b'"tool-calls"' in request
        connection.sent_at = time.perf_counter()
        connection.sock.sendall(request)
        self._under_way += 1

    def _read(self, timeout_s: float) -> None:
        for fd, _ in self._epoll.poll(timeout_s):
            connection = self._connections[fd]
            answer = connection.answer()
            if answer is None:
                continue
            self._under_way -= 1
            self._note(connection, answer, time.perf_counter())
            self._free.append(connection)

    def _note(self, connection: Connection, answer: bytes, now: float) -> None:
        took_s, is_good = now - connection.due, answer.startswith(GOOD)
        self._latencies_s.append(took_s)
        kind = connection.kind
        if kind:
            self._by_kind_s.setdefault(kind, []).append(now - connection.sent_at)
            is_good = is_good and self._wanted.get(kind, b"") in answer
            if not is_good:
                self._wrong.setdefault(kind, answer[-200:].decode("latin-1"))
        elif connection.is_marked:
            self._marked_s.append(took_s)
            is_good = is_good and b'"result"' in answer  # an apology is no answer here
        self._bad += not is_good


def _summary(seconds: list[float]) -> dict[str, float]:
    """Percentiles in milliseconds, and of how many; empty when nothing was seen."""
    if not seconds:
        return {}
    seconds = sorted(seconds)
    last = len(seconds) - 1
    at = {"p50": last // 2, "p99": int(last * 0.99), "max": last}
    return {"n": len(seconds), **{name: round(seconds[index] * 1000, 3) for name, index in at.items()}}


def main() -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a thousand connections at once
    print(msgspec.json.encode({"ready": True}).decode(), flush=True)
    for line in sys.stdin.buffer:
        print(msgspec.json.encode(Round(msgspec.json.decode(line, type=Order)).run()).decode(), flush=True)


if __name__ == "__main__":
    main()
