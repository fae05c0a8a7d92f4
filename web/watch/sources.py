"""Where the calls come from: the journal's file, also of another process, or a service's API with its event stream."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import httpx
import msgspec
import trio

from actors.journal_reader import NoJournal, UnknownCall, find_call, last_row, list_calls, records_of, tail
from engine.errors import BadSettings
from engine.journal import Kind, Record
from web.api.index import SILENT_S
from web.api.summary import Summary, summarise
from web.api.types import CallRow, RecordRow
from web.api.types import Changes as ChangedRows

__all__ = ["HttpSource", "JournalSource", "Source"]

MOST_CALLS = 500  # looked at when it begins, and remembered
MOST_ENDED = 20
RECORDS_A_READ = 2_000
AGAIN_S = 1.0
SILENCE_S = 25.0  # the service sends a heartbeat every ten seconds
PAGE = 200


class Source(Protocol):
    """The calls, as they are now."""

    name: str
    problem: str

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep what it must keep up to date, until cancelled; ready once it can be asked."""

    async def rows(self) -> Sequence[CallRow]:
        """Live calls first, then those that ended lately; each the newest first."""

    async def records(self, call_id: str) -> Sequence[Record]:
        """All records of one call so far."""

    async def find(self, wanted: str) -> str:
        """The id of the call that is meant: whole, its beginning, or `last`.

        Raises:
            UnknownCall: none, or several.
        """


class JournalSource:
    """Reads the journal's file; never writes. No journal yet is a house without calls."""

    def __init__(self, data: Path) -> None:
        self.name, self.problem = str(data), ""
        self._path = data / "journal.sqlite3"
        self._row = 0
        self._calls: dict[str, Summary] = {}
        self._records: tuple[str, list[Record]] = ("", [])

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await trio.to_thread.run_sync(self._begin)
        task_status.started()
        await trio.sleep_forever()

    async def rows(self) -> Sequence[CallRow]:
        return await trio.to_thread.run_sync(self._read)

    async def records(self, call_id: str) -> Sequence[Record]:
        return await trio.to_thread.run_sync(self._read_one, call_id)

    async def find(self, wanted: str) -> str:
        return await trio.to_thread.run_sync(find_call, self._path, wanted)

    def _begin(self) -> None:
        self._row = last_row(self._path)
        with contextlib.suppress(NoJournal):
            for row in list_calls(self._path, MOST_CALLS):
                if row.status == "open" or len(self._calls) < MOST_ENDED:
                    self._calls[row.call_id] = summarise(records_of(self._path, row.call_id))

    def _read(self) -> Sequence[CallRow]:
        self._take_new()
        now = time.time()
        for summary in self._calls.values():
            if not summary.ended and summary.last_wall_s < now - SILENT_S:
                summary.lose()
        return _ordered([summary.row(now) for summary in self._calls.values()])

    def _take_new(self) -> None:
        more = True
        while more:
            self._row, records = tail(self._path, self._row, RECORDS_A_READ)
            for record in records:
                self._calls.setdefault(record.call_id, Summary(record.call_id)).take(record)
            more = len(records) == RECORDS_A_READ
        ended = sorted((one for one in self._calls.values() if one.ended), key=lambda one: one.began_wall_s)
        for summary in ended[: max(0, len(ended) - MOST_ENDED)]:
            del self._calls[summary.id]

    def _read_one(self, call_id: str) -> Sequence[Record]:
        self._take_new()
        known = self._calls.get(call_id)
        kept_id, kept = self._records
        if known is None or kept_id != call_id or not kept or kept[-1].seq < known.seq:
            self._records = call_id, records_of(self._path, call_id)
        return self._records[1]


