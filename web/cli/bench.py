"""`callscope bench`: how fast this is on this machine, against peers in the same run. See `web/bench/`."""

from __future__ import annotations

from pathlib import Path

import trio
from cyclopts import App
from rich.console import Console

app = App(name="bench", help="Measure: frames, calls, webhooks, tools, turns; against peers in the same run.")
console = Console(highlight=False)


@app.command
def media(
    *, quick: bool = False, json: Path | None = None, only_ours: bool = False, workers: int | None = None
) -> None:
    """What a relayed frame costs and how many calls a core carries, over real sockets.

    Parameters
    ----------
    quick
        About two minutes instead of ten; no run with several workers.
    json
        Write all figures to this file.
    only_ours
        Leave the peers out.
    workers
        How many workers the last part runs with; 0 leaves it out.
    """
    from dataclasses import replace  # noqa: PLC0415 — the command line starts quickly

    from web.bench.media import PEERS, MediaBench, Plan  # noqa: PLC0415
    from web.bench.report import print_media, write_json  # noqa: PLC0415

    plan = Plan.quick() if quick else Plan()
    peers = () if only_ours else PEERS[1:] if quick else PEERS  # building the compiled one takes a minute
    if workers is not None:
        plan = replace(plan, workers=workers)
    with console.status("starting…") as status:

        def say(line: str) -> None:
            status.update(line)
            if not console.is_terminal:
                console.print(line, style="dim")

        result = trio.run(MediaBench(plan, peers=peers, say=say).run)
    print_media(result, console)
    if json is not None:
        write_json(result, json)


@app.command
def webhooks(*, quick: bool = False, json: Path | None = None) -> None:
    """Vapi's signed webhooks: requests a second, CPU and latency, against Quart-Trio and Express on the same core.

    Parameters
    ----------
    quick
        Half a minute instead of two: one round, a second for each measurement.
    json
        Write all figures to this file.
    """
    from web.bench.report import write_json  # noqa: PLC0415
    from web.bench.webhooks import Shape, compare, print_webhooks  # noqa: PLC0415

    with console.status("starting…") as status:
        result = trio.run(lambda: compare(Shape.quick() if quick else Shape(), say=status.update))
    print_webhooks(result, console)
    if json is not None:
        write_json(result, json)


@app.command
def tools(*, quick: bool = False, json: Path | None = None) -> None:
    """Tool calls: what we add to a function that answers at once, beside a hundred calls; and a thousand in flight.

    Parameters
    ----------
    quick
        Under a minute instead of three: one round of each.
    json
        Write all figures to this file.
    """
    from web.bench.report import write_json  # noqa: PLC0415
    from web.bench.tools import Shape, compare  # noqa: PLC0415
    from web.bench.tools_report import print_tools  # noqa: PLC0415

    with console.status("starting…") as status:
        result = trio.run(lambda: compare(Shape.quick() if quick else Shape(), say=status.update))
    print_tools(result, console)
    if json is not None:
        write_json(result, json)


@app.command
def soak(*, minutes: int = 30, calls: int = 150, json: Path | None = None) -> None:
    """Hold calls for half an hour, each replaced after about a minute and a half: what grows is a leak.

    Parameters
    ----------
    minutes
        How long.
    calls
        How many live at any time; half of what one core carries, as `bench media` found it.
    json
        Write each minute's figures to this file.
    """
    from web.bench.report import write_json  # noqa: PLC0415
    from web.bench.soak import soak as hold  # noqa: PLC0415

    result = trio.run(hold, calls, minutes, console.print)
    if json is not None:
        write_json(result, json)
    for problem in result.problems:
        console.print(problem, style="bold red")
    if result.problems:
        raise SystemExit(1)
    console.print("[bold green]✓[/] nothing grew")


@app.command
def turns(*, quick: bool = False, json: Path | None = None, seed: int = 1, sockets: bool = True) -> None:
    """Interruptions, coughs and noise: how soon the agent is silent, and how often it is fooled.

    Ten thousand interruptions in virtual time on the real actors, the same calls with the tutorials' logic, and a few
    calls over real sockets with real speech.

    Parameters
    ----------
    quick
        Under two minutes: a tenth of the calls.
    json
        Write all figures to this file.
    seed
        Of the corpus, the callers, the lines and the agents: the same seed gives the same calls.
    sockets
        `--no-sockets` leaves the calls over real sockets out.
    """
    from web.bench.report import write_json  # noqa: PLC0415
    from web.bench.turns import Plan, in_virtual_time, new_result, over_sockets  # noqa: PLC0415
    from web.bench.turns_report import print_turns  # noqa: PLC0415

    plan = Plan.quick(seed) if quick else Plan(seed=seed)
    result = new_result(plan)
    with console.status("starting…") as status:
        in_virtual_time(plan, result, say=status.update)
        if sockets:
            trio.run(lambda: over_sockets(plan, result, say=status.update))
    print_turns(result, console)
    if json is not None:
        write_json(result.figures(), json)
