"""The parent of the workers, with small processes in their place."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import trio

from tests.stories.test_commands import GIVEN, command
from web.workers import Workers, open_run_dir


@dataclass
class Parent:
    """A parent that runs, and what its workers write."""

    folder: Path
    status: int | None = None

    def diary(self, worker: int) -> list[tuple[str, float, int]]:
        """What happened to a worker, in all its lives: what, when, to which process."""
        path = self.folder / str(worker)
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [(what, float(when), int(pid)) for what, when, pid in (line.split() for line in lines)]

    async def wait(self, worker: int, happened: Callable[[Sequence[str]], bool]) -> None:
        with trio.fail_after(15):
            while not happened([what for what, _, _ in self.diary(worker)]):
                await trio.sleep(0.02)


@asynccontextmanager
async def open_parent(folder: Path, *habits: str, leave_within_s: float = 20.0) -> AsyncIterator[Parent]:
    """Workers with these habits; all have been ready once. Leaving the block drains, by a real signal."""
    parent = Parent(folder)
    workers = Workers(
        lambda number: ["tests.web.small_worker", str(folder), str(number), habits[number]],
        of=len(habits), pass_fds=[], leave_within_s=leave_within_s,
    )  # fmt: skip
    all_ready = trio.Event()

    async def run() -> None:
        async def ready() -> None:
            all_ready.set()

        parent.status = await workers.run(ready)
        all_ready.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        with trio.fail_after(15):
            await all_ready.wait()
        yield parent
        if parent.status is None:
            os.kill(os.getpid(), signal.SIGTERM)
    for worker in range(len(habits)):
        for _, _, pid in parent.diary(worker):
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)


async def test_all_leave_together(tmp_path: Path) -> None:
    """Each is told to drain; each is dismissed, and only after the last has said that it is empty."""
    async with open_parent(tmp_path, "good", "good", "good") as parent:
        pass
    assert parent.status == 0
    diaries = [parent.diary(worker) for worker in range(3)]
    assert [[what for what, _, _ in diary] for diary in diaries] == [["start", "drain", "dismissed"]] * 3
    assert max(diary[1][1] for diary in diaries) < min(diary[2][1] for diary in diaries)


async def test_a_worker_that_dies_again_and_again(tmp_path: Path) -> None:
    """It is started after 0.1 s, 0.2 s, 0.4 s…; the other one does not notice."""
    async with open_parent(tmp_path, "good", "dies") as parent:
        await parent.wait(1, lambda told: told.count("start") >= 4)
    starts = [when for what, when, _ in parent.diary(1) if what == "start"]
    pauses = [after - before for before, after in pairwise(starts)]
    assert all(pause >= least for pause, least in zip(pauses, (0.1, 0.2, 0.4), strict=False)), pauses
    assert [what for what, _, _ in parent.diary(0)] == ["start", "drain", "dismissed"]
    assert parent.status == 0


async def test_one_worker_is_told_to_end(tmp_path: Path) -> None:
    """A signal to it alone: it drains, is dismissed when it is empty, and another takes its place."""
    async with open_parent(tmp_path, "good", "good") as parent:
        os.kill(parent.diary(1)[0][2], signal.SIGTERM)
        await parent.wait(1, lambda told: list(told) == ["start", "drain", "dismissed", "start"])
        assert [what for what, _, _ in parent.diary(0)] == ["start"]
    assert parent.status == 0


async def test_haste_is_passed_on(tmp_path: Path) -> None:
    """A second signal is haste for all; a worker that takes no order is killed in the end, and the status says so."""
    async with open_parent(tmp_path, "good", "deaf", leave_within_s=1.0) as parent:
        os.kill(os.getpid(), signal.SIGTERM)
        for worker in (0, 1):
            await parent.wait(worker, lambda told: "drain" in told)
        os.kill(os.getpid(), signal.SIGTERM)
        await parent.wait(0, lambda told: "hurry" in told)
    assert parent.status == 1


async def test_a_worker_that_does_not_start(tmp_path: Path) -> None:
    """At the beginning that ends all, with its status: a wrong setting is not tried for ever."""
    async with open_parent(tmp_path, "good", "never") as parent:
        pass
    assert parent.status == 3
    assert [what for what, _, _ in parent.diary(1)] == ["start"]


async def test_serve_with_a_setting_that_is_wrong(tmp_path: Path) -> None:
    """A data directory that is a file: a clear message, status 2, no traceback; and so many workers there are not."""
    (tmp_path / "data").write_text("a file")
    env = {**GIVEN, "CALLSCOPE_DATA": str(tmp_path / "data"), "PORT": "0"}
    status, told = await command("serve", "--workers", "2", "--host", "127.0.0.1", env=env, cwd=tmp_path)
    assert status == 2 and "the journal cannot be kept at" in told and "Traceback" not in told, told
    status, told = await command("serve", "--workers", "0", env=env, cwd=tmp_path)
    assert status == 2 and "--workers is from 1 to" in told


async def test_the_sockets_folder_is_ours_alone_and_goes() -> None:
    async with open_run_dir() as path:
        assert path.stat().st_mode & 0o777 == 0o700
        (path / "worker-0.http").touch()
    assert not path.exists()