class HttpSource:
    """A service's API. The key, if it wants one, goes in the `Authorization` header.

    Args:
        client: for tests; one of its own otherwise.
    """

    def __init__(self, url: str, key: str = "", *, client: httpx.AsyncClient | None = None) -> None:
        self.name, self.problem = url, ""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        timeout = httpx.Timeout(10.0, read=SILENCE_S)
        self._http = client or httpx.AsyncClient(base_url=url, headers=headers, timeout=timeout)
        self._rows: dict[str, CallRow] = {}
        self._call_id = ""
        self._records: list[Record] = []
        self._nursery: trio.Nursery | None = None
        self._stream = trio.CancelScope()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with self._http:
            await self._load()  # a wrong address or key is told at once
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                await self._follow("/api/events", self._on_list)

    async def rows(self) -> Sequence[CallRow]:
        await trio.lowlevel.checkpoint()
        return _ordered([*self._rows.values()])

    async def records(self, call_id: str) -> Sequence[Record]:
        if call_id != self._call_id:
            self._stream.cancel()
            self._call_id, self._records, self._stream = call_id, [], trio.CancelScope()
            assert self._nursery is not None
            self._nursery.start_soon(self._follow_call, call_id, self._stream)
        await trio.lowlevel.checkpoint()
        return list(self._records)

    async def find(self, wanted: str) -> str:
        ids = [row.id for row in _ordered([*self._rows.values()])]
        if wanted == "last" and ids:
            return max(self._rows.values(), key=lambda row: row.began_ms).id
        fitting = [one for one in ids if one.startswith((wanted, f"call-{wanted}"))]
        if len(fitting) == 1 or wanted in ids:
            return wanted if wanted in ids else fitting[0]
        if not fitting and (await self._http.get(f"/api/calls/{wanted}")).status_code == httpx.codes.OK:
            return wanted
        raise UnknownCall(wanted, fitting[:5])

    # --- behind -----------------------------------------------------------------------------------------------------

    async def _load(self) -> None:
        found: list[CallRow] = []
        for state, most in (("live", MOST_CALLS), ("ended", MOST_ENDED)):
            cursor: str | None = ""
            while cursor is not None and len(found) < MOST_CALLS:
                asked: dict[str, Any] = {"state": state, "limit": min(PAGE, most)}
                answer = await self._get("/api/calls", asked | ({"cursor": cursor} if cursor else {}))
                found += msgspec.convert(answer["calls"], list[CallRow])
                cursor = answer["next"] if state == "live" else None
        self._rows = {row.id: row for row in found}

    async def _get(self, path: str, asked: dict[str, Any]) -> Any:
        try:
            answer = await self._http.get(path, params=asked)
        except (httpx.HTTPError, httpx.InvalidURL) as trouble:
            why = type(trouble).__name__
            raise BadSettings(f"no service answers at {self.name} ({why}): is the address right?") from None
        if answer.status_code in (401, 403):
            raise BadSettings(f"{self.name} wants a key: set CALLSCOPE_KEY, or give --key")
        if answer.status_code != httpx.codes.OK:
            raise BadSettings(f"{self.name}{path} answered {answer.status_code}: is that a Callscope service?")
        return answer.json()

    async def _follow_call(self, call_id: str, scope: trio.CancelScope) -> None:
        def take(name: str, data: Any) -> None:
            if name == "record" and call_id == self._call_id:
                record = _record(msgspec.convert(data, RecordRow))
                if not self._records or record.seq > self._records[-1].seq:
                    self._records.append(record)

        with scope:
            await self._follow(f"/api/events?call={call_id}", take)

    def _on_list(self, name: str, data: Any) -> None:
        if name == "calls":
            for row in msgspec.convert(data, ChangedRows).calls:
                self._rows[row.id] = row
            ended = sorted((row for row in self._rows.values() if row.state == "ended"), key=lambda row: row.began_ms)
            for row in ended[: max(0, len(ended) - MOST_ENDED)]:
                del self._rows[row.id]

    async def _follow(self, address: str, take: Any) -> None:
        """Read an event stream for ever; a lost one is opened again."""
        while True:
            try:
                async with self._http.stream("GET", address, headers={"Accept": "text/event-stream"}) as answer:
                    answer.raise_for_status()
                    if self.problem and address == "/api/events":
                        await self._load()  # what changed meanwhile
                    self.problem = ""
                    name = ""
                    async for line in answer.aiter_lines():
                        if line.startswith("event: "):
                            name = line.removeprefix("event: ")
                        elif line.startswith("data: "):
                            take(name, json.loads(line.removeprefix("data: ")))
            except (httpx.HTTPError, BadSettings) as trouble:
                self.problem = f"the service was lost ({type(trouble).__name__}); trying again"
            await trio.sleep(AGAIN_S)


def _ordered(rows: list[CallRow]) -> Sequence[CallRow]:
    return sorted(rows, key=lambda row: (row.state != "live", -row.began_ms, row.id))


def _record(row: RecordRow) -> Record:
    return Record(row.call_id, row.seq, row.at_ms, 0.0, Kind(row.kind), row.name, row.data)
