"""What the caller heard, to the sample, and the file that keeps it."""

from __future__ import annotations

import io
import random
import wave
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.audio import FRAME_BYTES, SILENCE_BYTE, SILENCE_FRAME, stereo_pcm16
from engine.recording import Ears, HeardModel, byte_offset, file_name, wav_header

CALL_ID = "call-01J8Z6Q4K3V5W7X9Y2A4B6C8D0"
SPEECH = bytes(range(1, 161))


def test_a_caller_hears_silence_until_the_agent_speaks() -> None:
    heard = HeardModel()
    assert heard.advance(FRAME_BYTES) == SILENCE_FRAME
    heard.play(SPEECH, epoch=1)
    assert heard.unplayed_ms == 20
    assert heard.advance(FRAME_BYTES) == SPEECH
    assert heard.advance(FRAME_BYTES) == SILENCE_FRAME
    assert (heard.position, heard.position_ms) == (480, 60)


def test_an_odd_clump_is_heard_across_frames() -> None:
    heard = HeardModel()
    heard.play(b"a" * 100 + b"b" * 100, epoch=3)
    assert heard.advance(160) == b"a" * 100 + b"b" * 60
    assert heard.heard_ms(3) == 20
    assert heard.advance(160) == b"b" * 40 + bytes([SILENCE_BYTE]) * 120
    assert heard.heard_ms(3) == 25
    assert heard.unplayed_ms == 0


def test_what_is_cleared_is_never_heard() -> None:
    """The caller cuts in after 30 ms of a long sentence: 30 ms is what they heard of it, for good."""
    heard = HeardModel()
    heard.play(SPEECH * 10, epoch=1)
    heard.advance(240)
    assert heard.clear() == 170
    assert heard.advance(FRAME_BYTES) == SILENCE_FRAME
    heard.play(b"z" * 80, epoch=2)
    assert heard.advance(FRAME_BYTES).startswith(b"z" * 80)
    assert (heard.heard_ms(1), heard.heard_ms(2)) == (30, 10)


def test_a_full_buffer_drops_the_end_and_counts_it() -> None:
    heard = HeardModel(most_ms=20)
    heard.play(SPEECH + SPEECH, epoch=1)
    assert (heard.unplayed_ms, heard.dropped_ms) == (20, 20)
    heard.play(b"", epoch=2)
    assert heard.advance(FRAME_BYTES) == SPEECH


def test_memory_of_old_utterances_is_bounded() -> None:
    heard = HeardModel()
    for epoch in range(1000):
        heard.play(SPEECH, epoch)
        heard.advance(FRAME_BYTES)
    assert heard.heard_ms(999) == 20
    assert heard.heard_ms(10) == 0
    assert len(heard._heard_bytes) == HeardModel.REMEMBERED_EPOCHS


Step = tuple[str, int]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("play"), st.integers(0, 500)),
            st.tuples(st.just("advance"), st.integers(0, 400)),
            st.tuples(st.just("clear"), st.just(0)),
        ),
        max_size=60,
    )
)
def test_the_model_agrees_with_a_byte_by_byte_one(steps: list[Step]) -> None:
    heard = HeardModel()
    naive: deque[int] = deque()
    position = 0
    for epoch, (what, size) in enumerate(steps):
        if what == "play":
            audio = bytes((epoch * 7 + i) % 255 for i in range(size))
            heard.play(audio, epoch)
            naive.extend(audio)
        elif what == "clear":
            heard.clear()
            naive.clear()
        else:
            expected = bytes(naive.popleft() if naive else SILENCE_BYTE for _ in range(size))
            assert heard.advance(size) == expected
            position += size
    assert heard.unplayed_ms * 8 == len(naive)
    assert heard.position == position


def test_the_header_is_one_that_players_read() -> None:
    pcm = stereo_pcm16(SPEECH, SILENCE_FRAME)
    with wave.open(io.BytesIO(wav_header(160) + pcm)) as wav:
        assert (wav.getnchannels(), wav.getsampwidth(), wav.getframerate(), wav.getnframes()) == (2, 2, 8000, 160)
        assert wav.readframes(160) == pcm
    assert byte_offset(0) == len(wav_header(0)) == 44
    assert len(wav_header(2**40)) == 44


@pytest.mark.parametrize(
    "evil",
    [
        "",
        "call-",
        "../" + CALL_ID,
        CALL_ID + "/..",
        CALL_ID + "\n",
        CALL_ID + "\0",
        CALL_ID[:-1] + "/",
        CALL_ID[:-1] + "․",
        CALL_ID[:-1] + "é",
        "..%2f" + CALL_ID[5:],
        CALL_ID + ".wav",
    ],
)
def test_no_other_name_becomes_a_file(evil: str) -> None:
    with pytest.raises(ValueError, match="not a call id") as refused:
        file_name(evil)
    assert len(evil) < 10 or evil not in str(refused.value)


def test_our_ids_become_files() -> None:
    assert file_name(CALL_ID) == CALL_ID + ".wav"


@given(st.text(max_size=40))
def test_any_text_gives_a_plain_name_or_none(text: str) -> None:
    try:
        name = file_name(text)
    except ValueError:
        return
    assert name == text + ".wav"
    assert name.isascii()
    assert not set(name) & set("/\\\0%")


@given(st.lists(st.sampled_from(["said", "played", "cleared", "settle"]), max_size=60), st.integers(0, 2**31))
def test_settling_later_changes_nothing(steps: list[str], seed: int) -> None:
    """Whenever it is worked out, the caller heard the same: frame by frame, or a second's worth in one go."""
    chance = random.Random(seed)
    sizes = chance.choice([[160], [1, 80, 160, 320]])
    one_epoch = chance.random() < 0.5
    at_once, later = HeardModel(most_ms=400), HeardModel(most_ms=400)
    ears = Ears(later)
    said, heard, settled_said, settled_heard = b"", b"", b"", b""
    for number, step in enumerate([*steps, "settle"]):
        sound = bytes([number + 1]) * chance.choice(sizes)
        epoch = 0 if one_epoch else number
        if step == "said":
            ears.caller.append(sound)
            said += sound
            heard += at_once.advance(len(sound))
        elif step == "played":
            ears.played(sound, epoch)
            at_once.play(sound, epoch)
        elif step == "cleared":
            ears.cleared()
            at_once.clear()
        else:
            caller, ear = ears.settle()
            settled_said, settled_heard = settled_said + caller, settled_heard + ear
            assert not ears.caller
    assert (settled_said, settled_heard) == (said, heard)
    assert (later.position, later.unplayed_ms, later.dropped_ms) == (
        at_once.position, at_once.unplayed_ms, at_once.dropped_ms,
    )  # fmt: skip
