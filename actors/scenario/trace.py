"""The trace hash: what happened in a call as one number, the same wherever and whenever it is played. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

from engine.journal import Record


def trace_hash(records: Iterable[Record]) -> str:
    """Of every record: its time on the call's clock, what it is, and its facts. No wall clock, ids by their order."""
    digest, ids = hashlib.sha256(), dict[str, int]()
    for record in records:
        number = ids.setdefault(record.call_id, len(ids))
        facts = [number, record.seq, round(record.at_ms, 3), record.kind, record.name, record.data]
        digest.update(msgspec.json.encode(facts, order="sorted") + b"\n")
    return digest.hexdigest()
