"""The Vapi twin at its worst, in virtual time: audio late and in heaps, transcripts late or never, ears that err."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from engine.audio import SILENCE_FRAME
from tests.twins.vapi.fakes import Codes
from tests.twins.vapi.helpers import until
from tests.twins.vapi.test_vapi_barge_in import LONG, Talk, live
from web.twins.vapi.dials import Dials, Faults
from web.twins.vapi.history import History
from web.twins.vapi.mouth import Mouth, tick_s
from web.twins.vapi.problems import Problem
from web.twins.vapi.texts import segments_of

SPEECH = bytes(index // 160 for index in range(160 * 100))  # two seconds; each frame says which it is


async def spoken(seed: int = 1, **turned: Any) -> list[tuple[float, int]]:
    """When each frame of the speech was sent, in ms since its start."""
    dials = Dials()
    for name, setting in turned.items():
        dials.turn(name, setting)
    sent: list[tuple[float, int]] = []
    began = trio.current_time() + 0.013  # not in step with the ticker
    mouth = Mouth(
        lambda frame: sent.append((round((trio.current_time() - began) * 1000, 3), frame[0])), dials, Random(seed)
    )
    due = trio.current_time()
    await trio.sleep_until(began)
    utterance = mouth.begin(SPEECH)
    while not utterance.over.is_set():
        due += tick_s(dials)
        await trio.sleep_until(due)
        mouth.pump(trio.current_time())
    assert [number for _, number in sent] == list(range(100)), "in order, and nothing lost"
    return sent


def clumps(sent: list[tuple[float, int]]) -> list[float]:
    """When something came."""
    return sorted({at for at, _ in sent})


@pytest.mark.parametrize("clump_ms", [20, 50, 70, 100, 400])
async def test_clumps_of_any_size_are_never_late(clump_ms: int, autojump_clock: MockClock) -> None:
    sent = await spoken(clump_ms=clump_ms)
    assert all(at <= max(50, number * 20) for at, number in sent[3:])
    assert all(number * 20 - at <= 2 * clump_ms + 50 for at, number in sent)
    gaps = [late - early for early, late in pairwise(clumps(sent))]
    assert sum(gaps) / len(gaps) == pytest.approx(clump_ms, rel=0.1)


async def test_clumps_are_late_by_chance(autojump_clock: MockClock) -> None:
    """Up to so much, the same for the same seed, and the speech is over only when all was sent."""
    once, again, other = [await spoken(seed, output_jitter_ms=400) for seed in (1, 1, 2)]
    assert once == again != other
    late = [at - number * 20 for at, number in once]
    assert 150 < max(late) <= 410
    assert max(late for late in (after - before for before, after in pairwise(clumps(once)))) > 100


async def test_audio_runs_ahead(autojump_clock: MockClock) -> None:
    sent = await spoken(ahead_ms=800)
    ahead = [number * 20 - at for at, number in sent]
    assert 780 <= max(ahead) <= 900
    assert min(ahead[60:90]) >= 750


async def test_what_is_late_when_a_speech_is_cut_is_gone(mock_clock: MockClock) -> None:
    sent: list[bytes] = []
    mouth = Mouth(sent.append, Dials(output_jitter_ms=400), Random(1))
    mouth.begin(SPEECH)
    mouth.pump(trio.current_time())
    mouth.cut()
    before = len(sent)
    mock_clock.jump(1)
    mouth.pump(trio.current_time())
    assert len(sent) == before


# --- who hears what ---------------------------------------------------------------------------------------------------


async def heard_over(talk: Talk, phrase: str, ms: int) -> list[tuple[float, dict[str, Any]]]:
    await talk.speaking()
    await talk.hear(talk.codes.audio(phrase, ms) + SILENCE_FRAME * 30)
    return talk.wire.of("user-interrupted")


async def test_who_is_deaf_talks_on(
    nursery: trio.Nursery, codes: Codes, dials: Dials, autojump_clock: MockClock
) -> None:
    dials.deaf = True
    assert await heard_over(await live(nursery, codes, dials), "goodbye", 600) == []


async def test_a_short_noise_interrupts_when_it_is_told_to(
    nursery: trio.Nursery, codes: Codes, dials: Dials, autojump_clock: MockClock
) -> None:
    plan = {"numWords": 3}
    assert await heard_over(await live(nursery, codes, dials, stopSpeakingPlan=plan), "", 80) == []
    dials.interrupts_on_noise = True
    assert len(await heard_over(await live(nursery, codes, dials, stopSpeakingPlan=plan), "", 80)) == 1


async def test_a_final_with_enough_words_interrupts(
    nursery: trio.Nursery, codes: Codes, dials: Dials, autojump_clock: MockClock
) -> None:
    """Without any partial before it; a word of consent never does."""
    dials.partial_every_ms = 0
    plan = {"numWords": 2}
    talk = await live(nursery, codes, dials, stopSpeakingPlan=plan, firstMessage=LONG * 2)
    assert await heard_over(talk, "maybe", 300) == []
    assert await heard_over(talk, "i see", 300) == []
    ((at, _),) = await heard_over(talk, "hold the line", 300)
    ((final, _),) = talk.wire.of("transcript", transcript="hold the line", transcriptType="final")
    assert at == pytest.approx(final)


async def test_partials_begin_early_and_go_on(
    nursery: trio.Nursery, codes: Codes, dials: Dials, autojump_clock: MockClock
) -> None:
    dials.first_partial_ms, dials.partial_every_ms = 280, 500
    talk = await live(nursery, codes, dials, firstMessageMode="assistant-waits-for-user")
    await until(lambda: talk.wire.texts)
    for _ in range(2):
        talk.wire.texts.clear()
        began = await talk.hear(codes.audio("what times do you have", 1500) + SILENCE_FRAME * 20)
        at = [round((when - began) * 1000) for when, _ in talk.wire.of("transcript", transcriptType="partial")]
        assert at == pytest.approx([280, 780, 1280], abs=41)
        await until(lambda: talk.wire.of("speech-update", role="assistant", status="stopped"))
    assert Dials().first_partial_ms == 280


async def test_nobody_is_told_what_was_said(
    nursery: trio.Nursery, codes: Codes, dials: Dials, autojump_clock: MockClock
) -> None:
    dials.no_transcripts = True
    talk = await live(nursery, codes, dials, firstMessage="Hello.")
    await talk.speaking()
    await talk.hear(SILENCE_FRAME * 20 + codes.audio("goodbye", 400) + SILENCE_FRAME * 20)
    await until(lambda: talk.wire.closed)
    assert talk.wire.of("transcript") == [] and talk.wire.closed == 1000
    assert talk.call.state.history.transcript == "AI: Hello.\nUser: goodbye\nAI: Goodbye.\n"


async def test_transcripts_come_late_with_the_time_at_which_they_were_known(
    nursery: trio.Nursery, codes: Codes, dials: Dials, autojump_clock: MockClock
) -> None:
    """The caller's only, partials too, in order; everything else comes in time."""
    dials.late_transcripts_ms, dials.timestamps = 2500, True
    talk = await live(nursery, codes, dials, firstMessage="Hello.")
    await talk.speaking()
    await until(lambda: talk.wire.of("transcript", transcript="Hello.", transcriptType="final"))
    began = await talk.hear(SILENCE_FRAME * 20 + codes.audio("what times do you have", 400) + SILENCE_FRAME * 200)
    ((stopped, _),) = talk.wire.of("speech-update", role="user", status="stopped")
    assert stopped - began < 1.3
    user = talk.wire.of("transcript", role="user")
    assert [one["transcriptType"] for _, one in user][-2:] == ["partial", "final"]
    assert user[-1][0] - stopped == pytest.approx(2.5, abs=0.05)
    assert all(isinstance(one["timestamp"], int) for _, one in talk.wire.of("transcript"))


