"""Between the workers of one fleet: whose call it is, and how a request gets to its owner.

Whose a call is follows from its CallSid alone, so every worker knows it without asking anybody. A request that came to
another worker goes to the owner over a Unix socket, raw, and is checked there again; nothing is forwarded twice,
because the app behind that socket asks nobody. The folder of those sockets is ours alone (0700).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpcore
import msgspec
import structlog
import trio

from web.passing import Passing

__all__ = ["Answer", "Place", "Siblings", "Statistics", "open_siblings", "owner_of", "worker_in"]

log = structlog.get_logger(__name__)

FORWARD_S = 20.0  # the longest wait for an answer: a tool has 18 s (web.vapi_hooks), the way is short
ASK_ALL_S = 2.0
NUMBERS_S = 0.5  # /metrics answers without a worker that is slower
CONNECT_S, WRITE_S = 0.5, 2.0
# Waiting tools hold a connection each. Idle ones go after 2 s, long before the other side would close them.
MOST_CONNECTIONS, MOST_IDLE, IDLE_S = 1_000, 50, 2.0
BACKLOG = 512
NOT_KNOWN = 404  # what a worker answers to a sibling about a call that it does not have
MOST_WORKERS = 64

_MEDIA = re.compile(rb"GET /media/w([0-9]{1,3})[/? ]")
_NOT_PASSED_ON = frozenset(
    {b"host", b"connection", b"content-length", b"transfer-encoding", b"keep-alive", b"upgrade", b"te", b"trailer",
     b"expect", b"accept-encoding", b"proxy-connection"}
)  # fmt: skip


def owner_of(call_sid: str, of: int) -> int:
    """The worker, of so many, whose call this is. The same in every process, at any time."""
    digest = hashlib.blake2s(call_sid.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % of


def worker_in(head: bytes) -> int | None:
    """The worker that a request for the media socket names (`/media/w3`), from its first line."""
    found = _MEDIA.match(head)
    return int(found[1]) if found else None


@dataclass(frozen=True)
class Place:
    """Which worker of how many this process is.

    Args:
        run_dir: the fleet's folder of sockets, short enough for a Unix address (107 bytes).
    """

    worker: int
    of: int
    run_dir: Path

    @property
    def others(self) -> list[int]:
        return [worker for worker in range(self.of) if worker != self.worker]

    @property
    def vapi_query(self) -> str:
        """What a call's webhook address at Vapi gets, so that its webhooks name their owner."""
        return f"worker={self.worker}"

    @property
    def assistant_file(self) -> Path:
        """Where the first worker writes which Vapi assistant it has made, for the others: two would make two."""
        return self.run_dir / "assistant"

    def http_path(self, worker: int) -> Path:
        return self.run_dir / f"worker-{worker}.http"

    def fds_path(self, worker: int) -> Path:
        return self.run_dir / f"worker-{worker}.fds"

    async def listen(self) -> trio.SocketListener:
        """The socket on which this worker hears its siblings. A predecessor's is removed."""
        path = self.http_path(self.worker)
        path.unlink(missing_ok=True)
        sock = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
        await sock.bind(str(path))
        sock.listen(BACKLOG)
        return trio.SocketListener(sock)


@dataclass(frozen=True)
class Answer:
    """What a sibling answered."""

    status: int
    content_type: str
    body: bytes = field(repr=False)

    @property
    def is_known(self) -> bool:
        """Whether the sibling has the call that it was asked about."""
        return self.status != NOT_KNOWN


@dataclass
class Statistics:
    """Counts since the start, for `/metrics`."""

    forwarded: int = 0
    unreachable: int = 0
    asked_all: int = 0


