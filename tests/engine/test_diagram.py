"""The picture of the rules."""

from __future__ import annotations

from pathlib import Path

from engine.diagram import differences, edges, mermaid
from engine.phases import Phase
from engine.rules import RULES, STAY

PICTURE = Path(__file__).parents[2] / "specs" / "diagrams" / "call.mmd"


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
