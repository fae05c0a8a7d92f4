"""Recordings as files to listen to, in ranges, and as peaks to draw. Names are made of our own ids, never of input."""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import trio
from quart import Response
from quart.wrappers.response import ResponseBody

from engine.audio import SAMPLE_RATE_HZ
from engine.recording import HEADER_BYTES, STEREO_BYTES_PER_SAMPLE, file_name
from web.api.problems import Problem
from web.api.types import Waveform

__all__ = ["MOST_POINTS", "Recordings", "recording_response"]

CHUNK_BYTES = 64 * 1024
MOST_POINTS = 20_000
PEAK_SAMPLES = 400_000  # looked at for a picture: of a longer call some are left out
_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)")


@dataclass(frozen=True, slots=True)
class Opened:
    """An open recording, as long as it was when it was opened: it may still grow."""

    fd: int
    size: int

    @property
    def duration_ms(self) -> float:
        return max(0, self.size - HEADER_BYTES) // STEREO_BYTES_PER_SAMPLE * 1000 / SAMPLE_RATE_HZ


class Recordings:
    """The recordings of one data folder. Every method but `exists_ms` blocks."""

    def __init__(self, data: Path) -> None:
        self._directory = data / "recordings"

    def open(self, call_id: str) -> Opened | None:
        """None when there is none. Never through a link, and only by our own kind of name."""
        try:
            name = file_name(call_id)
            directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (ValueError, OSError):
            return None
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        except OSError:
            return None
        finally:
            os.close(directory)
        size = os.fstat(fd).st_size
        if size < HEADER_BYTES:
            os.close(fd)
            return None
        return Opened(fd, size)

    def duration_ms(self, call_id: str) -> float | None:
        """How long it is; None when there is none."""
        opened = self.open(call_id)
        if opened is None:
            return None
        os.close(opened.fd)
        return opened.duration_ms

    def waveform(self, call_id: str, points: int) -> Waveform | None:
        opened = self.open(call_id)
        if opened is None:
            return None
        try:
            return _peaks(opened, points)
        finally:
            os.close(opened.fd)


def _peaks(opened: Opened, points: int) -> Waveform:
    """The loudest sample of each stretch. Of long stretches every n-th block is looked at."""
    samples = (opened.size - HEADER_BYTES) // STEREO_BYTES_PER_SAMPLE
    points = max(1, min(points, samples or 1))
    most = max(1, PEAK_SAMPLES // points)
    caller: list[float] = []
    heard: list[float] = []
    for n in range(points):
        first, last = samples * n // points, max(samples * n // points + 1, samples * (n + 1) // points)
        block = array("h")
        length = min(last - first, most) * STEREO_BYTES_PER_SAMPLE
        data = os.pread(opened.fd, length, HEADER_BYTES + first * STEREO_BYTES_PER_SAMPLE)
        block.frombytes(data[: len(data) - len(data) % STEREO_BYTES_PER_SAMPLE])
        for channel, found in ((block[0::2], caller), (block[1::2], heard)):
            peak = max(map(abs, channel), default=0)
            found.append(round(min(1.0, peak / 32767), 4))
    return Waveform(opened.duration_ms, caller, heard)


class _FileBody(ResponseBody):
    """A part of an open file, read in a thread; closes it."""

    def __init__(self, fd: int, first: int, length: int) -> None:
        self._fd, self._at, self._left = fd, first, length
        self._chunks: AsyncGenerator[bytes, None] | None = None

    async def __aenter__(self) -> _FileBody:
        return self

    async def __aexit__(self, exc_type: type, exc_value: BaseException, tb: TracebackType) -> None:
        if self._chunks is not None:
            await self._chunks.aclose()  # it may stand in the middle: its listener is gone
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        if self._fd >= 0:  # the answer was never sent
            with suppress(OSError):
                os.close(self._fd)

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._chunks = self._read()
        return self._chunks

    async def _read(self) -> AsyncGenerator[bytes, None]:
        while self._left > 0:
            chunk = await trio.to_thread.run_sync(os.pread, self._fd, min(CHUNK_BYTES, self._left), self._at)
            if not chunk:
                return
            self._at += len(chunk)
            self._left -= len(chunk)
            yield chunk


def recording_response(opened: Opened, asked_range: str | None, *, head: bool = False) -> Response:
    """The file, or the range of it that was asked for (RFC 9110 §14; one range, as browsers ask).

    Raises:
        Problem: 416; the file is closed then.
    """
    try:
        first, last = _range(asked_range, opened.size)
    except BaseException:
        os.close(opened.fd)
        raise
    length = last - first + 1
    body: _FileBody | bytes = _FileBody(opened.fd, first, length)
    if head:
        os.close(opened.fd)
        body = b""
    whole = asked_range is None or not _RANGE.fullmatch(asked_range)
    response = Response(body, 200 if whole else 206, content_type="audio/wav")
    response.timeout = None  # a listener may take their time; the door looks after those who vanished
    response.headers["Content-Length"] = str(length)
    response.headers["Accept-Ranges"] = "bytes"
    if not whole:
        response.headers["Content-Range"] = f"bytes {first}-{last}/{opened.size}"
    return response


def _range(asked: str | None, size: int) -> tuple[int, int]:
    """First and last byte. What is no range of bytes is ignored, as the RFC wants."""
    found = _RANGE.fullmatch(asked) if asked is not None else None
    if found is None or not (found[1] or found[2]):
        return 0, size - 1
    if len(found[1]) > 18 or len(found[2]) > 18:
        raise _unsatisfiable(size)
    if not found[1]:
        length = min(int(found[2]), size)
        if length == 0:
            raise _unsatisfiable(size)
        return size - length, size - 1
    first, last = int(found[1]), min(int(found[2]) if found[2] else size - 1, size - 1)
    if first > last:
        raise _unsatisfiable(size)
    return first, last


def _unsatisfiable(size: int) -> Problem:
    return Problem(
        416,
        f"The recording has {size} bytes; ask for a range inside of it.",
        headers={"Content-Range": f"bytes */{size}"},
    )
