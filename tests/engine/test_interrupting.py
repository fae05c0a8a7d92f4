"""What a transcript means while the agent is heard: the policy, question by question, and what Vapi is told of it."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfoNotFoundError

import pytest
from vapi.types.stop_speaking_plan import StopSpeakingPlan

from engine.agent import Keywords, Phrases, Turns
from engine.interrupting import Judge, Judgement, in_force, local_minutes, minutes_of
from engine.wire.vapi_calls import assistant_body, create_call_body, stop_speaking_plan
from web.twins.vapi.schemas import ASSISTANT

OFFER = "We have a table at six, at half past six, at seven, at eight, and at nine."
NIGHT = Keywords(words=("Hey Bistro", "help"), hours="21:00-07:00")


def judged(text: str, turns: Turns | None = None, **known: Any) -> Judgement:
    facts = {"final": False, "confidence": None, "age_s": None, "agent_words": OFFER, **known}
    return Judge.of(turns or Turns()).judge(text, **facts)


@pytest.mark.parametrize(
    ("text", "known", "reason"),
    [
        ("Eight works.", {}, "words"),
        ("Eight works.", {"final": True}, "final"),
        ("Eight works.", {"confidence": 0.7, "age_s": 2.0}, "words"),
        ("Stop!", {}, "phrase"),
        ("no", {}, "phrase"),
        ("okay, stop", {"final": True}, "phrase"),
        ("hold on", {"confidence": 0.1}, "phrase"),
    ],
)
def test_what_interrupts(text: str, known: dict[str, Any], reason: str) -> None:
    """Words, and above all the words that mean it, however short and unsure."""
    assert judged(text, **known) == Judgement(True, reason, always=reason == "phrase")


@pytest.mark.parametrize(
    ("text", "known", "reason"),
    [
        ("uh-huh", {}, "backchannel"),
        ("Yeah, okay.", {"final": True, "confidence": 0.99}, "backchannel"),
        ("got", {}, "unfinished"),
        ("ei", {}, "too short"),
        (" 5.", {"final": True}, "too short"),
        ("", {}, "too short"),
        ("…", {"final": True}, "too short"),
        ("Eight works", {"confidence": 0.69}, "unsure"),
        ("Eight works", {"age_s": 2.01}, "stale"),
        ("Stop", {"age_s": 2.01}, "stale"),
    ],
)
def test_what_does_not(text: str, known: dict[str, Any], reason: str) -> None:
    """Listening sounds, scraps, guesses and old news; an old "stop" was meant for another sentence."""
    assert judged(text, **known) == Judgement(False, reason)


def test_the_agents_own_words_do_not_interrupt_it() -> None:
    """Not even our own "one moment, please"; a "stop" always does, and an answer of one word is the caller's."""
    assert judged("at half past six, at seven") == Judgement(False, "echo")
    assert judged("One moment, please", agent_words="Okay. One moment, please.") == Judgement(False, "echo")
    assert judged("stop", agent_words="Stop.") == Judgement(True, "phrase", always=True)
    assert judged("eight").interrupts
    assert judged("at half past six, at seven", Turns(echo_guard=False)).interrupts


def test_finals_only() -> None:
    """Then a partial does nothing, unless it is a "stop"."""
    turns = Turns(interrupt_on="finals")
    assert judged("Eight works", turns).reason == "partials do not count"
    assert judged("Eight works", turns, final=True).interrupts
    assert judged("Wait, eight works", turns) == Judgement(True, "phrase", always=True)


def test_the_numbers_of_the_policy_are_used() -> None:
    """Length, confidence and age as the agent file says."""
    turns = Turns(partial_chars=6, confidence=0.2, stale_ms=500)
    assert judged("eight", turns).reason == "too short"
    assert judged("eight of us", turns, confidence=0.3).interrupts
    assert judged("eight of us", turns, age_s=0.6).reason == "stale"
    assert judged("5", Turns(partial_chars=0)).interrupts
    assert not judged("!", Turns(partial_chars=0)).interrupts


