"""`/twin/phone`: a websocket that is a telephone. A browser, or any program, phones a number of the twin with it.

Its holder first sends `{"type": "call", "to": "+1…"}` as text. Then sound goes both ways as binary messages of 20 ms at
8 kHz: 160 bytes of µ-law, or with `"encoding": "pcm16"` 320 bytes of little-endian samples. With a `script` the twin
speaks for the caller, and each message to the holder is two frames: what the caller hears, then what they say.
Other messages are JSON text: `Line`, `Mute`, `Key`, `Sound`, `HangUp` and `Alive` from the holder; `ringing`,
`connected`, `ended` and `refused` to it.

One socket is one call, which ends when the socket does. A page may open it only when it was itself loaded from this
machine: a browser says where its page came from, and no page can lie about that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Literal

import msgspec
import trio
from quart import Response, websocket
from quart_trio import QuartTrio

from engine.agent import CallerStep
from engine.audio import FRAME_BYTES, mulaw_to_pcm16, pcm16_to_mulaw, silence
from web.twins.origins import is_ours
from web.twins.speech.sounds import SOUNDS, made
from web.twins.twilio.call import TwinCall
from web.twins.twilio.handset import Handset
from web.twins.twilio.problems import RestError
from web.twins.twilio.twin import CallRequest, TwilioTwin

__all__ = ["MOST_HANDSETS", "add_phone"]

PATH = "/twin/phone"
MOST_HANDSETS = 8
MOST_STEPS, MOST_STEP_CHARS = 60, 500
DIAL_S = 5.0  # until the first message
SILENT_S = 15.0  # a page that sends nothing for so long has frozen
LONGEST_CALL_S = 20 * 60.0
LAST_WORDS_S = 3.0  # from the end of a call until its holder has read why
KEY_MS = 200
MOST_MOUTH_BYTES = 3 * 8000
KEYS = frozenset("0123456789*#")
NORMAL, NOT_UNDERSTOOD = 1000, 1008


class _Message(msgspec.Struct, tag_field="type", forbid_unknown_fields=True):
    pass


class Dial(_Message, tag="call"):
    """The first message. With a script the caller is a scripted one."""

    to: str
    from_: str = msgspec.field(name="from", default="+12025550142")
    encoding: Literal["mulaw", "pcm16"] = "mulaw"
    script: list[CallerStep] = []
    bad_line: bool = False


class Line(_Message, tag="line"):
    """Whether the line is a bad one from now on: jitter and loss, both ways."""

    bad: bool


class Mute(_Message, tag="mute"):
    on: bool


class Key(_Message, tag="key"):
    """A key of the keypad, told as Twilio tells it: as a message, not as tones (reference/twilio.md §9)."""

    digit: str


class Sound(_Message, tag="sound"):
    """One of `speech.sounds`, in the caller's place."""

    name: str


class HangUp(_Message, tag="hangup"):
    pass


class Alive(_Message, tag="alive"):
    """The holder is still there, though it has no microphone."""


_DIAL = msgspec.json.Decoder(Dial)
_ORDER = msgspec.json.Decoder(Line | Mute | Key | Sound | HangUp | Alive)


class _Unfit(Exception):
    """What the holder sent makes no sense, or cannot be now. `why` is for people."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind, self.why = kind, why


def add_phone(app: QuartTrio, twin: TwilioTwin, *, most: int = MOST_HANDSETS) -> None:
    """The route; at most so many handsets at once."""
    busy: set[Handset] = set()

    @app.websocket(PATH)
    async def phone() -> Response | None:
        origin = websocket.headers.get("Origin")
        if origin is not None and not is_ours(origin):
            return Response("only pages of this machine may phone here\n", 403)
        await websocket.accept()
        handset = Handset(Random(1))  # noqa: S311 — of a line; no secret
        try:
            _take_place(busy, handset, most)
            await _phone(twin, handset)
        except _Unfit as unfit:
            told = {"type": "refused", "kind": unfit.kind, "why": unfit.why}
            await websocket.send(msgspec.json.encode(told).decode())
            await websocket.close(NOT_UNDERSTOOD, unfit.kind)
        finally:
            busy.discard(handset)
        return None


def _take_place(busy: set[Handset], handset: Handset, most: int) -> None:
    if len(busy) >= most:
        raise _Unfit("full", f"All {most} handsets are in use. Hang one up, then try again.")
    busy.add(handset)


async def _phone(twin: TwilioTwin, handset: Handset) -> None:
    """Dial, and live the call. It is hung up when this ends, for whatever reason."""
    dial = await _first_message()
    handset.both, handset.bad_line = bool(dial.script), dial.bad_line
    try:
        call = twin.ring(_request(twin, dial), handset)
    except RestError as refused:
        raise _Unfit("number", refused.message) from refused
    handset.tell("ringing", call_sid=call.sid)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_send, handset, dial.encoding, nursery.cancel_scope)
            nursery.start_soon(_tell_end, call, handset, nursery.cancel_scope)
            # Now, and not in the frame that wants it; whoever hangs up meanwhile does not wait for it.
            nursery.start_soon(partial(trio.to_thread.run_sync, made, "cough", abandon_on_cancel=True))
            handset.why = await _listen(call, handset, dial.encoding)
            call.hang_up("caller")
    finally:
        call.hang_up("caller")


async def _first_message() -> Dial:
    with trio.move_on_after(DIAL_S):
        message = await websocket.receive()
        try:
            return _DIAL.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError) as unreadable:
            raise _Unfit("protocol", f'the first message is {{"type": "call", "to": "+1…"}}: {unreadable}') from None
    raise _Unfit("protocol", f"no call was asked for within {DIAL_S:.0f} s")


def _request(twin: TwilioTwin, dial: Dial) -> CallRequest:
    """The call as the twin takes it. Only files of the twin's own folder are sounds: a page names no other."""
    if len(dial.script) > MOST_STEPS or any(len(step.say) > MOST_STEP_CHARS for step in dial.script):
        raise _Unfit("script", f"a script has at most {MOST_STEPS} steps of {MOST_STEP_CHARS} characters")
    folder = twin.settings.sounds
    for step in dial.script:
        if step.sound and step.sound not in SOUNDS and (folder is None or Path(step.sound).name != step.sound):
            raise _Unfit("script", f"the script names a sound that is not there; there are {', '.join(SOUNDS)}")
    return CallRequest(dial.from_, dial.to, dial.script, sounds=str(folder) if folder is not None else "")