async def test_a_noise_leaves_everybody_silent(
    nursery: trio.Nursery, codes: Codes, dials: Dials, autojump_clock: MockClock
) -> None:
    """After a cough nothing more is said, also no answer that was on its way; until somebody says something."""
    dials.mute_after_noise, dials.model_latency_ms = True, 400
    talk = await live(nursery, codes, dials)
    assert len(await heard_over(talk, "", 600)) == 1
    await talk.hear(SILENCE_FRAME * 100)
    started = {"role": "assistant", "status": "started"}
    assert len(talk.wire.of("speech-update", **started)) == 1
    await talk.hear(codes.audio("what times do you have", 400) + SILENCE_FRAME * 12 + codes.audio("", 200))
    await talk.hear(SILENCE_FRAME * 150)
    assert len(talk.wire.of("speech-update", **started)) == 1
    await talk.hear(codes.audio("what times do you have", 400) + SILENCE_FRAME * 50)
    assert len(talk.wire.of("speech-update", **started)) == 2


async def test_words_have_times_for_who_asks(
    nursery: trio.Nursery, codes: Codes, dials: Dials, autojump_clock: MockClock
) -> None:
    """One message a sentence, when it begins; nobody else gets any."""
    wanted = ["assistant.speechStarted", "speech-update"]
    talk = await live(nursery, codes, dials, firstMessage="Hello there. How are you today?", clientMessages=wanted)
    await until(lambda: talk.wire.of("speech-update", status="stopped"))
    (one_at, one), (two_at, two) = talk.wire.of("assistant.speechStarted")
    assert one["text"] == two["text"] == "Hello there. How are you today?"
    assert (one["turn"], one["source"], one["timing"]["type"]) == (0, "force-say", "word-alignment")
    assert two_at - one_at == pytest.approx(one["timing"]["wordsEndTimesMs"][-1] / 1000, abs=0.001)
    assert "".join(one["timing"]["words"] + two["timing"]["words"]) == one["text"]
    quiet = await live(nursery, codes, dials, firstMessage="Hello there.")
    await until(lambda: quiet.wire.of("speech-update", status="stopped"))
    assert quiet.wire.of("assistant.speechStarted") == []


