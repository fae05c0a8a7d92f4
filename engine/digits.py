"""The keys that a caller presses, collected to a number before the agent is told. Pure; time comes in as an argument.

What is collected is plain data, a part of the call's state. Digits are personal data (reference/twilio.md §9, `dtmf`):
they are in no repr and in no message of an error.
"""

from __future__ import annotations

from math import inf

import msgspec

from engine.agent import Digits
from engine.tones import KEYS


class Keys(msgspec.Struct, frozen=True):
    """What has been typed of a number that is not complete. `last_at` is seconds on the call's clock."""

    typed: str = ""
    last_at: float = 0.0
    ignored: int = 0  # keys that no telephone has, since the call began

    def __repr__(self) -> str:
        return f"Keys({len(self.typed)} typed, last_at={self.last_at}, ignored={self.ignored})"


def press(keys: Keys, key: str, at: float, policy: Digits) -> tuple[Keys, str | None]:
    """One more key: what is typed now, and the number that this makes complete.

    The end key completes what was typed and is no part of it; with nothing typed it is told as a key like any other.
    A key that comes when the number before is due, and nobody has asked for it, completes that and begins the next.
    """
    key = key.upper()
    if key not in KEYS:
        return msgspec.structs.replace(keys, ignored=keys.ignored + 1), None
    done = Keys(ignored=keys.ignored)
    if keys.typed and key == policy.end:
        return done, keys.typed
    begun = msgspec.structs.replace(keys, typed=key, last_at=at)
    if at >= due_at(keys, policy):
        return begun, keys.typed
    typed = keys.typed + key
    if len(typed) >= policy.most or typed == policy.end:
        return done, typed
    return msgspec.structs.replace(begun, typed=typed), None


def due_at(keys: Keys, policy: Digits) -> float:
    """When the number is complete if no key follows, in seconds on the call's clock; infinite without a key."""
    return keys.last_at + policy.between_ms / 1000 if keys.typed else inf


def due(keys: Keys, at: float, policy: Digits) -> tuple[Keys, str | None]:
    """The same keys while there is time; after it none, and the number that is complete."""
    if at < due_at(keys, policy):
        return keys, None
    return Keys(ignored=keys.ignored), keys.typed


def words(number: str) -> str:
    """How the agent is told of a complete number. The keys stand apart, so that a model reads each."""
    return f"The caller {'typed' if len(number) > 1 else 'pressed'} {' '.join(number)} on the keypad."
