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
    sounds: Path | None = None  # the files that a live caller's script may name as sounds
    ring_s: float = 0.1
    webhook_timeout_s: float = 15.0
    webhook_connect_s: float = 5.0


class Faults(msgspec.Struct, forbid_unknown_fields=True):
    """What Twilio's side and the caller's line do wrong, from now on, in calls that live too, until it is set back."""

    no_stop: bool = False  # the socket dies without `stop`
    vanish: bool = False  # no more media, no close: a cut cable
    duplicate_start: bool = False
    junk_text: bool = False
    junk_binary: bool = False
    double_webhooks: bool = False
    jitter_ms: int = 0  # media frames wait up to so long and then come in a burst
    # the room and the telephone of the caller
    background: str = ""  # a bed under the caller all the time: one of `speech.sounds`, or the path of a file
    background_db: float = 20.0  # so far under a usual voice
    echo_delay_ms: int = 0  # what the caller hears comes back in their microphone so much later; 0: it does not
    echo_loss_db: float = 12.0  # so much softer
    # the network; each way keeps its order, as TCP does
    uplink_delay_ms: int = 0  # what Twilio sends takes so long to arrive
    uplink_jitter_ms: int = 0  # and by chance up to so much longer, each message anew
    uplink_loss_percent: float = 0.0  # frames of the caller that are silence (why: see `stream`)
    downlink_delay_ms: int = 0  # what the server sends takes so long to act: media, clear and mark alike
    start_delay_ms: int = 0  # buffered so long before it plays, when the earpiece had run dry
    seed: int = 1  # of all chance in calls that start from now on
