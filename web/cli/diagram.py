"""`callscope diagram`: the rules for review: pictures and tables, all offline, of this revision and against another."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from engine.diagram import differences, mermaid
from engine.errors import BadSettings
from engine.model_check import explore, table_faults
from engine.phase_tables import phases_page, rows, unfired
from engine.rule_pictures import changes, picture_of_changes, picture_of_coverage
from web.cli.rules_at import rules_at

_DRAWN = Path(__file__).parents[2] / "specs" / "diagrams"
_PICTURE, _TABLES = _DRAWN / "call.mmd", _DRAWN / "phases.md"
Flag = Annotated[bool, Parameter(negative="")]


def diagram(
    output: Path | None = None,
    /,
    *,
    svg: bool = False,
    png: bool = False,
    check: Flag = False,
    coverage: Path | None = None,
    diff: str | None = None,
    check_model: Flag = False,
    states: int = 4000,
) -> None:
    """Write the call's state diagram and the tables of its phases, or compare them with the code.

    Parameters
    ----------
    output
        The Mermaid file, by default specs/diagrams/call.mmd; tables (.md) and pictures go beside it. With --coverage
        and --diff nothing is written without it, and a name that ends in .svg or .png is a picture at once.
    svg
        Also draw an SVG (offline, no browser).
    png
        Also draw a PNG.
    check
        Write nothing; exit 1 and name each edge that differs from the code.
    coverage
        A file of `./dev test --edges FILE`: which rules were fired and how often, and which by nothing.
    diff
        A git revision: which edges are new, gone, or ask for something else since then, in words and in colours.
    check_model
        Look for dead phases, traps, waits without a time-out and pairs without a rule; exit 1 if there is one.
    states
        With --check-model: explore so many different states.
    """
    if check_model:
        _check_model(states)
    elif coverage is not None:
        _tell_coverage(coverage, output, svg=svg, png=png)
    elif diff is not None:
        _tell_changes(diff, output, svg=svg, png=png)
    else:
        picture, tables = output or _PICTURE, _TABLES if output is None else output.with_name(_TABLES.name)
        if check:
            _check(picture, tables if output is None or tables.exists() else None)
            return
        picture.parent.mkdir(parents=True, exist_ok=True)
        _write(tables, phases_page())
        _write(picture, mermaid())
        _draw(mermaid(), picture, svg=svg, png=png)


def _check(picture: Path, tables: Path | None) -> None:
    told = _compare(picture)
    if tables is not None and _text_of(tables) != phases_page():
        told.append(f"{tables.name} is not what the rules say now")
    if told:
        print(f"{picture} is not what the code does; run `callscope diagram` and review it:", file=sys.stderr)
        for line in told:
            print(f"  {line}", file=sys.stderr)
        raise SystemExit(1)
    print(f"{picture} is what the code does{'' if tables is None else f', and so is {tables.name}'}.")


def _compare(path: Path) -> list[str]:
    text = _text_of(path)
    return ["the file is not there"] if text is None else differences(mermaid(), text)


def _text_of(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _tell_coverage(counted: Path, output: Path | None, *, svg: bool, png: bool) -> None:
    """Which rules were fired, in words; with a file also tables and picture."""
    fired = _fired(counted)
    known = {row.pair for row in rows()}
    strange = sorted(pair for pair in fired if pair not in known)
    missing = unfired(fired)
    every = len([row for row in rows() if row.phase != "ended"])
    print(
        f"{every - len(missing)} of {every} rules were fired, {sum(fired.values())} times; those of ended not counted."
    )
    for row in missing:
        print(f"  fired by nothing: {row.phase} → {row.to or 'stays'} on {row.event}")
    for phase, event in strange:
        print(f"  fired, and not in the rules any more: {phase} on {event}")
    if output is not None:
        _write(output.with_suffix(".md"), phases_page(fired))
        _write_picture(output, picture_of_coverage(rows(), fired), svg=svg, png=png)


def _fired(path: Path) -> dict[tuple[str, str], int]:
    """Counts by (phase, event).

    Raises:
        BadSettings: no such file, or not one of `--edges`.
    """
    try:
        edges = json.loads(path.read_text(encoding="utf-8"))["edges"]
        return {(str(one["phase"]), str(one["event"])): int(one["count"]) for one in edges}
    except OSError as problem:
        raise BadSettings(f"--coverage {path}: {problem.strerror}; `./dev test --edges {path}` writes one.") from None
    except (ValueError, KeyError, TypeError):
        raise BadSettings(f"--coverage {path}: not a file that `./dev test --edges FILE` wrote.") from None


def _tell_changes(revision: str, output: Path | None, *, svg: bool, png: bool) -> None:
    was, now = rules_at(revision), rows()
    found = changes(was, now)
    moves = [change for change in found if change.kind != "why"]
    reasons = len(found) - len(moves)
    print(f"Against {revision}: {len(moves)} of {len(now)} rules differ, {reasons} more in their reason only.")
    for change in moves:
        print(f"  {change}")
    if output is not None:
        _write_picture(output, picture_of_changes(was, now), svg=svg, png=png)


def _check_model(states: int) -> None:
    """The table by itself, and then the states that calls can get into."""
    found = explore(most_states=states)
    faults = [*table_faults(), *found.faults]
    print(found)
    for fault in faults:
        print(f"  {fault}", file=sys.stderr)
    if faults:
        raise SystemExit(1)
    print("No dead phase, no trap, no wait without a time-out, no pair without a rule.")


def _write_picture(path: Path, text: str, *, svg: bool, png: bool) -> None:
    if path.suffix in (".svg", ".png"):
        _draw(text, path, svg=path.suffix == ".svg", png=path.suffix == ".png")
        return
    _write(path, text)
    _draw(text, path, svg=svg, png=png)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    print(path)


def _draw(text: str, beside: Path, *, svg: bool, png: bool) -> None:
    for wanted, kind in ((svg, "svg"), (png, "png")):
        if wanted:
            from mermaid_render import convert  # noqa: PLC0415 — a JavaScript engine, 0.2 s: only when one is wanted

            path = beside.with_suffix(f".{kind}")
            convert(text, path, format=kind, title="Call")
            print(path)
