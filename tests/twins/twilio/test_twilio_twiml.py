"""TwiML and webhooks as Twilio handles them; and the scripted callers."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest

from engine.agent import CallerStep
from tests.twins.twilio.harness import TONE, open_world
from tests.twins.twilio.test_twilio_stream import SAMPLES
from web.twins.twilio.speaker import Speaker
from web.twins.twilio.tap import BargeIn, Tap


async def test_webhooks_carry_what_twilio_sends() -> None:
    """The parameters of the captured webhook but for tokens and attestation, signed; a status callback at the end."""
    async with open_world() as world:
        await world.ring()
        captured = dict(parse_qsl((SAMPLES / "voice-webhook.form").read_text("utf-8"), keep_blank_values=True))
        path, params, good = world.hooks[0]
        assert path == "/voice" and good
        assert set(captured) - set(params) <= {"CallToken", "StirVerstat"}
        assert (params["CallStatus"], params["Direction"]) == ("ringing", "inbound")
        _, status, signed = next(hook for hook in world.hooks if hook[0] == "/status")
        assert signed and status["CallStatus"] == "completed" and status["SequenceNumber"] == "0"


async def test_verbs_run_in_order() -> None:
    """Say, Pause, Play, Redirect, Dial with its action; the document's end hangs up."""
    async with open_world() as world:
        world.twiml["/voice"] = (
            "<Response><Say>one</Say><Pause length='1'/><Play digits='12'/>"
            "<Redirect>/more</Redirect><Say>no</Say></Response>"
        )
        world.twiml["/more"] = "<Response><Dial action='/dialled'>+12025550177</Dial><Say>no</Say></Response>"
        world.twiml["/dialled"] = "<Response><Say>bye</Say><Hangup/><Say>no</Say></Response>"
        known = await world.ring()
        said = [one["text"] for one in known["events"] if one["what"] == "say"]
        assert said[0] == "one" and said[-1] == "bye" and "no" not in said
        assert world.paths()[:3] == ["/voice", "/more", "/dialled"]
        assert world.hooks[2][1]["DialCallStatus"] == "completed"
        assert (known["status"], known["ended_by"], known["errors"]) == ("completed", "server", [])
        assert known["duration_ms"] > 1500


@pytest.mark.parametrize(
    ("twiml", "status", "code"),
    [
        ("<Response><Say>", 200, 12100),
        ("  <?xml version='1.0'?><Response/>", 200, 12100),
        ("<Answer/>", 200, 12102),
        ("<Response/>" + " " * 70_000, 200, 11750),
        ("<Response/>", 500, 11200),
    ],
)
async def test_answers_that_twilio_cannot_use(twiml: str, status: int, code: int) -> None:
    """With a fallback URL it is asked, and told why; without one the caller hears of an application error."""
    async with open_world() as world:
        world.twiml["/voice"], world.status["/voice"] = twiml, status
        number = next(iter(world.twin.numbers.values()))
        number.voice_fallback_url = world.server_url + "/fallback"
        known = await world.ring()
        assert world.paths()[:2] == ["/voice", "/fallback"]
        assert world.hooks[1][1]["ErrorCode"] == str(code) and known["errors"][0]["code"] == code
        number.voice_fallback_url = ""
        known = await world.ring()
        assert any("application error" in one.get("text", "") for one in known["events"])


async def test_a_server_that_does_not_answer() -> None:
    """The time is up: as if it had failed."""
    async with open_world(webhook_timeout_s=0.2) as world:
        world.hang.add("/voice")
        known = await world.ring()
        assert known["errors"][0]["code"] == 11205


async def test_an_unknown_verb_is_a_warning() -> None:
    """12200, and the rest runs."""
    async with open_world() as world:
        world.twiml["/voice"] = "<Response><Sing/><Say>still here</Say></Response>"
        known = await world.ring()
        assert [error["code"] for error in known["errors"]] == [12200]
        assert [one["text"] for one in known["events"] if one["what"] == "say"] == ["still here"]


async def test_a_caller_takes_turns_and_cuts_in() -> None:
    """After the agent is quiet, or in the middle of its speech; measured at the ear."""
    async with open_world() as world:
        world.twiml["/voice"] = (
            "<Response><Say>one two three</Say><Pause length='3'/><Say>" + "word " * 30 + "</Say></Response>"
        )
        known = await world.ring(
            CallerStep(say="my turn"),
            CallerStep(say="stop now", barge_in_ms=600),
            CallerStep(hang_up=True, after="now"),
        )
        spoke = [one for one in known["events"] if one["what"] == "caller speaks"]
        assert [one["barge_in"] for one in spoke] == [False, True]
        assert 1100 <= spoke[0]["at_ms"] <= 1500, "300 ms of speech, then 900 ms of quiet"
        (measured,) = known["barge_ins"]
        assert measured["silent_ms"] > measured["end_ms"] - 100, "this agent never stopped"
        assert (known["ended_by"], known["failed_step"]) == ("caller", None)


def test_a_barge_in_is_measured_at_the_ear() -> None:
    """From the first voiced frame to the first frame without the agent; what comes after that is stale."""
    tap = Tap()
    for index in range(150):
        agent = index < 55 or index in (70, 71, 72)
        tap.add(b"\xff" * 160, TONE[:160] if agent else b"\xff" * 160)
    tap.barge_ins.append(BargeIn(onset_ms=1000, end_ms=1600))
    (measured,) = tap.measured()
    assert measured == {"onset_ms": 1000, "silent_ms": 1100, "end_ms": 1600, "stale_ms": 60}


def test_the_earpiece() -> None:
    """Audio in order, marks where they stand, silence when there is nothing, and a full queue that says so."""
    speaker = Speaker()
    assert speaker.mark("a") == ["a"]
    assert speaker.play(b"\x01" * 200)
    assert speaker.mark("b") == []
    assert speaker.frame() == (b"\x01" * 160, [])
    assert speaker.frame() == (b"\x01" * 40 + b"\xff" * 120, ["b"])
    assert speaker.frame() == (b"\xff" * 160, [])
    speaker.play(b"\x01" * 160)
    speaker.mark("c")
    assert speaker.clear() == ["c"] and speaker.is_empty
    assert not speaker.play(bytes(8 * 60 * 10 * 1000 + 1))
