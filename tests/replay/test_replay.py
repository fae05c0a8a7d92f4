"""Replays: a journal holds enough to live the call again, and the first difference is told with its millisecond."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import msgspec
import pytest

from actors.replay import NotReplayable, counterfactual, first_difference, opening_of, orders_of, replay
from actors.replay_actor import replay_actor
from actors.storm.actor_level import live_plan
from actors.storm.coverage import Coverage
from actors.storm.plan import plan_of
from engine.journal import Kind, Record, decode, encode

SEEDS = (0, 2, 5, 7, 8, 20, 31, 43, 62, 74)
AT_ONE_MOMENT = (37, 367, 756)  # a report and a status; the agent and its first words; two deadlines and words
FOUND_SILENT = (1957,)  # the agent's socket opened, and nothing ever came
STOOD_STILL = (960,)  # another call's fault stops the event loop between a voice and the hold that it calls for


@cache
def journals(seeds: tuple[int, ...] = SEEDS) -> tuple[tuple[Record, ...], ...]:
    """Calls of the storm, as they would be read from a disk."""
    return tuple(
        tuple(decode(encode(record)) for record in call.records)
        for seed in seeds
        for call in live_plan(plan_of(seed), Coverage()).calls
        if "F29 step crashes" not in call.kinds
    )


def test_every_journal_can_be_replayed_through_the_engine() -> None:
    """The same orders, from nothing but the file."""
    for records in journals():
        found = replay(records)
        assert found.same, found
        assert found.effects > 0


def test_every_journal_can_be_replayed_through_the_actor() -> None:
    """The same orders at the same milliseconds, through the legs' readers and the real actor."""
    for records in (*journals(), *journals(AT_ONE_MOMENT), *journals(STOOD_STILL), *journals(FOUND_SILENT)):
        found = replay_actor(records)
        assert found.same, found


def test_a_loop_that_stood_still_is_told_and_is_no_difference() -> None:
    """Who reads the replay sees by how much an order came too late; an order that comes too soon is a difference."""
    delays_ms = [replay_actor(records).largest_delay_ms for records in journals(STOOD_STILL)]
    assert max(delays_ms) == pytest.approx(120.0)
    records = list(journals(STOOD_STILL)[delays_ms.index(max(delays_ms))])
    late = next(index for index, one in enumerate(records) if one.name == "Hold")
    records[late] = msgspec.structs.replace(records[late], at_ms=records[late - 1].at_ms - 1)
    assert "Hold" in replay_actor(records).differences[0].then


def changed(records: tuple[Record, ...], name: str) -> Iterator[Record]:
    """That order left out of the journal, and the numbers closed up."""
    dropped = False
    for record in records:
        if record.name == name and not dropped:
            dropped = True
            continue
        yield msgspec.structs.replace(record, seq=record.seq - dropped)


def test_the_first_difference_has_a_phase_and_a_millisecond() -> None:
    """Who changes a rule sees which call goes differently, and where."""
    records = next(one for one in journals() if any(record.name == "SayLine" for record in one))
    when = next(record.at_ms for record in records if record.name == "SayLine")
    (difference,) = replay(list(changed(records, "SayLine"))).differences
    assert difference.then != difference.now
    assert "SayLine" in difference.now
    assert difference.at_ms >= when


def test_the_same_policy_changes_nothing() -> None:
    """The question what another policy would have done has the answer nothing, if it is the same one."""
    for records in (*journals(), *journals(AT_ONE_MOMENT)):
        policy = opening_of(records).policy
        late_ms = replay(records).largest_delay_ms  # an event loop that stood still is no policy
        if late_ms < 1:
            assert first_difference(orders_of(records), counterfactual(records, policy), within_ms=1.0) is None


def test_another_policy_is_another_call() -> None:
    """Without a voice for our own lines the first of them is what is missing."""
    records = next(one for one in journals() if any(record.name == "SayLine" for record in one))
    later = msgspec.structs.replace(opening_of(records).policy, lines=())
    difference = first_difference(orders_of(records), counterfactual(records, later))
    assert difference is not None
    assert "SayLine" in difference.then


def test_an_old_journal_is_replayed_by_the_usual_policy() -> None:
    """Journals from before policies were recorded are read, and what had to be guessed is said."""
    records = list(journals()[0])
    old = {key: value for key, value in records[0].data.items() if key not in ("policy", "opened_at_s")}
    records[0] = msgspec.structs.replace(records[0], data=old)
    assert "not recorded" in opening_of(records).assumed


def test_what_is_no_journal_is_not_replayed() -> None:
    """A file without a beginning is refused in words."""
    with pytest.raises(NotReplayable, match="does not begin"):
        replay([record for record in journals()[0] if record.kind is not Kind.OPENED])
