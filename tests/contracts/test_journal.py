"""What every journal must do, and what the one on disk must survive. Real files, real time, short."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors import journal_reader
from actors.journal_memory import MemoryJournal
from actors.journal_sqlite import SqliteJournal, list_calls, read_call, tail
from actors.ports import Journal
from engine.errors import BadSettings, JournalUnavailable
from engine.journal import Kind, Record

DEADLINE_S = 10.0
CALL_A, CALL_B = f"call-{'A' * 26}", f"call-{'B' * 26}"
CALLER, BISTRO = "+14155550123", "+14155550199"


class CountingJournal(Journal, Protocol):
    refused: int


def record(seq: int, call_id: str = CALL_A, kind: Kind = Kind.EVENT, name: str = "CallerVoice", **data: Any) -> Record:
    return Record(call_id, seq, at_ms=20.0 * seq, wall_s=1_790_000_000.0 + seq, kind=kind, name=name, data=data)


def opened(call_id: str = CALL_A, wall_s: float = 1_790_000_000.0) -> Record:
    data = {"agent": "bistro", "direction": "inbound", "from": CALLER, "to": BISTRO, "twilio_call_sid": "CA1"}
    return Record(call_id, 0, at_ms=0, wall_s=wall_s, kind=Kind.OPENED, name="Opened", data=data)


@asynccontextmanager
async def opened_journal(kind: str, folder: Path, most_records: int = 20_000) -> AsyncIterator[CountingJournal]:
    if kind == "memory":
        yield MemoryJournal(most_records=most_records)
    else:
        async with SqliteJournal.open(folder / "journal.sqlite3", most_records=most_records) as journal:
            yield journal


@pytest.fixture(params=["memory", "sqlite"])
async def journal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[CountingJournal]:
    async with opened_journal(request.param, tmp_path) as one:
        yield one


# --- all journals ---------------------------------------------------------------------------------------------------


async def test_what_is_appended_is_read_in_order(journal: CountingJournal) -> None:
    expected = [record(seq, text="eight works", nested={"a": [1, None, 2.5, True]}) for seq in range(50)]
    for one in expected:
        journal.append(one)
    journal.append(record(0, CALL_B))
    assert await journal.read(CALL_A) == expected, "before it is on the disk too"
    await journal.flush()
    assert await journal.read(CALL_A) == expected
    assert await journal.read(CALL_B) == [record(0, CALL_B)]
    assert await journal.read("call-nobody") == []
    statistics = journal.statistics()
    assert (statistics.appended, statistics.durable, statistics.lost, statistics.waiting) == (51, 51, 0, 0)


async def test_a_commit_returns_once_durable(journal: CountingJournal) -> None:
    journal.append(record(0))
    await journal.commit(record(1))
    statistics = journal.statistics()
    assert (statistics.durable, statistics.waiting) == (2, 0)
    assert await journal.read(CALL_A) == [record(0), record(1)]


async def test_the_same_record_again_changes_nothing(journal: CountingJournal) -> None:
    await journal.commit(record(0, text="one"))
    journal.append(record(0, text="one"))
    await journal.commit(record(0, text="one"))
    await journal.flush()
    assert await journal.read(CALL_A) == [record(0, text="one")]
    statistics = journal.statistics()
    assert (statistics.appended, statistics.durable, statistics.lost, journal.refused) == (3, 3, 0, 0)


async def test_what_was_written_is_never_rewritten(journal: CountingJournal) -> None:
    """A different record with a taken number is refused and counted; its neighbours are kept (I3)."""
    await journal.commit(record(0, text="one"))
    journal.append(record(0, text="another"))
    journal.append(record(1))
    await journal.flush()
    with pytest.raises(JournalUnavailable, match="another record"):
        await journal.commit(record(0, text="a third"))
    assert await journal.read(CALL_A) == [record(0, text="one"), record(1)]
    statistics = journal.statistics()
    assert (statistics.appended, statistics.durable, statistics.lost, journal.refused) == (4, 2, 2, 2)


async def test_numbers_taken_twice_within_one_batch(journal: CountingJournal) -> None:
    for text in ("first", "second", "first"):
        journal.append(record(7, text=text))
    await journal.flush()
    assert await journal.read(CALL_A) == [record(7, text="first")]
    assert journal.refused == 1


async def test_a_record_is_taken_down_when_it_is_appended(journal: CountingJournal) -> None:
    data = {"text": "before"}
    journal.append(Record(CALL_A, 0, 0, 0, Kind.NOTE, "Note", data))
    data["text"] = "after"
    await journal.flush()
    assert (await journal.read(CALL_A))[0].data == {"text": "before"}


@pytest.mark.parametrize("unfit", [{"data": object()}, {"text": "\ud800"}], ids=["object", "surrogate"])
async def test_what_is_no_json_is_lost_and_counted(journal: CountingJournal, unfit: dict[str, Any]) -> None:
    journal.append(record(0, **unfit))
    with pytest.raises(JournalUnavailable):
        await journal.commit(record(1, **unfit))
    with pytest.raises(JournalUnavailable):
        await journal.commit(record(-1))
    await journal.commit(record(2))
    assert await journal.read(CALL_A) == [record(2)]
    assert journal.statistics().lost == 3


async def test_what_does_not_fit_is_counted_lost_and_the_first_is_kept(tmp_path: Path) -> None:
    for kind in ("memory", "sqlite"):
        async with opened_journal(kind, tmp_path, most_records=10) as journal:
            for seq in range(15):
                journal.append(record(seq))
            with pytest.raises(JournalUnavailable):
                await journal.commit(record(15))
            await journal.flush()
            assert [one.seq for one in await journal.read(CALL_A)] == list(range(10))
            statistics = journal.statistics()
            assert (statistics.appended, statistics.durable, statistics.lost) == (16, 10, 6)


async def test_many_commit_at_once(journal: CountingJournal) -> None:
    async def commit_all(call_id: str) -> None:
        for seq in range(10):
            await journal.commit(record(seq, call_id))

    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(commit_all, f"call-{number}")
    for number in range(50):
        assert [one.seq for one in await journal.read(f"call-{number}")] == list(range(10))


Operation = tuple[str, str, int, str]
operations = st.lists(
    st.tuples(
        st.sampled_from(["append", "commit", "flush", "read"]),
        st.sampled_from([CALL_A, CALL_B]),
        st.integers(0, 4),
        st.sampled_from(["x", "y"]),
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations)
async def test_the_disk_agrees_with_memory(tmp_path_factory: pytest.TempPathFactory, steps: list[Operation]) -> None:
    async def outcome(journal: Journal) -> list[object]:
        seen: list[object] = []
        for what, call_id, seq, text in steps:
            if what == "append":
                journal.append(record(seq, call_id, text=text))
            elif what == "commit":
                try:
                    await journal.commit(record(seq, call_id, text=text))
                except JournalUnavailable as refused:
                    seen.append(str(refused))
            elif what == "flush":
                await journal.flush()
            else:
                seen.append(await journal.read(call_id))
        await journal.flush()
        return [*seen, journal.statistics(), await journal.read(CALL_A), await journal.read(CALL_B)]

    async with opened_journal("sqlite", tmp_path_factory.mktemp("agrees")) as on_disk:
        assert await outcome(on_disk) == await outcome(MemoryJournal())


# --- the one on disk ------------------------------------------------------------------------------------------------


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """A disk that is full after so many bytes a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def wait_until(true: Callable[[], object]) -> None:
    with trio.fail_after(DEADLINE_S):
        while not true():
            await trio.sleep(0.005)


