"""The picture of the rules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from engine.diagram import differences, edges, mermaid
from engine.phase_tables import deadlines_of, phase_table, phases_page, rows, unfired
from engine.phases import Phase
from engine.rule_pictures import Change, changes, picture_of_changes, picture_of_coverage
from engine.rule_rows import Row
from engine.rules import RULES, STAY

DRAWN = Path(__file__).parents[2] / "specs" / "diagrams"
PICTURE = DRAWN / "call.mmd"


def test_the_picture_in_the_repository_is_the_code() -> None:
    """Reviewers see what runs."""
    assert differences(mermaid(), PICTURE.read_text(encoding="utf-8")) == []


def test_every_move_of_the_table_is_on_the_picture() -> None:
    """No edge is left out, none invented."""
    drawn = {(a, b, event) for (a, b), events in edges(mermaid()).items() for event in events}
    assert drawn == {(str(r.phase), str(r.to), r.event.__name__) for r in RULES if r.to is not STAY}


def test_a_difference_is_told_by_its_edge() -> None:
    """Whoever changes a rule learns which edge of the picture no longer holds."""
    code = mermaid()
    picture = code.replace("listening --> speaking: UtteranceStarted", "listening --> speaking: AgentSpoke")
    assert differences(code, picture) == [
        "only in the code: listening → speaking on UtteranceStarted",
        "only in the picture: listening → speaking on AgentSpoke",
    ]
    assert differences(code, code + "\n") == [
        "same edges, other text: the file was edited by hand or made by another version"
    ]
    assert {str(phase) for phase in Phase} <= {name for edge in edges(code) for name in edge}


# --- tables ---------------------------------------------------------------------------------------------------------


def test_the_tables_in_the_repository_are_the_code() -> None:
    """Reviewers read what runs."""
    assert (DRAWN / "phases.md").read_text(encoding="utf-8") == phases_page()


def row(phase: str, event: str) -> Row:
    (found,) = [one for one in rows() if one.pair == (phase, event)]
    return found


def test_what_a_rule_asks_for_is_read_from_its_code() -> None:
    """Effects stand in the table as the code names them, through helpers, and with the word of a line."""
    assert row("speaking", "CallerVoice").effects == ("Hold",)
    assert row("speaking", "KeysTyped").effects == ("Drop", "TellAgent")
    assert row("listening", "FillerDue").effects == ("SayLine(filler)",)
    assert row("connecting", "AgentLost").effects == ("CancelTools", "EndAgent", "HandOver")
    assert row("speaking", "PlaybackDone").effects == ()


def test_every_rule_that_acts_says_why() -> None:
    """A reviewer is not left to guess: the row's reason, its action's, or what the event is, if anybody said it."""
    mute = {row.event.__name__ for row in RULES if "__doc__" not in row.event.__dict__ or not row.event.__doc__}
    acting = [one for one in rows() if (one.to or one.effects) and one.phase != "ended"]
    assert {one.event for one in acting if not one.why} <= mute and len(mute) < 15
    assert row("listening", "CallerVoice").why == "the agent does not begin while the caller speaks"
    assert row("speaking", "CallerSpoke").why.startswith("The caller's words end the speech;")
    assert row("connecting", "BothLegsUp").why == "The second of the two legs came up; `fact` says which."


def test_a_table_marks_what_time_brings() -> None:
    """Deadlines are bold; what is only noted stands below, with its reason."""
    table = phase_table(Phase.TRANSFERRING)
    assert "| **HandOverOverdue** | ended | `RescueByRest` |" in table
    assert "| HandedOver | ended | `CancelTools`, `EndAgent`, `HangUp` |" in table
    assert "- StreamEnded, StreamLost: Twilio now comes for its TwiML" in table
    assert deadlines_of(Phase.TRANSFERRING) == ("HandOverOverdue",)
    assert set(deadlines_of(Phase.INTERRUPTED)) == {
        "DurationPassed", "KeysTyped", "CallerTurnOver", "LastWordsHeard", "AgentTalksOn", "DebouncePassed",
        "DebouncePassedToolPending",
    }  # fmt: skip


def test_a_table_with_counts() -> None:
    """How often tests fired each rule, and which of them none."""
    fired = {("transferring", "HandedOver"): 7, ("transferring", "StreamEnded"): 2}
    table = phase_table(Phase.TRANSFERRING, fired)
    assert "| on | next | asks for | why | fired |" in table
    assert any(line.startswith("| HandedOver |") and line.endswith("| 7 |") for line in table.splitlines())
    assert any(line.startswith("| CallerHungUp |") and line.endswith("| **none** |") for line in table.splitlines())
    assert "- StreamEnded (2), StreamLost (**none**): Twilio" in table
    missing = [one.pair for one in unfired(fired)]
    assert ("transferring", "CallerHungUp") in missing and ("transferring", "HandedOver") not in missing
    assert all(phase != "ended" for phase, _ in missing)


# --- colours --------------------------------------------------------------------------------------------------------

A, B, C = (
    Row("listening", "ToolRequested", "tool_pending", ("RunTool",)),
    Row("speaking", "CallerVoice", "", ("Hold",)),
    Row("speaking", "PlaybackDone", "listening"),
)


def test_what_changed_since_another_revision() -> None:
    """New, gone, led elsewhere, asks for something else, other reason: each in words."""
    told = [str(change) for change in changes([A, B, C], [replace(A, to="listening"), replace(B, effects=())])]
    assert told == [
        "~ listening → listening on ToolRequested (RunTool), was tool_pending (RunTool)",
        "~ speaking stays on CallerVoice: asks for nothing, was Hold",
        "- speaking → listening on PlaybackDone",
    ]
    assert [str(change) for change in changes([A], [A, B])] == ["+ speaking stays on CallerVoice (Hold)"]
    (other,) = changes([A], [replace(A, why="so")])
    assert other.kind == "why" and str(other) == "~ listening → tool_pending on ToolRequested: another reason"
    assert changes([A, B, C], [A, B, C]) == []
    assert Change(A, A).kind == "why"


def test_changes_in_colour() -> None:
    """Green is new, red and dashed is gone, amber asks for something else, grey is as before."""
    now = [replace(A, to="listening"), replace(B, effects=()), Row("speaking", "Coughed", "", ("Hold",))]
    text = picture_of_changes([A, B, C], [*now, Row("listening", "Rang", "speaking")])
    lines = [line.strip() for line in text.splitlines()]
    arrows = [line for line in lines if "|" in line]
    assert arrows == [
        'listening -->|"ToolRequested"| listening',
        'speaking -->|"CallerVoice"| speaking',
        'speaking -->|"Coughed"| speaking',
        'listening -->|"Rang"| speaking',
        'listening -.->|"ToolRequested"| tool_pending',
        'speaking -.->|"PlaybackDone"| listening',
    ]
    assert "linkStyle 0,2,3 stroke:#1a7f37,stroke-width:3px,color:#1a7f37" in lines
    assert "linkStyle 1 stroke:#9a6700,stroke-width:2px,color:#9a6700" in lines
    assert "linkStyle 4,5 stroke:#cf222e,stroke-width:2px,color:#cf222e" in lines
    same = picture_of_changes([A, C], [A, C])
    assert "linkStyle 0,1 stroke:#8c959f" in same and "#1a7f37" not in same and "#cf222e" not in same


def test_coverage_in_colour() -> None:
    """Fired edges carry their count, the others are red."""
    text = picture_of_coverage([A, B, C], {A.pair: 3})
    assert 'listening -->|"ToolRequested 3"| tool_pending' in text
    assert 'speaking -.->|"PlaybackDone"| listening' in text and "CallerVoice" not in text


def test_every_edge_is_in_the_coloured_picture_too() -> None:
    """No move is left out, however many events share an arrow."""
    text = picture_of_coverage(rows(), {})
    for one in rows():
        assert not one.to or one.event in text
