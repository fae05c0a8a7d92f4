"""Server-sent events: what changes, to each viewer, from the one reader of the journal.

Events: `hello` first; then `calls` with rows that changed, or for the stream of one call `record` with each record and
`call` with its row; a comment every ten seconds; `dropped` as the last one, when the viewer should connect again.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import ExitStack
from types import TracebackType

import msgspec
import trio
from quart import Response
from quart.wrappers.response import ResponseBody

from engine.journal import Record
from web.api.model import ENDS, Batch, CallsModel, Viewer
from web.api.redact import record_row
from web.api.types import Changes, Dropped, Hello
from web.timeline import Timeline

__all__ = ["event_stream"]

HEARTBEAT_S = 10.0
RETRY_MS = 2000
HEARTBEAT = b": still here\n\n"
SIGNED_OUT = "the session is over; log in again"

_ENCODER = msgspec.json.Encoder()


def event(name: str, data: object, *, id_: int | None = None) -> bytes:
    """One event. JSON has no line breaks, so it is one line of data."""
    head = f"id: {id_}\n" if id_ is not None else ""
    return f"{head}event: {name}\ndata: ".encode() + _ENCODER.encode(data) + b"\n\n"


class _Stream(ResponseBody):
    """The body of one viewer's answer."""

    def __init__(
        self,
        model: CallsModel,
        hello: Hello,
        call_id: str | None,
        after_seq: int,
        is_over: Callable[[], bool],
    ) -> None:
        self._model, self._hello, self._call_id, self._after_seq = model, hello, call_id, after_seq
        self._is_over = is_over
        self._stack = ExitStack()
        self._timeline = Timeline()
        self._viewer: Viewer | None = None
        self._chunks: AsyncGenerator[bytes, None] | None = None

    async def __aenter__(self) -> _Stream:
        self._viewer = self._stack.enter_context(self._model.watch(self._call_id))
        return self

    async def __aexit__(self, exc_type: type, exc_value: BaseException, tb: TracebackType) -> None:
        self._stack.close()
        if self._chunks is not None:
            await self._chunks.aclose()  # it may stand in the middle: its viewer is gone

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._chunks = self._told_on()
        return self._chunks

    async def _told_on(self) -> AsyncGenerator[bytes, None]:
        viewer = self._viewer
        assert viewer is not None
        yield f"retry: {RETRY_MS}\n".encode() + event("hello", self._hello)
        if self._call_id is not None:
            yield self._records(await self._model.records(self._call_id)) or HEARTBEAT
        while not viewer.dropped:
            batch = None
            with trio.move_on_after(HEARTBEAT_S):
                try:
                    batch = await viewer.batches.receive()
                except (trio.EndOfChannel, trio.ClosedResourceError):
                    break
            if self._is_over():
                yield event("dropped", Dropped(SIGNED_OUT))
                return
            told = self._told(batch) if batch is not None else HEARTBEAT
            if told:
                yield told
        yield event("dropped", Dropped(viewer.dropped or ENDS))

    def _told(self, batch: Batch) -> bytes:
        if self._call_id is not None:
            rows = [event("call", row) for row in batch.rows if row.id == self._call_id]
            return self._records(batch.records.get(self._call_id, ())) + b"".join(rows)
        if not batch.rows:
            return b""
        told = batch.shared.get("calls")
        if told is None:
            told = batch.shared["calls"] = event("calls", Changes(list(batch.rows), batch.live))
        return told

    def _records(self, records: Iterable[Record]) -> bytes:
        """Those that this viewer has not seen."""
        told = []
        for record in records:
            row = record_row(record, self._timeline)
            if record.seq > self._after_seq:
                self._after_seq = record.seq
                told.append(event("record", row, id_=record.seq))
        return b"".join(told)


def event_stream(
    model: CallsModel,
    *,
    version: str,
    call_id: str | None = None,
    after_seq: int = -1,
    is_over: Callable[[], bool] = lambda: False,
) -> Response:
    """The answer to whoever watches.

    Args:
        call_id: the records of this call from behind `after_seq`; None: the rows of all calls.
        is_over: whether its viewer may not watch any more; asked before each event, and every ten seconds at least.
    """
    hello = Hello(version, model.start, model.live)
    response = Response(
        _Stream(model, hello, call_id, after_seq, is_over), 200, content_type="text/event-stream; charset=utf-8"
    )
    response.timeout = None
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"  # a proxy must not gather what is to be seen at once
    return response
