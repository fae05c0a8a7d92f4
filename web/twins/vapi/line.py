"""The caller's end of the socket (vapi.md §4): binary frames are audio, text frames are the few messages allowed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec
import trio

from actors.ports import Wire
from web.twins.vapi.formats import AudioFormat, Inlet
from web.twins.vapi.timeline import Timeline

__all__ = ["Line", "LineOwner", "control_of"]

CONTROLS = ("mute-assistant", "unmute-assistant", "mute-customer", "unmute-customer", "say-first-message")
ROLES = ("system", "user", "assistant", "tool", "function")
PHONE_ONLY = ("transfer", "handoff", "send-transport-message")
"""Allowed, but there is no telephony behind this transport (§4.8)."""


class LineOwner(Protocol):
    """Who hears what comes in: the live call."""

    def opened(self) -> None: ...
    def heard_frame(self, mulaw: bytes) -> None: ...
    def control(self, message: Mapping[str, Any]) -> None: ...
    def broke_rules(self, why: str) -> None: ...
    def closed(self, code: int) -> None: ...


class Line:
    """A `WireListener`. While `is_stalled` it takes everything, does nothing with it and sends nothing; `is_mute`: no
    audio goes out."""

    def __init__(self, owner: LineOwner, audio: AudioFormat, timeline: Timeline, *, is_stalled: bool = False) -> None:
        self._owner, self._audio, self._timeline = owner, audio, timeline
        self._inlet = Inlet(audio)
        self.is_stalled, self.is_mute = is_stalled, False
        self._wire: Wire | None = None
        self.last_audio_s = trio.current_time()

    def on_open(self, wire: Wire) -> None:
        self._wire = wire
        self.last_audio_s = trio.current_time()
        self._owner.opened()

    def on_binary(self, payload: bytes) -> None:
        self.last_audio_s = trio.current_time()
        self._timeline.audio_in(payload)
        if not self.is_stalled:
            for frame in self._inlet.feed(payload):
                self._owner.heard_frame(frame)

    def on_text(self, payload: bytes) -> None:
        self._timeline.texts_in += 1
        if self.is_stalled:
            return
        try:
            message = control_of(payload)
        except ValueError as error:
            self._owner.broke_rules(str(error))
        else:
            self._owner.control(message)

    def on_closed(self, code: int, reason: str) -> None:
        self._timeline.note("socket_closed", code=code, reason=reason)
        self._wire = None
        self._owner.closed(code)

    def send_frame(self, mulaw: bytes) -> None:
        if self._wire is not None and not self.is_stalled and not self.is_mute:
            frame = self._audio.frame(mulaw)
            self._timeline.audio_out(frame)
            self._wire.send_binary(frame, audio_ms=20)

    def send_text(self, payload: bytes) -> None:
        if self._wire is not None and not self.is_stalled:
            self._wire.send_text(payload)

    def close(self, code: int) -> None:
        if self._wire is not None:
            self._wire.close(code)

    def cut(self) -> None:
        """As if the network broke."""
        if self._wire is not None:
            self._wire.abort()


_KINDS: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "say": lambda one: isinstance(one.get("content", one.get("message")), str),
    "add-message": lambda one: isinstance(one.get("message"), dict) and one["message"].get("role") in ROLES,
    "control": lambda one: one.get("control") in CONTROLS,
    "end-call": lambda _: True,
    **dict.fromkeys(PHONE_ONLY, lambda _: True),
}


def control_of(payload: bytes) -> dict[str, Any]:
    """One message of §5.2, from the socket or from live control.

    Raises:
        ValueError: it is none of them. The text is safe to log.
    """
    try:
        message = msgspec.json.decode(payload)
    except msgspec.DecodeError:
        raise ValueError("not JSON") from None
    if not isinstance(message, dict):
        raise ValueError("not an object")  # noqa: TRY004
    fits = _KINDS.get(str(message.get("type")))
    if fits is None:
        raise ValueError("no message that Vapi takes")
    if not fits(message):
        raise ValueError(f"{message['type']} lacks what it needs")
    return message
