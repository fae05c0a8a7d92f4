"""The agent's own audio that comes back over a loudspeaker: how loud it must be by now, whether words are its words.

There is no echo canceller on a telephone leg, and none is needed to keep an echo from interrupting: the loudness of
what comes back follows the loudness of what was heard, so much later and so much softer. Pure; stretches of µ-law in,
a decision out. The scale of all `_db` here is that of `engine.voice`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from difflib import SequenceMatcher
from operator import mul
from statistics import median

from engine.audio import FRAME_MS

_AUDIBLE_DB = 8.0  # a frame softer than this proves nothing
_TOP_DB = 50


class EchoGuard:
    """One call's echo path: its delay and its loss, once there was evidence, and the loudness to expect from it."""

    __slots__ = ("_delay", "_expected_by_db", "_heard_db", "delay_ms", "loss_db")

    SHORTEST, LONGEST = 1, 31  # frames of delay: 40 to 600 ms, and the clocks' error
    ALIKE = 0.85  # correlation of the two loudnesses: other people's speech stays under 0.8
    ALIKE_WITHIN = 0.85
    APART_DB = 2.5  # half of the frames must have lost nearly the same
    LEAST_FRAMES = 12  # that must bear on it
    LOSS_DB = (3.0, 40.0)
    SAFETY_DB = 2.0  # an echo may be so much louder than was learned
    GONE_DB = 6.0  # softer than expected by this: no echo here

    def __init__(self) -> None:
        self._delay = 0  # frames
        self._expected_by_db: tuple[float, ...] = ()
        self._heard_db: deque[float] | None = None  # of the frames heard last; most calls have no echo
        self.delay_ms: int | None = None
        """How much later the agent comes back, within 10 ms; none while no path is known."""
        self.loss_db = 0.0

    def expected_db(self, heard_db: float) -> float:
        """The loudness that the echo explains in the present inbound frame; 0 while no path is known.

        To be called once for each inbound frame, with the loudness of the frame that the caller hears meanwhile.
        """
        lately_db = self._heard_db
        if lately_db is None:
            lately_db = self._heard_db = deque([0.0] * (self.LONGEST + 2), maxlen=self.LONGEST + 2)
        lately_db.append(heard_db)
        if not self._expected_by_db:
            return 0.0
        last = len(lately_db) - 1 - self._delay
        heard_db = max(lately_db[last - 1], lately_db[last], lately_db[last + 1])
        return self._expected_by_db[int(heard_db)]

    def learn(self, said: Sequence[float], heard: Sequence[float]) -> bool:
        """Whether this inbound audio is what the caller heard come back; if so, the path is known from now on.

        Both end at the same moment; about a second of `said`, and better half a second more of `heard`. A path that is
        known is forgotten when its echo should be in `said` and is not. What is louder than the echo proves nothing.
        """
        said_db, heard_db = _frames_db(said), _frames_db(heard)
        rows = (heard_db, _frames_db(heard[:-1]))  # as it was, and half a frame before
        alike, delay, half = max(
            (self._alike(*_beside(said_db, rows[half], delay)), delay, half)
            for delay in range(self.SHORTEST, self.LONGEST)
            for half in (0, 1)
        )
        if alike >= self.ALIKE:
            # The pauses alone may have matched: what lies between them must match too, and be softer by the same.
            loud = [pair for pair in zip(*_beside(said_db, rows[half], delay), strict=True) if pair[1] > _AUDIBLE_DB]
            losses_db = [_level_db(there) - _level_db(here) for here, there in loud]
            loss_db = median(losses_db)
            apart_db = median(abs(db - loss_db) for db in losses_db)
            within = _correlation([here for here, _ in loud], [there for _, there in loud])
            if (
                self.LOSS_DB[0] <= loss_db <= self.LOSS_DB[1]
                and apart_db <= self.APART_DB
                and within >= self.ALIKE_WITHIN
            ):
                self._remember(delay + half / 2, loss_db)
                return True
        if self._expected_by_db and self._is_gone(said_db, heard_db):
            self._expected_by_db, self.delay_ms = (), None
        return False

    def _alike(self, said_db: Sequence[float], heard_db: Sequence[float]) -> float:
        """How much one loudness follows the other, -1 to 1; 0 where there is not enough to tell."""
        if sum(db > _AUDIBLE_DB for db in heard_db) < self.LEAST_FRAMES or max(said_db) <= _AUDIBLE_DB:
            return 0.0
        return _correlation(said_db, heard_db, 3.0)

    def _remember(self, delay: float, loss_db: float) -> None:
        self._delay, self.delay_ms, self.loss_db = round(delay), round(delay * FRAME_MS), loss_db
        factor = 10 ** ((self.SAFETY_DB - loss_db) / 20)
        # Near silence the scale is linear, not logarithmic: the loss is taken from the samples' size.
        self._expected_by_db = tuple(
            6.02 * math.log2(1 + factor * (2 ** ((db + 0.5) / 6.02) - 1)) if db else 0.0 for db in range(_TOP_DB)
        )

    def _is_gone(self, said_db: Sequence[float], heard_db: Sequence[float]) -> bool:
        due = [
            here < self._expected_by_db[int(there)] - self.GONE_DB
            for here, there in zip(*_beside(said_db, heard_db, self._delay), strict=True)
            if self._expected_by_db[int(there)] > _AUDIBLE_DB
        ]
        return len(due) >= self.LEAST_FRAMES and sum(due) > len(due) / 2


