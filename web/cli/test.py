"""`callscope test`: play scenario files in virtual time, and say what went differently."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from engine.errors import BadSettings
from web.logs import set_up_logs
from web.scenario_file import find_scenarios, load_scenario
from web.scenario_junit import write_junit
from web.scenario_play import play_path
from web.scenario_real import play_real
from web.scenario_report import Look, Told, summary, told_of, told_of_fault

PIPE_COLUMNS = 160
WORTH_FILES, CHUNK_FILES = 6, 20
FAILED, UNREADABLE = 1, 2


def test(
    *paths: Path,
    agent: Path | None = None,
    verbose: Annotated[bool, Parameter(alias="-v", negative=(), show_default=False)] = False,
    only: Annotated[str, Parameter(name="--only", alias="-k")] = "",
    seed: int | None = None,
    junit: Path | None = None,
    show_hash: Annotated[bool, Parameter(name="--hash", negative=(), show_default=False)] = False,
    real: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    jobs: Annotated[int, Parameter(alias="-j", show_default=False)] = 0,
) -> None:
    """Play scenarios; exit 0 if all went as expected, 1 if not, 2 if a file cannot be read.

    Parameters
    ----------
    paths
        Scenario files, or folders of them; the current folder when left out.
    agent
        Play with this agent file, or folder, instead of the one that a scenario names.
    verbose
        The transcript of every scenario, not only of those that failed.
    only
        Only scenarios whose name or path holds this text.
    seed
        Of all chance, instead of the files' own.
    junit
        Write the results there as JUnit XML.
    show_hash
        Print the trace hash of each scenario: the same everywhere, or something is not deterministic.
    real
        Over real sockets, with the twins and real speech, in real time.
    jobs
        So many processes; one for each core when left out and there is enough to do.
    """
    console = Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS, highlight=False)
    look = Look(console.width, "auto" if console.is_terminal else None, verbose)
    work = partial(_told, agent=agent, only=only.casefold(), seed=seed, real=real, look=look)
    found = find_scenarios(paths or [agent if agent is not None and agent.is_dir() else Path()])
    began = time.perf_counter()
    all_told: list[Told] = []
    for told in _in_order(work, found, jobs=1 if real else jobs or _usual_jobs(len(found))):
        if told is None:
            continue
        all_told.append(told)
        if show_hash and not told.fault:
            console.print(f"{told.trace}  {told.path}", markup=False, soft_wrap=True)
        else:
            console.file.write(told.report)
    if not all_told:
        raise BadSettings(f"no scenario holds {only!r} in its name or path")
    took_s = time.perf_counter() - began
    console.print(summary(all_told, took_s=took_s))
    if junit is not None:
        write_junit(junit, all_told, took_s=took_s)
    if any(one.fault for one in all_told):
        raise SystemExit(UNREADABLE)
    if not all(one.ok for one in all_told):
        raise SystemExit(FAILED)


def _usual_jobs(n_files: int) -> int:
    """A process for each core, if there is enough to do for it to be worth its start."""
    return max(1, min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1, n_files // WORTH_FILES))


def _in_order(work: Callable[[Path], Told | None], paths: Sequence[Path], *, jobs: int) -> Iterator[Told | None]:
    """What is told of each, one after the other as they are ready; scenarios know nothing of each other."""
    if jobs <= 1:
        yield from map(work, paths)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(work, paths, chunksize=max(1, min(CHUNK_FILES, len(paths) // (4 * jobs))))


def _told(path: Path, *, agent: Path | None, only: str, seed: int | None, real: bool, look: Look) -> Told | None:
    """Play one file, in whatever process; None if it is not asked for."""
    set_up_logs(level=logging.CRITICAL)
    try:
        if only not in str(path).casefold() and only not in load_scenario(path, agent).scenario.scenario.casefold():
            return None
        if real:
            outcome = play_real(load_scenario(path, agent))
        else:
            _, outcome = play_path(path, agent=agent, seed=seed)
    except BadSettings as problem:
        return told_of_fault(path, str(problem), look)
    return told_of(path, outcome, look)
