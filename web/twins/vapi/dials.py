"""What can be turned while the twin runs: latencies, limits and the ways in which things go wrong on purpose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from web.twins.vapi.problems import Problem

__all__ = ["SOCKET_FAULTS", "Dials", "Faults"]

SOCKET_FAULTS = ("never_opens", "refuse", "drop_after_ms", "stall", "black_hole_after_ms", "mute_after_ms")
"""`stall`: opens, and then nothing, ever. `black_hole_after_ms`: the same from so long after the opening. Both keep the
socket open and take what comes. `mute_after_ms`: from then on no audio, while the texts go on and the assistant takes
itself to be heard. Webhooks and live control go on in all three."""


@dataclass(slots=True)
class Dials:
    """Every number of the twin that a test may want to turn. Defaults are quick; the captured ones stand beside."""

    replication_lag_ms: int = 0
    """A fresh assistant is unknown (404) for so long."""
    create_delay_ms: int = 30
    monitor_delay_ms: int = 0
    """Never in the answer to POST; so long after it a GET of a websocket call has `monitor` (vapi.md §3)."""
    concurrency_limit: int = 500  # Vapi's own default is 10
    no_answer_ms: int = 200
    """Phone calls ring so long in the twin's world, where nobody picks up."""

    connect_ms: int = 140
    """From the open socket to the first status-update."""
    first_message_ms: int = 300
    """From the open socket to the first message; captured: up to 2 s."""
    model_latency_ms: int = 150  # captured about 600
    voice_latency_ms: int = 80  # captured about 240
    endpoint_ms: int = 550
    """Silence that ends a turn."""
    speech_start_ms: int = 40
    """Voice that makes a user `speech-update started`."""
    first_partial_ms: int = 280
    """From the caller's first voice to the first user partial: 250 to 300 with usual transcribers."""
    partial_every_ms: int = 500
    """Between user partials; 0: none."""
    no_transcripts: bool = False
    """Nobody is told what was said, by either side; the assistant hears, answers and is interrupted all the same."""
    late_transcripts_ms: int = 0
    """What the caller said is told so much later than it was known; all other events come in time."""
    timestamps: bool = False
    """Transcripts on the socket have a `timestamp`: when they were known (§4.4: usually there is none)."""

    deaf: bool = False
    """Never interrupts itself, whatever the caller says."""
    interrupts_on_noise: bool = False
    """Any voice of `speech_start_ms` interrupts, whatever `stopSpeakingPlan` wants: a cough, a door, an echo."""
    mute_after_noise: bool = False
    """A noise without words is never answered, and what was about to be said before it is not said any more."""

    clump_ms: int = 50
    """Audio comes in clumps of so much, as often (vapi.md §4.3)."""
    output_jitter_ms: int = 0
    """Each clump is late by up to so much, by chance of the seed; in order. What waits when a speech is cut is gone."""
    ahead_ms: int = 0
    """Audio runs ahead of real time by so much."""
    send_silence: bool = False
    """Whether silence frames fill the time between speeches; nobody knows (vapi.md §4.3)."""
    unconnected_s: float = 20.0
    """A call that nobody connects to, or on which no audio comes, is dropped after so long."""
    customer_silence_s: float = 30.0
    """Audio comes, but nobody has said anything for so long: `silence-timed-out`."""

    webhook_delay_ms: int = 20  # captured: 55 median
    shuffle_ms: int = 0
    """Up to so much more delay for each webhook, by chance: their order is not promised."""
    duplicate_every: int = 0
    """Every n-th webhook that wants no answer is sent twice; 0: none."""
    report_delay_ms: int = 300  # captured: 1.3 s after status-update ended
    timeout_cap_s: float = 300.0
    """No server gets more time than this, whatever `timeoutSeconds` says: tests are short of patience."""
    assistant_request_s: float = 7.5
    hmac_timestamp_in_seconds: bool = False
    """The unit is not documented (vapi.md §9)."""

    def turn(self, name: str, setting: object) -> None:
        """Set one dial.

        Raises:
            Problem: there is no such dial, or it does not take this.
        """
        present = getattr(self, name, None) if name in DIAL_NAMES else None
        if present is None:
            raise Problem(400, [f"property {name} should not exist"])
        wanted: tuple[type, ...] = (bool,) if isinstance(present, bool) else (int, float)
        if not isinstance(setting, wanted) or (isinstance(setting, bool) and wanted != (bool,)):
            raise Problem(400, [f"{name} must be a {wanted[-1].__name__}"])
        if not isinstance(setting, bool) and isinstance(setting, int | float) and setting < 0:
            raise Problem(400, [f"{name} must not be less than 0"])
        setattr(self, name, setting)


AFTER = ("drop_after_ms", "black_hole_after_ms", "mute_after_ms")
DIAL_NAMES = {one.name for one in fields(Dials)}


@dataclass(slots=True)
class Faults:
    """What goes wrong with the next `times` created calls, and how."""

    create_status: int | str | None = None  # an HTTP status, or "hang"
    create_body: Any = None
    socket: str | None = None
    drop_after_ms: int = 500
    black_hole_after_ms: int = 500
    mute_after_ms: int = 0
    times: int = 0

    @classmethod
    def of(cls, order: Mapping[str, Any]) -> Faults:
        """Read what `POST /twin/faults` was given, dials already taken out.

        Raises:
            Problem: it is not a fault that the twin has.
        """
        unknown = set(order) - {one.name for one in fields(cls)}
        if unknown:
            raise Problem(400, [f"property {name} should not exist" for name in sorted(unknown)])
        faults = cls(**{"times": 1, **order})
        status = faults.create_status
        if not (status in (None, "hang") or (isinstance(status, int) and 400 <= status < 600)):
            raise Problem(400, ["create_status must be a status from 400 to 599, or hang"])
        if faults.socket not in (None, *SOCKET_FAULTS):
            raise Problem(400, [f"socket must be one of the following values: {', '.join(SOCKET_FAULTS)}"])
        for name in ("times", *AFTER):
            if not isinstance(getattr(faults, name), int) or getattr(faults, name) < 0:
                raise Problem(400, [f"{name} must be a whole number"])
        return faults

    def take(self) -> Faults | None:
        """One use of these faults; None when they are used up."""
        if self.times <= 0:
            return None
        self.times -= 1
        return replace(self, times=1)
