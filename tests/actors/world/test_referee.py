"""The referee finds faults: late silence, two voices, lost speech, dead air, lost words, and certificates that lie."""

from __future__ import annotations

from typing import Any

import pytest

from actors.world.agent import AgentPlan, Reply, Speech
from actors.world.caller import AfterAgent, CallerPlan, IntoSpeech, Placed, Step
from actors.world.hearing import HearingPlan
from actors.world.referee import Fate, judge
from actors.world.sounds import Sound
from actors.world.tap import OURS, Run, Tap
from actors.world.world import CallPlan, Lived, run_calls
from engine.journal import Kind, Record
from tests.bench.peers.turns_naive import NaiveCall, NaiveHouse

VOICE = b"\x20\xa0" * 4000  # 1 s
WORDS = Sound("words", VOICE, 0.0, text="no thank you")
COUGH = Sound("cough", VOICE[:2400], 0.0, "cough")  # 300 ms


def told(runs: list[tuple[float, int, float]], *sounds: tuple[float, Sound], **more: Any) -> Lived:
    """A call of ten seconds in which the agent made one speech of 6 s from 1 s on."""
    tap = Tap(runs=[Run(*run) for run in runs])
    placed = [Placed(sound, at_ms, sound.words()) for at_ms, sound in sounds]
    speeches = [Speech("…", 0, 6000, 6000, began_at=1.0)]
    given: dict[str, Any] = {
        "plan": CallPlan(), "call_id": "c", "tap": tap, "placed": placed, "speeches": speeches, "records": [],
        "opened_at": 0.0, "began_at": 0.0, "ended_ms": 10_000.0, "hung_up": True, "words": "", "missed": [],
        "clears": [], "told": [], **more,
    }  # fmt: skip
    return Lived(**given)


@pytest.mark.parametrize(
    ("runs", "sound", "fate", "silent_ms", "lost_ms"),
    [
        ([(1000, 0, 1060)], WORDS, Fate.ENDED, 60, None),
        ([(1000, 0, 6000)], WORDS, Fate.UNTOUCHED, 5000, None),
        ([(1000, 0, 1060), (3500, 1060, 4940)], WORDS, Fate.RESUMED, 60, 0),
        ([(1000, 0, 1060), (2300, 1060, 100)], WORDS, Fate.ENDED, 60, None),
        ([(1000, 0, 1060), (2500, 1040, 4960)], COUGH, Fate.RESUMED, 60, -20),
        ([(1000, 0, 1060), (2500, 1160, 4840)], COUGH, Fate.RESUMED, 60, 100),
        ([(1000, 0, 1060)], COUGH, Fate.ENDED, 60, None),
        ([(1000, 0, 6000)], COUGH, Fate.UNTOUCHED, 5000, None),
        ([(1000, OURS, 1060)], WORDS, Fate.NOTHING, 60, None),
        ([], WORDS, Fate.NOTHING, None, None),
    ],
)
def test_fates(
    runs: list[tuple[float, int, float]], sound: Sound, fate: Fate, silent_ms: float | None, lost_ms: float | None
) -> None:
    (ruling,) = judge(told(runs, (2000, sound))).rulings
    assert (ruling.fate, ruling.silent_ms, ruling.lost_ms) == (fate, silent_ms, lost_ms)


def test_a_speech_that_was_over_anyway_was_not_interrupted() -> None:
    report = judge(told([(1000, 0, 6000)], (6900, WORDS)))
    assert report.rulings[0].fate is Fate.FINISHED


def test_words_that_end_a_held_speech_are_given_the_credit() -> None:
    report = judge(told([(1000, 0, 1060)], (2000, COUGH), (2400, WORDS)))
    assert [ruling.fate for ruling in report.rulings] == [Fate.OVERTAKEN, Fate.ENDED]
    assert [ruling.silent_ms for ruling in report.rulings] == [60, None]


def test_a_sound_is_not_blamed_for_what_a_later_one_did() -> None:
    report = judge(told([(1000, 0, 3060)], (2000, COUGH), (4000, WORDS)))
    assert [ruling.fate for ruling in report.rulings] == [Fate.UNTOUCHED, Fate.ENDED]


def test_two_voices_are_counted_once_a_span() -> None:
    report = judge(told([(1000, 0, 1500), (2900, 1500, 600)], (2000, WORDS)))
    assert list(report.overlaps) == [(2200.0, 2500.0), (2900.0, 3000.0)]
    assert not judge(told([(1000, 0, 6000)], (2000, COUGH))).overlaps