async def test_a_full_disk_stops_nothing_and_loses_nothing_that_fits(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    async with SqliteJournal.open(path, most_records=500) as journal:
        await journal.commit(opened())
        with files_of_at_most(100_000):
            for seq in range(1, 400):
                journal.append(record(seq, text="x" * 1000))
            with trio.fail_after(2), pytest.raises(JournalUnavailable, match=r"full|I/O"):
                await journal.commit(record(400))
            troubles = [journal.trouble]
            with pytest.raises(JournalUnavailable):
                await journal.flush()
            assert [one.seq for one in read_call(path, CALL_A)] == [0], "the prefix is whole"
            for seq in range(401, 600):
                journal.append(record(seq))
            assert journal.statistics().waiting == 500, "bounded"
            assert len(await journal.read(CALL_A)) == 501
        await wait_until(lambda: not journal.statistics().waiting)
        troubles.append(journal.trouble)
        assert [trouble is None for trouble in troubles] == [False, True]
        await journal.commit(record(600))
        statistics = journal.statistics()
        assert (statistics.appended, statistics.durable, statistics.lost) == (601, 502, 99)
    kept = [one.seq for one in read_call(path, CALL_A)]
    assert kept == [*range(501), 600], "the oldest is kept, what overflowed is lost, what came later is kept again"


async def test_a_limited_database_says_full(tmp_path: Path) -> None:
    """SQLITE_FULL itself, which a real ENOSPC gives."""
    async with SqliteJournal.open(tmp_path / "journal.sqlite3") as journal:
        await journal.commit(record(0))
        assert journal._file is not None
        connection = journal._file._connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(JournalUnavailable, match="full"):
            await journal.commit(record(1, text="x" * 100_000))
        connection.execute("PRAGMA max_page_count = 100000")
        await journal.commit(record(2))
        assert [one.seq for one in await journal.read(CALL_A)] == [0, 1, 2]


async def test_a_lock_is_waited_out(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    async with SqliteJournal.open(path, patience_s=5.0) as journal:
        await journal.commit(record(0))
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(journal.commit, record(1))
                await wait_until(lambda: journal.trouble)
                assert [one.seq for one in await journal.read(CALL_A)] == [0, 1], "reading is never locked out"
                other.execute("ROLLBACK")
        assert journal.statistics().durable == 2


async def test_a_lock_that_stays_costs_patience_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    async with SqliteJournal.open(path, patience_s=0.1) as journal:
        await journal.commit(record(0))
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with trio.fail_after(2), pytest.raises(JournalUnavailable, match=r"within 0\.1 s"):
                await journal.commit(record(1))
            other.execute("ROLLBACK")
        await wait_until(lambda: not journal.statistics().waiting)
        assert [one.seq for one in await journal.read(CALL_A)] == [0, 1]


async def test_leaving_flushes_and_what_comes_later_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "journal.sqlite3"
    async with SqliteJournal.open(path) as journal:
        for seq in range(3000):
            journal.append(record(seq))
    journal.append(record(3000))
    with pytest.raises(JournalUnavailable, match="closed"):
        await journal.commit(record(3001))
    await journal.flush()
    assert journal.statistics().lost == 2
    assert [one.seq for one in read_call(path, CALL_A)] == list(range(3000))
    async with SqliteJournal.open(path) as again:
        await again.commit(record(3000))
        assert len(await again.read(CALL_A)) == 3001
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_two_processes_may_write_the_same_file(tmp_path: Path) -> None:
    """Several worker processes share a journal; here two writers with a connection each."""
    path = tmp_path / "journal.sqlite3"
    async with SqliteJournal.open(path) as one, SqliteJournal.open(path) as other:
        async with trio.open_nursery() as nursery:
            for seq in range(20):
                nursery.start_soon(one.commit, record(seq, CALL_A))
                nursery.start_soon(other.commit, record(seq, CALL_B))
        assert len(await one.read(CALL_B)) == len(await other.read(CALL_A)) == 20


CHILD = """
import sys, trio
from pathlib import Path
from actors.journal_sqlite import SqliteJournal
from engine.journal import Kind, Record

async def main():
    async with SqliteJournal.open(Path(sys.argv[1])) as journal, trio.open_nursery() as nursery:
        async def live(number):
            call_id = f"call-{sys.argv[2]}-{number}"
            for seq in range(0, 1_000_000, 2):
                journal.append(Record(call_id, seq, 0.0, 0.0, Kind.NOTE, "Note"))
                await journal.commit(Record(call_id, seq + 1, 0.0, 0.0, Kind.NOTE, "ToolIntent"))
                sys.stdout.write(f"{call_id} {seq + 1}\\n")
                sys.stdout.flush()
        for number in range(3):
            nursery.start_soon(live, number)
trio.run(main)
"""


@pytest.mark.parametrize("acknowledged", [1, 2, 5, 23, 150])
def test_a_killed_process_loses_nothing_that_it_acknowledged(tmp_path: Path, acknowledged: int) -> None:
    """SIGKILL in the middle of writing; what comes before an acknowledged record is there too."""
    path = tmp_path / "journal.sqlite3"
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", CHILD, str(path), str(acknowledged)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(acknowledged)]
        os.kill(child.pid, signal.SIGKILL)
        lines += child.stdout.readlines()
    told: dict[str, int] = {}
    for line in lines:
        if line.endswith("\n"):  # the last one may be cut
            call_id, number = line.split()
            told[call_id] = int(number)
    assert told
    for call_id, seq in told.items():
        kept = [one.seq for one in read_call(path, call_id)]
        assert kept == list(range(len(kept)))
        assert len(kept) > seq


# --- the list of calls, and readers in other processes --------------------------------------------------------------


async def test_calls_are_listed_newest_first_and_masked(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    async with SqliteJournal.open(path) as journal:
        journal.append(opened(CALL_A, wall_s=1_790_000_000.0))
        journal.append(opened(CALL_B, wall_s=1_790_000_100.0))
        journal.append(record(1, CALL_A, Kind.PHASE, "listening"))
        journal.append(record(2, CALL_A, Kind.PHASE, "ended"))
        closed = {"reason": "caller hung up", "outcome": "completed", "duration_ms": 12_345}
        journal.append(record(3, CALL_A, Kind.CLOSED, "Closed", **closed, recording={"problem": "ENOSPC"}))
        journal.append(record(4, CALL_A, Kind.CLOSED, "Closed", reason="a second end", duration_ms=1))
        await journal.flush()
        newest, oldest = list_calls(path)
        assert list_calls(path, limit=1) == [newest]
    assert (newest.call_id, newest.status, newest.phase, newest.duration_ms) == (CALL_B, "open", None, None)
    assert (newest.agent, newest.direction, newest.twilio_call_sid) == ("bistro", "inbound", "CA1")
    assert (oldest.status, oldest.phase, oldest.reason, oldest.outcome) == (
        "closed",
        "ended",
        "caller hung up",
        "completed",
    )
    assert (oldest.started_wall_s, oldest.duration_ms, oldest.recording_problem) == (1_790_000_000.0, 12_345, "ENOSPC")
    assert oldest.from_masked == "+1•••23"
    assert CALLER not in str((newest, oldest))


async def test_strange_facts_do_not_break_the_list(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    async with SqliteJournal.open(path) as journal:
        strange = {"agent": {"a": 1}, "from": 17, "to": None, "direction": ["x"]}
        journal.append(record(0, CALL_A, Kind.OPENED, "Opened", **strange))
        journal.append(record(1, CALL_A, Kind.CLOSED, "Closed", reason=3, duration_ms="long", recording="none"))
        journal.append(record(9, CALL_B, Kind.CLOSED, "Closed", reason="its beginning was lost"))
        await journal.flush()
        assert journal.trouble is None
    rows = {row.call_id: row for row in list_calls(path)}
    assert (rows[CALL_A].agent, rows[CALL_A].reason, rows[CALL_A].duration_ms) == ('{"a":1}', "3", None)
    assert (rows[CALL_B].status, rows[CALL_B].reason) == ("closed", "its beginning was lost")


async def test_tail_sees_what_comes(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    assert (tail(path, 0), journal_reader.last_row(path)) == ((0, []), 0)
    async with SqliteJournal.open(path) as journal:
        await journal.commit(record(0, CALL_A))
        start = journal_reader.last_row(path)
        await journal.commit(record(0, CALL_B))
        await journal.commit(record(1, CALL_A))
        row, records = tail(path, start)
        assert records == [record(0, CALL_B), record(1, CALL_A)]
        assert tail(path, row) == (row, [])
        row, records = tail(path, 0, limit=2)
        assert records == [record(0, CALL_A), record(0, CALL_B)]
        assert tail(path, row)[1] == [record(1, CALL_A)]


async def test_a_call_is_found_by_a_unique_beginning(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    first, second = f"call-01AB{'C' * 22}", f"call-01AD{'C' * 22}"
    async with SqliteJournal.open(path) as journal:
        journal.append(opened(first, wall_s=2.0))
        await journal.commit(opened(second, wall_s=1.0))
        await journal.commit(record(3, "call-unlisted"))
    assert journal_reader.find_call(path, "last") == first
    for wanted in ("call-01AB", "01AB", "01ab", first):
        assert journal_reader.find_call(path, wanted) == first
    assert journal_reader.find_call(path, "call-unlisted") == "call-unlisted"
    with pytest.raises(journal_reader.UnknownCall) as several:
        journal_reader.find_call(path, "01A")
    assert several.value.candidates == (second, first)
    for nobody in ("", "02", "%", "call-01A_"):
        with pytest.raises(journal_reader.UnknownCall) as none:
            read_call(path, nobody)
        assert none.value.candidates == ()


def test_a_journal_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(journal_reader.NoJournal):
        list_calls(tmp_path / "journal.sqlite3")
    (tmp_path / "empty").touch()
    with pytest.raises(journal_reader.NoJournal):
        list_calls(tmp_path / "empty")


async def test_a_newer_journal_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 99")
    with pytest.raises(BadSettings, match="newer"):
        async with SqliteJournal.open(path):
            pass
    with pytest.raises(BadSettings, match="newer"):
        list_calls(path)


async def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    path.write_text("this is a letter, and quite a long one. " * 100)
    before = path.read_bytes()
    with pytest.raises(BadSettings, match="no journal"):
        async with SqliteJournal.open(path):
            pass
    with pytest.raises(BadSettings, match="cannot be read"):
        list_calls(path)
    assert path.read_bytes() == before
    (tmp_path / "file").touch()
    with pytest.raises(BadSettings, match="CALLSCOPE_DATA"):
        async with SqliteJournal.open(tmp_path / "file" / "journal.sqlite3"):
            pass
