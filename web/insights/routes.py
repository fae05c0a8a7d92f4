"""The addresses of the insights: sums as JSON, and two tables as CSV."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import trio
from quart import Response
from quart_trio import QuartTrio

from web.api.parameters import flag, integer, moment, text
from web.api.routes import Api
from web.api.summary import iso
from web.insights.query import CALL_COLUMNS, Filter, call_rows, insights
from web.insights.tables import csv_lines, slot_rows
from web.insights.types import Insights

__all__ = ["add_insights"]

MOST_OFFSET_MIN = 14 * 60
CHUNK_CALLS = 1_000  # of a table in memory at once
MOST_CACHED = 16


class _Answers:
    """Answers that hold until the file changes: several viewers of the same page cost one."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._found: dict[tuple[Filter, bool], tuple[tuple[int, int], Insights]] = {}

    async def get(self, chosen: Filter) -> Insights:
        await self._api.model.look()
        return await self._api.model.ask(self._get, chosen, self._api.model.catching_up)

    def _get(self, chosen: Filter, catching_up: bool) -> Insights:
        connection = self._api.model.connection()
        state = (connection.execute("PRAGMA data_version").fetchone()[0], connection.total_changes)
        known = self._found.pop((chosen, catching_up), None)
        found = known[1] if known and known[0] == state else insights(connection, chosen, catching_up=catching_up)
        self._found[chosen, catching_up] = state, found
        while len(self._found) > MOST_CACHED:
            del self._found[next(iter(self._found))]
        return found


def add_insights(app: QuartTrio, api: Api) -> None:
    """`/api/insights`, `/api/insights.csv` and `/api/calls.csv`."""
    answers = _Answers(api)

    @app.get("/api/insights")
    async def sums() -> Response:
        api.access.require()
        found = await answers.get(_filter())
        body = await trio.to_thread.run_sync(msgspec.json.encode, found)
        return Response(body, 200, content_type="application/json")

    @app.get("/api/insights.csv")
    async def sums_as_table() -> Response:
        api.access.require()
        found = await answers.get(_filter())
        return _csv(await trio.to_thread.run_sync(lambda: csv_lines(slot_rows(found))), "insights.csv")

    @app.get("/api/calls.csv")
    async def calls_as_table() -> Response:
        api.access.require()
        chosen = _filter()
        await api.model.look()
        response = _csv(_call_lines(api, chosen), "calls.csv")
        response.timeout = None  # many calls are a long file
        return response


async def _call_lines(api: Api, chosen: Filter) -> AsyncIterator[str]:
    """The table piece by piece."""
    yield csv_lines([[*CALL_COLUMNS[:1], "began_at", *CALL_COLUMNS[1:]]])
    after: tuple[int, int] | None = None
    while True:
        rows = await api.model.ask(lambda place: call_rows(api.model.connection(), chosen, place, CHUNK_CALLS), after)
        if not rows:
            return
        after = rows[-1][1], rows[-1][-1]
        yield await trio.to_thread.run_sync(_lines, rows)
        if len(rows) < CHUNK_CALLS:
            return


def _lines(rows: list[tuple[object, ...]]) -> str:
    return csv_lines((row[0], iso(float(str(row[1])) / 1000), *row[1:-1]) for row in rows)


def _csv(body: str | AsyncIterator[str], name: str) -> Response:
    response = Response(body, 200, content_type="text/csv; charset=utf-8; header=present")
    response.headers["Content-Disposition"] = f'attachment; filename="callscope-{name}"'
    return response


def _filter() -> Filter:
    return Filter(
        **{name: text(name) for name in ("agent", "outcome", "fault", "caller", "reason")},
        marked=flag("marked"),
        since_ms=moment("since"),
        until_ms=moment("until"),
        offset_min=integer("offset_min", 0, -MOST_OFFSET_MIN, MOST_OFFSET_MIN),
    )
