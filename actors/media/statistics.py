"""What the media plane counts. Numbers since the plane began, except those that say `now`."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PlaneStatistics"]


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
