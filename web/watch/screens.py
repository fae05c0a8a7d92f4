"""What the terminal shows: the list of calls, and one call's lanes. Pure: rows and records in, renderables out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from engine.journal import Kind, Record
from web.api.lanes import lanes
from web.api.summary import summarise
from web.api.turns import turns
from web.api.types import CallRow, Lane, Lanes, Span
from web.wording import clean

__all__ = ["call_screen", "list_screen", "row_line"]

PHASE_STYLES: Mapping[str, str] = {
    "connecting": "bright_black", "listening": "blue", "speaking": "green", "interrupted": "yellow",
    "tool_pending": "magenta", "transferring": "bright_magenta", "ended": "bright_black",
}  # fmt: skip
LANE_STYLES: Mapping[str, str] = {"caller": "cyan", "agent": "green", "held": "yellow", "tools": "magenta"}
SPAN_STYLES: Mapping[str, str] = {"failed": "red", "running": "bright_magenta", "line": "bright_cyan", "dropped": "red"}
SHOWN_LANES = ("phases", "caller", "agent", "held", "tools")
LABEL_COLUMNS = 9
LEAST_COLUMN_MS, MOST_COLUMN_MS = 50.0, 2_000.0
TURNS, CERTIFICATES = 8, 4
SLOW_MS = 1_500.0


def list_screen(
    rows: Sequence[CallRow], *, selected: str, source: str, problem: str, width: int, height: int
) -> RenderableType:
    """The calls; as many as fit, the selected one always among them."""
    live = sum(row.state == "live" for row in rows)
    table = Table(box=None, pad_edge=False, expand=True, header_style="bold")
    wide = width >= 100
    for title in ("", "phase", "caller", *(("agent",) if wide else ())):
        table.add_column(title, no_wrap=True)
    for title in ("length", "latency", *(("cuts", "tools") if wide else ())):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("last words", ratio=1, no_wrap=True, overflow="ellipsis")
    for row in _window(rows, selected, max(1, height - 5)):
        mine = row.id == selected
        cells = [Text("▶" if mine else " "), _phase(row), Text(_number(row))]
        cells += [Text(clean(row.agent or ""))] * wide
        cells += [Text(length(row.duration_ms)), _latency(row)]
        cells += [Text(str(row.interruptions)), _tools(row)] if wide else []
        cells.append(_last_words(row))
        table.add_row(*cells, style="reverse" if mine else "" if row.state == "live" else "dim")
    body: RenderableType = table if rows else Text("No calls yet. One appears here the moment it comes in.", "dim")
    return Group(_header(f"{live} live", source, problem), body, _footer("↑ ↓ choose   enter open   q quit"))


def call_screen(
    records: Sequence[Record], *, source: str, problem: str, width: int, height: int, now_ms: float | None = None
) -> RenderableType:
    """One call: its lanes over the last stretch that fits, what was said last, and its interruptions.

    Args:
        now_ms: the end of the lanes on the call's clock, while it lives: so that they scroll also in silence.
    """
    if not records:
        return Group(_header("", source, problem), Text("Waiting for the call's first record…", "dim"),
                     _footer("esc back   q quit"))  # fmt: skip
    drawn = lanes(records)
    over = any(record.kind is Kind.CLOSED for record in records)
    end_ms = drawn.duration_ms if over or now_ms is None else max(drawn.duration_ms, now_ms)
    row = summarise(records).row(0.0)
    title = Text.assemble(
        (f"{row.direction or 'call'} ", "bold"), _number(row), "  ", _phase_text(row.phase if not over else "ended"),
        f"  {length(end_ms)}  ", (f"{row.outcome}: {row.reason or ''}" if over else "", "bold"),
    )  # fmt: skip
    left = max(4, height - len(SHOWN_LANES) - 9)
    certificates = _certificates(records)[-CERTIFICATES:]
    said = _said(records, width)[-max(2, min(TURNS, left - len(certificates))) :]
    parts: list[RenderableType] = [
        _header("", source, problem), title, Rule(style="dim"),
        *lane_lines(drawn, end_ms, width, scrolling=not over), Rule(style="dim"), *said,
    ]  # fmt: skip
    if certificates:
        parts.append(Panel(Group(*certificates), title="interruptions", title_align="left", box=box.SIMPLE, padding=0))
    return Group(*parts, _footer("esc back   q quit"))


def row_line(row: CallRow) -> str:
    """A call as one plain line."""
    words = f"{row.last_words.who}: {clean(row.last_words.text)}" if row.last_words is not None else ""
    state = row.phase or "just admitted" if row.state == "live" else f"ended ({row.outcome}: {row.reason or ''})"
    return "  ".join(one for one in (row.id, _number(row), length(row.duration_ms), state, words) if one)


# --- lanes --------------------------------------------------------------------------------------------------------


def lane_lines(drawn: Lanes, end_ms: float, width: int, *, scrolling: bool) -> list[Text]:
    """Each lane as one line of blocks, and the time below. A live call scrolls; one that is over is shown whole."""
    columns = max(10, width - LABEL_COLUMNS - 1)
    column_ms = 250.0 if scrolling else min(MOST_COLUMN_MS, max(LEAST_COLUMN_MS, end_ms / columns))
    from_ms = max(0.0, end_ms - columns * column_ms)
    found = [_lane(lane, from_ms, column_ms, columns) for lane in drawn.lanes if lane.name in SHOWN_LANES]
    return [*found, _axis(from_ms, column_ms, columns)]


def _lane(lane: Lane, from_ms: float, column_ms: float, columns: int) -> Text:
    cells = [" "] * columns
    styles = [""] * columns
    for span in lane.spans:
        first = max(0, int((span.from_ms - from_ms) // column_ms))
        last = min(columns, max(first + 1, round((span.to_ms - from_ms) / column_ms)))
        if span.to_ms < from_ms or first >= columns:
            continue
        style, word = _style(lane.name, span), clean(span.text) if lane.name in ("phases", "tools", "agent") else ""
        for column in range(first, last):
            at = column - first
            inside = 0 < at <= len(word) and at < last - first - 1
            cells[column] = word[at - 1] if inside and last - first >= min(len(word), 4) + 2 else " " if word else "█"
            styles[column] = f"black on {style}" if word else style
    line = Text(f"{lane.name:<{LABEL_COLUMNS}}", "dim")
    for cell, style in zip(cells, styles, strict=True):
        line.append(cell, style)
    return line


def _style(lane: str, span: Span) -> str:
    if lane == "phases":
        return PHASE_STYLES.get(span.kind, "white")
    return SPAN_STYLES.get(span.kind) or LANE_STYLES.get(lane, "white")


def _axis(from_ms: float, column_ms: float, columns: int) -> Text:
    step = next(step for step in (1, 2, 5, 10, 30, 60, 300, 3600) if step * 1000 / column_ms >= 9 or step == 3600)
    line = [" "] * columns
    second = -(-from_ms // (step * 1000)) * step
    while (at := int((second * 1000 - from_ms) / column_ms)) < columns:
        for offset, char in enumerate(f"╵{length(second * 1000)}"):
            if at + offset < columns:
                line[at + offset] = char
        second += step
    return Text(" " * LABEL_COLUMNS + "".join(line), "dim")


def _said(records: Sequence[Record], width: int) -> list[Text]:
    styles = {"caller": "cyan", "agent": "green", "line": "bright_cyan", "operator": "magenta"}
    return [
        Text.assemble(
            (f"{turn.at_ms / 1000:8.2f} ", "dim"), (f"{turn.who:<9}", f"bold {styles.get(turn.who, '')}"),
            clean(turn.text, max(20, width - 24)), (" ✂" if turn.cut else "", "yellow"),
        )
        for turn in turns(records)
    ]  # fmt: skip


def _certificates(records: Sequence[Record]) -> list[Text]:
    found = []
    for record in records:
        data = record.data
        if record.name != "Interruption":
            continue
        cut, silent = data.get("decision") == "dropped", data.get("silent_ms")
        line = Text(f"{record.at_ms / 1000:8.2f} ", "dim")
        line.append("cut in   " if cut else "held     ", "yellow" if cut else "blue")
        line.append(clean(data.get("reason") or "unknown"), "none")
        if isinstance(silent, int | float):
            line.append(f" · silent after {silent:.0f} ms", "none")
        found.append(line)
    return found


# --- pieces -------------------------------------------------------------------------------------------------------


def _window(rows: Sequence[CallRow], selected: str, most: int) -> Sequence[CallRow]:
    at = next((index for index, row in enumerate(rows) if row.id == selected), 0)
    first = max(0, min(at - most // 2, len(rows) - most))
    return rows[first : first + most]


def _header(told: str, source: str, problem: str) -> Text:
    told = f"  {told}  " if told else "  "
    head = Text.assemble(("callscope watch", "bold"), told, (clean(source), "dim"), no_wrap=True)
    return head.append(f"  {problem}", "bold red") if problem else head


def _footer(keys: str) -> Text:
    return Text(keys, "dim")


def _number(row: CallRow) -> str:
    return clean((row.to if row.direction == "outbound" else row.from_) or "unknown")


def _phase(row: CallRow) -> Text:
    if row.state == "live":
        return _phase_text(row.phase)
    return Text(clean(row.outcome or "over"), "" if row.outcome == "completed" else "yellow")


def _phase_text(phase: str | None) -> Text:
    return Text(phase or "just admitted", f"bold {PHASE_STYLES.get(phase or '', 'white')}")


def _latency(row: CallRow) -> Text:
    p50 = row.latency_ms.turn_p50
    return Text("–" if p50 is None else f"{p50:.0f} ms", "yellow" if p50 is not None and p50 > SLOW_MS else "")


def _tools(row: CallRow) -> Text:
    return Text(f"{row.tools}✗{row.tools_failed}", "red") if row.tools_failed else Text(str(row.tools))


def _last_words(row: CallRow) -> Text:
    words = row.last_words
    return Text.assemble((f"{words.who} ", "dim"), clean(words.text)) if words is not None else Text("")


def length(ms: float) -> str:
    minutes, seconds = divmod(int(ms // 1000), 60)
    return f"{minutes}:{seconds:02d}"
