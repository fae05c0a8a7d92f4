"""`callscope calls`, as people type it, on a real journal."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from rich.console import Console

from actors.journal_sqlite import SqliteJournal, list_calls
from engine.journal import Kind, Record
from web.cli.calls import _table, app, journal_path

FIRST, SECOND = f"call-01AB{'0' * 22}", f"call-01AC{'0' * 22}"
CALLER, BISTRO = "+14155550123", "+14155550199"


def records(call_id: str, wall_s: float, *, over: bool = True) -> list[Record]:
    numbers = {"agent": "bistro", "direction": "inbound", "from": CALLER, "to": BISTRO}
    closed = {"reason": "caller hung up", "outcome": "completed", "duration_ms": 83_400, "recording": {"problem": None}}
    said = {"text": "Eight works.", "final": True}
    all_of_it = [
        Record(call_id, 0, 0.0, wall_s, Kind.OPENED, "Opened", numbers),
        Record(call_id, 1, 5.0, wall_s, Kind.PHASE, "listening", {"from": "connecting"}),
        Record(call_id, 2, 1234.5, wall_s, Kind.EVENT, "CallerTranscript", said),
        Record(call_id, 3, 83_400.0, wall_s, Kind.CLOSED, "Closed", closed),
    ]
    return all_of_it if over else all_of_it[:-1]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with two calls; the newer one still goes on."""
    folder = tmp_path / "data"

    async def fill() -> None:
        async with SqliteJournal.open(folder / "journal.sqlite3") as journal:
            for record in [*records(FIRST, 1_790_000_000.0), *records(SECOND, 1_790_000_060.0, over=False)]:
                journal.append(record)

    trio.run(fill)
    (folder / "recordings").mkdir()
    (folder / "recordings" / f"{FIRST}.wav").touch()
    monkeypatch.setenv("CALLSCOPE_DATA", str(folder))
    return folder


def run(*words: str) -> int:
    """The exit code of `callscope calls …`."""
    try:
        app(list(words))
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    return 0


@pytest.mark.usefixtures("data")
def test_calls_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("ls") == 0
    title, newest, oldest = capsys.readouterr().out.splitlines()
    assert title.split() == ["id", "when", "from", "→", "to", "outcome", "length", "recorded"]
    assert newest.startswith(SECOND)
    assert newest.split()[-2:] == ["listening", "no"]
    assert "+1•••23 → +1•••99" in oldest
    assert "completed: caller hung up" in oldest
    assert oldest.split()[-2:] == ["1:23", "yes"]
    assert CALLER not in newest + oldest
    assert run("ls", "-n", "1") == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_call_is_shown(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "01AB") == 0
    shown = capsys.readouterr().out
    assert shown.splitlines() == [
        "    0.000  call     call from +1•••23 to +1•••99 · agent bistro · inbound",
        "    0.005           connecting → listening",
        "    1.234  caller   “Eight works.”",
        "   83.400  call     over: completed · caller hung up · 83.4 s",
        "",
        f"recording  {data / 'recordings' / FIRST}.wav  (left: the caller, right: what they heard)",
    ]
    assert run("show", FIRST, "--wall") == 0
    assert capsys.readouterr().out[2] == ":"


def certificate(n: int, silent_ms: float | None, decision: str = "dropped", reason: str = "words") -> Record:
    data = {
        "n": n, "utterance": n, "onset_at": 1.0, "hold_ms": 20.0 + n, "clear_ms": 20.0 + n, "silent_ms": silent_ms,
        "marks_back": 1, "decided_ms": 400.0, "decision": decision, "reason": reason, "words": "", "heard_ms": 900.0,
        "unheard_ms": 600.0, "still_heard_ms": silent_ms,
    }  # fmt: skip
    return Record(SECOND, 2 + n, 1000.0 * n, 0.0, Kind.NOTE, "Interruption", data)


def test_interruptions_are_counted_and_measured(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Below the call: what became of them and why, and percentiles of each step; one has no proof of silence."""

    async def fill() -> None:
        async with SqliteJournal.open(data / "journal.sqlite3") as journal:
            for n in range(1, 101):
                journal.append(certificate(n, 100.0 + n))
            journal.append(certificate(101, None, "resumed", "noise"))

    trio.run(fill)
    assert run("show", "last") == 0
    told = capsys.readouterr().out.split("\n\n")[1].splitlines()
    assert told[0] == "interruptions  100 dropped (words 100) · 1 resumed (noise 1)"
    assert [line.split() for line in told[1:]] == [
        ["ms", "p50", "p95", "p99"],
        ["onset", "→", "hold", "71", "116", "120"],
        ["onset", "→", "clear", "71", "116", "120"],
        ["onset", "→", "silence", "150", "195", "199"],
    ]


@pytest.mark.usefixtures("data")
def test_the_last_call_may_still_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "last") == 0
    assert capsys.readouterr().out.endswith("no recording yet; this call is not over, or its process was killed\n")


@pytest.mark.usefixtures("data")
def test_json_is_the_records_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", FIRST, "--json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["seq"] for line in lines] == [0, 1, 2, 3]
    assert lines[0]["data"]["from"] == CALLER


@pytest.mark.usefixtures("data")
def test_a_call_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "call-9") == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert "No call 'call-9'" in output.err
    assert "callscope calls ls" in output.err
    assert run("show", "01A") == 1
    assert capsys.readouterr().err.splitlines()[1:] == [f"  {SECOND}", f"  {FIRST}"]


@pytest.mark.parametrize("command", [["ls"], ["show", "last"]])
def test_no_journal_yet(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*command, "--data", str(tmp_path / "nowhere")) == 1
    assert "`./dev run` makes one" in capsys.readouterr().err
    assert not (tmp_path / "nowhere").exists(), "looking makes nothing"


def test_a_broken_journal_is_told_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "journal.sqlite3").write_text("no database at all" * 100)
    assert run("ls", "--data", str(tmp_path)) == 1
    error = capsys.readouterr().err
    assert "cannot be read" in error
    assert "Traceback" not in error


def test_the_journal_is_read_while_it_is_written(data: Path) -> None:
    """From a second terminal, so in a process of its own."""

    async def live() -> subprocess.CompletedProcess[bytes]:
        async with SqliteJournal.open(data / "journal.sqlite3") as journal:
            await journal.commit(Record(SECOND, 3, 9.0, 0.0, Kind.NOTE, "StillHere"))
            code = "import sys; from web.cli.calls import app; app(['show', 'last'])"
            with trio.fail_after(20):
                return await trio.run_process([sys.executable, "-c", code], capture_stdout=True, check=False)

    done = trio.run(live)
    assert done.returncode == 0
    assert "StillHere" in done.stdout.decode()


def test_help_reads_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    assert "Show one call as a timeline." in capsys.readouterr().out
    assert run("show", "--help") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "or last" in shown
    assert "CALLSCOPE_DATA" in shown


def test_the_list_fits_a_narrow_terminal(data: Path) -> None:
    console = Console(width=80, file=io.StringIO())
    console.print(_table(list_calls(journal_path(data)), data, wide=False))
    assert isinstance(console.file, io.StringIO)
    title, *rows = console.file.getvalue().splitlines()
    assert title.split() == ["id", "when", "from", "outcome", "length", "rec"]
    assert [row.split()[0] for row in rows if row.startswith("call-")] == [SECOND, FIRST]
    assert [row for row in rows if "+1•••23" in row and FIRST in row and "1:23" in row]
