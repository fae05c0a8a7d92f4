"""What a transcript of the caller means while the agent is being heard: does it end the agent's speech? Pure.

The order of the questions is the policy: old news first, then the agent's own echo, then words that decide by
themselves, then the rest. `specs/turn-taking.md` tells it to the owner of an agent file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from zoneinfo import ZoneInfo

from engine.agent import Keywords, Turns
from engine.echo import is_echo_text
from engine.phrases import Kind, PhraseBook, holds, normalise

Heard = Literal["truncate", "keep", "again"]

DAY_MINUTES = 24 * 60
_HOURS = re.compile(r"([01]?\d|2[0-4]):([0-5]\d)\s*[-–]\s*([01]?\d|2[0-4]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether the agent's speech ends, and why; `reason` goes into the certificate of the interruption.

    Yes: "phrase" (an always-phrase, `always` is true), "final", "words" (of a partial). No: "stale", "echo",
    "backchannel", "unfinished", "keyword missing", "too short", "partials do not count", "unsure".
    """

    interrupts: bool
    reason: str
    always: bool = False


@dataclass(frozen=True, slots=True)
class Judge:
    """One call's judge: the agent's policy at the hour of the call. Knows nothing of what was said before."""

    turns: Turns
    book: PhraseBook
    keywords: tuple[str, ...]  # normalised; empty: no keyword is asked for in this call
    protected: tuple[str, ...]
    again: tuple[str, ...]
    keep: tuple[str, ...]

    @classmethod
    def of(cls, turns: Turns, *, local_minutes: int | None = None) -> Judge:
        """The judge of a call.

        Args:
            local_minutes: since midnight where the keywords' timezone is, at the opening of the call (`local_minutes`);
                None: keywords are asked for whatever their hours.
        """
        keywords = turns.keywords
        asked = keywords is not None and in_force(keywords, local_minutes)
        return cls(
            turns=turns,
            book=PhraseBook.of(turns.phrases),
            keywords=_normalised(keywords.words) if keywords is not None and asked else (),
            protected=_normalised(turns.uninterruptible),
            again=_normalised(turns.heard_again),
            keep=_normalised(turns.heard_keep),
        )

    def judge(
        self, text: str, *, final: bool, confidence: float | None, age_s: float | None, agent_words: str
    ) -> Judgement:
        """What this transcript means for the speech that the agent is in.

        An always-phrase counts however short, in a partial, without a keyword and however unsure: shouted over a voice
        it is what a recogniser is least sure of, Vapi stops itself at it whatever the number, and a stop too many costs
        a sentence, one too few the caller's patience.

        Args:
            confidence: 0 to 1, if the recogniser says.
            age_s: how long ago it was heard, if known.
            agent_words: what the caller heard of the agent in the last seconds, for the echo guard.
        """
        policy = self.turns
        if age_s is not None and age_s * 1000 > policy.stale_ms:
            return Judgement(False, "stale")
        if policy.echo_guard and is_echo_text(text, agent_words):  # never of one word: a "stop" is the caller's
            return Judgement(False, "echo")
        said = normalise(text)
        kind = self.book.kind_of_words(tuple(said.split()), final=final)
        if kind is Kind.ALWAYS:
            return Judgement(True, "phrase", always=True)
        has_keyword = holds(said, self.keywords)
        if kind is Kind.NEVER and not has_keyword:
            return Judgement(False, "backchannel")
        if kind is Kind.UNFINISHED and not has_keyword:
            return Judgement(False, "unfinished")
        if self.keywords and not has_keyword:
            return Judgement(False, "keyword missing")
        if not has_keyword and (not said or len(said) < policy.partial_chars):
            return Judgement(False, "too short")
        if not final and policy.interrupt_on == "finals":
            return Judgement(False, "partials do not count")
        if confidence is not None and confidence < policy.confidence:
            return Judgement(False, "unsure")
        return Judgement(True, "final" if final else "words")

    def is_protected(self, agent_text: str) -> bool:
        """Whether this speech is heard to its end whatever the caller says (`uninterruptible`)."""
        return bool(self.protected) and holds(normalise(agent_text), self.protected)

    def heard_policy(self, agent_text: str) -> Heard:
        """What becomes of the rest of this speech when it is cut; to offer again wins over to keep."""
        said = normalise(agent_text)
        if holds(said, self.again):
            return "again"
        return "keep" if holds(said, self.keep) else self.turns.heard


def local_minutes(epoch_s: float, timezone_name: str) -> int:
    """Minutes since midnight on the clocks of an IANA timezone.

    Raises:
        ZoneInfoNotFoundError: there is no such zone on this machine; "UTC" is everywhere.
    """
    zone = UTC if timezone_name == "UTC" else ZoneInfo(timezone_name)
    there = datetime.fromtimestamp(epoch_s, zone)
    return there.hour * 60 + there.minute


def in_force(keywords: Keywords, local_minutes: int | None) -> bool:
    """Whether keywords are asked for at this minute of their day; the last minute of `hours` is not among them."""
    if not keywords.hours or local_minutes is None:
        return True
    begin, end = minutes_of(keywords.hours)
    if begin < end:
        return begin <= local_minutes < end
    return local_minutes >= begin or local_minutes < end


def minutes_of(hours: str) -> tuple[int, int]:
    """Begin and end of "21:00-07:00" in minutes since midnight; "24:00" may end a day.

    Raises:
        ValueError: not two times of day, or twice the same.
    """
    found = _HOURS.fullmatch(hours.strip())
    if found is None:
        raise ValueError(f"{hours!r} is not like 21:00-07:00")
    hour, minute, end_hour, end_minute = map(int, found.groups())
    begin, end = hour * 60 + minute, end_hour * 60 + end_minute
    if begin >= DAY_MINUTES or end > DAY_MINUTES:
        raise ValueError(f"{hours!r} has a time after the end of the day")
    if begin == end:
        raise ValueError(f"{hours!r} begins when it ends; leave `hours` out for the whole day")
    return begin, end


def _normalised(phrases: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(filter(None, map(normalise, phrases)))