# --- from the holder ------------------------------------------------------------------------------------------------


async def _listen(call: TwinCall, handset: Handset, encoding: str) -> str:
    """Take sound and orders until there are no more of them. Returns why the call ends; empty: by its caller's wish."""
    try:
        with trio.move_on_after(LONGEST_CALL_S):
            while True:
                with trio.fail_after(SILENT_S):
                    message = await websocket.receive()
                if isinstance(message, bytes):
                    handset.microphone.put(_taken(message, encoding))
                    continue
                order = _understood(message)
                if isinstance(order, HangUp):
                    return ""
                _obey(call, handset, order)
    except trio.TooSlowError:
        return "The page that held the handset fell silent."
    except _Unfit as unfit:
        handset.tell("refused", kind=unfit.kind, why=unfit.why)
        return unfit.why
    return f"A handset's call lasts at most {LONGEST_CALL_S / 60:.0f} minutes."


def _taken(sound: bytes, encoding: str) -> bytes:
    wanted = FRAME_BYTES * (2 if encoding == "pcm16" else 1)
    if len(sound) != wanted:
        raise _Unfit("protocol", f"a frame of {encoding} has {wanted} bytes, not {len(sound)}")
    return pcm16_to_mulaw(sound) if encoding == "pcm16" else sound


def _understood(message: str) -> Line | Mute | Key | Sound | HangUp | Alive:
    try:
        order: Line | Mute | Key | Sound | HangUp | Alive = _ORDER.decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError) as unreadable:
        raise _Unfit("protocol", f"not understood: {unreadable}") from None
    return order


def _obey(call: TwinCall, handset: Handset, order: Line | Mute | Key | Sound | Alive) -> None:
    match order:
        case Line(bad):
            handset.bad_line = bad
            call.tap.note("line", bad=bad)
        case Mute(on):
            handset.microphone.mute(on)
            call.tap.note("microphone muted", on=on)
        case Key(digit):
            if digit not in KEYS:
                raise _Unfit("protocol", "a key is one of 0 to 9, * and #")
            if call.stream is not None and len(call.mouth) < MOST_MOUTH_BYTES:
                call.tap.note("key", digit=digit)
                call.stream.press(digit)
                call.mouth_has_words = False
                call.mouth += silence(
                    KEY_MS
                )  # the telephone sends the key's tone instead of the voice, and Twilio none
        case Sound(name):
            if name not in SOUNDS:
                raise _Unfit("protocol", f"no such sound; there are {', '.join(SOUNDS)}")
            if call.is_live and len(call.mouth) < MOST_MOUTH_BYTES:
                call.tap.note("caller sounds", name=name)
                call.mouth_has_words = False
                call.mouth += made(name)
        case Alive():
            pass


# --- to the holder --------------------------------------------------------------------------------------------------


async def _send(handset: Handset, encoding: str, scope: trio.CancelScope) -> None:
    """All that the holder gets; its end is the socket's."""
    while (message := await handset.next()) is not None:
        if isinstance(message, bytes) and encoding == "pcm16":
            message = mulaw_to_pcm16(message)
        await websocket.send(message)
    await websocket.close(NORMAL)
    scope.cancel()


async def _tell_end(call: TwinCall, handset: Handset, scope: trio.CancelScope) -> None:
    await call.ended.wait()
    handset.tell("ended", **ending(call, handset.why))
    handset.close()
    await trio.sleep(LAST_WORDS_S)  # for a holder that does not read
    scope.cancel()


def ending(call: TwinCall, why: str = "") -> Mapping[str, Any]:
    """How a call ended, for programs and for people."""
    reached = any(event["what"] == "stream started" for event in call.tap.events)
    facts = {"by": call.ended_by, "status": call.status, "reached": reached}
    return {**facts, "errors": call.errors, "why": why or _why(call, reached, call.errors)}


def _why(call: TwinCall, reached: bool, errors: Sequence[Mapping[str, Any]]) -> str:
    if call.failed_step is not None:
        return f"The scripted caller could not go on and hung up: {call.failed_step}."
    if call.ended_by == "caller":
        return "The caller hung up."
    if errors and not reached:
        return f"Twilio could not connect the call: error {errors[0]['code']}, {errors[0]['message']}."
    if call.status == "busy" or not reached:
        return "The agent took no more calls: it has no room, or it is closing. The caller heard its fallback words."
    return "The agent hung up."
