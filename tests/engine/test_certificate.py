"""The certificate of an interruption: what it claims, to the millisecond."""

from __future__ import annotations

import pytest

from engine.certificate import PROOF_S, Certificate
from engine.playout_moves import Cut

CUT = Cut(utterance=3, heard_ms=1234.56, unheard_ms=789.04)


def held() -> Certificate:
    """The caller's voice began 10.5 s into the call, at 9000 ms of the line's clock; `clear` left 60 ms later."""
    return Certificate(
        2, 110.5, 110.56, CUT, began_at=100.0, audible_ms=55.0, onset_line_ms=9000.04, audible_before_ms=20.0
    )


def test_a_hold_that_was_proved() -> None:
    """All times count from the onset; the last sound was heard until half the way of the proof mark."""
    certificate = held()
    certificate.proved(110.66, 4, None)
    certificate.decide(110.9, "dropped", "words", "no wait")
    assert certificate.proof_mark == "c-2"
    assert certificate.data() == {
        "n": 2,
        "utterance": 3,
        "onset_at": 10.5,
        "onset_line_ms": 9000.0,
        "hold_ms": 60.0,
        "clear_ms": 60.0,
        "silent_ms": 160.0,
        "marks_back": 4,
        "decided_ms": 400.0,
        "decision": "dropped",
        "reason": "words",
        "words": "no wait",
        "heard_ms": 1234.6,
        "unheard_ms": 789.0,
        "still_heard_ms": pytest.approx(55.0 + 50.0),
    }


@pytest.mark.parametrize(
    ("since_ms", "until_ms", "still_ms"),
    [
        (8000.0, 9120.04, 140.0),  # it was heard already when the voice began
        (9050.04, 9120.04, 90.0),  # it began after the voice
        (8000.0, 8900.0, 20.0),  # it was over before the voice
        (None, 9120.0, 55.0),  # nobody knows
        (9000.0, None, 55.0),
    ],
)
def test_what_the_line_knows_of_it(since_ms: float | None, until_ms: float | None, still_ms: float) -> None:
    """The mark brings the better knowledge: so much was heard after the onset, and what an earlier cut told."""
    certificate = held()
    known = Cut(4, 1300.0, 700.0, since_ms, until_ms)
    certificate.proved(110.66, 1, known)
    data = certificate.data()
    assert (data["utterance"], data["heard_ms"], data["silent_ms"]) == (4, 1300.0, 160.0)
    assert data["still_heard_ms"] == pytest.approx(still_ms)


def test_a_drop_without_a_hold() -> None:
    """There was no hold whose time could be told."""
    data = Certificate(1, onset_at=5.0, cut_at=5.0, cut=CUT, held=False).data()
    assert (data["hold_ms"], data["clear_ms"], data["onset_at"], data["onset_line_ms"]) == (None, 0.0, 5.0, 0.0)
    assert (data["silent_ms"], data["decided_ms"], data["marks_back"], data["still_heard_ms"]) == (None, None, 0, 0.0)
    assert (data["decision"], data["reason"], data["words"]) == ("", "", "")
    plain = Certificate(1, 5.0, 5.1, CUT)
    assert plain.data()["hold_ms"] == 100.0
    plain.proved(5.2, 1, Cut(1, 1.0, 1.0, -50.0, 30.0))
    assert plain.data()["still_heard_ms"] == 30.0


def test_only_the_first_decision_counts() -> None:
    """What comes later is an echo of it."""
    certificate = held()
    certificate.decide(110.7, "resumed", "noise")
    certificate.decide(110.9, "dropped", "words", "no wait")
    assert (certificate.decided_at, certificate.decision, certificate.reason, certificate.words) == (
        110.7, "resumed", "noise", "",
    )  # fmt: skip


def test_when_it_is_complete() -> None:
    """Decided, and proved; or decided, and the proof is not waited for any longer."""
    certificate = held()
    assert not certificate.is_complete(200.0), "nobody has decided"
    certificate.decide(110.7, "resumed", "noise")
    assert PROOF_S == 1.0 and not certificate.is_complete(111.559)
    assert certificate.is_complete(110.56 + PROOF_S)
    certificate.proved(110.66, 1, None)
    assert certificate.is_complete(110.66)
