"""The console's addresses: the page, its files, and the export of a call."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import trio
from quart import Response, request
from quart_trio import QuartTrio

from engine.journal import Record
from web.api.detail import call_detail, recording_offset_ms
from web.api.diagram import diagram
from web.api.headers import secure_page
from web.api.lanes import lanes
from web.api.redact import record_rows
from web.api.routes import Api, whole
from web.api.summary import Summary
from web.api.types import RecordingInfo
from web.console.export import ExportBody, Sound, export_head, export_tail
from web.console.files import PREFIX, PageFile, PageFiles

__all__ = ["add_console"]

PEAK_MS = 10
MOST_PEAKS = 12_000
_FOREVER = "public, max-age=31536000, immutable"
_PLAIN = re.compile(r"[^A-Za-z0-9_-]")


def add_console(app: QuartTrio, api: Api, *, files: PageFiles | None = None, connects_to: str = "") -> None:
    """Serve the page. It is public, and holds nothing: what it shows, it asks the API for.

    Args:
        connects_to: other places that the page may open a connection to, such as the handset's websocket.
    """
    page_files = files or PageFiles()

    def sent(file: PageFile, kept: str) -> Response:
        response = _response(file, kept, page_files.version)
        return secure_page(response, https=api.access.https, also=connects_to)

    @app.get("/")
    @app.get("/calls/<path:_rest>")
    @app.get("/insights")
    async def page(_rest: str = "") -> Response:
        return sent(page_files.page, "no-cache")

    @app.get(f"{PREFIX}/<version>/<name>")
    async def static_file(version: str, name: str) -> Response:
        file = page_files.files.get(name) if version == page_files.version else None
        if file is None:
            return Response("no such file in this version of the console", 404, content_type="text/plain")
        return sent(file, _FOREVER)

    @app.get("/api/calls/<call_id>/export.html")
    async def export(call_id: str) -> Response:
        api.access.require()
        summary, records = await whole(api, call_id)
        body = await trio.to_thread.run_sync(_export, api, page_files, summary, records)
        response = Response(body, 200, content_type="text/html; charset=utf-8")
        response.timeout = None  # a long call is a long file
        response.headers["Content-Disposition"] = f'attachment; filename="{_PLAIN.sub("", call_id)}.html"'
        return response


def _response(file: PageFile, kept: str, version: str) -> Response:
    etag = f'W/"{version}"'
    if etag in request.headers.get("If-None-Match", ""):
        response = Response(b"", 304)
    elif "gzip" in request.headers.get("Accept-Encoding", ""):
        response = Response(file.zipped, 200, content_type=file.content_type)
        response.headers["Content-Encoding"] = "gzip"
    else:
        response = Response(file.body, 200, content_type=file.content_type)
    response.headers["ETag"] = etag
    response.headers["Vary"] = "Accept-Encoding"
    response.headers["Cache-Control"] = kept
    return response


def _export(api: Api, files: PageFiles, summary: Summary, records: list[Record]) -> ExportBody:
    """Blocks: for a thread."""
    now = datetime.now(UTC)
    opened = api.recordings.open(summary.id)
    sound = Sound(opened.fd, opened.size) if opened is not None else None
    try:
        waveform, info = None, None
        if opened is not None:
            points = max(1, min(MOST_PEAKS, round(opened.duration_ms / PEAK_MS)))
            waveform = api.recordings.waveform(summary.id, points)
            offset_ms = recording_offset_ms(records)
            info = RecordingInfo("", opened.duration_ms, offset_ms, summary.recording_problem, "")
        call = call_detail(summary, records, info, now_wall_s=now.timestamp())
        data = {
            "call": call,
            "lanes": lanes(records),
            "records": record_rows(records),
            "waveform": waveform,
            "diagram": _drawn(),
        }
        return ExportBody(export_head(files, call, data, f"{now:%Y-%m-%d %H:%M} UTC"), sound, export_tail(files))
    except BaseException:
        ExportBody("", sound, "").__del__()
        raise


def _drawn() -> dict[str, object]:
    """The rules without the service's own picture: the page draws its own."""
    drawn = diagram()
    return {"phases": drawn.phases, "edges": drawn.edges}
