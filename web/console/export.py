"""One call as one HTML file that opens from a disk, without any network: the console's own page with its data inside.

The file is sent piece by piece: of the sound, which is nearly all of it, only 48 KiB are in memory at a time.
"""

from __future__ import annotations

import base64
import hashlib
import html
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import msgspec
import trio
from quart.wrappers.response import ResponseBody

from web.api.types import CallDetail
from web.console.files import PageFiles

__all__ = ["ExportBody", "Sound", "export_head"]

CHUNK_BYTES = 48 * 1024  # a multiple of three: base64 of the pieces is base64 of the whole

_HEAD = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header class="bar"><span class="brand">Callscope</span><span class="soft">{title} · exported {exported}</span>
<span class="spring"></span><button id="theme" class="quiet" type="button">Theme</button></header>
<main id="view" tabindex="-1"></main>
<noscript><div class="page"><h1>{title}</h1><ol class="story">{story}</ol></div></noscript>
<script type="application/json" id="data">{data}</script>
"""
_SOUND_BEGINS, _SOUND_ENDS = '<audio id="sound" hidden preload="auto" src="data:audio/wav;base64,', '"></audio>\n'
_TAIL = "<script>{script}</script>\n</body>\n</html>\n"


@dataclass(frozen=True, slots=True)
class Sound:
    """An open recording; whoever has it closes it."""

    fd: int
    size: int


def export_head(files: PageFiles, call: CallDetail, data: dict[str, Any], exported: str) -> str:
    """All that stands before the sound.

    Args:
        data: what `FrozenSource` reads: call, lanes, records, waveform, diagram.
        exported: when, for people.
    """
    said = "".join(f"<li><p>{html.escape(line.at)} {html.escape(line.text)}</p></li>" for line in call.story)
    number = call.to if call.direction == "outbound" else call.from_
    return _HEAD.format(
        policy=_policy(files),
        title=html.escape(f"Call {'to' if call.direction == 'outbound' else 'from'} {number or 'unknown'}"),
        style=files.styles,
        exported=html.escape(exported),
        story=said,
        data=_inert(msgspec.json.encode(data).decode()),
    )


def export_tail(files: PageFiles) -> str:
    return _TAIL.format(script=files.export_script)


def _inert(json_text: str) -> str:
    """JSON that no browser takes for the end of its script element: what a caller said may be anything."""
    return json_text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _policy(files: PageFiles) -> str:
    """Only this script and this style, and nothing from anywhere."""
    script, style = _hash(files.export_script), _hash(files.styles)
    return f"default-src 'none'; script-src '{script}'; style-src '{style}'; media-src data:; base-uri 'none'"


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


class ExportBody(ResponseBody):
    """The file as it is sent. Closes the sound.

    Args:
        sound: None when there is none.
    """

    def __init__(self, head: str, sound: Sound | None, tail: str) -> None:
        self._head, self._tail = head, tail
        self._fd, self._size = (sound.fd, sound.size) if sound is not None else (-1, 0)

    async def __aenter__(self) -> ExportBody:
        return self

    async def __aexit__(self, exc_type: type, exc_value: BaseException, tb: TracebackType) -> None:
        self._close()

    def __del__(self) -> None:
        self._close()  # the answer was never sent

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with suppress(OSError):
                os.close(fd)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._head.encode()
        if self._fd >= 0:
            yield _SOUND_BEGINS.encode()
            for at in range(0, self._size, CHUNK_BYTES):
                length = min(CHUNK_BYTES, self._size - at)
                yield base64.b64encode(await trio.to_thread.run_sync(os.pread, self._fd, length, at))
            yield _SOUND_ENDS.encode()
        yield self._tail.encode()