def is_echo_text(caller_words: str, agent_words: str) -> bool:
    """Whether the caller's transcript is a run of what the agent just said: three words or more, or all of two.

    One word in five may be misheard as one that looks like it, or be lost between others. An other word is the caller's
    own: "a table for four" after "a table for two" is a correction.
    """
    caller, agent = _words(caller_words), _words(agent_words)
    if len(caller) < 3:
        return len(caller) == 2 and caller == agent
    allowed = len(caller) // 5
    return any(_errors(caller, agent, start, allowed) <= allowed for start in range(len(agent)))


def _errors(caller: list[str], agent: list[str], start: int, allowed: int) -> int:
    """How many words of the agent's run from `start` on were misheard or lost; more than allowed: no such run."""
    at, errors = start, 0
    for word in caller:
        if at < len(agent) and word == agent[at]:
            at += 1
        elif errors < allowed and at + 1 < len(agent) and word == agent[at + 1] and at > start:
            at, errors = at + 2, errors + 1
        elif errors < allowed and at < len(agent) and SequenceMatcher(None, word, agent[at]).ratio() >= 0.6:
            at, errors = at + 1, errors + 1
        else:
            return allowed + 1
    return errors


def _words(text: str) -> list[str]:
    kept = "".join(letter if letter.isalnum() else " " for letter in text.casefold().replace("'", "").replace("’", ""))
    return kept.split()


def _correlation(one: Sequence[float], other: Sequence[float], least_db: float = 0.1) -> float:
    """Of two equally long rows of loudnesses; 0 where one deviates by less than that: steady sounds are all alike."""
    count, sum_one, sum_other = len(one), sum(one), sum(other)
    spread_one = count * sum(map(mul, one, one)) - sum_one * sum_one
    spread_other = count * sum(map(mul, other, other)) - sum_other * sum_other
    if min(spread_one, spread_other) < (least_db * count) ** 2:
        return 0.0
    return float((count * sum(map(mul, one, other)) - sum_one * sum_other) / math.sqrt(spread_one * spread_other))


def _frames_db(halves_db: Sequence[float]) -> list[float]:
    """Loudness of each 20 ms, counted from the end, from that of each 10 ms."""
    first = len(halves_db) % 2
    return [(one + two) / 2 for one, two in zip(halves_db[first::2], halves_db[first + 1 :: 2], strict=True)]


def _beside(said_db: Sequence[float], heard_db: Sequence[float], delay: int) -> tuple[Sequence[float], Sequence[float]]:
    """What was said and what had been heard so many frames before, as far as both are there."""
    heard_db = heard_db[: max(0, len(heard_db) - delay)]
    count = min(len(said_db), len(heard_db))
    return said_db[len(said_db) - count :], heard_db[len(heard_db) - count :]


def _level_db(db: float) -> float:
    """From the scale of loudness, which is linear near silence, to decibels of the samples' size."""
    return 20 * math.log10(max(2 ** (db / 6.02) - 1, 1e-3))
