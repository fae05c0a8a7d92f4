"""The index of calls: what lists ask, made from the journal, and made again whenever it is lost."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from engine.journal import Record
from tests.web.api.journals import ASKED, BEGAN_S, CUT, GREETED, OVER, REPORT, call_id_of, records_of, whole_call, write
from web.api.index import FILE, SILENT_S, CallsIndex, Place, Wanted
from web.api.summary import Summary, summarise

NOW_S = BEGAN_S + 20


def read_all(index: CallsIndex) -> None:
    while index.read_on()[2]:
        pass


def ids(index: CallsIndex, wanted: Wanted) -> list[str]:
    return [summary.id for summary in index.page(wanted)[0]]


@pytest.fixture
def index(tmp_path: Path) -> CallsIndex:
    return CallsIndex(tmp_path)


def test_no_journal_yet(index: CallsIndex) -> None:
    """Nobody has called yet: an empty list, not an error."""
    read_all(index)
    assert index.page(Wanted()) == ([], None)
    assert index.get(call_id_of(1)) is None


def test_a_call_in_the_list(tmp_path: Path, index: CallsIndex) -> None:
    """Who called, what became of it, the last words, how quick the agent was, what cut in."""
    write(tmp_path, whole_call(1))
    read_all(index)
    row = index.page(Wanted())[0][0].row(NOW_S)
    assert (row.id, row.agent, row.from_, row.state, row.phase) == (
        call_id_of(1),
        "bistro",
        "+1•••23",
        "ended",
        "ended",
    )
    assert (row.began_at, row.duration_ms, row.outcome) == ("2023-11-14T08:00:00.000Z", 9010, "completed")
    assert row.last_words is not None and (row.last_words.who, row.last_words.text) == ("caller", "no wait")
    assert (row.latency_ms.turns, row.latency_ms.turn_p50) == (1, 800.0)
    assert (row.interruptions, row.tools, row.tools_failed, row.marked, row.has_recording) == (1, 1, 0, False, True)


def test_a_restart_between_any_two_records(tmp_path: Path) -> None:
    """Wherever the service was started anew in a call, the list says the same of it."""
    call = records_of(1, GREETED, ASKED, CUT, OVER, [REPORT])
    whole = summarise(call)
    for cut in range(1, len(call), 3):
        folder = tmp_path / str(cut)
        write(folder, call[:cut])
        first = CallsIndex(folder)
        read_all(first)
        first.close()
        write(folder, call[cut:])
        second = CallsIndex(folder)
        read_all(second)
        assert second.row == len(call)
        assert second.get(call_id_of(1)) == whole, cut
        second.close()


def test_a_kill_before_the_index_was_stored(tmp_path: Path) -> None:
    """What was read and not stored is read again, and counted once."""
    call = whole_call(1)
    write(tmp_path, call[:10])
    killed = CallsIndex(tmp_path)
    read_all(killed)
    killed.store()
    write(tmp_path, call[10:])
    read_all(killed)  # and then nothing more is heard of it
    again = CallsIndex(tmp_path)
    read_all(again)
    assert again.get(call_id_of(1)) == summarise(call)


def test_two_workers_share_the_file(tmp_path: Path) -> None:
    """A worker that lags behind does not put older words over newer ones."""
    call = whole_call(1)
    write(tmp_path, call[:12])
    slow, quick = CallsIndex(tmp_path), CallsIndex(tmp_path)
    read_all(slow)
    write(tmp_path, call[12:])
    read_all(quick)
    quick.store()
    slow.store()
    third = CallsIndex(tmp_path)
    read_all(third)
    assert third.get(call_id_of(1)) == summarise(call)


def test_a_lost_broken_or_foreign_file(tmp_path: Path) -> None:
    """The index is made anew from the journal, whatever happened to it."""
    write(tmp_path, whole_call(1), whole_call(2))
    for contents in (None, b"", b"this is no database at all, but it is long enough to be read" * 40):
        if contents is not None:
            (tmp_path / FILE).write_bytes(contents)
        index = CallsIndex(tmp_path)
        read_all(index)
        assert ids(index, Wanted()) == [call_id_of(2), call_id_of(1)]
        index.close()


def test_another_journal_was_put_there(tmp_path: Path) -> None:
    """An index that has read further than the journal ever went belongs to another journal."""
    write(tmp_path, whole_call(1), whole_call(2))
    index = CallsIndex(tmp_path)
    read_all(index)
    index.close()
    for path in tmp_path.glob("journal.sqlite3*"):
        path.unlink()
    write(tmp_path, whole_call(7))
    index = CallsIndex(tmp_path)
    read_all(index)
    assert ids(index, Wanted()) == [call_id_of(7)]


def test_pages(tmp_path: Path, index: CallsIndex) -> None:
    """Page by page each call comes once, the newest first, also when many began at the same moment."""
    seed = 7
    rng = random.Random(seed)
    calls = [records_of(n, OVER, began_s=BEGAN_S + rng.randrange(5)) for n in range(25)]
    write(tmp_path, *calls)
    read_all(index)
    found: list[Summary] = []
    place: Place | None = None
    for _ in range(30):
        page, place = index.page(Wanted(limit=4, after=place))
        found += page
        if place is None:
            break
        assert Place.of(place.cursor()) == place
    assert len(found) == 25
    order = [(summary.began_wall_s, summary.id) for summary in found]
    assert order == sorted(order, reverse=True), f"seed {seed}"


def test_filters(tmp_path: Path, index: CallsIndex) -> None:
    """By state, agent, outcome, reason, time, and words."""
    write(
        tmp_path,
        whole_call(1),
        records_of(2, GREETED, agent="barber", began_s=BEGAN_S + 60),
        records_of(3, GREETED, ASKED, began_s=BEGAN_S + 120),
    )
    read_all(index)
    assert ids(index, Wanted(state="live")) == [call_id_of(3), call_id_of(2)]
    assert ids(index, Wanted(state="ended")) == [call_id_of(1)]
    assert ids(index, Wanted(agent="barber")) == [call_id_of(2)]
    assert ids(index, Wanted(outcome="completed")) == ids(index, Wanted(reason="caller completed")) == [call_id_of(1)]
    assert ids(index, Wanted(q="TABLE two")) == [call_id_of(3)]
    assert ids(index, Wanted(q="100% ' OR 1=1 --")) == []
    began_ms = round(BEGAN_S * 1000)
    assert ids(index, Wanted(since_ms=began_ms + 60_000, until_ms=began_ms + 120_000)) == [call_id_of(2)]


def test_calls_that_were_deleted(tmp_path: Path, index: CallsIndex) -> None:
    """What the journal has forgotten the index forgets too, and nothing else."""
    index.prune()  # there is no journal yet
    write(tmp_path, whole_call(1), whole_call(2), records_of(3, GREETED))
    read_all(index)
    index.store()
    with closing(sqlite3.connect(tmp_path / "journal.sqlite3", isolation_level=None)) as journal:
        for table in ("records", "calls"):
            journal.execute(f"DELETE FROM {table} WHERE call_id = ?", (call_id_of(2),))  # noqa: S608 — our own words
    index.prune()
    assert ids(index, Wanted()) == [call_id_of(3), call_id_of(1)]
    assert index.get(call_id_of(2)) is None and len(index.live()) == 1


def test_a_call_whose_process_was_killed(tmp_path: Path) -> None:
    """Its journal has no end; the list does not say for ever that it is live."""
    write(tmp_path, records_of(1, GREETED))
    alone = CallsIndex(tmp_path, dead_before_s=BEGAN_S + 10)
    read_all(alone)
    assert alone.sweep(BEGAN_S + 11) == {call_id_of(1)}
    assert [row.outcome for row in (one.row(NOW_S) for one in alone.page(Wanted(state="ended"))[0])] == ["lost"]
    fleet = CallsIndex(tmp_path)
    read_all(fleet)
    write(tmp_path, records_of(1, ASKED, first_seq=9))
    read_all(fleet)
    summary = fleet.get(call_id_of(1))
    assert summary is not None and not summary.ended, "a sibling goes on with it: it lives after all"
    assert fleet.sweep(BEGAN_S + SILENT_S) == set()
    assert fleet.sweep(BEGAN_S + SILENT_S + 10) == {call_id_of(1)}


def test_read_twice_is_counted_once() -> None:
    """The same records again change nothing."""
    call = whole_call(1)
    summary = summarise(call)
    before = summary.row(NOW_S)
    assert not any(summary.take(record) for record in call)
    assert summary.row(NOW_S) == before


def test_any_order_of_odd_records_is_read() -> None:
    """Records of another version's, with fields that are missing or of other kinds, never stop a list."""
    seed = 3
    rng = random.Random(seed)
    odd = (None, 5, "x", {"a": 1}, [1], True, 1e300)
    names = [record.name for record in whole_call(1)] + ["OperatorAction", "ReportArrived", "Line"]
    for _ in range(300):
        record = rng.choice(whole_call(1))
        data = {key: rng.choice(odd) for key in [*record.data, "text", "recording", "action", "ok"]}
        summary = Summary(record.call_id)
        summary.take(Record(record.call_id, 0, 0.0, 0.0, record.kind, rng.choice(names), data))
        assert summary.row(NOW_S).id == record.call_id, f"seed {seed}"
