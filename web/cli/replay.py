"""`callscope replay`: calls that were, again, from their journals; and what another policy would have made of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from actors.journal_reader import CallRow, list_calls, read_call
from actors.replay import (
    NotReplayable,
    Replayed,
    counterfactual,
    first_difference,
    opening_of,
    orders_of,
    replay,
)
from actors.replay_actor import replay_actor
from engine.agent import Agent
from engine.call import Policy
from engine.errors import CallscopeError
from engine.journal import Record
from web.agents import load_agent
from web.cli.calls import DEFAULT_DATA, PIPE_COLUMNS, DataFolder, journal_path

MOST_CALLS = 10_000
SHOWN = 50
SOUND = "sound is not in the journal: voices, utterances and marks are posted as the facts they were"


def replay_calls(
    call: str | None = None,
    /,
    *,
    with_: Annotated[Path | None, Parameter(name="--with")] = None,
    all_: Annotated[bool, Parameter(name="--all", negative=())] = False,
    since: datetime | None = None,
    engine_only: Annotated[bool, Parameter(negative=())] = False,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Replay a call, or all of them: the same orders at the same milliseconds, or the first difference. Exit 1 if any.

    Parameters
    ----------
    call
        Its id, the beginning of its id, or `last`.
    with_
        Not as it was decided then: by the policy of this agent file or folder.
    all_
        Every call of the journal instead of one.
    since
        Only calls from this day or moment on; with it `--all` may be left out.
    engine_only
        Only through the engine, not through the actors.
    """
    console = Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS, highlight=False)
    try:
        agent = load_agent(with_).agent if with_ is not None else None
        if all_ or since is not None:
            journals = list(_journals(data, since))
        else:
            journals = [read_call(journal_path(data), call or "last")]
        differ = _compare(journals, agent, console) if agent is not None else _again(journals, engine_only, console)
    except CallscopeError as trouble:
        print(f"callscope replay: {trouble}", file=sys.stderr)
        sys.exit(2)
    if differ:
        sys.exit(1)


def _journals(data: Path, since: datetime | None) -> Iterator[list[Record]]:
    """The ended calls, the oldest first."""
    path = journal_path(data)
    moment = since.astimezone().timestamp() if since is not None else 0.0
    rows: list[CallRow] = list_calls(path, MOST_CALLS)
    for row in reversed(rows):
        if row.status == "closed" and row.started_wall_s >= moment:
            yield read_call(path, row.call_id)


# --- as it was -------------------------------------------------------------------------------------------------------


def _again(journals: Sequence[list[Record]], engine_only: bool, console: Console) -> int:
    differ = 0
    for records in journals:
        try:
            found = [("engine", replay(records))]
            if not engine_only:
                found.append(("actors", replay_actor(records)))
        except NotReplayable as trouble:
            differ += 1
            console.print(f"{records[0].call_id}  cannot be replayed: {trouble}", style="yellow")
            continue
        differ += any(not one.same for _, one in found)
        for through, one in found:
            _print(through, one, console)
    if not engine_only and len(journals) == 1:
        console.print(SOUND, style="dim")
    if len(journals) != 1:
        console.print(f"{len(journals)} calls, {differ} of them differ")
    return differ


def _print(through: str, found: Replayed, console: Console) -> None:
    head = f"{found.call_id}  {through:6}  {found.steps} facts, {found.effects} orders"
    if found.assumed:
        head += f"  ({found.assumed})"
    if found.same:
        late = f", the event loop at most {found.largest_delay_ms:.1f} ms late" if through == "engine" else ""
        console.print(f"{head}: the same, each at its millisecond{late}", style="green")
        return
    for one in found.differences:
        where = f"record {one.seq}" if one.seq >= 0 else "the end"
        console.print(f"{head}: differs at {one.at_ms:.1f} ms in {one.phase}, {where}", style="red")
        console.print(f"  then  {one.then}\n  now   {one.now}", markup=False)


# --- what if ---------------------------------------------------------------------------------------------------------


def _compare(journals: Sequence[list[Record]], agent: Agent, console: Console) -> int:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("call", "at ms", "phase", "then", "with it"):
        table.add_column(title, overflow="fold", justify="right" if title == "at ms" else "left")
    differ = skipped = 0
    for records in journals:
        try:
            difference = first_difference(orders_of(records), counterfactual(records, _policy(records, agent)))
        except NotReplayable as trouble:
            skipped += 1
            console.print(f"{records[0].call_id}  left out: {trouble}", style="yellow")
            continue
        if difference is not None:
            differ += 1
            if differ <= SHOWN:
                at = f"{difference.at_ms:.1f}"
                table.add_row(records[0].call_id, at, str(difference.phase), difference.then, difference.now)
    if differ:
        console.print(table)
        console.print("the world does not react: from its first difference on each of them is a guess", style="dim")
    left_out = f", {skipped} left out" if skipped else ""
    console.print(f"{differ} of {len(journals)} calls would have gone differently{left_out}")
    return differ


def _policy(records: Sequence[Record], agent: Agent) -> Policy:
    """That agent's policy in this call: at its hour, with the voices that our lines had then."""
    then = opening_of(records).policy
    policy = Policy.of(agent, lines=then.lines, local_minutes=then.local_minutes)
    return msgspec.structs.replace(policy, holding_after_s=then.holding_after_s, agent_patience_s=then.agent_patience_s)
