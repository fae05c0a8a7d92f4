"""The scripted caller over real sockets: coughs, cuts in twice, has another voice; and bad scripts are refused."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.server import ServerConnection

from engine.agent import CallerStep
from engine.audio import duration_ms
from tests.twins.twilio.harness import NUMBER, TONE, MediaServer, open_world
from tests.twins.twilio.test_twilio_stream import audio, call, start_of
from web.twins.speech.sounds import made
from web.twins.twilio.problems import RestError
from web.twins.twilio.twin import CallRequest


def of(known: dict[str, Any], what: str) -> list[dict[str, Any]]:
    return [event for event in known["events"] if event["what"] == what]


def talk_on(server: MediaServer, socket: ServerConnection) -> None:
    """Three seconds of speech, whatever the caller does."""
    sid = start_of(server, socket)
    socket.send(audio(sid, TONE * 30))
    time.sleep(0.1)
    for _ in socket:
        pass


async def test_a_cough_is_heard_and_is_no_barge_in_words_are(tmp_path: Path) -> None:
    """Twice into the same speech; softer, and from a file; with a pause before."""
    (tmp_path / "bark.ulaw").write_bytes(TONE)
    script = [
        CallerStep(sound="cough", barge_in_ms=300, loudness_db=-6.0),
        CallerStep(say="wait", barge_in_ms=400),
        CallerStep(sound="bark.ulaw", after="now", pause_ms=200),
        CallerStep(hang_up=True, after="now"),
    ]
    async with open_world() as world:
        with MediaServer(talk_on) as server:
            ring = world.twin.ring

            def with_folder(request: CallRequest, handset: Any = None) -> Any:
                request.sounds = str(tmp_path)
                return ring(request)

            world.twin.ring = with_folder  # type: ignore[method-assign]
            known = await call(world, server, *script)
    assert (known["failed_step"], known["ended_by"]) == (None, "caller")
    cough, bark = of(known, "caller sounds")
    (words,) = of(known, "caller speaks")
    assert (cough["name"], bark["name"]) == ("cough", "bark.ulaw")
    assert [one["onset_ms"] for one in known["barge_ins"]] == [words["first_voiced_ms"]]
    coughed_until = cough["at_ms"] + duration_ms(made("cough"))
    assert 380 <= words["at_ms"] - coughed_until <= 460, "the agent had not stopped for the cough"
    assert bark["at_ms"] >= words["at_ms"] + 100 + 200
    assert known["overlaps"] == [], "100 ms of words are no overlap"


async def test_each_step_may_have_its_own_voice() -> None:
    voices: list[str] = []

    def speak(text: str, *, voice: str = "en-US") -> bytes:
        voices.append(voice)
        return TONE

    async with open_world(speak=speak) as world:
        world.twiml["/voice"] = "<Response><Pause length='1'/></Response>"
        await world.ring(CallerStep(say="one", after="now"), CallerStep(say="two", voice="de-DE", after="now"))
    assert voices == ["en-GB", "de-DE"]


async def test_keys_that_are_played_are_heard() -> None:
    async with open_world() as world:
        world.twiml["/voice"] = "<Response><Play digits='4w2'/></Response>"
        known = await world.ring()
    assert [one["digit"] for one in of(known, "tones heard")] == ["4", "2"]


async def test_a_sound_that_nobody_has_is_refused() -> None:
    async with open_world() as world:
        number = world.twin.numbers[NUMBER]
        number.voice_url = "http://127.0.0.1:9/voice"
        request = CallRequest(from_number="+1202", to_number=NUMBER, script=[CallerStep(sound="burp")])
        with pytest.raises(RestError, match=r"burp.*cough"):
            world.twin.ring(request)
        answer = await world.http.post(world.url + "/twin/faults", json={"background": "burp"})
        assert answer.status_code == 400 and "cough" in answer.json()["message"]
        answer = await world.http.post(world.url + "/twin/faults", json={"background": "babble", "background_db": 10.0})
        assert answer.status_code == 200 and world.twin.faults.background == "babble"
