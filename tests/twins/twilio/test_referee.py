"""The referee: what was lost or heard twice at a hold, two voices at once, and nobody's voice."""

from __future__ import annotations

import random

import pytest

from engine.audio import FRAME_BYTES, SILENCE_FRAME, silence
from web.twins.twilio.referee import Span, follow, overlaps, resume_errors, silences

CHANCE = random.Random(4)


def speech(frames: int) -> bytes:
    """Voice of which no frame is like another, with a pause in it now and then."""
    voiced = bytes(CHANCE.randrange(0x10, 0x60) | CHANCE.choice((0, 0x80)) for _ in range(frames * FRAME_BYTES))
    pieces = [voiced[at : at + FRAME_BYTES] for at in range(0, len(voiced), FRAME_BYTES)]
    return b"".join(SILENCE_FRAME if index % 23 in (20, 21) else piece for index, piece in enumerate(pieces))


def frames(mulaw: bytes, start: int, end: int) -> bytes:
    return mulaw[start * FRAME_BYTES : end * FRAME_BYTES]


def test_what_is_heard_whole_has_no_seam() -> None:
    said = speech(100)
    assert resume_errors(said, silence(500) + said + silence(500)) == []
    assert follow([said], said).heard_ms == (2000.0,)


@pytest.mark.parametrize(
    ("goes_on_at", "lost", "repeated"), [(50, 0, 0), (51, 1, 0), (49, 0, 1), (55, 5, 0), (41, 0, 7)]
)
def test_a_hold_that_resumes(goes_on_at: int, lost: int, repeated: int) -> None:
    """To the frame. Frames 43 and 44 are silent, which nobody misses and nobody hears twice."""
    said = speech(100)
    heard = silence(40) + frames(said, 0, 50) + silence(300) + frames(said, goes_on_at, 100)
    (seam,) = resume_errors(said, heard)
    assert (seam.lost_frames, seam.repeated_frames) == (lost, repeated)
    assert (seam.gap_ms, seam.generated_ms) == (300.0, goes_on_at * 20.0)


def test_a_hold_in_a_pause_of_the_speech_loses_nothing() -> None:
    """Whether the two silent frames of the speech are heard, skipped or heard twice."""
    said = speech(100)
    for until, on in ((20, 22), (21, 20), (22, 22), (21, 22)):
        heard = frames(said, 0, until) + silence(200) + frames(said, on, 100)
        assert [seam.error_frames for seam in resume_errors(said, heard)] in ([], [0]), (until, on)


def test_two_holds_in_a_row_and_our_own_clip_between() -> None:
    said, clip = speech(100), speech(15)
    heard = (
        frames(said, 0, 30) + silence(200) + frames(said, 30, 33) + silence(100) + clip + silence(60)
        + frames(said, 34, 100)
    )  # fmt: skip
    assert [(seam.lost_frames, seam.repeated_frames) for seam in resume_errors(said, heard)] == [(0, 0), (1, 0)]
    assert follow([said], heard).foreign_frames == 15


def test_a_speech_that_was_dropped_was_not_resumed_badly() -> None:
    """The rest of the first speech is not lost: the caller cut in. It is known how far they heard it."""
    one, two = speech(80), speech(60)
    heard = frames(one, 0, 30) + silence(600) + two
    assert resume_errors(one + two, heard, ends=[len(one)]) == []
    followed = follow([one, two], heard)
    assert followed.heard_ms == (600.0, 1200.0)
    assert [seam.dropped for seam in followed.seams] == [True]


def test_odd_pieces_do_not_matter() -> None:
    """Twilio fills up the last piece before a gap, so later frames begin in the middle of one of the speech's."""
    said = speech(40)
    cut = 10 * FRAME_BYTES + 77
    heard = said[:cut] + b"\xff" * (FRAME_BYTES - 77) + silence(100) + said[cut:] + b"\xff" * 77
    (seam,) = resume_errors(said, heard)
    assert seam.error_frames == 0


def test_both_at_once() -> None:
    caller = [0] * 10 + [1] * 40 + [0] * 50
    agent = [1] * 30 + [0] * 70
    assert overlaps(caller, agent) == [Span(200.0, 600.0)]
    assert overlaps(caller, agent, longer_ms=400) == []
    agent[22:28] = [0] * 6
    assert overlaps(caller, agent) == [Span(200.0, 600.0)], "a pause between words is inside the voice"


def test_nobody() -> None:
    caller = [0] * 10 + [1] * 40 + [0] * 200
    agent = [0] * 150 + [1] * 10 + [0] * 90
    assert silences(caller, agent) == [Span(1000.0, 3000.0), Span(3200.0, 5000.0)]
    assert silences([0] * 100, []) == [Span(0.0, 2000.0)]
    assert silences(caller, agent, longer_ms=1900) == [Span(1000.0, 3000.0)]
