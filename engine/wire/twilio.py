"""Twilio's wire: Media Streams messages and webhook forms, typed. Pure (reference/twilio.md §3, §9, §10).

Strict where it matters (types, base64, size), tolerant of everything else: unknown fields and events are normal.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from engine.errors import BadMessage

MOST_MESSAGE_BYTES = 64 * 1024
MOST_FIELDS = 500  # of a form; Twilio sends some forty


@dataclass(frozen=True, slots=True)
class Connected:
    protocol: str


@dataclass(frozen=True, slots=True)
class Start:
    stream_sid: str
    call_sid: str
    account_sid: str
    tracks: tuple[str, ...]
    encoding: str
    sample_rate_hz: int
    channels: int
    custom_parameters: Mapping[str, str] = field(repr=False)

    @property
    def is_mulaw_8000(self) -> bool:
        """The only format that Twilio documents, and the only one that we take."""
        return (self.encoding, self.sample_rate_hz, self.channels) == ("audio/x-mulaw", 8000, 1)


class Media(msgspec.Struct, gc=False):
    """20 ms of the caller as a rule. `payload`: the µ-law bytes; the decoder has undone the base64."""

    payload: bytes
    track: str = "inbound"

    def __repr__(self) -> str:
        return f"Media(track={self.track!r}, payload=<{len(self.payload)} bytes>)"


@dataclass(frozen=True, slots=True)
class Mark:
    name: str


@dataclass(frozen=True, slots=True)
class Dtmf:
    digit: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Stop:
    call_sid: str


@dataclass(frozen=True, slots=True)
class Unknown:
    event: str


MediaMessage = Connected | Start | Media | Mark | Dtmf | Stop | Unknown


class _MediaFormat(msgspec.Struct, frozen=True):
    encoding: str = ""
    sampleRate: int = 0
    channels: int = 0


class _Start(msgspec.Struct):
    callSid: str
    streamSid: str = ""
    accountSid: str = ""
    tracks: list[str] = []
    mediaFormat: _MediaFormat = _MediaFormat()
    customParameters: dict[str, str] = {}


class _Mark(msgspec.Struct):
    name: str


class _Dtmf(msgspec.Struct):
    digit: str


class _Stop(msgspec.Struct):
    callSid: str = ""


class _Message(msgspec.Struct, gc=False):
    event: str
    media: Media | None = None
    streamSid: str = ""
    start: _Start | None = None
    mark: _Mark | None = None
    dtmf: _Dtmf | None = None
    stop: _Stop | None = None
    protocol: Any = ""


class _Audio(msgspec.Struct, gc=False):
    payload: bytes


class _AudioMessage(msgspec.Struct, gc=False, tag_field="event", tag="media"):
    """A media message with nothing but what each of 50 a second is read for. Of another event it does not decode."""

    media: _Audio


_DECODER = msgspec.json.Decoder(_Message)
_AUDIO_DECODER = msgspec.json.Decoder(_AudioMessage)


def read_media(payload: bytes) -> MediaMessage:
    """One text message of a media stream.

    Raises:
        BadMessage: too large, no JSON, or a field of the wrong type. The reason names the field, never its value.
    """
    if len(payload) > MOST_MESSAGE_BYTES:
        raise BadMessage(f"message over {MOST_MESSAGE_BYTES} bytes")
    try:
        message = _DECODER.decode(payload)
    except msgspec.ValidationError as misfit:
        raise BadMessage(f"wrong type{_where(misfit)}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadMessage("not JSON") from None
    if message.media is not None and message.event == "media":
        return message.media
    return _read_control(message)


def audio_of(payload: bytes) -> bytes | None:
    """The µ-law bytes of a media message; None for all else, good or bad: `read_media` says what that is."""
    try:
        return _AUDIO_DECODER.decode(payload).media.payload
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _read_control(message: _Message) -> MediaMessage:
    match message:
        case _Message(event="connected"):
            return Connected(str(message.protocol))
        case _Message(event="start", start=_Start() as start):
            form = start.mediaFormat
            return Start(
                stream_sid=start.streamSid or message.streamSid,
                call_sid=start.callSid,
                account_sid=start.accountSid,
                tracks=tuple(start.tracks),
                encoding=form.encoding,
                sample_rate_hz=form.sampleRate,
                channels=form.channels,
                custom_parameters=start.customParameters,
            )
        case _Message(event="mark", mark=_Mark(name=name)):
            return Mark(name)
        case _Message(event="dtmf", dtmf=_Dtmf(digit=digit)):
            return Dtmf(digit)
        case _Message(event="stop"):
            return Stop(message.stop.callSid if message.stop is not None else "")
        case _Message(event="start" | "media" | "mark" | "dtmf"):
            raise BadMessage(f"{message.event} without its object")
        case _:
            return Unknown(message.event[:40])


def _where(misfit: msgspec.ValidationError) -> str:
    """The path that msgspec names, without what stood there."""
    text = str(misfit)
    return " at " + text[text.rindex("`$") :].strip("`")[:60] if "`$" in text else ""


class MediaWriter:
    """Writes the three messages that a bidirectional stream takes. The frame's prefix is made once per stream.

    Raises:
        BadMessage: a stream sid that would not survive in JSON as it is.
    """

    __slots__ = ("_clear", "_mark", "_media")

    def __init__(self, stream_sid: str) -> None:
        if not stream_sid.isalnum():
            raise BadMessage("streamSid is not alphanumeric")
        sid = stream_sid.encode()
        self._media = b'{"event":"media","streamSid":"' + sid + b'","media":{"payload":"'
        self._mark = b'{"event":"mark","streamSid":"' + sid + b'","mark":{"name":'
        self._clear = b'{"event":"clear","streamSid":"' + sid + b'"}'

    def media(self, mulaw: bytes) -> bytes:
        """Append this audio to Twilio's play queue."""
        return self._media + b2a_base64(mulaw, newline=False) + b'"}}'

    def mark(self, name: str) -> bytes:
        """Ask for this mark back once all before it was heard."""
        return self._mark + msgspec.json.encode(name) + b"}}"

    def clear(self) -> bytes:
        """Drop what is queued; all waiting marks come back at once."""
        return self._clear


# --- webhook forms --------------------------------------------------------------------------------------------------


def read_form(body: bytes) -> list[tuple[str, str]]:
    """A form's parameters in order, blank ones too: they are signed like the others (§6.1).

    Raises:
        BadMessage: not a form in UTF-8, or one with absurdly many fields.
    """
    try:
        return parse_qsl(
            body.decode("ascii"), keep_blank_values=True, encoding="utf-8", errors="strict", max_num_fields=MOST_FIELDS
        )
    except (UnicodeDecodeError, ValueError):
        raise BadMessage("not a form") from None


@dataclass(frozen=True, slots=True)
class VoiceWebhook:
    """The parameters of a voice webhook that we use. `from_number` may be `anonymous`, a SIP URI or a client (§2)."""

    call_sid: str
    account_sid: str
    call_status: str
    direction: str
    from_number: str = field(repr=False)
    to_number: str = field(repr=False)

    @classmethod
    def of(cls, given: Mapping[str, str]) -> VoiceWebhook:
        """From a webhook's parameters.

        Raises:
            BadMessage: no CallSid.
        """
        call_sid = given.get("CallSid", "")
        if not call_sid:
            raise BadMessage("no CallSid")
        return cls(
            call_sid=call_sid,
            account_sid=given.get("AccountSid", ""),
            call_status=given.get("CallStatus", ""),
            direction=given.get("Direction", "inbound"),
            from_number=given.get("From", ""),
            to_number=given.get("To", ""),
        )
