"""What the media plane counts. Numbers since the plane began, except those that say `now`."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate

__all__ = ["Lag", "PlaneStatistics"]

LAG_BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class Lag:
    """How late the plane's 20 ms ticks came: a histogram, since the plane began. Whatever holds the loop is in it.

    Ticks are beaten while somebody wants them, which every live call does.
    """

    def __init__(self) -> None:
        self._counts = [0] * (len(LAG_BOUNDS_S) + 1)
        self.sum_s = self.most_s = 0.0

    def note(self, late_s: float) -> None:
        self._counts[bisect_left(LAG_BOUNDS_S, late_s)] += 1
        self.sum_s += late_s
        self.most_s = max(self.most_s, late_s)

    def buckets(self) -> list[tuple[str, int]]:
        """Upper bound in seconds and how many were at most that late, cumulative, as Prometheus wants them."""
        bounds = [*map(str, LAG_BOUNDS_S), "+Inf"]
        return list(zip(bounds, accumulate(self._counts), strict=True))


@dataclass(slots=True)
class PlaneStatistics:
    sockets_now: int = 0
    handshakes_now: int = 0
    opened: int = 0
    refused: int = 0
    """Upgrades answered with anything but 101, given up at their deadline, or turned away because too many waited."""
    frames_in: int = 0
    frames_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    audio_ms_dropped: int = 0
    """Audio that a peer did not take in time. What a barge-in forgets on purpose is not counted."""
    protocol_errors: int = 0
    """Wires that we closed because the peer broke a rule or a limit of the websocket."""
    listener_errors: int = 0
    vanished: int = 0
    """Wires that ended without a close frame of the peer's."""
    stalled: int = 0
    """Wires aborted because the peer did not read, or did not answer a ping."""
    tls_dials: int = 0
    """TLS handshakes of ours that were finished, and of them those that resumed an earlier session."""
    tls_resumed: int = 0
    ticks: int = 0
    late_ticks: int = 0
    """Ticks that came more than 100 ms late: something held the event loop."""
    queued_ms_by_call: Mapping[str, int] = field(default_factory=dict)
    """Milliseconds of audio that wait to be written now, both legs together; calls with none are left out."""

    @property
    def queued_ms_now(self) -> int:
        return sum(self.queued_ms_by_call.values())

    @property
    def queued_ms_most(self) -> int:
        """Of the call that has most."""
        return max(self.queued_ms_by_call.values(), default=0)
