"""The ear and the echo guard once more, written to be read: no tables, no tricks, every number where it is used.

The quick ones (`engine.voice`, `engine.echo`) must say the same, frame by frame (`test_plain_ears`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, median

from engine.voice import Voice

DB_A_CODE = 6.02 / 16


def loud(mulaw: bytes) -> float:
    """Mean loudness: a code is nearly the logarithm of its sample's size."""
    return sum(127 - (code & 127) for code in mulaw) / len(mulaw) * DB_A_CODE


def crossings(mulaw: bytes) -> int:
    """How often the sound crosses zero upward: a rush of air does it much more often than a voice."""
    return sum(one < 128 <= two for one, two in pairwise(mulaw))


def loud_end(mulaw: bytes, limit_db: float) -> tuple[int, float]:
    """How long the end of it is louder than that, in stretches of 5 ms, and the loudest of them."""
    found: list[float] = []
    while mulaw and loud(mulaw[-40:]) > limit_db:
        found.append(loud(mulaw[-40:]))
        mulaw = mulaw[:-40]
    return 5 * len(found), max(found, default=0.0)


class PlainEar:
    """What `VoiceDetector` says it does."""

    def __init__(self, *, onset_ms: int = 40, hangover_ms: int = 160, floor_db: float = 11.0) -> None:
        self.onset_ms, self.hangover, self.floor_db = max(20, onset_ms), max(1, hangover_ms // 20), floor_db
        self.noise_db, self.spread_db, self.calm_db = floor_db, 1.0, 0.0
        self.limit_db = floor_db + 4.5
        self.block: list[float] = []
        self.lows = [0.0] * 10
        self.before = b""
        self.run_ms, self.peak_db = 0, 0.0
        self.voiced: list[float] = []
        self.quiet = self.onset_ms_ago = 0
        self.speaking = False
        self.dismissals = self.wary_blocks = 0
        self.wary_db = self.wary_of_db = 0.0

    @property
    def voiced_ms(self) -> int:
        return self.onset_ms_ago + 20 * (len(self.voiced) - 1) if self.voiced else 0

    @property
    def loudest_db(self) -> float:
        return max(self.voiced, default=0.0)

    def feed(self, frame: bytes, expected_db: float = 0.0) -> Voice:
        db, limit_db = loud(frame), self.limit_db
        if expected_db > 0:
            limit_db = max(limit_db, expected_db + 4.5)
        else:
            self.block.append(db)
            if len(self.block) == 8:
                self.follow_noise()
            if db <= limit_db:
                away_db = db - self.noise_db
                self.noise_db += 0.06 * away_db
                self.spread_db += 0.03 * (abs(away_db) - self.spread_db)
        if db <= limit_db:
            return self.no_voice(frame)
        self.quiet = 0
        if self.speaking:
            self.voiced.append(db)
        elif self.begins(frame, db, limit_db):
            self.speaking, self.onset_ms_ago, self.voiced = True, self.run_ms, [db]
            return Voice.STARTED
        return Voice.NOTHING

    def no_voice(self, frame: bytes) -> Voice:
        self.before, self.run_ms = frame, 0
        if self.speaking:
            self.quiet += 1
            if self.quiet >= self.hangover:
                self.speaking = False
                return Voice.STOPPED
        return Voice.NOTHING

    def begins(self, frame: bytes, db: float, limit_db: float) -> bool:
        if self.run_ms == 0:
            self.run_ms, self.peak_db = loud_end(self.before, limit_db - 3)
        if db > self.calm_db + 10 and crossings(frame) >= 22:  # a rush: only a very loud one counts, by a quarter
            self.run_ms += 5 if db > limit_db + 8 else 0
            return self.run_ms >= self.onset_ms
        loud_ms, peak_db = loud_end(frame, limit_db - 3)
        self.run_ms = self.run_ms + 20 if loud_ms == 20 else loud_ms
        self.peak_db = max(self.peak_db, peak_db)
        needed_ms = self.onset_ms * 5 // 8 if db > limit_db + 3 else self.onset_ms
        if self.wary_blocks and db < self.wary_of_db + 6:
            needed_ms += 20 * self.dismissals
        dies_away = loud(frame[-40:]) <= self.peak_db - 8
        return self.run_ms >= needed_ms and (not dies_away or self.run_ms >= 2 * self.onset_ms)

    def follow_noise(self) -> None:
        self.lows = [*self.lows[1:], min(self.block)]
        self.block = []
        self.calm_db = min(self.lows)
        self.noise_db = min(max(self.noise_db, self.calm_db + 1), 30)
        self.limit_db = max(self.floor_db, self.noise_db + min(max(4.5, 2.5 + 3.5 * self.spread_db), 7))
        if self.wary_blocks:
            self.limit_db = max(self.limit_db, self.wary_db)
            self.wary_blocks -= 1
            if self.wary_blocks == 0:
                self.dismissals = 0

    def dismiss(self) -> None:
        if not self.voiced:
            return
        self.dismissals = min(self.dismissals + 1, 3)
        self.wary_of_db, self.wary_db = fmean(self.voiced), 0.0
        if self.speaking:
            self.wary_db = self.wary_of_db + 1 + 2 * self.dismissals
        elif self.dismissals > 1:
            self.wary_db = self.wary_of_db - 18 + 2 * self.dismissals
        self.wary_blocks = (2 + self.dismissals) * 1000 // 160
        self.limit_db = max(self.limit_db, self.wary_db)
        self.speaking, self.run_ms, self.quiet = False, 0, 0


# --- the echo -------------------------------------------------------------------------------------------------------


def frames(halves_db: Sequence[float]) -> list[float]:
    """Of each 20 ms, counted from the end."""
    halves = list(halves_db)[len(halves_db) % 2 :]
    return [(halves[at] + halves[at + 1]) / 2 for at in range(0, len(halves), 2)]


def beside(said: Sequence[float], heard: Sequence[float], delay: int) -> list[tuple[float, float]]:
    """What was said, and what had been heard so many frames before."""
    heard = heard[: len(heard) - delay] if delay < len(heard) else []
    count = min(len(said), len(heard))
    return [(said[len(said) - count + at], heard[len(heard) - count + at]) for at in range(count)]


def alike(pairs: Sequence[tuple[float, float]], least_db: float) -> float:
    """Pearson's correlation; 0 where one of them hardly moves."""
    if len(pairs) == 0:
        return 0.0
    mean_one, mean_two = fmean(one for one, _ in pairs), fmean(two for _, two in pairs)
    away = [(one - mean_one, two - mean_two) for one, two in pairs]
    spread = fmean(one * one for one, _ in away), fmean(two * two for _, two in away)
    if min(spread) < least_db**2:
        return 0.0
    return fmean(one * two for one, two in away) / math.sqrt(spread[0] * spread[1])


def level(db: float) -> float:
    """Decibels of the samples' size: near silence the scale of loudness is linear."""
    return 20 * math.log10(max(2 ** (db / 6.02) - 1, 0.001))


class PlainEcho:
    """What `EchoGuard` says it does."""

    def __init__(self) -> None:
        self.lately = [0.0] * 33
        self.delay, self.factor = 0, 0.0
        self.delay_ms: int | None = None
        self.loss_db = 0.0

    def echo_of(self, db: float) -> float:
        whole = int(db)
        return 6.02 * math.log2(1 + self.factor * (2 ** ((whole + 0.5) / 6.02) - 1)) if whole else 0.0

    def expected_db(self, heard_db: float) -> float:
        self.lately = [*self.lately[1:], heard_db]
        if self.delay_ms is None:
            return 0.0
        about = 32 - self.delay
        return self.echo_of(max(self.lately[about - 1 : about + 2]))

    def learn(self, said: Sequence[float], heard: Sequence[float]) -> bool:
        ours = frames(said)
        rows = (frames(heard), frames(list(heard)[:-1]))
        best, delay, half = max(
            (self._alike(beside(ours, rows[half], delay)), delay, half) for delay in range(1, 31) for half in (0, 1)
        )
        if best >= 0.85 and self._is_path(beside(ours, rows[half], delay), delay + half / 2):
            return True
        if self.delay_ms is not None:
            due = [
                here < self.echo_of(there) - 6
                for here, there in beside(ours, rows[0], self.delay)
                if self.echo_of(there) > 8
            ]
            if len(due) >= 12 and sum(due) > len(due) / 2:
                self.delay_ms = None
        return False

    def _alike(self, pairs: Sequence[tuple[float, float]]) -> float:
        audible = sum(there > 8 for _, there in pairs)
        if audible < 12 or max(here for here, _ in pairs) <= 8:
            return 0.0
        return alike(pairs, 3.0)

    def _is_path(self, pairs: Sequence[tuple[float, float]], delay: float) -> bool:
        audible = [pair for pair in pairs if pair[1] > 8]
        losses = [level(there) - level(here) for here, there in audible]
        loss_db = median(losses)
        apart_db = median(abs(one - loss_db) for one in losses)
        if not 3 <= loss_db <= 40 or apart_db > 2.5 or alike(audible, 0.1) < 0.85:
            return False
        self.delay, self.delay_ms, self.loss_db = round(delay), round(delay * 20), loss_db
        self.factor = 10 ** ((2 - loss_db) / 20)
        return True
