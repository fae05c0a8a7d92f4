"""What the bridge writes down of speeches that follow each other without a pause."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from actors.bridge import Bridge
from engine.agent import Turns
from engine.wire import vapi
from tests.fakes.wires import FakeWire

LOUD = b"\x20"
FIRST, SECOND = "One moment, I am looking for a table.", "There is one at eight."


def heard_notes(notes: list[tuple[str, dict[str, Any]]]) -> list[tuple[int, bool, float, float]]:
    data = [data for name, data in notes if name == "AgentHeard"]
    return [(one["utterance"], one["cut"], one["heard_ms"], one["of_ms"]) for one in data]


def speech(bridge: Bridge, text: str, ms: int) -> None:
    """All of it at once, as a Vapi that is ahead of time sends it."""
    bridge.agent_message(vapi.VoiceInput(text))
    bridge.agent_audio(LOUD * (ms * 8))
    bridge.agent_message(vapi.SpeechUpdate("assistant", started=False))


@pytest.mark.parametrize(
    ("cut_after_s", "told"),
    [(0.6, [(1, True, 600, 2000), (2, True, 0, 1000)]), (2.4, [(1, False, 2000, 2000), (2, True, 400, 1000)])],
    ids=["in the first", "in the second"],
)
async def test_the_first_of_two_speeches_is_told_by_what_was_heard(
    autojump_clock: MockClock, cut_after_s: float, told: list[tuple[int, bool, float, float]]
) -> None:
    """Both have left for Twilio at once; only what had been played when the caller cut in was heard."""
    notes: list[tuple[str, dict[str, Any]]] = []
    bridge = Bridge(
        call_id="c", clock=trio.current_time, post=lambda fact: None,
        note=lambda name, data: notes.append((name, data)), turns=Turns(),
    )  # fmt: skip
    bridge.line_opened(FakeWire(), "MZ1")
    speech(bridge, FIRST, 2000)
    speech(bridge, SECOND, 1000)
    assert heard_notes(notes) == [], "nothing of it was heard yet"
    for _ in range(round(cut_after_s / 0.02)):
        await trio.sleep(0.02)
        bridge.tick(trio.current_time())
    heard = bridge.drop("words")
    assert heard_notes(notes) == told
    assert heard is not None and heard.cut and heard.generated.endswith(SECOND)
    assert (FIRST in heard.generated) is (cut_after_s < 2)


async def test_the_end_of_a_speech_is_held_although_the_next_one_begins_to_come(autojump_clock: MockClock) -> None:
    """Too little of the next one has come to begin it; what Twilio still plays is taken back all the same."""
    line = FakeWire()
    bridge = Bridge(
        call_id="c", clock=trio.current_time, post=lambda fact: None, note=lambda name, data: None, turns=Turns()
    )
    bridge.line_opened(line, "MZ1")
    speech(bridge, FIRST, 2000)
    for _ in range(90):
        await trio.sleep(0.02)
        bridge.tick(trio.current_time())
    await trio.sleep(0.15)  # 50 ms of it are left, less than what a speech begins with
    bridge.agent_audio(LOUD * 160)
    bridge.hold()
    assert sum('"clear"' in str(message) for _, message in line.sent) == 1
