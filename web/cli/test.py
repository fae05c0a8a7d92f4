"""`callscope test`: play scenario files in virtual time, and say what went differently."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from actors.scenario import Outcome
from engine.errors import BadSettings
from web.logs import set_up_logs
from web.scenario_file import find_scenarios, load_scenario
from web.scenario_junit import write_junit
from web.scenario_play import play_path
from web.scenario_real import play_real
from web.scenario_report import report, summary

PIPE_COLUMNS = 160
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
    """
    set_up_logs(level=logging.CRITICAL)
    console = Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS, highlight=False)
    outcomes: list[tuple[Path, Outcome]] = []
    faults: dict[Path, str] = {}
    began = time.perf_counter()
    for path in find_scenarios(paths or [agent if agent is not None and agent.is_dir() else Path()]):
        try:
            outcome = _played(path, agent, only, seed, real=real)
        except BadSettings as problem:
            faults[path] = str(problem)
            console.print(f"[bold red]✗[/] {path}")
            console.print(str(problem), style="red", markup=False, soft_wrap=True)
            continue
        if outcome is None:
            continue
        outcomes.append((path, outcome))
        if show_hash:
            console.print(f"{outcome.trace}  {path}", markup=False, soft_wrap=True)
            continue
        for part in report(path, outcome, transcript=verbose):
            console.print(part, soft_wrap=True)
    if not outcomes and not faults:
        raise BadSettings(f"no scenario holds {only!r} in its name or path")
    took_s = time.perf_counter() - began
    console.print(summary([outcome for _, outcome in outcomes], faulty=len(faults), took_s=took_s))
    if junit is not None:
        write_junit(junit, outcomes, faults, took_s=took_s)
    if faults:
        raise SystemExit(UNREADABLE)
    if not all(outcome.ok for _, outcome in outcomes):
        raise SystemExit(FAILED)


def _played(path: Path, agent: Path | None, only: str, seed: int | None, *, real: bool) -> Outcome | None:
    wanted = only.casefold()
    if wanted not in str(path).casefold() and wanted not in load_scenario(path, agent).scenario.scenario.casefold():
        return None
    if real:
        return play_real(load_scenario(path, agent))
    return play_path(path, agent=agent, seed=seed)[1]
