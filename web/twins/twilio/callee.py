"""Whom the twin finds when a call is placed by REST: a scripted person, a voicemail, or nobody; and machine detection.

Detection is asynchronous (reference/twilio.md §14): the TwiML runs at once, and a callback tells the verdict. That is
given by what the callee is, at the moment at which Twilio would know.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from functools import partial
from math import pi, sin
from pathlib import Path
from typing import Literal

import msgspec
import trio

from engine.agent import CallerStep
from engine.audio import BYTES_PER_MS, SAMPLE_RATE_HZ, duration_ms, pcm16_to_mulaw
from web.twins.twilio.call import TwinCall
from web.twins.twilio.caller import follow_script, rendered
from web.twins.twilio.problems import RestError
from web.twins.twilio.settings import Speak
from web.twins.twilio.webhooks import Webhooks

HUMAN_S = 1.6  # a short greeting and the silence after it
SPEECH_THRESHOLD_MS = 2400  # a voice that speaks on for so long is a machine
RECORDS_S = 60.0  # then the voicemail has had enough
BEEP_MS, BEEP_HZ = 300, 1000
MODES = ("Enable", "DetectMessageEnd")
# parameter → least, most (§14, §17.1)
RANGES = {
    "Timeout": (1, 600), "TimeLimit": (1, 86_400), "MachineDetectionTimeout": (3, 59),
    "MachineDetectionSpeechThreshold": (1000, 6000), "MachineDetectionSpeechEndThreshold": (500, 5000),
    "MachineDetectionSilenceTimeout": (2000, 10_000),
}  # fmt: skip


class Callee(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /twin/callees`: what happens when this number is called from now on."""

    number: str
    answers: Literal["person", "voicemail", "busy", "no-answer"] = "person"
    script: list[CallerStep] = []
    voice: str = "en-GB"
    sounds: str = ""  # the folder that holds the files which the script names as sounds
    greeting: str = "Please leave a message after the tone."  # of a voicemail

    @property
    def picks_up(self) -> bool:
        return self.answers in ("person", "voicemail")


def check_settings(wanted: Mapping[str, str]) -> None:
    """Of a call that is to be placed.

    Raises:
        RestError: what Twilio does not take; or synchronous detection, which the twin has not.
    """
    for name, (least, most) in RANGES.items():
        given = wanted.get(name, str(least))
        if not given.isdecimal() or not least <= int(given) <= most:
            raise RestError(400, 21234, f"{name} is a whole number from {least} to {most}")
    mode = wanted.get("MachineDetection")
    if mode is None:
        return
    if mode not in MODES:
        raise RestError(400, 21263, f"MachineDetection is one of {', '.join(MODES)}")
    if wanted.get("AsyncAmd") != "true" or not wanted.get("AsyncAmdStatusCallback"):
        raise RestError(400, 21262, "the twin detects machines with AsyncAmd=true and AsyncAmdStatusCallback only")


async def act(call: TwinCall, callee: Callee, *, speak: Speak) -> None:
    """Be this callee on a call that was picked up, to its end."""
    if callee.answers == "voicemail":
        greeting = await trio.to_thread.run_sync(partial(speak, callee.greeting, voice=callee.voice))
        call.tap.note("voicemail greets", text=callee.greeting)
        call.mouth += greeting + _beep()
        await call.until(lambda: not call.mouth or not call.is_live, duration_ms(len(greeting)) / 1000 + 10)
        call.tap.note("voicemail records")
        await call.until(lambda: not call.is_live, RECORDS_S)
        call.hang_up("caller")
        return
    if callee.script:
        render = partial(rendered, speak=speak, voice=callee.voice, folder=Path(callee.sounds))
        audio = [await trio.to_thread.run_sync(render, step) for step in callee.script]
        await follow_script(call, callee.script, audio)


async def detect(call: TwinCall, callee: Callee, wanted: Mapping[str, str], webhooks: Webhooks) -> None:
    """Tell who answered, if that was asked for."""
    mode = wanted.get("MachineDetection")
    if mode is None:
        return
    began_ms = call.tap.now_ms
    if callee.answers != "voicemail":
        await _passed(call, HUMAN_S)
        verdict = "human"
    elif mode == "Enable":
        await _passed(call, int(wanted.get("MachineDetectionSpeechThreshold", SPEECH_THRESHOLD_MS)) / 1000)
        verdict = "machine_start"
    else:
        await call.until(lambda: bool(call.mouth) or not call.is_live, 10)
        await call.until(lambda: not call.mouth or not call.is_live, RECORDS_S)
        verdict = "machine_end_beep"
    if not call.is_live:
        return
    call.answered_by = verdict
    call.tap.note("machine detection", verdict=verdict)
    params = {
        "CallSid": call.sid,
        "AccountSid": call.account_sid,
        "AnsweredBy": verdict,
        "MachineDetectionDuration": str(round(call.tap.now_ms - began_ms)),
    }
    await webhooks.tell(wanted["AsyncAmdStatusCallback"], wanted.get("AsyncAmdStatusCallbackMethod", "POST"), params)


async def _passed(call: TwinCall, seconds: float) -> None:
    """So much of the call's own time."""
    until_ms = call.tap.now_ms + 1000 * seconds
    await call.until(lambda: call.tap.now_ms >= until_ms or not call.is_live, 2 * seconds + 5)


def _beep() -> bytes:
    turn = 2 * pi * BEEP_HZ / SAMPLE_RATE_HZ
    samples = array("h", (round(8000 * sin(turn * n)) for n in range(BEEP_MS * BYTES_PER_MS)))
    return pcm16_to_mulaw(samples.tobytes())
