"""What is wanted of a dial, and what is known of one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from engine.outbound import FINAL


@dataclass(frozen=True, slots=True)
class Wanted:
    """A call that somebody wants made.

    Args:
        key: the same key is the same call, however often it is asked for.
        who: by whose key; for the journal.
    """

    to: str = field(repr=False)
    key: str
    who: str
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def fingerprint(self) -> str:
        """Tells whether a key came back with another wish."""
        return hashlib.sha256(msgspec.json.encode([self.to, sorted(self.variables.items())])).hexdigest()


@dataclass(frozen=True, slots=True)
class Dial:
    """A call that we made, as the book has it.

    `status` is Twilio's (reference/twilio.md §13), and before it `placing`; `unknown`: Twilio's answer was lost, so
    that the call may exist. It is never made a second time; its callbacks tell.
    """

    call_id: str
    to: str = field(repr=False)
    from_: str = field(repr=False)
    variables: Mapping[str, str] = field(repr=False)
    who: str
    begun_s: float  # Unix seconds
    status: str
    reason: str = ""
    answered_by: str = ""
    call_sid: str = ""
    admitted: bool = False  # it was answered, and the call's own journal tells the rest

    @property
    def is_over(self) -> bool:
        return self.status in FINAL
