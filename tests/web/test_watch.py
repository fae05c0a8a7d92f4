"""`callscope watch`: what stands on the screen, in virtual time; and the two places where the calls come from."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import trio
import trio.testing
from rich.console import Console

from actors.journal_reader import UnknownCall
from engine.errors import BadSettings
from engine.journal import Record
from tests.web.api.journals import ASKED, GREETED, OVER, call_id_of, records_of, whole_call, write
from tests.web.api.service import OPERATOR, open_service
from web.api.lanes import lanes
from web.api.summary import summarise
from web.api.types import CallRow
from web.watch.keys import read_keys
from web.watch.screens import call_screen, lane_lines
from web.watch.sources import HttpSource, JournalSource
from web.watch.watching import REFRESH_S, watch_plain, watch_screen


class PlayedSource:
    """Calls whose records come at their own moments, by the test's clock."""

    name, problem = "a play", ""

    def __init__(self, *calls: Sequence[Record]) -> None:
        self._calls = calls

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self._began = trio.current_time()
        task_status.started()
        await trio.sleep_forever()

    def _came(self, call: Sequence[Record]) -> list[Record]:
        now_ms = (trio.current_time() - self._began) * 1000
        return [record for record in call if record.at_ms <= now_ms]

    async def rows(self) -> Sequence[CallRow]:
        await trio.lowlevel.checkpoint()
        came = [found for call in self._calls if (found := self._came(call))]
        return [summarise(found).row(found[-1].wall_s) for found in came]

    async def records(self, call_id: str) -> Sequence[Record]:
        await trio.lowlevel.checkpoint()
        return next(self._came(call) for call in self._calls if call[0].call_id == call_id)

    async def find(self, wanted: str) -> str:
        await trio.lowlevel.checkpoint()
        return wanted


class Watched:
    """A terminal of a size, what is typed in it, and what stands in it."""

    def __init__(self, width: int = 110, height: int = 30) -> None:
        self._out = io.StringIO()
        self.console = Console(
            file=self._out,
            force_terminal=True,
            width=width,
            height=height,
            color_system="standard",
            legacy_windows=False,
        )
        self.type, self._typed = trio.open_memory_channel[str](8)

    async def keys(self) -> AsyncIterator[str]:
        async for key in self._typed:
            yield key

    async def screen(self) -> str:
        """What is drawn next, without its colours."""
        await trio.sleep(REFRESH_S * 2.2)
        text = self._out.getvalue()
        self._out.seek(0)
        self._out.truncate()
        frames = text.split("\x1b[H")
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", frames[-1])

    @property
    def coloured(self) -> str:
        return self._out.getvalue()


async def test_a_list_and_a_call(autojump_clock: trio.testing.MockClock) -> None:
    """Down chooses a call, Enter opens it, its lanes go on while it lives, Escape leads back, q leaves."""
    del autojump_clock
    source = PlayedSource(whole_call(1), records_of(2, GREETED, ASKED, agent="pizzeria"))
    watched = Watched()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_screen, source, watched.console, watched.keys())
        first = await watched.screen()
        assert "2 live" in first and "pizzeria" in first and "+1•••23" in first and "2025550123" not in first
        assert re.search(r"▶ +speaking", first)
        await trio.sleep(4)
        later = await watched.screen()
        assert "interrupted" in later and "agent Your table" in later
        await watched.type.send("down")
        assert re.search(r"▶ +\w+ +\S+ +pizzeria", await watched.screen())
        await watched.type.send("up")
        await watched.type.send("enter")
        call = await watched.screen()
        assert all(f"\n{lane}" in call for lane in ("phases", "caller", "agent", "held", "tools"))
        assert "a table for two please" in call and "cut in" in call and "silent after 48 ms" in call and "█" in call
        await watched.type.send("escape")
        assert "choose" in await watched.screen()
        await watched.type.send("quit")
    assert trio.current_time() < 30


