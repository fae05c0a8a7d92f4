"""A call told in sentences, as lanes, as turns and as a ledger."""

from __future__ import annotations

import random

from engine.journal import Kind, Record
from tests.web.api.journals import (
    ASKED,
    CALLER,
    CUT,
    EVENT,
    GREETED,
    NOTE,
    OVER,
    Line,
    records_of,
    whole_call,
)
from web.api.detail import ledger
from web.api.lanes import LANES, lanes
from web.api.redact import record_rows, shown_data
from web.api.story import story
from web.api.turns import turns, waterfalls


def told(records: list[Record]) -> list[str]:
    return [f"{line.at_ms:.0f} {line.text}" for line in story(records)]


def test_the_account_of_a_call() -> None:
    """Every sentence that a person would tell, in order, and the booking that was kept."""
    assert told(whole_call(1)) == [
        "0 a call came in from +1•••23 for the agent bistro",
        "40 the agent was there 40 ms after the call came in",
        "450 the caller heard the agent for the first time",
        "1450 the agent said “Good evening.”",
        "3200 the caller said “a table for two please”",
        "3300 the agent asked for book_table",
        "3500 book_table answered “Booked for two.”",
        "4460 the caller cut in with “no wait”; the agent was silent 48 ms later; 2.0 s of what it was saying were not"
        " heard; book_table had been done already, so it was kept",
        "5100 the caller said “no wait”",
        "9000 the caller was gone: completed",
        "9010 the call was over after 9.0 s, completed: caller completed",
    ]
    assert story(whole_call(1))[0].at == "2023-11-14T08:00:00.000Z"


def test_a_booking_that_was_told_is_not_told_again() -> None:
    """Once the caller has heard of it, a later interruption leaves it out."""
    heard: Line = (3900.0, NOTE, "AgentHeard", {"utterance": 2, "text": "It is booked.", "cut": False})
    (cut,) = [line for line in told(records_of(1, GREETED, ASKED, [heard], CUT)) if "cut in" in line]
    assert "kept" not in cut


def test_a_false_alarm() -> None:
    """A cough: the agent went on, and how soon."""
    cough: Line = (
        2500.0, NOTE, "Interruption",
        {"onset_at": 1.2, "hold_ms": 40.0, "silent_ms": 41.0, "decided_ms": 240.0, "decision": "resumed",
         "reason": "noise"},
    )  # fmt: skip
    assert told(records_of(1, [cough]))[-1] == (
        "1200 something was heard from the caller; the agent was silent 41 ms later; it was a noise,"
        " so the agent went on 200 ms later"
    )


def test_a_call_without_an_end() -> None:
    """Its process was killed: the account says so."""
    assert story(records_of(1, GREETED), lost=True)[-1].text.startswith("the journal stops here")


def test_lanes() -> None:
    """What was heard, held, dropped and done, each in its lane, from when to when."""
    drawn = lanes(whole_call(1))
    assert drawn.duration_ms == 9010.0
    found = {lane.name: [(span.from_ms, span.to_ms, span.kind) for span in lane.spans] for lane in drawn.lanes}
    assert tuple(found) == LANES
    assert found["phases"][:2] == [(0.0, 40.0, "connecting"), (40.0, 450.0, "listening")]
    assert found["phases"][-1] == (4700.0, 9000.0, "interrupted")
    assert found["caller"] == [(1960.0, 3000.0, "voice"), (4460.0, 5000.0, "voice")]
    assert found["agent"] == [(450.0, 1450.0, "agent"), (3800.0, 4700.0, "cut")]
    assert found["held"] == [(4500.0, 4700.0, "dropped")]
    assert found["dropped"] == [(4700.0, 6700.0, "unheard")]
    assert found["tools"] == [(3300.0, 3500.0, "ok")]
    assert [span.who for lane in drawn.lanes if lane.name == "transcript" for span in lane.spans] == [
        "agent", "caller", "agent", "caller",
    ]  # fmt: skip


def test_lanes_of_a_live_call() -> None:
    """What goes on has no end yet, and says so."""
    drawn = lanes(records_of(1, GREETED, ASKED))
    (agent,) = [lane for lane in drawn.lanes if lane.name == "agent"]
    assert agent.spans[-1].open and agent.spans[-1].to_ms == drawn.duration_ms == 3800.0


def test_turns_hold_what_was_heard() -> None:
    """Of the agent's words those that the caller heard; the rest stands beside them."""
    cut = turns(whole_call(1))[2]
    assert (cut.who, cut.text, cut.cut, cut.unheard) == ("agent", "Your table", True, "for two is booked.")


