"""Vapi's websocket as the other leg of a call: binary is audio, text is read tolerantly (reference/vapi.md §4.4)."""

from __future__ import annotations

from collections import Counter

from actors.bridge import Bridge
from actors.ports import Wire
from engine.errors import BadMessage
from engine.wire import vapi


class VapiLeg:
    """A `WireListener` for the socket that we dial at `websocketCallUrl`."""

    __slots__ = ("_agent_call_id", "_bridge", "oddities")

    def __init__(self, bridge: Bridge, agent_call_id: str) -> None:
        self._bridge, self._agent_call_id = bridge, agent_call_id
        self.oddities: Counter[str] = Counter()

    def on_open(self, wire: Wire) -> None:
        self._bridge.agent_opened(wire, self._agent_call_id)

    def on_text(self, payload: bytes) -> None:
        try:
            message = vapi.read_frame(payload)
        except BadMessage as bad:
            self.oddities[bad.why] += 1
            if self.oddities[bad.why] == 1:
                self._bridge.odd_message("vapi", bad.why)
            return
        self._bridge.agent_message(message)

    def on_binary(self, payload: bytes) -> None:
        if payload:
            self._bridge.agent_audio(payload)

    def on_closed(self, code: int, reason: str) -> None:
        self._bridge.agent_closed(code, reason)