async def test_lanes_scroll(autojump_clock: trio.testing.MockClock) -> None:
    """While nothing happens in a live call its time goes on."""
    del autojump_clock
    watched = Watched(width=60)
    source = PlayedSource(records_of(1, GREETED))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: watch_screen(source, watched.console, watched.keys(), call=call_id_of(1)))
        await trio.sleep(2)
        before = await watched.screen()
        await trio.sleep(20)
        after = await watched.screen()
        assert "╵0:00" in before and "╵0:00" not in after and "╵0:20" in after
        await watched.type.send("escape")  # asked for by name: there is no list behind it


def test_lanes_of_a_call_that_is_over() -> None:
    """All of it fits the width, and each lane has its colour where something was."""
    records = whole_call(1)
    lines = {line.plain[:9].strip(): line for line in lane_lines(lanes(records), 9010.0, 100, scrolling=False)}
    assert "Good eve" in lines["agent"].plain and "Your tab" in lines["agent"].plain
    caller = lines["caller"].plain[9:]
    first = caller.index("█") * (9010.0 / 90)
    assert 1800 <= first <= 2100, "the caller's voice began at 1.96 s"
    assert any("magenta" in str(span.style) for span in lines["tools"].spans)


def test_what_people_say_does_not_steer_the_terminal() -> None:
    """A transcript with control characters is shown without them."""
    evil = (2000.0, GREETED[0][1], "CallerTranscript", {"text": "\x1b[2J\x07hi", "final": True})
    console = Console(file=io.StringIO(), width=80, height=30, record=True)
    console.print(call_screen(records_of(1, GREETED, [evil]), source="x\x1b[1m", problem="", width=80, height=30))
    told = console.export_text()
    assert "hi" in told and "\x1b" not in told and "\x07" not in told


@pytest.mark.parametrize(("height", "width"), [(10, 40), (24, 80), (60, 220)])
def test_screens_fit(height: int, width: int) -> None:
    """No screen is taller than the terminal, however small it is, unless it is tiny."""
    console = Console(file=io.StringIO(), width=width, height=height, record=True)
    console.print(call_screen(whole_call(1), source="x", problem="", width=width, height=max(height, 20)))
    assert len(console.export_text().splitlines()) <= max(height, 24)


async def test_plain_lines(autojump_clock: trio.testing.MockClock) -> None:
    """For a pipe: one call's lines as they come, until it is over."""
    del autojump_clock
    out = io.StringIO()
    source = PlayedSource(whole_call(1))
    await watch_plain(source, Console(file=out, width=200), call=call_id_of(1))
    lines = out.getvalue().splitlines()
    assert "call from +1•••23" in lines[0] and "over: completed" in lines[-1] and "\x1b" not in out.getvalue()
    assert any("caller cut in: silent after 48 ms" in line for line in lines)
    assert trio.current_time() >= 9


async def test_plain_list(autojump_clock: trio.testing.MockClock) -> None:
    """For a pipe, all calls: a line whenever one changes its phase or somebody spoke, and no line otherwise."""
    del autojump_clock
    out = io.StringIO()
    with trio.move_on_after(30):
        await watch_plain(PlayedSource(whole_call(1)), Console(file=out, width=200))
    lines = out.getvalue().splitlines()
    assert "ended (completed: caller completed)" in lines[-1]
    assert len(lines) == len(set(lines)) and 5 <= len(lines) <= 20


def test_keys() -> None:
    """Arrows, letters, Enter and Escape, also several at once; what means nothing is left out."""
    assert [*read_keys(b"\x1b[A\x1b[Bjk\rx\x1bOBq")] == ["up", "down", "down", "up", "enter", "down", "quit"]
    assert [*read_keys(b"\x1b")] == ["escape"]


# --- where the calls come from ---------------------------------------------------------------------------------------


