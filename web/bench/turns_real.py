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
from engine.journal import Record
from engine.phrases import normalise
from web.bench.turns_tally import Tally
from web.stack import Stack, open_stack
from web.twins.twilio.referee import Seam, follow

# A recogniser with a closed list hears one of its words in every noise: few and unlike a noise.
PHRASES = ("Stop.", "Hold on.", "Excuse me.", "Can I ask you something?")
NOISES = ("cough", "click", "breath")  # the twin's own (`web.twins.speech.sounds`)
BACKCHANNELS = ("Okay.", "Right.", "Yeah.")
VOICES = ("en-GB", "en-US")
SOUNDS_A_CALL = 5
CAUSED_MS = 1500.0  # a break that begins so long after a sound began is not of that sound
LATE_FINAL_MS = 300.0  # a final transcript comes after the end of the turn
SETTLE_S = 8.0  # from the end of a call to the end of its journal
GREETING = (
    "Good evening and thank you for calling the bistro. I can book a table for you, tell you about the menu of this "
    "week, or take a message for the kitchen. Please tell me what you would like, and I will see what I can do for you."
)
REPLIES = (  # each another one: the referee knows them by their sound
    "Of course, let me see what we have. There is a table by the window at seven, and another in the garden at eight. "
    "Both are free for two hours, and the garden is closed when it rains. Which of these two would you like to have?",
    "Certainly. The menu of this week begins with a soup of roasted pumpkin. Then comes a risotto with mushrooms, or "
    "a piece of fish with lentils, and at the end a tart of plums. All of it is thirty two euros without the wine.",
    "I have written that down for you. I will send a message to your phone with the day and the time, and if anything "
    "changes then please call us again before noon, so that somebody else can have the table that you do not need.",
    "You find us on the market square, next to the old town hall. There are places for cars behind the house, and the "
    "bus stops right in front of our door. In the evening it is best to come on foot, because the streets are full.",
    "On Sundays we open at ten for breakfast, and the kitchen closes at three. On all other days we open at noon and "
    "stay open until midnight. In August we are closed for two weeks, and in winter there is live music on Fridays.",
)
NOT_UNDERSTOOD = (
    "I am sorry, but I could not quite hear what you said just now. The line is not very good today, so please tell me "
    "once more, and speak a little slower, and then I will do all that I can to help you with what you want to know."
)

