"""Tells what was said, by whom: in time, late or not at all, as the dials want it (vapi.md §4.4, §7)."""

from __future__ import annotations

from typing import Any

import trio

from web.twins.vapi.clock import epoch_ms
from web.twins.vapi.state import CallState

__all__ = ["Transcripts"]

MOST_LATE = 200


class Transcripts:
    """One call's. `run` tells the late ones, in order."""

    def __init__(self, state: CallState) -> None:
        self._state = state
        self._send, self._receive = trio.open_memory_channel[tuple[float, dict[str, Any], dict[str, Any]]](MOST_LATE)

    def tell(self, role: str, kind: str, text: str, **more: Any) -> None:
        """`kind` is partial or final. A late one is told with the moment at which it was known."""
        dials = self._state.dials
        if dials.no_transcripts:
            return
        slim = {"role": role, "transcriptType": kind, "transcript": text, **more}
        client = slim | ({"timestamp": epoch_ms()} if dials.timestamps else {})
        if role != "user" or not dials.late_transcripts_ms:
            self._state.tell("transcript", client, server=slim)
            return
        try:
            self._send.send_nowait((trio.current_time() + dials.late_transcripts_ms / 1000, client, slim))
        except trio.WouldBlock:
            self._state.timeline.complain("more transcripts are late than the twin keeps")

    async def run(self) -> None:
        async for due, client, slim in self._receive:
            await trio.sleep_until(due)
            self._state.tell("transcript", client, server=slim)
