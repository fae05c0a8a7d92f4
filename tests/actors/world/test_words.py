"""Which words left the earpiece, and a clock that jumps over nobody."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from actors.world.agent import Speech
from actors.world.sounds import WORD_MS, spoken
from actors.world.tap import Tap
from actors.world.timetable import Timetable
from actors.world.words import numbered_lines, words_heard
from engine.audio import FRAME_BYTES, FRAME_MS, SILENCE_FRAME


def play(tap: Tap, mulaw: bytes, ms: int) -> None:
    """The phone plays so much of it, in whole frames."""
    for at in range(0, ms // FRAME_MS * FRAME_BYTES, FRAME_BYTES):
        tap.play(mulaw[at : at + FRAME_BYTES])


def test_words_of_a_speech_that_was_cut() -> None:
    """Two words and a bit: two words, with their times."""
    tap, audio = Tap(), spoken(0, 4)
    tap.agent += audio
    play(tap, SILENCE_FRAME * 5, 100)
    play(tap, audio, 2 * WORD_MS + 60)
    speech = Speech("good evening this is", 0, 4 * WORD_MS, sent_ms=4 * WORD_MS)
    found = words_heard(tap, [speech], {})
    assert [(word.text, word.at_ms, word.is_agent) for word in found] == [("good", 100, True), ("evening", 460, True)]


def test_our_own_lines_and_the_same_again() -> None:
    """A line is known by its numbers, is not the agent's, and may be said twice or be cut."""
    book, begins = numbered_lines({"filler": ("okay then",), "idle": ("are you there",)})
    okay, there = book.clips["filler"][0].mulaw, book.clips["idle"][0].mulaw
    tap = Tap()
    for clip, ms in ((okay, 2 * WORD_MS), (there, 2 * WORD_MS), (okay, 2 * WORD_MS)):
        play(tap, clip, ms)
        play(tap, SILENCE_FRAME * 10, 200)
    found = words_heard(tap, [], begins)
    assert [word.text for word in found] == ["okay", "then", "are", "you", "okay", "then"]
    assert not any(word.is_agent for word in found)
    assert len({word.source for word in found}) == 2


async def test_the_timetable_jumps_over_nobody(autojump_clock: MockClock) -> None:
    """Moments and tasks in the order of their times, whoever keeps them."""
    timetable, told = Timetable(), []

    async def sleeper() -> None:
        for at in (0.15, 0.2, 0.35):
            await trio.sleep_until(at)
            told.append(("task", round(trio.current_time(), 3)))

    async with trio.open_nursery() as nursery:
        for at in (0.1, 0.3, 0.4):
            timetable.at(at, lambda: told.append(("moment", round(timetable.now(), 3))))
        timetable.at(0.4, nursery.cancel_scope.cancel)
        nursery.start_soon(sleeper)
        nursery.start_soon(timetable.run)
    assert told == [("moment", 0.1), ("task", 0.15), ("task", 0.2), ("moment", 0.3), ("task", 0.35), ("moment", 0.4)]


async def test_a_timetable_without_end_can_be_cancelled(autojump_clock: MockClock) -> None:
    """A moment that asks for the next one does not keep Trio from its turn."""
    timetable, count = Timetable(), 0

    def again() -> None:
        nonlocal count
        count += 1
        timetable.after(1, again)

    again()
    with trio.move_on_after(10):
        await timetable.run()
    assert 9_900 < count <= 10_001