def test_where_the_time_of_a_turn_went() -> None:
    """From the caller's last sound to the agent's first, and what came between."""
    (turn,) = waterfalls(whole_call(1))
    assert (turn.began_ms, turn.latency_ms, turn.bridged_ms) == (3000.0, 800.0, None)
    assert [(step.name, step.since_ms) for step in turn.steps] == [
        ("final transcript", 200.0), ("tool asked for", 300.0), ("tool's result", 500.0), ("first sound", 800.0),
    ]  # fmt: skip


def test_the_ledger() -> None:
    """Each tool call once, with all that is written of it; what nobody answered is unknown when the call is over."""
    (row,) = ledger(whole_call(1), over=True)
    assert (row.name, row.state, row.took_ms, row.arguments) == ("book_table", "ok", 199.0, {"party": 2})
    assert [entry.what for entry in row.entries] == ["asked for", "intent on the disk", "result", "answered"]
    asked = records_of(1, [(1.0, EVENT, "ToolRequested", {"tool_call_id": "t", "name": "n", "arguments": {}})])
    assert [ledger(asked, over=over)[0].state for over in (False, True)] == ["asked", "unknown"]


def test_nobodys_business() -> None:
    """Numbers are masked and keys left out, in the data and in the words beside it."""
    lines: list[Line] = [
        (1.0, EVENT, "DigitPressed", {"digit": "7"}),
        (2.0, Kind.EFFECT, "TellAgent", {"role": "system", "content": "The caller typed 4 7 1 1 on the keypad."}),
        (3.0, Kind.EFFECT, "HandOver", {"words": "Hold on.", "number": "+15550100"}),
    ]
    rows = record_rows(records_of(1, lines))
    text = " ".join(f"{row.text} {row.data}" for row in rows)
    for secret in (CALLER, "2025550123", "4 7 1 1", "'7'", "5550100"):
        assert secret not in text
    assert rows[0].who == "call" and rows[0].text.startswith("call from +1•••23")
    assert shown_data({"from": "listening"}) == {"from": "listening"}, "a phase is no number"
    deep: dict[str, object] = {}
    for _ in range(200):
        deep = {"deep": deep}
    assert shown_data(deep)


def test_odd_records_are_told_too() -> None:
    """Whatever a journal of another version holds: there is an account, lanes and a ledger."""
    seed = 11
    rng = random.Random(seed)
    odd = (None, 5, "x", {"a": 1}, [1], True, -1e300)
    for _ in range(300):
        call = [
            Record(r.call_id, r.seq, r.at_ms, r.wall_s, r.kind, r.name, {key: rng.choice(odd) for key in r.data})
            if rng.random() < 0.3
            else r
            for r in records_of(1, GREETED, ASKED, CUT, OVER)
        ]
        try:
            story(call), lanes(call), ledger(call, over=True), turns(call), waterfalls(call), record_rows(call)
        except Exception as crash:
            raise AssertionError(f"seed {seed}") from crash


def test_a_cough_begins_nobodys_turn() -> None:
    """The caller coughs, and speaks three seconds later: their turn begins with the words, not with the cough."""
    cough: list[Line] = [
        (1500.0, EVENT, "CallerVoice", {"onset_at": 101.46}),
        (1900.0, EVENT, "CallerQuiet", {"voiced_ms": 300}),
        (2401.0, NOTE, "Interruption", {"n": 1, "onset_at": 1.46, "decided_ms": 940.0, "decision": "resumed"}),
        (5000.0, EVENT, "CallerVoice", {"onset_at": 104.96}),
        (5800.0, EVENT, "CallerTranscript", {"text": "eight works", "final": True}),
    ]
    (spoken,) = turns(records_of(1, cough))
    assert (spoken.at_ms, spoken.text) == (5000.0, "eight works")


def test_a_filler_is_not_before_what_it_follows() -> None:
    """The transcriber is late and a filler is said first: the caller's turn still stands where they spoke."""
    late: list[Line] = [
        (2000.0, EVENT, "CallerVoice", {"onset_at": 101.96}),
        (3000.0, EVENT, "CallerQuiet", {"voiced_ms": 900}),
        (3900.0, EVENT, "UtteranceStarted", {"utterance": 1, "ours": True}),
        (3901.0, EVENT, "CallerTranscript", {"text": "a table for two", "final": True}),
    ]
    (spoken,) = turns(records_of(1, late))
    assert spoken.at_ms == 2000.0
