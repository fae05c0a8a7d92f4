"""`callscope calls`: the calls that were, as a list, and one of them as a timeline. Reads; never writes."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from actors.journal_reader import CallRow, NoJournal, UnknownCall, list_calls, read_call
from engine.errors import CallscopeError
from engine.journal import Kind, Record, encode
from engine.recording import file_name
from web.percentiles import SHOWN, shown
from web.scenario_text import scenario_text
from web.timeline import rich_lines
from web.wording import clean

WIDE_COLUMNS = 110  # below this the list leaves out what is the same in most rows
PIPE_COLUMNS = 240  # when the output is no terminal nothing is cut or folded
DEFAULT_DATA = Path("callscope-data")

DataFolder = Annotated[
    Path,
    Parameter(name="--data", env_var="CALLSCOPE_DATA", help="Where callscope keeps its journal and recordings."),
]

app = App(name="calls", help="List the calls that were, and read one of them as a timeline.")


def journal_path(data: Path) -> Path:
    return data / "journal.sqlite3"


def recording_path(data: Path, call_id: str) -> Path | None:
    """Where this call's recording is, if there is one."""
    try:
        path = data / "recordings" / file_name(call_id)
    except ValueError:
        return None
    return path if path.is_file() else None


@app.command
def ls(*, limit: Annotated[int, Parameter(alias="-n")] = 20, data: DataFolder = DEFAULT_DATA) -> None:
    """List calls, the newest first.

    Parameters
    ----------
    limit:
        At most so many.
    """
    try:
        rows = list_calls(journal_path(data), max(0, limit))
    except CallscopeError as trouble:
        _give_up(trouble, data)
    if not rows:
        _give_up(NoJournal("no call was made yet"), data)
    console = _console()
    console.print(_table(rows, data, wide=console.width >= WIDE_COLUMNS))


