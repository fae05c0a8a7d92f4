"""Recordings on a real disk: aligned to the sample, private, bounded, and never in the way of a call."""

from __future__ import annotations

import errno
import os
import resource
import stat
import wave
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio

from actors import recorder as recorder_module
from actors.ports import Recorder as RecorderPort
from actors.recorder import CHUNK_BYTES, MOST_WAITING_BYTES, CallRecording, Recorder
from engine.audio import FRAME_BYTES, SILENCE_FRAME, mulaw_to_pcm16
from engine.errors import BadSettings

DEADLINE_S = 10.0


def call_id(number: int = 0) -> str:
    return f"call-{number:026d}"


def frame(number: int) -> bytes:
    """A frame that tells which one it is."""
    return bytes((number + i) % 256 for i in range(FRAME_BYTES))


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[Recorder]:
    recorder = Recorder(directory)
    async with trio.open_nursery() as nursery:
        await nursery.start(recorder.run)
        yield recorder
        nursery.cancel_scope.cancel()


async def wait_until(true: Callable[[], object]) -> None:
    with trio.fail_after(DEADLINE_S):
        while not true():
            await trio.sleep(0.005)


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def channels(path: Path) -> tuple[bytes, bytes]:
    """Left and right of a stereo file as 16-bit PCM."""
    with wave.open(str(path)) as wav:
        assert (wav.getnchannels(), wav.getsampwidth(), wav.getframerate()) == (2, 2, 8000)
        pcm = wav.readframes(wav.getnframes())
    left, right = bytearray(len(pcm) // 2), bytearray(len(pcm) // 2)
    left[0::2], left[1::2] = pcm[0::4], pcm[1::4]
    right[0::2], right[1::2] = pcm[2::4], pcm[3::4]
    return bytes(left), bytes(right)


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """A disk that is full after so many bytes a file: writes beyond fail with EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_both_channels_are_kept_sample_by_sample(tmp_path: Path) -> None:
    """Five seconds and a bit: two chunks and a rest that ends within a frame."""
    caller, heard = b"", b""
    async with running(tmp_path / "new" / "recordings") as recorder:
        port: RecorderPort = recorder
        recording = port.open(call_id())
        for number in range(253):
            recording.tap(frame(number), frame(7 * number))
            caller, heard = caller + frame(number), heard + frame(7 * number)
        recording.tap(b"\x01\x02\x03", b"\x04\x05\x06")
        summary = await port.close(recording)
        assert summary == await port.close(recording), "closing twice changes nothing"
    path = tmp_path / "new" / "recordings" / f"{call_id()}.wav"
    assert summary == {"path": str(path), "duration_ms": 5060.375, "caller_ms": 5060.375, "problem": None}
    assert channels(path) == (mulaw_to_pcm16(caller + b"\x01\x02\x03"), mulaw_to_pcm16(heard + b"\x04\x05\x06"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_a_file_can_be_played_while_the_call_goes_on(tmp_path: Path) -> None:
    """What a killed process leaves behind is whole up to its last chunk."""
    async with running(tmp_path) as recorder:
        recording = recorder.open(call_id())
        recording.tap(b"\x10" * CHUNK_BYTES, b"\x20" * CHUNK_BYTES)
        await wait_until(lambda: recording.written_ms == 1000)
        recording.tap(frame(1), frame(2))
        left, right = channels(tmp_path / f"{call_id()}.wav")
        assert left == mulaw_to_pcm16(b"\x10" * CHUNK_BYTES)
        assert right == mulaw_to_pcm16(b"\x20" * CHUNK_BYTES)


async def test_many_calls_have_many_files(tmp_path: Path) -> None:
    async with running(tmp_path) as recorder:
        recordings = [recorder.open(call_id(number)) for number in range(40)]
        for _ in range(101):
            for number, recording in enumerate(recordings):
                recording.tap(bytes([number]) * FRAME_BYTES, bytes([number + 100]) * FRAME_BYTES)
        async with trio.open_nursery() as nursery:
            for recording in recordings:
                nursery.start_soon(recorder.close, recording)
        statistics = recorder.statistics()
    assert (statistics.open, statistics.finished, statistics.failed, statistics.dropped_ms) == (0, 40, 0, 0)
    for number in range(40):
        left, right = channels(tmp_path / f"{call_id(number)}.wav")
        assert left == mulaw_to_pcm16(bytes([number]) * FRAME_BYTES * 101)
        assert right == mulaw_to_pcm16(bytes([number + 100]) * FRAME_BYTES * 101)


async def test_a_shutdown_finishes_every_file(tmp_path: Path) -> None:
    async with running(tmp_path) as recorder:
        recording = recorder.open(call_id())
        recording.tap(frame(1), frame(2))
    assert recording.done.is_set()
    assert channels(tmp_path / f"{call_id()}.wav")[0] == mulaw_to_pcm16(frame(1))
    late = recorder.open(call_id(2))
    late.tap(frame(1), frame(2))
    assert (await recorder.close(late))["problem"] == "the recorder is not running"


async def test_a_shutdown_in_the_middle_of_writing_loses_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as recorder:
        recordings = [recorder.open(call_id(number)) for number in range(40)]
        for recording in recordings:
            for number in range(102):
                recording.tap(frame(number), frame(number))
        await wait_until(lambda: any(recording.written_ms for recording in recordings))
    whole = mulaw_to_pcm16(b"".join(frame(number) for number in range(102)))
    for number in range(40):
        assert channels(tmp_path / f"{call_id(number)}.wav") == (whole, whole)
    assert recorder.statistics().dropped_ms == 0


async def test_a_full_disk_ends_the_recording_and_not_the_call(tmp_path: Path) -> None:
    async with running(tmp_path) as recorder:
        recording = recorder.open(call_id())
        with files_of_at_most(50_000):  # the second chunk of 32 kB does not fit
            for number in range(400):
                recording.tap(frame(number), SILENCE_FRAME)
                if number % 50 == 49:
                    await wait_until(lambda: recording.problem or not recording._chunks)
                    await wait_until(lambda: not recording._waiting_bytes)
        for number in range(400):
            recording.tap(frame(number), SILENCE_FRAME)
        summary = await recorder.close(recording)
        after = recorder.open(call_id(2))
        after.tap(frame(1), frame(2))
        assert (await recorder.close(after))["problem"] is None, "the next call is recorded again"
    assert summary["problem"] == f"cannot write: {os.strerror(errno.EFBIG)} (EFBIG)"
    assert (summary["duration_ms"], summary["caller_ms"]) == (1000, 16000)
    assert len(channels(tmp_path / f"{call_id()}.wav")[0]) == 2 * CHUNK_BYTES, "what was whole can be played"
    assert recorder.statistics().failed == 1
    assert recorder.statistics().dropped_ms == 15_000


async def test_a_disk_that_stands_still_costs_bounded_memory(tmp_path: Path) -> None:
    """Nothing is written for 40 s of a call; what did not fit becomes silence, and time in the file stays right."""
    recorder = Recorder(tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(recorder.run)
        recording = recorder.open(call_id())
        for number in range(2000):  # without an await the recorder's task never gets to write
            recording.tap(frame(number), frame(number))
            held = recording._waiting_bytes + len(recording._caller) + len(recording._heard)
            assert held <= MOST_WAITING_BYTES
        for number in range(100):
            await wait_until(lambda: not recording._waiting_bytes)
            recording.tap(frame(number), frame(number))
        summary = await recorder.close(recording)
        nursery.cancel_scope.cancel()
    assert summary["problem"] == "the disk was too slow"
    assert summary["duration_ms"] == summary["caller_ms"] == 42_000
    left, right = channels(tmp_path / f"{call_id()}.wav")
    assert left == right
    assert left[:4000] == mulaw_to_pcm16(b"".join(frame(number) for number in range(13)))[:4000]
    assert left[2 * 30 * 8000 : 2 * 31 * 8000] == bytes(16_000), "lost audio is silence"
    assert left[-4 * CHUNK_BYTES :] == mulaw_to_pcm16(b"".join(frame(number) for number in range(100)))


async def test_channels_of_unequal_length_are_kept_in_step(tmp_path: Path) -> None:
    async with running(tmp_path) as recorder:
        recording = recorder.open(call_id())
        recording.tap(frame(1), b"\x01")
        recording.tap(frame(2), frame(3) + b"\x01")
        summary = await recorder.close(recording)
    left, right = channels(tmp_path / f"{call_id()}.wav")
    assert left == mulaw_to_pcm16(frame(1) + frame(2))
    assert right == mulaw_to_pcm16(b"\x01" + SILENCE_FRAME[1:] + frame(3))
    assert summary["problem"] == "channels differed in length"


@pytest.mark.parametrize("trap", ["file", "symlink", "dangling"])
async def test_nothing_that_lies_there_already_is_written_to(tmp_path: Path, trap: str) -> None:
    """A file or link planted under the recording's name stays as it is (reliability.md S14)."""
    victim = tmp_path / "victim"
    directory = tmp_path / "recordings"
    directory.mkdir()
    planted = directory / f"{call_id()}.wav"
    if trap == "file":
        planted.write_text("precious")
    else:
        if trap == "symlink":
            victim.write_text("precious")
        planted.symlink_to(victim)
    async with running(directory) as recorder:
        recording = recorder.open(call_id())
        recording.tap(frame(1), frame(2))
        summary = await recorder.close(recording)
    assert summary["path"] is None
    assert summary["problem"] is not None
    assert "EEXIST" in summary["problem"]
    if trap == "dangling":
        assert not victim.exists()
    else:
        assert planted.read_text() == "precious"


async def test_only_our_own_ids_are_recorded(tmp_path: Path) -> None:
    async with running(tmp_path) as recorder:
        for evil in ("../../etc/passwd", "call-1", "", call_id() + "\0"):
            with pytest.raises(ValueError, match="not a call id"):
                recorder.open(evil)
    assert names_in(tmp_path) == []


async def test_a_call_without_audio_leaves_no_file(tmp_path: Path) -> None:
    async with running(tmp_path) as recorder:
        summary = await recorder.close(recorder.open(call_id()))
    assert summary == {"path": None, "duration_ms": 0, "caller_ms": 0, "problem": None}
    assert names_in(tmp_path) == []


async def test_an_unusable_directory_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "recordings").write_text("a file")
    with pytest.raises(BadSettings, match="CALLSCOPE_DATA"):
        await Recorder(tmp_path / "recordings").run()


async def test_a_stuck_disk_does_not_hold_the_end_of_a_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call's end waits for its file, but not for ever."""
    monkeypatch.setattr(recorder_module, "CLOSE_S", 0.05)
    async with running(tmp_path) as recorder:
        recording = recorder.open(call_id())
        recording.tap(frame(1), frame(2))
        recorder._limiter.acquire_on_behalf_of_nowait("a disk that stands still")
        summary = await recorder.close(recording)
        recorder._limiter.release_on_behalf_of("a disk that stands still")
    assert summary["problem"] == "not finished within 0.05 s"
    assert channels(tmp_path / f"{call_id()}.wav")[0] == mulaw_to_pcm16(frame(1)), "it was finished later"


async def test_a_foreign_recording_is_refused(tmp_path: Path) -> None:
    class Foreign:
        def tap(self, caller_mulaw: bytes, heard_mulaw: bytes) -> None: ...

    async with running(tmp_path) as recorder:
        assert isinstance(recorder.open(call_id()), CallRecording)
        with pytest.raises(TypeError):
            await recorder.close(Foreign())
