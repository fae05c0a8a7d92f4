"""Journal records: what happened in a call, in order, as plain versioned data. Pure; who keeps them is a port.

A record holds a fact (`event`), an order (`effect`), a change of phase, or a note. Its time is milliseconds on the
call's own clock (0 when the call was admitted); the wall clock stands beside it for people only.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

RECORD_VERSION = 1


class Kind(StrEnum):
    OPENED = "opened"  # the first record of a call: numbers, agent, versions
    EVENT = "event"
    EFFECT = "effect"
    PHASE = "phase"
    NOTE = "note"  # what no machine acts on, but a reader wants: signatures of faults, latencies
    CLOSED = "closed"  # the last record of a call: reason, length


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of a call's journal."""

    call_id: str  # ours: "call-" and 26 characters; also the name of the recording
    seq: int  # from 0, without gaps within a call
    at_ms: float  # since the call was admitted, call clock (monotonic)
    wall_s: float  # Unix seconds, for people
    kind: Kind
    name: str  # the event, effect or phase, by its class name or value
    data: dict[str, Any] = {}  # JSON-able facts
    v: int = RECORD_VERSION
    exact_s: float | None = None  # of an event: `Event.at` to the last bit, for replays; `at_ms` is rounded for people


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Record)


def encode(record: Record) -> bytes:
    """The record as one line of JSON."""
    return _ENCODER.encode(record)


def decode(line: bytes | str) -> Record:
    """The record back from its JSON.

    Raises:
        msgspec.ValidationError: not a record of a version that we know.
    """
    record = _DECODER.decode(line)
    if record.v != RECORD_VERSION:
        raise msgspec.ValidationError(
            f"journal record version {record.v} is not {RECORD_VERSION}; use the callscope that wrote it"
        )
    return record
