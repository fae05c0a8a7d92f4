"""What the Twilio twin is told at its start, and the faults that can be dialled in while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

Speak = Callable[..., bytes]
"""`speak(text, voice=…)` → µ-law 8 kHz."""


@dataclass(frozen=True)
class TwinSettings:
    """One account with its numbers."""

    account_sid: str
    auth_token: str = field(repr=False)
    numbers: tuple[str, ...] = ("+12025550199",)
    speak: Speak = field(default=lambda text, voice="en-US": b"\xff", repr=False)
    data: Path | None = None
    ring_s: float = 0.1
    webhook_timeout_s: float = 15.0
    webhook_connect_s: float = 5.0


class Faults(msgspec.Struct, forbid_unknown_fields=True):
    """What Twilio's side does wrong, until it is set back. Each holds for streams that end or start after it is set."""

    no_stop: bool = False  # the socket dies without `stop`
    vanish: bool = False  # no more media, no close: a cut cable
    duplicate_start: bool = False
    junk_text: bool = False
    junk_binary: bool = False
    double_webhooks: bool = False
    jitter_ms: int = 0  # media frames wait up to so long and then come in a burst