LINES: Mapping[str, dict[str, Any]] = {
    "quiet": {},
    "32 dB noise": {"background": "noise", "background_db": 32.0},  # the twin's own ears take more for a voice
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
            step = msgspec.structs.replace(step, sound=chance.choice(NOISES), voice="")
        steps.append(step)
        kinds.append("speech" if is_true else "backchannel" if step.say else "noise")
    steps.append(CallerStep(pause_ms=200, after="agent"))
    return Script([*steps, CallerStep(hang_up=True, after="now")], kinds)


def agent_file(folder: Path) -> Path:
    """An agent that talks long enough to be interrupted."""
    agent = {
        "name": "turns-bench",
        "assistant": {
            "name": "Turns bench", "firstMessage": GREETING, "firstMessageInterruptionsEnabled": True,
            "model": {"provider": "openai", "model": "gpt-4o", "messages": [{"role": "system", "content": "Talk."}]},
            "voice": {"provider": "vapi", "voiceId": "Elliot"},
            "transcriber": {"provider": "deepgram", "model": "nova-3", "language": "en"},
        },
        "twin": {
            "not_understood": NOT_UNDERSTOOD,
            "replies": [{"hear": list(PHRASES + BACKCHANNELS), "say": reply} for reply in REPLIES],
        },
    }  # fmt: skip
    path = folder / "agent.yaml"
    path.write_text(yaml.safe_dump(agent), encoding="utf-8")
    return path


async def over_sockets(
    many: int, seed: int, folder: Path, *, lines: Mapping[str, dict[str, Any]] = LINES, say: Say
) -> dict[str, Tally]:
    """So many calls on each kind of line, all of a kind at once; by kind of line."""
    tallies: dict[str, Tally] = {}
    async with open_stack(agent_file(folder), folder / "data", progress=lambda what: say(f"sockets: {what}")) as stack:
        for name, faults in lines.items():
            say(f"sockets: {many} calls, {name}")
            answer = await stack.http.post(f"{stack.twilio.url}/twin/faults", json={**faults, "seed": seed})
            answer.raise_for_status()
            tallies[name] = Tally()
            async with trio.open_nursery() as nursery:
                for number in range(many):
                    nursery.start_soon(_one_call, stack, script_of(number, seed), tallies[name], f"{name} #{number}")
    return tallies


async def _one_call(stack: Stack, script: Script, tally: Tally, name: str) -> None:
    sid = await stack.place_call(script.steps)
    story = await stack.wait_call(sid)
    heard = (await stack.http.get(f"{stack.twilio.url}/twin/calls/{sid}/heard.ulaw")).content
    records = await _journal(stack, sid)
    agent_call_id = next(one.data["agent_call_id"] for one in records if one.name == "AgentCreated")
    made = (await stack.http.get(f"{stack.vapi.url}/twin/calls/{agent_call_id}/generated")).json()
    seams = follow([b64decode(one["mulaw"]) for one in made], heard).seams
    tally.calls += 1
    tally.certificates += sum(one.name == "Interruption" for one in records)
    tally.missed_steps += story["failed_step"] not in (None, "")
    onsets = [one["first_voiced_ms"] for one in story["events"] if one["what"] in ("caller speaks", "caller sounds")]
    silent = {one["onset_ms"]: one["silent_ms"] for one in story["barge_ins"]}
    for index, (onset_ms, kind) in enumerate(zip(onsets, script.kinds, strict=False)):
        until_ms = onsets[index + 1] if index + 1 < len(onsets) else duration_ms(heard)
        if _misheard(records, script.steps[index].say, onset_ms, until_ms):
            tally.misheard += 1
            continue
        fate = Fate.NOTHING if _is_ours(records, onset_ms) else _fate(onset_ms, until_ms, seams)
        silent_ms = silent[onset_ms] - onset_ms if onset_ms in silent else None
        tally.count(Ruling(kind, kind, kind == "speech", onset_ms, fate, silent_ms), f"{name}: {kind}")
    tally.lost_frames += [seam.error_frames for seam in seams if not seam.dropped]
    tally.count_overlaps([(one["start_ms"], one["end_ms"]) for one in story["overlaps"]], name)
    tally.count_silences([(one["start_ms"], one["end_ms"]) for one in story["silences"]], name)


def _misheard(records: Sequence[Record], said: str, onset_ms: float, until_ms: float) -> bool:
    """Whether the twin's small recogniser understood something else than was said, or words in a noise."""
    finals = [
        normalise(one.data["text"])
        for one in records
        if one.name == "CallerTranscript" and one.data["final"] and onset_ms < one.at_ms < until_ms + LATE_FINAL_MS
    ]
    return bool(finals) and normalise(said) not in finals


def _fate(onset_ms: float, until_ms: float, seams: Sequence[Seam]) -> Fate:
    """What the first break after a sound says."""
    for seam in seams:
        broke_ms = seam.heard_ms - seam.gap_ms
        if onset_ms <= broke_ms <= min(onset_ms + CAUSED_MS, until_ms):
            return Fate.ENDED if seam.dropped else Fate.RESUMED
    return Fate.UNTOUCHED


async def _journal(stack: Stack, sid: str) -> list[Record]:
    """A call's records, once it is closed."""
    with trio.fail_after(SETTLE_S):
        while True:
            rows = await trio.to_thread.run_sync(list_calls, stack.journal, 1000)
            row = next((one for one in rows if one.twilio_call_sid == sid and one.status == "closed"), None)
            if row is not None:
                return await trio.to_thread.run_sync(read_call, stack.journal, row.call_id)
            await trio.sleep(0.1)


def _is_ours(records: Sequence[Record], onset_ms: float) -> bool:
    """Whether what was heard at that moment was one of the service's own lines."""
    begun = [one for one in records if one.name == "UtteranceStarted" and one.at_ms <= onset_ms]
    return bool(begun) and bool(begun[-1].data.get("ours"))