def test_own_phrases_decide() -> None:
    """The owner's lists are the book's."""
    turns = Turns(phrases=Phrases(always_interrupt=("yes",), never_interrupt=("bless you",)))
    assert judged("yes", turns) == Judgement(True, "phrase", always=True)
    assert judged("Bless you!", turns).reason == "backchannel"


def test_keywords_at_their_hours() -> None:
    """At night only speech with a keyword cuts in, or a "stop"; by day everything does."""
    turns = Turns(keywords=NIGHT)
    night, day = Judge.of(turns, local_minutes=22 * 60), Judge.of(turns, local_minutes=12 * 60)
    facts: dict[str, Any] = {"final": False, "confidence": None, "age_s": None, "agent_words": ""}
    assert night.judge("Eight works", **facts) == Judgement(False, "keyword missing")
    assert night.judge("hey, bistro: eight works", **facts) == Judgement(True, "words")
    assert night.judge("stop", **facts) == Judgement(True, "phrase", always=True)
    assert day.judge("Eight works", **facts) == Judgement(True, "words")
    assert Judge.of(turns).judge("Eight works", **facts).reason == "keyword missing"


def test_a_keyword_counts_however_it_sounds() -> None:
    """A short one, and one that is an "okay" elsewhere; but not an unsure one."""
    turns = Turns(keywords=Keywords(words=("Yo", "okay")))
    assert judged("yo", turns).interrupts and judged("Okay.", turns).interrupts
    assert judged("yeah", turns).reason == "backchannel"
    assert judged("yo", turns, confidence=0.2).reason == "unsure"


@pytest.mark.parametrize(
    ("hours", "minute", "asked"),
    [
        ("21:00-07:00", 21 * 60, True), ("21:00-07:00", 0, True), ("21:00-07:00", 7 * 60 - 1, True),
        ("21:00-07:00", 7 * 60, False), ("21:00-07:00", 21 * 60 - 1, False),
        ("9:00 - 17:30", 9 * 60, True), ("9:00 - 17:30", 17 * 60 + 30, False), ("9:00 - 17:30", 0, False),
        ("18:00–24:00", 24 * 60 - 1, True), ("00:00-24:00", 0, True), ("", 5, True),
    ],
)  # fmt: skip
def test_hours(hours: str, minute: int, asked: bool) -> None:
    """From the first minute to before the last, over midnight too."""
    assert in_force(Keywords(words=("x",), hours=hours), minute) is asked


@pytest.mark.parametrize(
    "hours", ["25:00-7", "21:00", "21-07", "24:00-07:00", "07:60-08:00", "1:00-24:01", "9:00-09:00", "x"]
)
def test_hours_that_are_none(hours: str) -> None:
    """Said with the hours in question."""
    with pytest.raises(ValueError, match=hours):
        minutes_of(hours)


def test_the_clock_of_a_timezone() -> None:
    """Summer time included; 2026-01-15 and 2026-07-15, noon in Greenwich."""
    winter, summer = 1768478400, 1784116800
    assert [local_minutes(at, "UTC") for at in (winter, summer + 59.9)] == [720, 720]
    assert [local_minutes(at, "Europe/Berlin") for at in (winter, summer)] == [13 * 60, 14 * 60]
    assert local_minutes(winter, "Asia/Kolkata") == 17 * 60 + 30
    with pytest.raises(ZoneInfoNotFoundError):
        local_minutes(winter, "Europe/Berln")


def test_legal_text_is_protected() -> None:
    """By a phrase in it, however the agent writes it."""
    judge = Judge.of(Turns(uninterruptible=("This call may be recorded",)))
    assert judge.is_protected("Hello! This call may be RECORDED, for training.")
    assert not judge.is_protected("This call may be re-corded") and not judge.is_protected("")
    assert not Judge.of(Turns()).is_protected("This call may be recorded")


def test_what_becomes_of_the_rest() -> None:
    """By a phrase of the speech, or as usual; to offer again wins."""
    judge = Judge.of(Turns(heard_again=("your code is",), heard_keep=("Terms apply", "code")))
    assert judge.heard_policy("Your code is five.") == "again"
    assert judge.heard_policy("Some terms apply.") == "keep"
    assert judge.heard_policy("Eight it is.") == "truncate"
    assert Judge.of(Turns(heard="keep")).heard_policy("Eight it is.") == "keep"