class Siblings:
    """The other workers, as this one reaches them. Make it with `open_siblings`.

    `passing` is for connected sockets; the rest is for requests.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.statistics = Statistics()
        self.passing = Passing(place.fds_path)
        self._pools = {worker: _pool(place.http_path(worker)) for worker in place.others}

    def owner_of_call(self, call_sid: str) -> int:
        """The worker whose call this is; it may be us."""
        return owner_of(call_sid, self.place.of)

    def owner_of_vapi(self, query: bytes) -> int | None:
        """The worker that a Vapi webhook's address names; it may be us. None: it names none of the fleet."""
        (named,) = _query(query).get("worker", [""])[:1]
        worker = int(named) if named.isascii() and named.isdecimal() and len(named) <= 3 else -1
        return worker if 0 <= worker < self.place.of else None

    async def forward(
        self,
        worker: int,
        method: str,
        target: bytes,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes,
        *,
        within_s: float = FORWARD_S,
    ) -> Answer | None:
        """Give a request to a sibling as it came.

        Args:
            target: raw path and query: signatures are over them.

        Returns:
            its answer; None when it cannot be reached or does not answer in time.
        """
        self.statistics.forwarded += 1
        answer = None
        with trio.move_on_after(within_s):
            answer = await self._ask(worker, method, target, headers, body)
        if answer is None:
            self.statistics.unreachable += 1
            log.warning("siblings.unreachable", sibling=worker)
        return answer

    async def ask_all(
        self,
        method: str,
        target: bytes,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes,
        *,
        besides: Collection[int] = (),
        within_s: float = ASK_ALL_S,
    ) -> Answer | None:
        """Ask every sibling but those; the first that has the call answers for all. None: nobody has it, in time."""
        self.statistics.asked_all += 1
        found: list[Answer] = []
        with trio.move_on_after(within_s):
            async with trio.open_nursery() as nursery:

                async def ask(worker: int) -> None:
                    answer = await self._ask(worker, method, target, headers, body)
                    if answer is not None and answer.is_known:
                        found.append(answer)
                        nursery.cancel_scope.cancel()

                for worker in self.place.others:
                    if worker not in besides:
                        nursery.start_soon(ask, worker)
        return found[0] if found else None

    async def numbers(self) -> dict[int, Mapping[str, Any]]:
        """Every sibling's numbers, of those that tell them in time."""
        told: dict[int, Mapping[str, Any]] = {}
        with trio.move_on_after(NUMBERS_S):
            async with trio.open_nursery() as nursery:

                async def ask(worker: int) -> None:
                    answer = await self._ask(worker, "GET", b"/internal/numbers", (), b"")
                    if answer is not None and answer.status == 200:
                        told[worker] = msgspec.json.decode(answer.body)

                for worker in self.place.others:
                    nursery.start_soon(ask, worker)
        return told

    async def aclose(self) -> None:
        self.passing.close()
        for pool in self._pools.values():
            await pool.aclose()

    async def _ask(
        self, worker: int, method: str, target: bytes, headers: Sequence[tuple[bytes, bytes]], body: bytes
    ) -> Answer | None:
        passed_on = [(name, value) for name, value in headers if name.lower() not in _NOT_PASSED_ON]
        timeout = {"connect": CONNECT_S, "pool": CONNECT_S, "write": WRITE_S, "read": FORWARD_S}
        try:
            response = await self._pools[worker].request(
                method,
                httpcore.URL(scheme=b"http", host=b"sibling", target=target),
                headers=passed_on,
                content=body,
                extensions={"timeout": timeout},
            )
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as lost:
            log.debug("siblings.lost", sibling=worker, why=type(lost).__name__)
            return None
        given = dict(response.headers).get(b"content-type", b"application/octet-stream")
        return Answer(response.status, given.decode("latin-1"), response.content)


@asynccontextmanager
async def open_siblings(place: Place | None) -> AsyncIterator[Siblings | None]:
    """The siblings of a worker; None for a process that is no worker."""
    if place is None:
        yield None
        return
    siblings = Siblings(place)
    try:
        yield siblings
    finally:
        with trio.move_on_after(1.0, shield=True):
            await siblings.aclose()


def _pool(path: Path) -> httpcore.AsyncConnectionPool:
    return httpcore.AsyncConnectionPool(
        uds=str(path), max_connections=MOST_CONNECTIONS, max_keepalive_connections=MOST_IDLE, keepalive_expiry=IDLE_S
    )


def _query(query: bytes) -> dict[str, list[str]]:
    try:
        return parse_qs(query.decode("latin-1"), max_num_fields=20)
    except ValueError:
        return {}