def test_times_of_words_follow_their_letters() -> None:
    ((begins, timing),) = segments_of("Yes, four.", 1000)
    assert begins == 0.0 and timing["words"] == ["Yes,", " ", "four."]
    assert timing["wordsStartTimesMs"] == [0, 400.0, 500.0] and timing["wordsEndTimesMs"] == [400.0, 500.0, 1000.0]
    assert segments_of("", 0) == []


@pytest.mark.parametrize("how", ["black_hole_after_ms", "mute_after_ms"])
async def test_a_socket_that_is_open_and_dead(
    how: str, nursery: trio.Nursery, codes: Codes, dials: Dials, autojump_clock: MockClock
) -> None:
    """A black hole says and hears nothing more; a mute one is only not heard."""
    began = trio.current_time()
    talk = await live(nursery, codes, dials, fault=Faults.of({"socket": how, how: 700}))
    await until(lambda: talk.wire.audio)
    await trio.sleep_until(began + 0.75)
    talk.wire.audio.clear()
    talk.wire.texts.clear()
    await talk.hear(codes.audio("goodbye", 600) + SILENCE_FRAME * 30)
    assert talk.wire.audio == [] and talk.wire.is_open
    if how == "black_hole_after_ms":
        assert talk.wire.texts == []
    else:
        assert talk.wire.of("user-interrupted") and talk.wire.of("transcript", transcript="goodbye")


def test_such_a_fault_needs_a_number() -> None:
    with pytest.raises(Problem, match="black_hole_after_ms must be a whole number"):
        Faults.of({"socket": "black_hole_after_ms", "black_hole_after_ms": -1})


def test_what_was_not_spoken_is_not_in_the_models_mind() -> None:
    history = History([], 0)
    history.bot_ends(history.bot_begins("One two three.", 0), "One two", 1)
    history.bot_ends(history.bot_begins("Four five.", 2), "", 3)
    history.added({"role": "system", "content": "The caller did not hear the rest."}, 4)
    assert history.openai == [
        {"role": "assistant", "content": "One two"},
        {"role": "system", "content": "The caller did not hear the rest."},
    ]
    assert [one["message"] for one in history.messages][:2] == ["One two three.", "Four five."]


async def test_a_note_to_the_model_is_kept_and_answered_by_nobody(
    nursery: trio.Nursery, codes: Codes, dials: Dials, autojump_clock: MockClock
) -> None:
    """`add-message` with `triggerResponseEnabled: false`, while the assistant speaks; what was made can be had, too."""
    talk = await live(nursery, codes, dials)
    await talk.speaking()
    note = {"role": "system", "content": "what times do you have"}
    talk.call.control({"type": "add-message", "message": note, "triggerResponseEnabled": False})
    await trio.sleep(5)
    assert talk.call.record.history is not None and note in talk.call.record.history.openai
    assert len(talk.wire.of("speech-update", role="assistant", status="started")) == 1
    ((words, mulaw),) = talk.call.record.generated
    assert words == LONG and b"".join(payload for _, payload in talk.wire.audio) == mulaw


async def test_keys_that_are_told_while_it_speaks_are_answered(
    nursery: trio.Nursery, codes: Codes, dials: Dials, autojump_clock: MockClock
) -> None:
    """Keys come as `add-message` (vapi.md §4.5, §4.8). Words that follow do not push them out: both are answered."""
    talk = await live(nursery, codes, dials, firstMessageInterruptionsEnabled=False)
    await talk.speaking()
    keys = {"role": "system", "content": "The caller typed my number is 4 2 on the keypad."}
    talk.call.control({"type": "add-message", "message": keys, "triggerResponseEnabled": True})
    await talk.hear(talk.codes.audio("what times do you have", 400) + SILENCE_FRAME * 30)
    await trio.sleep(10)
    said = [entry["words"] for entry in talk.call.record.timeline.entries if entry["what"] == "said"]
    assert said == [LONG, "I heard four two.", "We have six, seven and eight o'clock tonight, or noon."]
    assert talk.call.record.history is not None and keys in talk.call.record.history.openai
