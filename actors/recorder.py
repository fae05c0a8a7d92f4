"""Recordings: one stereo WAV per call, left the caller, right what the caller heard; both aligned to the sample.

`CallRecording.tap` is called 50 times a second per call by the media plane and only copies bytes. One task per process
(`Recorder.run`) takes chunks of a second from all calls and writes them in a worker thread. Trouble with the disk ends
the recording of that call, flagged and counted; it never touches the call (reference/reliability.md F22). A chunk that
was lost stays a silent hole in the file, so that the time in the file remains the time of the call.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import structlog
import trio

from actors import ports
from engine.audio import BYTES_PER_MS, SILENCE_BYTE, duration_ms, stereo_pcm16
from engine.errors import BadSettings
from engine.recording import byte_offset, file_name, wav_header

log = structlog.get_logger(__name__)

CHUNK_MS = 1000
CHUNK_BYTES = CHUNK_MS * BYTES_PER_MS
MOST_WAITING_BYTES = 256 * 1024  # per call, both channels: 16 s during which the disk may stand still
CLOSE_S = 2.0  # the longest that the end of a call waits for its file
SHUTDOWN_S = 5.0  # between two visits of the thread; a visit itself cannot be cut short, only the process can
CALLS_PER_VISIT = 8


class RecordingSummary(TypedDict):
    """What the journal keeps about a recording."""

    path: str | None  # None: there is no file
    duration_ms: float  # in the file
    caller_ms: float  # that the caller's stream lasted; more than the file when recording stopped early
    problem: str | None  # for operators; None: nothing is missing


@dataclass(frozen=True, slots=True)
class RecorderStatistics:
    open: int
    finished: int
    failed: int  # recordings with a problem
    dropped_ms: float  # audio that reached no file


@dataclass(frozen=True, slots=True)
class _Chunk:
    start: int  # its first sample
    caller: bytes
    heard: bytes

    @property
    def waiting_bytes(self) -> int:
        return len(self.caller) + len(self.heard)


@dataclass(slots=True)
class _File:
    """One WAV file, as the worker thread sees it. Every method blocks on the disk."""

    directory_fd: int
    name: str
    fd: int | None = None
    samples: int = 0

    def write(self, chunks: list[_Chunk]) -> None:
        if self.fd is None:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self.fd = os.open(self.name, flags, 0o600, dir_fd=self.directory_fd)
        for chunk in chunks:
            _write_all(self.fd, stereo_pcm16(chunk.caller, chunk.heard), byte_offset(chunk.start))
            self.samples = chunk.start + len(chunk.caller)
        _write_all(self.fd, wav_header(self.samples), 0)

    def finish(self, samples: int) -> None:
        """Close the file at this length; what was never written is silence.

        After an error: cut at what the header says, which is all that is whole.
        """
        if self.fd is None:
            return
        fd, self.fd = self.fd, None
        try:
            os.ftruncate(fd, byte_offset(samples))
            _write_all(fd, wav_header(samples), 0)
            self.samples = samples
        finally:
            os.close(fd)


def _write_all(fd: int, data: bytes, offset: int) -> None:
    written = 0
    while written < len(data):
        written += os.pwrite(fd, data[written:], offset + written)


class CallRecording:
    """The recording of one call, as the media plane and the call see it. Made by `Recorder.open`."""

    def __init__(self, recorder: Recorder, call_id: str) -> None:
        self.call_id = call_id
        self.problem: str | None = None
        self.dropped_ms = 0.0
        self.done = trio.Event()
        self._recorder = recorder
        self._file = _File(-1, file_name(call_id))
        self._caller, self._heard = bytearray(), bytearray()
        self._samples = 0  # tapped so far
        self._chunks: deque[_Chunk] = deque()
        self._waiting_bytes = 0  # in chunks that are not written yet
        self._stopped = False
        self._closing = False

    @property
    def caller_ms(self) -> float:
        return duration_ms(self._samples)

    @property
    def written_ms(self) -> float:
        return duration_ms(self._file.samples)

    def tap(self, caller_mulaw: bytes, heard_mulaw: bytes) -> None:
        """Keep what the caller said and what they heard meanwhile. Never blocks, never raises; a few hundred ns.

        The caller's bytes are the clock: what was heard is cut or filled up with silence to their length.
        """
        if self._closing:
            return
        length = len(caller_mulaw)
        self._samples += length
        if self._stopped:
            self._drop(length)
            return
        if len(heard_mulaw) != length:
            self._flag("channels differed in length")
            heard_mulaw = heard_mulaw[:length].ljust(length, bytes([SILENCE_BYTE]))
        self._caller += caller_mulaw
        self._heard += heard_mulaw
        if len(self._caller) >= CHUNK_BYTES:
            self._cut_chunk()

    def _cut_chunk(self) -> None:
        chunk = _Chunk(self._samples - len(self._caller), bytes(self._caller), bytes(self._heard))
        self._caller.clear()
        self._heard.clear()
        if self._waiting_bytes + chunk.waiting_bytes > MOST_WAITING_BYTES - 2 * CHUNK_BYTES:
            self._flag("the disk was too slow")
            self._drop(len(chunk.caller))
            return
        self._waiting_bytes += chunk.waiting_bytes
        self._chunks.append(chunk)
        self._recorder._wake(self)

    def _drop(self, n_bytes: int) -> None:
        lost_ms = duration_ms(n_bytes)
        self.dropped_ms += lost_ms
        self._recorder._dropped_ms += lost_ms

    def _flag(self, problem: str) -> None:
        if self.problem is None:
            self.problem = problem
            self._recorder._failed += 1
            log.warning("recording has a problem", call=self.call_id, problem=problem)

    def _stop(self, problem: str) -> None:
        """Record no more of this call; what was written stays."""
        self._flag(problem)
        self._stopped = True
        unwritten = sum(len(chunk.caller) for chunk in self._chunks) + len(self._caller)
        self._drop(unwritten)
        self._chunks.clear()
        self._caller.clear()
        self._heard.clear()
        self._waiting_bytes = 0


@dataclass(slots=True)
class _Job:
    """What the worker thread does for one call in one go."""

    recording: CallRecording
    file: _File
    chunks: list[_Chunk]
    finish_at: int | None = None  # close the file at this sample
    trouble: str | None = field(default=None, init=False)

    def do(self) -> None:
        """Blocks on the disk. Never raises."""
        try:
            if self.chunks:
                self.file.write(self.chunks)
        except OSError as error:
            self.trouble = _in_words(error)
        if self.finish_at is None and self.trouble is None:
            return
        try:
            self.file.finish(self.file.samples if self.trouble is not None else self.finish_at or 0)
        except OSError as error:
            self.trouble = self.trouble or _in_words(error)


def _do_all(jobs: list[_Job]) -> None:
    for job in jobs:
        job.do()


def _in_words(error: OSError) -> str:
    """For operators: without the path, which is in the summary already."""
    code = errno.errorcode.get(error.errno or 0, "OSError")
    return f"cannot write: {os.strerror(error.errno) if error.errno else 'unknown error'} ({code})"


class Recorder:
    """Makes the recordings of one process, in one directory. Fulfils `actors.ports.Recorder`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._fd = -1
        self._open: set[CallRecording] = set()
        self._ready: dict[CallRecording, None] = {}  # in the order in which they asked
        self._bell = trio.Event()
        self._running = False
        self._finished = self._failed = 0
        self._dropped_ms = 0.0
        self._limiter = trio.CapacityLimiter(1)  # one thread: the disk gains nothing from more

    def open(self, call_id: str) -> CallRecording:
        """Begin the recording of a call. The file appears with its first chunk.

        Raises:
            ValueError: not one of our call ids.
        """
        recording = CallRecording(self, call_id)
        if self._running:
            recording._file.directory_fd = self._fd
            self._open.add(recording)
        else:
            recording._stop("the recorder is not running")
            recording.done.set()
        return recording

    async def close(self, recording: ports.Recording) -> RecordingSummary:
        """Finish the file and say what is in it. Cancelling this leaves the finishing to the recorder's own task."""
        if not isinstance(recording, CallRecording):
            raise TypeError("this recording was not opened by this recorder")
        if not recording._closing:
            recording._closing = True
            self._wake(recording)
        with trio.move_on_after(CLOSE_S):
            await recording.done.wait()
        if not recording.done.is_set():
            recording._flag(f"not finished within {CLOSE_S:g} s")
        file = recording._file
        return RecordingSummary(
            path=str(self._directory / file.name) if file.samples else None,
            duration_ms=recording.written_ms,
            caller_ms=recording.caller_ms,
            problem=recording.problem,
        )

    def statistics(self) -> RecorderStatistics:
        return RecorderStatistics(len(self._open), self._finished, self._failed, self._dropped_ms)

    async def run(self, *, task_status: trio.TaskStatus[Recorder] = trio.TASK_STATUS_IGNORED) -> None:
        """Write what the calls have said, until cancelled; then finish every file, within a deadline.

        Raises:
            BadSettings: the directory cannot be made or opened.
        """
        self._fd = await trio.to_thread.run_sync(_open_directory, self._directory)
        self._running = True
        try:
            task_status.started(self)
            while True:
                await self._bell.wait()
                self._bell = trio.Event()
                await self._write_ready()
        finally:
            self._running = False
            with trio.move_on_after(SHUTDOWN_S, shield=True):
                for recording in list(self._open):
                    recording._closing = True
                    self._wake(recording)
                await self._write_ready()
            self._abandon()
            os.close(self._fd)

    def _wake(self, recording: CallRecording) -> None:
        if recording in self._open:
            self._ready[recording] = None
            self._bell.set()

    async def _write_ready(self) -> None:
        """A few calls to a thread's visit: fewer visits under load, yet a call that closes does not wait for all."""
        while self._ready:
            some = list(self._ready)[:CALLS_PER_VISIT]
            jobs = [self._job(recording) for recording in some]
            await trio.to_thread.run_sync(_do_all, jobs, limiter=self._limiter)
            for job in jobs:
                self._settle(job)

    def _job(self, recording: CallRecording) -> _Job:
        if recording._closing and recording._caller:
            recording._cut_chunk()
        del self._ready[recording]
        job = _Job(recording, recording._file, list(recording._chunks))  # they stay until settled: we may be cancelled
        if recording._closing:
            job.finish_at = recording._samples
        return job

    def _settle(self, job: _Job) -> None:
        recording = job.recording
        for chunk in job.chunks:
            recording._chunks.popleft()
            recording._waiting_bytes -= chunk.waiting_bytes
        if job.trouble is not None:
            recording._drop(sum(len(chunk.caller) for chunk in job.chunks if chunk.start >= job.file.samples))
            recording._stop(job.trouble)
        if job.finish_at is not None or job.trouble is not None:
            self._open.discard(recording)
            self._finished += 1
            recording.done.set()

    def _abandon(self) -> None:
        """The disk did not let us finish in time: flag what is left, so that nobody waits for it."""
        for recording in list(self._open):
            self._open.discard(recording)
            recording._stop("the disk stood still at shutdown")
            recording.done.set()


def _open_directory(directory: Path) -> int:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise BadSettings(
            f"recordings cannot be kept in {directory}: {error.strerror}. Choose another directory with CALLSCOPE_DATA."
        ) from error