async def test_from_the_journal(tmp_path: Path) -> None:
    """Live calls and those that ended lately, and what is new in them; nothing is written."""
    now = time.time()
    write(tmp_path, whole_call(1, began_s=now - 60), records_of(2, GREETED, began_s=now))
    source = JournalSource(tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(source.run)
        assert [(row.id, row.state) for row in await source.rows()] == [
            (call_id_of(2), "live"),
            (call_id_of(1), "ended"),
        ]
        known = await source.records(call_id_of(2))
        write(tmp_path, records_of(2, ASKED, OVER, began_s=now, first_seq=len(known)))
        write(tmp_path, records_of(3, GREETED, began_s=now + 1))
        assert (await source.records(call_id_of(2)))[-1].name == "Closed"
        assert [(row.id[-1], row.state) for row in await source.rows()] == [
            ("3", "live"),
            ("2", "ended"),
            ("1", "ended"),
        ]
        assert await source.find("last") == call_id_of(3)
        with pytest.raises(UnknownCall):
            await source.find("nobody")
        nursery.cancel_scope.cancel()
    assert not (tmp_path / "calls-index.sqlite3").exists()


async def test_from_a_service(tmp_path: Path) -> None:
    """Over its event stream, with a key; a wrong key says what to do."""
    now = time.time()
    write(tmp_path, whole_call(1, began_s=now - 60))
    async with open_service(tmp_path, public_url="https://calls.example.com", operator_keys=(OPERATOR,)) as service:
        with pytest.raises(BaseExceptionGroup) as refused:
            async with trio.open_nursery() as nursery:
                await nursery.start(HttpSource(service.url, "wrong-key-0123456789").run)
        assert refused.group_contains(BadSettings, match="CALLSCOPE_KEY")
        source = HttpSource(service.url, OPERATOR)
        async with trio.open_nursery() as nursery:
            await nursery.start(source.run)
            assert [row.id for row in await source.rows()] == [call_id_of(1)]
            write(tmp_path, records_of(2, GREETED, began_s=now))
            with trio.fail_after(10):
                while len(await source.rows()) < 2:
                    await trio.sleep(0.05)
                while [one.name for one in await source.records(call_id_of(2))][-1:] != ["listening"]:
                    await trio.sleep(0.05)
            assert await source.find("last") == call_id_of(2)
            assert "2025550123" not in str(await source.records(call_id_of(2)))
            nursery.cancel_scope.cancel()


def test_a_real_terminal(tmp_path: Path) -> None:
    """On a terminal it fills the screen; Ctrl-C leaves without a traceback, and the terminal is as it was."""
    write(tmp_path, records_of(1, GREETED, began_s=time.time()))
    outer, inner = pty.openpty()
    command = [sys.executable, "-m", "web", "watch", "--data", str(tmp_path)]
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
    process = subprocess.Popen(
        command, stdin=inner, stdout=inner, stderr=inner, env=env,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 — xdist ignores it for its own
    )  # fmt: skip
    os.close(inner)
    seen = b""
    give_up_at = time.monotonic() + 20
    while b"Good evening." not in seen and time.monotonic() < give_up_at:
        seen += os.read(outer, 65_536)
    process.send_signal(signal.SIGINT)
    while select.select([outer], [], [], 20)[0]:
        try:
            seen += os.read(outer, 65_536)
        except OSError:  # the terminal's other end is closed
            break
    os.close(outer)
    assert process.wait(10) == 0
    text = seen.decode(errors="replace")
    assert text.count("\x1b[?1049h") == text.count("\x1b[?1049l") == 1, "it left the alternate screen"
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l"), "and the cursor is seen again"
    assert "Traceback" not in text and "1 live" in text


def test_bad_input(tmp_path: Path) -> None:
    """No journal and no such call: one clear sentence, not a traceback."""
    write(tmp_path, whole_call(1))
    for arguments, told in (
        (["nobody", "--data", str(tmp_path)], "no call 'nobody'"),
        (["last", "--data", str(tmp_path / "nowhere")], "no calls in"),
        (["--url", "http://127.0.0.1:9"], "no service answers"),
    ):
        command = [sys.executable, "-m", "web", "watch", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 2, done
        assert told in done.stderr and "Traceback" not in done.stderr
