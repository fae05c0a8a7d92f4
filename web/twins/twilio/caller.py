"""The person on the phone: listens, waits for its turn or cuts in, speaks with a synthetic voice, hangs up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import trio

from engine.agent import CallerStep
from engine.audio import FRAME_MS, duration_ms, silence
from web.twins.speech.sounds import find_sound, louder
from web.twins.twilio.call import TwinCall
from web.twins.twilio.settings import Speak
from web.twins.twilio.tap import BargeIn, first_loud_ms

QUIET_MS = 900  # so long without the agent's voice, and it is the caller's turn
STEP_S = 20.0  # what cannot happen within this is a failure
STILL_SPEAKING_MS = 400
SPOKE_ON_FRAMES = 15  # an agent that is heard so long after the caller's last step did not stop for it


def rendered(step: CallerStep, *, speak: Speak, voice: str, folder: Path) -> bytes:
    """What this step sounds like; empty when it makes no sound.

    Raises:
        ValueError: no such voice, no such sound.
    """
    if step.say:
        return louder(speak(step.say, voice=step.voice or voice), step.loudness_db)
    return louder(find_sound(step.sound, folder), step.loudness_db) if step.sound else b""


async def follow_script(call: TwinCall, script: Sequence[CallerStep], audio: Sequence[bytes]) -> None:
    """Act out the script on a call that was answered. A step that cannot happen ends the call and is named.

    Args:
        audio: each step as `rendered`.
    """
    spoke_until = -1  # the frame after the caller's last words
    for number, (step, mulaw) in enumerate(zip(script, audio, strict=True)):
        if not await _moment(call, step, spoke_until):
            if call.is_live:
                call.failed_step = f"step {number + 1}: {_words(step)}"
                call.hang_up("caller")
            return
        await _act(call, step, mulaw)
        spoke_until = call.tap.frames
    await call.until(lambda: not call.is_live, STEP_S)
    call.hang_up("caller")


def _words(step: CallerStep) -> str:
    if step.say or step.sound or step.dtmf:
        return step.say or step.sound or step.dtmf
    return "hang up" if step.hang_up else "wait for the end" if step.wait_for_end else "pause"


async def _moment(call: TwinCall, step: CallerStep, spoke_until: int) -> bool:
    """Wait until the step may happen; False when it cannot."""
    tap = call.tap
    if step.barge_in_ms is not None:
        delay_frames = step.barge_in_ms // FRAME_MS

        def cut_in() -> bool:
            onset = next((frame for frame in tap.onsets if frame >= spoke_until), None)
            if onset is None and tap.last_voiced >= spoke_until + SPOKE_ON_FRAMES:
                onset = spoke_until
            due = onset is not None and tap.frames >= onset + delay_frames
            return not call.is_live or (due and tap.quiet_ms() < STILL_SPEAKING_MS)

        return await call.until(cut_in, STEP_S + step.barge_in_ms / 1000) and call.is_live
    if step.after == "agent" and not step.wait_for_end:

        def my_turn() -> bool:
            return not call.is_live or (tap.last_voiced > spoke_until and tap.quiet_ms() >= QUIET_MS)

        return await call.until(my_turn, STEP_S) and call.is_live
    return call.is_live


async def _act(call: TwinCall, step: CallerStep, mulaw: bytes) -> None:
    if step.pause_ms:
        await _pronounce(call, silence(step.pause_ms))
    if step.say:
        await _say(call, step, mulaw)
    elif step.sound:
        call.tap.note("caller sounds", name=step.sound, first_voiced_ms=call.tap.now_ms + first_loud_ms(mulaw))
        await _pronounce(call, mulaw, words=False)
        call.tap.note("caller is quiet")
    elif step.dtmf:
        for digit in step.dtmf:
            call.tap.note("key", digit=digit)
            if call.stream is not None:
                call.stream.press(digit)
            await _pronounce(call, silence(250))
    elif step.hang_up:
        call.hang_up("caller")
        await trio.lowlevel.checkpoint()
    elif step.wait_for_end:
        await call.until(lambda: not call.is_live, STEP_S)


async def _say(call: TwinCall, step: CallerStep, mulaw: bytes) -> None:
    begin_ms = call.tap.now_ms
    onset_ms = begin_ms + first_loud_ms(mulaw)
    call.tap.note("caller speaks", text=step.say, first_voiced_ms=onset_ms, barge_in=step.barge_in_ms is not None)
    if step.barge_in_ms is not None:
        call.tap.barge_ins.append(BargeIn(onset_ms, begin_ms + duration_ms(mulaw)))
    await _pronounce(call, mulaw)
    call.tap.note("caller stops")


async def _pronounce(call: TwinCall, mulaw: bytes, *, words: bool = True) -> None:
    call.mouth_has_words = words
    call.mouth += mulaw
    await call.until(lambda: not call.mouth or not call.is_live, STEP_S + duration_ms(mulaw) / 1000)
