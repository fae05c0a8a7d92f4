"""Mutants that no test can find, each with the reason: they do the same, or differ by less than anybody could tell."""

from __future__ import annotations

_LEAVES_ONCE = "there is no number until a call leaves, and it leaves once"
_TWO_SUMS = "the quick sum and the plain one give the same, and `test_plain_ears` compares them"
_IDENTITY = "the number of a member of this Enum is never read"
_WRITTEN_FIRST = "it is written before it is read: without it there would be an AttributeError"
_LOUDEST = "more than anything: full scale is 48"
_NEVER_EQUAL = "two sums of floats, of which one hangs on all that was heard before: never equal to the last bit"

EQUIVALENT: dict[str, str] = {
    "turns: TYPE_CHECKING → not TYPE_CHECKING": "only what the type checker imports is imported at run time as well",
    "call._goodbye: {'reason': reason(event), 'next_words': call.policy.goodbye_words, 'next_number': None} → without "
    "'next_number'": _LEAVES_ONCE,
    "call._hang_up: {'reason': event.reason, 'next_words': words, 'next_number': None} → without 'next_number'": (
        _LEAVES_ONCE
    ),
    "interrupting.in_force: begin < end → begin <= end": "hours that begin when they end are refused (`minutes_of`)",
    "voice.loudness_db: 0 < len(mulaw) <= _MOST_AT_ONCE → 0 < len(mulaw) < _MOST_AT_ONCE": _TWO_SUMS,
    "voice.VoiceDetector.feed: len(frame) == FRAME_BYTES → len(frame) != FRAME_BYTES": _TWO_SUMS,
    "voice.VoiceDetector.feed: 65535 → 32767": "the sum of a frame is at most 20,320",
    "voice.levels_db: 65535 → 32767": "the sum of half a frame is at most 10,160",
    "voice: 1 → 2": _IDENTITY,
    "voice: 2 → 3": _IDENTITY,
    "voice: 2 → 1": _IDENTITY,
    "voice.VoiceDetector.__init__: self._peak_db = 0.0 → (removed)": _WRITTEN_FIRST,
    "voice.VoiceDetector.__init__: self._quiet_frames = 0 → (removed)": _WRITTEN_FIRST,
    "voice.VoiceDetector.__init__: self._sum_db = 0.0 → (removed)": _WRITTEN_FIRST,
    "voice.VoiceDetector.__init__: self._wary_db = 0.0 → (removed)": _WRITTEN_FIRST,
    "voice.VoiceDetector.__init__: self._wary_of_db = 0.0 → (removed)": _WRITTEN_FIRST,
    "voice.VoiceDetector.__init__: 99.0 → 198.0": _LOUDEST,
    "voice.VoiceDetector.__init__: 99.0 → 49.5": _LOUDEST,
    "voice.VoiceDetector._follow_noise: 99.0 → 198.0": _LOUDEST,
    "voice.VoiceDetector._follow_noise: 99.0 → 49.5": _LOUDEST,
    "voice.VoiceDetector.feed: heard_db < self._least_db → heard_db <= self._least_db": "sets it to what it is",
    "voice.VoiceDetector.feed: heard_db > self.loudest_db → heard_db >= self.loudest_db": "sets it to what it is",
    "voice.VoiceDetector.feed: away_db > 0.0 → away_db >= 0.0": "minus nothing is nothing",
    "voice.VoiceDetector.feed: heard_db <= limit_db → heard_db < limit_db": _NEVER_EQUAL,
    "voice.VoiceDetector.feed: heard_db > limit_db → heard_db >= limit_db": _NEVER_EQUAL,
    "voice.VoiceDetector._begins: heard_db > self._calm_db + self.OVER_RUSH_DB → heard_db >= self._calm_db + "
    "self.OVER_RUSH_DB": _NEVER_EQUAL,
    "voice.VoiceDetector._begins: heard_db > limit_db + self.LOUD_RUSH_DB → heard_db >= limit_db + self.LOUD_RUSH_DB": (
        _NEVER_EQUAL
    ),
    "voice.VoiceDetector._begins: heard_db > limit_db + self.CLEAR_DB → heard_db >= limit_db + self.CLEAR_DB": (
        _NEVER_EQUAL
    ),
    "voice.VoiceDetector._begins: last_db > self._peak_db - self.DYING_DB → last_db >= self._peak_db - self.DYING_DB": (
        _NEVER_EQUAL
    ),
}
"""`Mutant.key` → why."""
