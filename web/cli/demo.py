"""`callscope demo`: a whole phone call on this machine, with speech, over the vendors' wires."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import trio
from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape

from actors.journal_reader import last_row, tail
from engine.agent import spoken_agent
from engine.journal import Record
from web.agents import LoadedAgent, example, load_agent
from web.children import ChildFailed
from web.file_watch import FileWatch, keep_current
from web.settings import environment
from web.stack import Stack, open_stack
from web.timeline import Timeline
from web.twins.speech.ears import Ears
from web.verdict import Verdict, judge

POLL_S = 0.1
SETTLE_S = 10.0  # from the end of the line to the end of the journal: the report, the recording

console = Console(highlight=False)


def demo(
    folder: Path | None = None,
    /,
    *,
    once: Annotated[bool, Parameter(negative="")] = False,
    agent: Path | None = None,
    data: Path | None = None,
) -> None:
    """A caller with a synthetic voice phones the agent; everything they say goes over real sockets.

    Parameters
    ----------
    folder
        The same as --agent.
    once
        One call, then exit: 0 only if the conversation really completed, which a recogniser judges.
    agent
        The agent file, or its folder; the bistro example when left out.
    data
        Where the journal and the recordings go; CALLSCOPE_DATA, or ./callscope-data, when left out.
    """
    loaded = load_agent(agent or folder or example())
    kept = (data or Path(environment().get("CALLSCOPE_DATA") or "callscope-data")).resolve()
    try:
        good = trio.run(_demo, loaded, kept, once)
    except* ChildFailed as failed:
        console.print(f"[bold red]{failed.exceptions[0]}")
        raise SystemExit(1) from None
    if once and not good:
        raise SystemExit(1)


async def _demo(loaded: LoadedAgent, folder: Path, once: bool) -> bool:
    with console.status("starting…") as status:
        stack_of = partial(open_stack, loaded.path, folder, progress=lambda what: status.update(f"{what}…"))
        async with stack_of(reload=not once) as stack:
            status.stop()
            console.print(_sketch(loaded, stack))
            good = await one_call(stack, loaded)
            if not once:
                await _stay(stack, loaded)
            return good


async def one_call(stack: Stack, loaded: LoadedAgent) -> bool:
    """Make the scripted call, show it live, and judge it. Returns whether it really completed."""
    begun_row = await trio.to_thread.run_sync(last_row, stack.journal)
    records: list[Record] = []
    settled = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(show_live, stack.journal, begun_row, into=records, settled=settled))
        twin = loaded.agent.twin
        outbound = stack.dial(twin.dials, twin.caller) if twin.dials is not None else None
        call_sid = await (outbound or stack.place_call(twin.caller))
        known = await stack.wait_call(call_sid)
        with trio.move_on_after(SETTLE_S):
            await settled.wait()
        nursery.cancel_scope.cancel()
    if not records:
        console.print("[bold red]the call never reached the service; see the logs in", stack.data / "logs")
        return False
    recording = stack.data / "recordings" / f"{records[0].call_id}.wav"
    with console.status("a recogniser listens to the recording…"):
        async with Ears() as ears:
            verdict = await judge(spoken_agent(loaded.agent), records, recording, known, ears)
    _tell(verdict, recording, known)
    return not verdict.problems


async def show_live(
    journal: Path, after_row: int, *, into: list[Record] | None = None, settled: trio.Event | None = None
) -> None:
    """Print the journal as it grows, until cancelled. Sets `settled` when a call's end and its report are in."""
    several = into is None
    timeline = Timeline(show_call=several)
    row = after_row
    while True:
        row, fresh = await trio.to_thread.run_sync(tail, journal, row)
        for record in fresh:
            if into is not None:
                into.append(record)
            for line in timeline.lines(record):
                console.print(line)
        if settled is not None and into is not None and {"ReportArrived", "Closed"} <= {r.name for r in into}:
            settled.set()
        if not fresh:
            await trio.sleep(POLL_S)


def _sketch(loaded: LoadedAgent, stack: Stack) -> str:
    return (
        f"\n  caller ─ [magenta]Twilio twin[/] {stack.twilio.url} ─ [bold]callscope serve[/] {stack.service.url}"
        f" ─ [blue]Vapi twin[/] {stack.vapi.url} ─ agent [green]{loaded.agent.name}[/]\n"
    )


def _tell(verdict: Verdict, recording: Path, known: Mapping[str, Any]) -> None:
    console.print("\n[bold]What a recogniser hears in the recording[/]")
    for who, style, texts in (
        ("caller", "cyan", verdict.caller_said),
        ("agent", "green", verdict.agent_was_heard_to_say),
    ):
        for text in texts:
            console.print(f"  [{style}]{who:<7}[/]{text or '…'}")
    for one in verdict.barge_ins:
        silent_ms = one.get("silent_ms")
        after = f"{silent_ms - one['onset_ms']:.0f} ms" if silent_ms is not None else "never"
        console.print(
            f"  [yellow]barge-in[/] agent silent at the caller's ear after {after}, stale speech after it: "
            f"{one.get('stale_ms', 0):.0f} ms"
        )
    console.print(f"  recording  {recording}")
    if verdict.problems:
        for problem in verdict.problems:
            console.print(f"  [bold red]✗ {problem}")
    else:
        console.print("  [bold green]✓ the conversation completed[/]")


async def _stay(stack: Stack, loaded: LoadedAgent) -> None:
    dials = loaded.agent.twin.dials
    first = loaded.agent.twin.caller[0].say if loaded.agent.twin.caller else "hello"
    given = "".join(f" --var {name}={shlex.quote(value)}" for name, value in dials.variables.items()) if dials else ""
    again = f"dial {dials.to}{given}" if dials else f'call "{first}"'
    console.print(
        f"\nThe stack stays up. Open [bold]{stack.service.url}[/] and call the agent with your own voice.\n"
        "In a second terminal try:\n"
        f"  ./dev callscope {again}\n"
        "  ./dev callscope calls ls\n"
        "  ./dev callscope calls show last\n"
        f"  open {stack.service.url}/metrics\n"
        f"Change {loaded.path} or its tools: the next call has it.  Ctrl-C ends it."
    )
    begun_row = await trio.to_thread.run_sync(last_row, stack.journal)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(show_live, stack.journal, begun_row)
        nursery.start_soon(_show_versions, loaded)
        await stack.service.process.wait()
        console.print(f"[bold red]the service ended; see {stack.service.log}")
        nursery.cancel_scope.cancel()


async def _show_versions(loaded: LoadedAgent) -> None:
    """Say what the service makes of a changed file: it has faults, or the next call gets it."""
    newest = loaded

    async def take(fresh: LoadedAgent) -> None:
        nonlocal newest
        newest = fresh
        console.print(f"[bold green]{fresh.agent.name} has changed: the next call has it; calls that live keep theirs")
        await trio.lowlevel.checkpoint()

    def told(problem: str) -> None:
        console.print(f"[bold red]not taken, the version before stays:[/]\n{escape(problem)}")

    await keep_current(loaded.path, FileWatch(lambda: newest.files), take, told=told)