@app.command
def show(
    call: str,
    /,
    *,
    as_json: Annotated[bool, Parameter(name="--json", negative=(), show_default=False)] = False,
    wall: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Show one call as a timeline.

    Parameters
    ----------
    call:
        Its id, the beginning of its id, or `last`.
    as_json:
        The journal's records as they are, one JSON object a line, with the caller's number in them.
    wall:
        The time of day instead of seconds since the call came in.
    """
    try:
        records = read_call(journal_path(data), call)
    except CallscopeError as trouble:
        _give_up(trouble, data)
    console = _console()
    if as_json:
        for record in records:
            console.out(encode(record).decode(), highlight=False)
        return
    for line in rich_lines(records, relative=not wall):
        console.print(line, soft_wrap=True, highlight=False)
    interruptions = [record.data for record in records if record.name == "Interruption"]
    if interruptions:
        console.print()
        console.print(_interruptions_line(interruptions), soft_wrap=True, highlight=False)
        console.print(_interruptions_table(interruptions))
    console.print(_recording_line(records, data), soft_wrap=True, highlight=False)


@app.command
def export(
    call: str,
    file: Path | None = None,
    /,
    *,
    scenario: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    agent: str = "",
    data: DataFolder = DEFAULT_DATA,
) -> None:
    """Turn a call into a scenario file with personal data masked, or print its journal as JSON lines.

    Parameters
    ----------
    call:
        Its id, the beginning of its id, or `last`.
    file:
        Where to write; standard output when left out.
    scenario:
        A scenario file for `callscope test`. Digits, keys and mail addresses are masked; names, streets and numbers
        in words cannot be known: read the file before you share it.
    agent:
        The agent file that the scenario shall name, as a path from the scenario file.
    """
    try:
        records = read_call(journal_path(data), call)
    except CallscopeError as trouble:
        _give_up(trouble, data)
    if scenario:
        text = scenario_text(records, agent=agent)
    else:
        text = "".join(encode(record).decode() + "\n" for record in records)
    if file is None:
        print(text, end="")
    else:
        file.write_text(text, encoding="utf-8")


def _interruptions_line(certificates: Sequence[Mapping[str, Any]]) -> str:
    """How many ended what the agent said, how many did not, and why."""
    reasons = {decision: Counter[str]() for decision in ("dropped", "resumed")}
    for one in certificates:
        reasons["dropped" if one.get("decision") == "dropped" else "resumed"][
            clean(one.get("reason") or "unknown")
        ] += 1
    told = [
        f"{counts.total()} {decision} ({', '.join(f'{reason} {count}' for reason, count in counts.most_common())})"
        for decision, counts in reasons.items()
        if counts
    ]
    return f"interruptions  {' · '.join(told)}"


def _interruptions_table(certificates: Sequence[Mapping[str, Any]]) -> Table:
    """From the caller's first voice, in milliseconds."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("ms", no_wrap=True)
    for percent in SHOWN:
        table.add_column(f"p{percent}", justify="right", no_wrap=True)
    for title, name in (("hold", "hold_ms"), ("clear", "clear_ms"), ("silence", "silent_ms")):
        values = [float(one[name]) for one in certificates if isinstance(one.get(name), int | float)]
        table.add_row(f"onset → {title}", *(f"{value:.0f}" for value in shown(values)))
    return table


def _recording_line(records: Sequence[Record], data: Path) -> str:
    path = recording_path(data, records[0].call_id)
    if path is not None:
        return f"\nrecording  {path}  (left: the caller, right: what they heard)"
    over = any(record.kind is Kind.CLOSED for record in records)
    return "\nno recording" if over else "\nno recording yet; this call is not over, or its process was killed"


def _table(rows: Sequence[CallRow], data: Path, *, wide: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("id", "when", "from → to" if wide else "from"):
        table.add_column(title, no_wrap=True)
    table.add_column("outcome", overflow="fold")
    table.add_column("length", justify="right", no_wrap=True)
    table.add_column("recorded" if wide else "rec", overflow="fold")
    for row in rows:
        when = datetime.fromtimestamp(row.started_wall_s).astimezone()
        caller, callee = row.from_masked or "?", row.to_masked or "?"
        table.add_row(
            row.call_id,
            f"{when:%Y-%m-%d %H:%M:%S}" if wide else f"{when:%m-%d %H:%M}",
            f"{caller} → {callee}" if wide else caller,
            _outcome(row),
            _length(row.duration_ms),
            _recorded(row, data),
        )
    return table


def _outcome(row: CallRow) -> Text:
    if row.status == "open":
        return Text(row.phase or "just admitted", style="green")
    words = [word for word in (row.outcome, row.reason) if word]
    return Text(": ".join(words) or "over", style="" if row.outcome == "completed" else "yellow")


def _length(duration_ms: float | None) -> str:
    if duration_ms is None:
        return ""
    minutes, seconds = divmod(round(duration_ms / 1000), 60)
    return f"{minutes}:{seconds:02d}"


def _recorded(row: CallRow, data: Path) -> Text:
    if recording_path(data, row.call_id) is None:
        return Text("no", style="yellow" if row.recording_problem else "dim")
    return Text("part", style="yellow") if row.recording_problem else Text("yes")


def _console() -> Console:
    """On standard output as it is now; tests and pipes change it."""
    return Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS)


def _give_up(trouble: CallscopeError, data: Path) -> NoReturn:
    """Say what is wrong and what would help; exit 1."""
    print(_sentence(trouble, data), file=sys.stderr)
    sys.exit(1)


def _sentence(trouble: CallscopeError, data: Path) -> str:
    if isinstance(trouble, NoJournal):
        return f"No calls in {data} yet. `./dev run` makes one; --data or CALLSCOPE_DATA looks elsewhere."
    if isinstance(trouble, UnknownCall):
        if trouble.candidates:
            which = "\n  ".join(trouble.candidates)
            return f"Several calls begin with {trouble.wanted!r}; which one?\n  {which}"
        return f"No call {trouble.wanted!r} in {data}. `callscope calls ls` lists them; `last` is the newest."
    return str(trouble)
