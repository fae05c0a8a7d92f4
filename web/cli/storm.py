"""`callscope storm`: random calls under random faults, in virtual time; one integer replays what went wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from actors.storm import actor_level, engine_level, plan_file, shrinking, transcript
from actors.storm.coverage import Coverage, rules_total
from actors.storm.engine_level import EnginePlan
from actors.storm.plan import StormPlan, plan_of
from actors.storm.storm import Storm, run
from web.storm_folder import PLAN, write_folder

SEEDS, ENGINE_SEEDS = 2_000, 50_000
SHOWN = 12
console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)


def storm(
    *,
    engine: Annotated[bool, Parameter(negative=())] = False,
    seeds: int | None = None,
    first: int = 0,
    seed: int | None = None,
    plan: Path | None = None,
    jobs: int = 1,
    shrink: Annotated[bool, Parameter(negative="--no-shrink")] = True,
    out: Path = Path(),
    json: Path | None = None,
) -> None:
    """Live random calls under random faults, and check every law after every step. Exit status 1: a law broke.

    Parameters
    ----------
    engine
        Straight into the engine: a hundred thousand calls a minute. Else on the real actors, thousands a minute.
    seeds
        So many; 2,000 on the actors and 50,000 on the engine if nothing is said.
    first
        The first of them.
    seed
        Only this one, with everything that happens in it; this is how a failure is looked at.
    plan
        A plan file instead of a seed, as a failure leaves one behind.
    jobs
        On so many cores.
    shrink
        Look for the smallest plan of the first failure, and write it down: a scenario for `callscope test` with its
        agent file, and the plan, which has what no scenario can say.
    out
        Where the folder with these files is made.
    json
        Write the figures to this file.
    """
    if plan is not None:
        _one(plan_file.read(plan))
        return
    if seed is not None:
        _one(engine_level.plan_of(seed) if engine else plan_of(seed), shrink_to=out if shrink else None)
        return
    with console.status("starting…") as status:

        def told(so_far: Storm) -> None:
            line = f"{so_far.calls} calls, {len(so_far.violations)} violations, {so_far.calls_per_minute:,.0f} a minute"
            status.update(line)

        many = seeds if seeds is not None else ENGINE_SEEDS if engine else SEEDS
        found = run("engine" if engine else "actors", many, first=first, jobs=jobs, told=told)
    _print(found)
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(found.figures()), indent=1))
    if found.violations:
        if shrink:
            worst = found.violations[0][0]
            console.print()
            _one(engine_level.plan_of(worst) if engine else plan_of(worst), shrink_to=out, quiet=True)
        sys.exit(1)


def _print(found: Storm) -> None:
    seen = found.coverage
    per_core = f", {found.calls_per_minute_and_core:,.0f} a minute of CPU" if found.cpu_s else ""
    console.print(
        f"{found.calls:,} calls of {found.seeds:,} seeds from {found.first} on the {found.level} "
        f"in {found.took_s:.1f} s: {found.calls_per_minute:,.0f} a minute{per_core}"
    )
    console.print(
        f"rules fired {seen.rules_fired} of {rules_total()} · ways from phase to phase {len(seen.ways)} · "
        f"faults × phases {len(seen.faults)}"
    )
    never = seen.never_fired()
    if never:
        shown = "; ".join(never[:SHOWN]) + (f" and {len(never) - SHOWN} more" if len(never) > SHOWN else "")
        console.print(f"never fired: {shown}", style="dim")
    if seen.faults:
        console.print(_faults(found))
    if not found.violations:
        console.print("no law was broken", style="green")
        return
    console.print(f"{len(found.violations)} seeds broke a law:", style="red")
    option = "--engine " if found.level == "engine" else ""
    for seed, law, at, what in found.violations[:SHOWN]:
        console.print(f"  seed {seed}: {law}, at {at:.4f} s: {what}\n    callscope storm {option}--seed {seed}")


def _faults(found: Storm) -> Table:
    by_phase = found.coverage.faults_by_phase()
    phases = sorted({phase for row in by_phase.values() for phase in row})
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("fault", no_wrap=True)
    for phase in phases:
        table.add_column(phase, justify="right", no_wrap=True)
    for fault, row in by_phase.items():
        table.add_row(fault, *(str(row.get(phase, "")) for phase in phases))
    return table


# --- one of them -----------------------------------------------------------------------------------------------------


def _one(plan: StormPlan | EnginePlan, *, shrink_to: Path | None = None, quiet: bool = False) -> None:
    """Live one plan, print it, and look for the smallest one that breaks the same law."""
    broken = _one_engine(plan, shrink_to, quiet) if isinstance(plan, EnginePlan) else _one_world(plan, shrink_to, quiet)
    if broken:
        sys.exit(1)


def _one_engine(plan: EnginePlan, shrink_to: Path | None, quiet: bool) -> bool:
    broken = engine_level.relive(plan)
    if not quiet:
        _print_lines(transcript.of_engine(plan))
    if broken is None:
        console.print("no law was broken", style="green")
        return False
    console.print(f"{broken.law}, at {broken.at:.4f} s: {broken.what}", style="red")
    if shrink_to is not None:
        smallest = shrinking.shrink_facts(broken)
        path = shrink_to / f"storm-engine-{plan.seed}.plan.yaml"
        plan_file.write(path, smallest.plan, why=f"{smallest.law}, at {smallest.at:.4f} s: {smallest.what}")
        console.print(f"\nthe smallest plan has {len(smallest.plan.facts)} of {len(plan.facts)} facts: {path}")
        _print_lines(transcript.of_engine(smallest.plan))
    return True


def _one_world(plan: StormPlan, shrink_to: Path | None, quiet: bool) -> bool:
    lived = actor_level.live_plan(plan, Coverage())
    if not quiet:
        _print_world(lived)
    if lived.broken is None:
        console.print(f"no law was broken; trace {lived.trace()}", style="green")
        return False
    law = lived.broken.law
    console.print(f"{law}, at {lived.broken.at:.4f} s: {lived.broken.what}", style="red")
    if shrink_to is not None:

        def fails(one: StormPlan) -> bool:
            again = actor_level.live_plan(one, Coverage()).broken
            return again is not None and again.law == law

        smallest = actor_level.live_plan(shrinking.shrink(plan, shrinking.smaller_plans, fails), Coverage())
        scenario, shows_it = write_folder(shrink_to / f"storm-{plan.seed}", smallest)
        console.print(f"\nthe smallest plan: callscope storm --plan {scenario.with_name(PLAN)}", soft_wrap=True)
        told = f"as a scenario:     callscope test {scenario}" if shows_it else f"{scenario} does not show it"
        console.print(told, soft_wrap=True)
        _print_world(smallest)
    return True


def _print_world(lived: actor_level.LivedPlan) -> None:
    for call in lived.calls:
        if len(lived.calls) > 1:
            console.print(f"call {call.number}", style="bold")
        _print_lines(transcript.of_call(call))


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        console.print(line, soft_wrap=True, markup=False)
