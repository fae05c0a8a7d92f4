"""What it costs to be watched: 300 live calls and two pages, in CPU time of the service."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import cycle, islice
from pathlib import Path

import pytest
import trio

from actors.journal_file import Entry, JournalFile
from engine.journal import Record
from tests.web.api.journals import ASKED, CUT, GREETED, call_id_of, records_of
from tests.web.api.service import EventClient

pytestmark = pytest.mark.slow

CALLS, RECORDS_A_SECOND = 300, 5.5  # a call of the demo writes 5.3
MEASURED_S, STEP_S = 8.0, 0.1
MOST_PERCENT = 5.0
TALK = [*GREETED, *ASKED, *CUT]
NOWHERE = "http://127.0.0.1:9"


class Talk:
    """All calls talk on, each a little after the one before."""

    def __init__(self, data: Path) -> None:
        self._file, self._began_s = JournalFile(data / "journal.sqlite3"), time.time()
        opened = [records_of(n, began_s=self._began_s)[0] for n in range(CALLS)]
        self._file.write([Entry.of(record) for record in opened])
        self._next = [cycle(islice(cycle(TALK), n % len(TALK), n % len(TALK) + len(TALK))) for n in range(CALLS)]
        self._seq = [1] * CALLS
        self.written = 0

    def go_on(self) -> None:
        """Write what is due. Blocks."""
        now_s = time.time() - self._began_s
        due = int(now_s * CALLS * RECORDS_A_SECOND) - self.written
        entries = [Entry.of(self._record((self.written + n) % CALLS, now_s)) for n in range(due)]
        self.written += due
        if entries:
            self._file.write(entries)

    def _record(self, n: int, now_s: float) -> Record:
        _, kind, name, data = next(self._next[n])
        self._seq[n] += 1
        at_ms = round(now_s * 1000, 1)
        return Record(call_id_of(n), self._seq[n] - 1, at_ms, self._began_s + now_s, kind, name, dict(data))

    def close(self) -> None:
        self._file.close()


def start(env: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "web", "serve", "--host", "127.0.0.1", "--port", "0"]
    with log.open("wb") as told:
        return subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=told)


@asynccontextmanager
async def service_process(data: Path) -> AsyncIterator[tuple[str, int]]:
    """The service as an operator starts it: its address and its process."""
    env = {
        **os.environ, "PUBLIC_URL": "http://127.0.0.1:1", "VAPI_API_KEY": "k", "VAPI_SERVER_SECRET": "s",
        "TWILIO_ACCOUNT_SID": "AC" + "1" * 32, "TWILIO_AUTH_TOKEN": "t" * 32, "VAPI_BASE_URL": NOWHERE,
        "TWILIO_BASE_URL": NOWHERE, "CALLSCOPE_DATA": str(data),
    }  # fmt: skip
    process = start(env, data / "log")
    assert process.stdout is not None
    try:
        ready = json.loads(await trio.to_thread.run_sync(process.stdout.readline))
        yield f"http://127.0.0.1:{ready['port']}", process.pid
    finally:
        process.terminate()
        with trio.move_on_after(10, shield=True):
            await trio.to_thread.run_sync(process.wait)
        process.stdout.close()


def cpu_s(pid: int) -> float:
    fields: Sequence[str] = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def test_three_hundred_calls_watched_by_two(tmp_path: Path) -> None:
    """They cost the service at most a twentieth of a core, and both pages see every call."""
    seen: list[set[str]] = [set(), set()]

    async def watch(url: str, seen: set[str]) -> None:
        async with EventClient.open(url, "/api/events") as page:
            while (event := await page.event()) is not None:
                seen |= {row["id"] for row in event.data.get("calls", ())}

    async with service_process(tmp_path) as (url, pid), trio.open_nursery() as nursery:
        talk = Talk(tmp_path)

        async def talk_on() -> None:
            while True:
                await trio.to_thread.run_sync(talk.go_on)
                await trio.sleep(STEP_S)

        nursery.start_soon(talk_on)
        for one in seen:
            nursery.start_soon(watch, url, one)
        await trio.sleep(3.0)
        spent_s, began, written = cpu_s(pid), trio.current_time(), talk.written
        await trio.sleep(MEASURED_S)
        took_s = trio.current_time() - began
        percent = 100 * (cpu_s(pid) - spent_s) / took_s
        rate = (talk.written - written) / took_s
        nursery.cancel_scope.cancel()
    talk.close()
    print(f"{rate:.0f} records/s, two pages: {percent:.2f} % of a core")
    assert [len(one) for one in seen] == [CALLS, CALLS]
    assert rate > 0.9 * CALLS * RECORDS_A_SECOND
    assert percent <= MOST_PERCENT
