"""The part of `callscope bench turns` over real sockets: both twins, real speech, a recogniser, real time, a few calls.

The Twilio twin's tap is the referee, and what the Vapi twin's voice made is the truth about its speech.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import trio
import yaml

from actors.journal_reader import list_calls, read_call
from actors.world.referee import Fate, Ruling
from engine.agent import CallerStep
from engine.audio import duration_ms
from web.bench import corpus
from web.bench.turns_tally import Tally
from web.stack import CALLER, NUMBER, Stack, open_stack
from web.twins.twilio.referee import Seam, follow

PHRASES = ("Stop.", "Wait.", "Hold on.", "Excuse me.", "Can I ask you something?", "But I wanted Thursday.")
BACKCHANNELS = ("Okay.", "Right.", "Yeah.")
VOICES = ("en-GB", "en-US")
SOUNDS_A_CALL = 5
CAUSED_MS = 1500.0  # a break that begins so long after a sound began is not of that sound
SETTLE_S = 8.0  # from the end of a call to the end of its journal
REPLY = (
    "Of course, let me see what we have. There is a table by the window at seven, and another in the garden at eight. "
    "Both are free for two hours, and the garden is closed when it rains. Which of these two would you like to have?"
)

LINES: Mapping[str, dict[str, Any]] = {
    "quiet": {},
    "20 dB noise": {"background": "noise", "background_db": 20.0},
    "rough line": {"uplink_jitter_ms": 60, "uplink_loss_percent": 2.0, "downlink_delay_ms": 30},
}

Say = Callable[[str], None]


@dataclass(frozen=True)
class Script:
    """What one caller does, and which of it is meant."""

    steps: list[CallerStep]
    kinds: list[str]  # of each sound, in order


def script_of(number: int, seed: int) -> Script:
    """True and false interruptions by turns; the last words wait for their answer."""
    chance = Random(f"real/{seed}/{number}")  # noqa: S311 — a corpus, no secret
    noises = corpus.of_kind("cough", "click", "slam")
    steps, kinds = [], []
    for place in range(SOUNDS_A_CALL):
        into_ms = chance.randrange(700, 2500)
        step = CallerStep(voice=chance.choice(VOICES), barge_in_ms=into_ms)
        is_true = (place + number) % 2 == 0
        if is_true:
            step = msgspec.structs.replace(step, say=chance.choice(PHRASES))
        elif chance.random() < 0.4:
            step = msgspec.structs.replace(step, say=chance.choice(BACKCHANNELS))
        else:
            step = msgspec.structs.replace(step, sound=f"{chance.choice(noises).name}.ulaw", voice="")
        steps.append(step)
        kinds.append("speech" if is_true else "backchannel" if step.say else "noise")
    steps.append(CallerStep(pause_ms=200, after="agent"))
    return Script([*steps, CallerStep(hang_up=True, after="now")], kinds)


def agent_file(folder: Path) -> Path:
    """An agent that talks long enough to be interrupted."""
    agent = {
        "name": "turns-bench",
        "assistant": {
            "name": "Turns bench", "firstMessage": REPLY, "firstMessageInterruptionsEnabled": True,
            "model": {"provider": "openai", "model": "gpt-4o", "messages": [{"role": "system", "content": "Talk."}]},
            "voice": {"provider": "vapi", "voiceId": "Elliot"},
            "transcriber": {"provider": "deepgram", "model": "nova-3", "language": "en"},
        },
        "twin": {
            "not_understood": REPLY,
            "replies": [{"hear": list(PHRASES + BACKCHANNELS), "say": REPLY}],
        },
    }  # fmt: skip
    path = folder / "agent.yaml"
    path.write_text(yaml.safe_dump(agent), encoding="utf-8")
    return path


async def over_sockets(many: int, seed: int, folder: Path, *, say: Say) -> dict[str, Tally]:
    """So many calls on each kind of line, all of a kind at once; by kind of line."""
    for sound in corpus.of_kind("cough", "click", "slam"):
        (folder / f"{sound.name}.ulaw").write_bytes(sound.mulaw)
    tallies: dict[str, Tally] = {}
    async with open_stack(agent_file(folder), folder / "data", progress=lambda what: say(f"sockets: {what}")) as stack:
        for name, faults in LINES.items():
            say(f"sockets: {many} calls, {name}")
            answer = await stack.http.post(f"{stack.twilio.url}/twin/faults", json={**faults, "seed": seed})
            answer.raise_for_status()
            tallies[name] = Tally()
            async with trio.open_nursery() as nursery:
                for number in range(many):
                    nursery.start_soon(
                        _one_call, stack, script_of(number, seed), folder, tallies[name], f"{name} #{number}"
                    )
    return tallies


async def _one_call(stack: Stack, script: Script, folder: Path, tally: Tally, name: str) -> None:
    body = {
        "from": CALLER, "to": NUMBER, "script": msgspec.to_builtins(script.steps), "sounds": str(folder),
    }  # fmt: skip
    placed = await stack.http.post(f"{stack.twilio.url}/twin/calls", json=body)
    placed.raise_for_status()
    sid = str(placed.json()["sid"])
    story = await stack.wait_call(sid)
    heard = (await stack.http.get(f"{stack.twilio.url}/twin/calls/{sid}/heard.ulaw")).content
    agent_call_id, notes = await _journal(stack, sid)
    made = (await stack.http.get(f"{stack.vapi.url}/twin/calls/{agent_call_id}/generated")).json()
    seams = follow([b64decode(one["mulaw"]) for one in made], heard).seams
    tally.calls += 1
    tally.certificates += notes
    tally.missed_steps += story["failed_step"] not in (None, "")
    onsets = [one["first_voiced_ms"] for one in story["events"] if one["what"] in ("caller speaks", "caller sounds")]
    silent = {one["onset_ms"]: one["silent_ms"] for one in story["barge_ins"]}
    for index, (onset_ms, kind) in enumerate(zip(onsets, script.kinds, strict=False)):
        until_ms = onsets[index + 1] if index + 1 < len(onsets) else duration_ms(heard)
        fate = _fate(onset_ms, until_ms, seams)
        silent_ms = silent[onset_ms] - onset_ms if onset_ms in silent else None
        tally.count(Ruling(kind, kind, kind == "speech", onset_ms, fate, silent_ms), f"{name}: {kind}")
    tally.lost_frames += [seam.error_frames for seam in seams if not seam.dropped]
    tally.count_overlaps([(one["start_ms"], one["end_ms"]) for one in story["overlaps"]], name)
    tally.count_silences([(one["start_ms"], one["end_ms"]) for one in story["silences"]], name)


def _fate(onset_ms: float, until_ms: float, seams: Sequence[Seam]) -> Fate:
    """What the first break after a sound says."""
    for seam in seams:
        broke_ms = seam.heard_ms - seam.gap_ms
        if onset_ms <= broke_ms <= min(onset_ms + CAUSED_MS, until_ms):
            return Fate.ENDED if seam.dropped else Fate.RESUMED
    return Fate.UNTOUCHED


async def _journal(stack: Stack, sid: str) -> tuple[str, int]:
    """Vapi's id of a call, and how many interruptions its journal certifies; once it is closed."""
    with trio.fail_after(SETTLE_S):
        while True:
            rows = await trio.to_thread.run_sync(list_calls, stack.journal, 1000)
            row = next((one for one in rows if one.twilio_call_sid == sid and one.status == "closed"), None)
            if row is not None:
                break
            await trio.sleep(0.1)
    records = await trio.to_thread.run_sync(read_call, stack.journal, row.call_id)
    created = next(one for one in records if one.name == "AgentCreated")
    return created.data["agent_call_id"], sum(one.name == "Interruption" for one in records)