ALL_LANGUAGES = Turns(phrases=Phrases(languages=("en", "de", "fr", "es", "it", "nl", "pt")), debounce_ms=60_000)


@pytest.mark.parametrize("turns", [Turns(), ALL_LANGUAGES, Turns(keywords=NIGHT, min_speech_ms=9000)])
@pytest.mark.parametrize("by_keyword", [False, True])
def test_vapi_takes_our_plan(turns: Turns, by_keyword: bool) -> None:
    """Its schema by the twin, which refuses what is not known, and its own client's type."""
    body = assistant_body({"name": "x"}, tools=[], server={"url": "https://x.example"}, turns=turns)
    assert list(ASSISTANT(body, "")) == []
    plan = stop_speaking_plan(turns, by_keyword=by_keyword)
    assert list(ASSISTANT({"stopSpeakingPlan": plan}, "")) == []
    typed = StopSpeakingPlan.model_validate(plan)
    assert typed.model_extra == {} and typed.num_words == plan["numWords"]
    assert typed.interruption_phrases == plan["interruptionPhrases"]


def test_vapi_decides_as_we_do() -> None:
    """Words interrupt and noise does not; the lists are ours, in the spelling of Vapi's own (vapi.md §11.2)."""
    turns = Turns(phrases=Phrases(always_interrupt=("Front-Desk",), never_interrupt=("Bless you",)))
    plan = stop_speaking_plan(turns, by_keyword=False)
    assert (plan["numWords"], plan["voiceSeconds"], plan["backoffSeconds"]) == (1, 0.16, 0.3)
    assert {"stop", "hold on", "thats enough", "front-desk", "front desk"} <= set(plan["interruptionPhrases"])
    assert {"uh-huh", "uh huh", "mm-hmm", "mhm", "i see", "yeah yeah", "bless you"} <= set(
        plan["acknowledgementPhrases"]
    )
    judge = Judge.of(turns)
    facts: dict[str, Any] = {"final": True, "confidence": 1.0, "age_s": 0.0, "agent_words": ""}
    assert {judge.judge(one, **facts).reason for one in plan["interruptionPhrases"]} == {"phrase"}
    assert {judge.judge(one, **facts).reason for one in plan["acknowledgementPhrases"]} == {"backchannel"}


def test_vapi_with_keywords() -> None:
    """It has none of its own: they become interruption phrases, and other words hardly interrupt."""
    plan = stop_speaking_plan(Turns(keywords=NIGHT), by_keyword=True)
    assert plan["numWords"] == 10 and {"hey bistro", "help", "stop"} <= set(plan["interruptionPhrases"])
    assert stop_speaking_plan(Turns(keywords=NIGHT), by_keyword=False) == stop_speaking_plan(Turns(), by_keyword=False)


def test_whose_plan_an_assistant_has() -> None:
    """Its own if the file gives one; keywords with hours are left to each call."""
    server = {"url": "https://x.example"}
    own = {"stopSpeakingPlan": {"numWords": 3}}
    assert assistant_body(own, tools=[], server=server, turns=Turns())["stopSpeakingPlan"] == {"numWords": 3}
    usual = assistant_body({}, tools=[], server=server, turns=Turns())["stopSpeakingPlan"]
    assert usual == stop_speaking_plan(Turns(), by_keyword=False)
    assert assistant_body({}, tools=[], server=server, turns=Turns(keywords=NIGHT))["stopSpeakingPlan"] == usual
    always = Turns(keywords=Keywords(words=("help",)))
    assert assistant_body({}, tools=[], server=server, turns=always)["stopSpeakingPlan"]["numWords"] == 10
    call = create_call_body(assistant_id="a", assistant=None, name="n", server=server, stop_speaking=usual)
    assert call["assistantOverrides"]["stopSpeakingPlan"] == usual