def test_silence_is_counted_while_something_is_owed() -> None:
    owed = judge(told([(1000, 0, 1060)], (2000, WORDS)))
    assert list(owed.silences) == [(0.0, 1000.0), (3000.0, 10_000.0)], "a greeting, and an answer that never came"
    paid = judge(told([(500, 0, 6000)]))
    assert list(paid.silences) == [(0.0, 500.0)], "after the speech it is the caller's turn"
    held = judge(told([(0, 0, 2000), (5000, 2000, 4000)]))
    assert list(held.silences) == [(2000.0, 5000.0)], "in the middle of a speech"


def test_a_break_that_nobody_caused() -> None:
    report = judge(told([(1000, 0, 1000), (3000, 1000, 1000)]))
    assert (report.causeless_held, report.causeless_ended) == (1, 1)
    assert list(report.gaps_ms) == [1000.0]
    assert not judge(told([(1000, 0, 1000), (3000, 1000, 5000)], clears=[2000.0])).gaps_ms


def certificate(**changed: Any) -> Record:
    data = {
        "n": 1, "utterance": 1, "onset_at": 2.0, "hold_ms": 45.0, "clear_ms": 45.0, "silent_ms": 60.0, "marks_back": 1,
        "decided_ms": 500.0, "decision": "dropped", "reason": "words", "words": "", "heard_ms": 1060.0,
        "unheard_ms": 300.0, "still_heard_ms": 60.0, **changed,
    }  # fmt: skip
    return Record("c", 1, 2500.0, 0.0, Kind.NOTE, "Interruption", data)


@pytest.mark.parametrize(
    ("changed", "worst_ms", "right"),
    [
        ({}, 0, True),
        ({"silent_ms": 50.0}, 10, True),
        ({"silent_ms": 46.0, "still_heard_ms": 45.0}, 15, True),
        ({"still_heard_ms": 0.0}, 60, True),
        ({"heard_ms": 1000.0}, 60, True),
        ({"decision": "resumed"}, 0, False),
    ],
)
def test_certificates(changed: dict[str, Any], worst_ms: float, right: bool) -> None:
    began = Record("c", 0, 990.0, 0.0, Kind.EVENT, "UtteranceStarted", {"utterance": 1, "ours": False})
    report = judge(told([(1000, 0, 1060)], (2000, WORDS), records=[began, certificate(**changed)]))
    (check,) = report.certificates
    assert (check.worst_ms, check.right_decision) == (worst_ms, right)
    assert report.uncertified == 0
    assert judge(told([(1000, 0, 1060)], (2000, WORDS))).uncertified == 1


# --- on lived calls -------------------------------------------------------------------------------------------------

LONG = " ".join(["word"] * 20)
CALLER = CallerPlan(
    steps=[Step(IntoSpeech(1500), COUGH), Step(IntoSpeech(1500), WORDS), Step(AfterAgent(700))], stays_ms=1000.0
)


def lived_by(house: type[NaiveHouse], agent: AgentPlan) -> Lived:
    found: list[Lived] = []
    run_calls(house, [CallPlan(caller=CALLER, agent=agent)], lived=found.append)
    return found[0]


def test_the_tutorials_bridge_is_found_out() -> None:
    """It waits for words, so both voices are heard; what Vapi sent ahead is lost, or heard after the caller spoke."""
    agent = AgentPlan(first_message=LONG, replies=(Reply("Yes."),), hearing=HearingPlan(first_partial_ms=500))
    report = judge(lived_by(NaiveHouse, agent))
    cough, words = report.rulings
    assert cough.fate is Fate.UNTOUCHED and words.fate is Fate.ENDED
    assert words.silent_ms is not None and words.silent_ms > 450
    assert len(report.overlaps) == 1 and report.uncertified == 1
    deaf = judge(lived_by(NaiveHouse, AgentPlan(first_message=LONG, hearing=HearingPlan(deaf=True), ahead_ms=2000)))
    assert deaf.rulings[1].fate is not Fate.ENDED and max(deaf.lost_ms) > 1000, "cleared, and it goes on elsewhere"


class Forgetful(NaiveCall):
    """Passes on nothing of the second half of each second."""

    count = 0

    def on_text(self, payload: bytes) -> None:
        self.count += b'"media"' in payload
        if self.count % 50 < 25:
            super().on_text(payload)


class ForgetfulHouse(NaiveHouse):
    call = Forgetful


def test_lost_words_are_found() -> None:
    agent = AgentPlan(first_message=LONG)
    assert judge(lived_by(NaiveHouse, agent)).rulings[1].words_lost == 0
    assert judge(lived_by(ForgetfulHouse, agent)).rulings[1].words_lost > 0
