"""Media Streams messages and forms: every sample, and every kind of nonsense."""

from __future__ import annotations

import base64
import json
from base64 import b64encode
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BadMessage
from engine.wire import twilio

SAMPLES = Path(__file__).parents[2] / "samples" / "twilio"
SID = "MZ00000000000000000000000000000051"


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes().strip()


def test_the_samples_are_read() -> None:
    """What Twilio was seen to send, typed."""
    assert twilio.read_media(sample("media-connected.json")) == twilio.Connected("Call")
    start = twilio.read_media(sample("media-start.json"))
    assert isinstance(start, twilio.Start) and start.is_mulaw_8000 and start.stream_sid == SID
    assert start.custom_parameters == {"call_token": "3f6c1b0e9d", "direction": "inbound"}
    for name in ("media-media.json", "media-media-speech.json"):
        media = twilio.read_media(sample(name))
        assert isinstance(media, twilio.Media) and len(media.payload) == 160 and "payload=<160 bytes>" in repr(media)
    assert twilio.read_media(sample("media-mark.json")) == twilio.Mark("u-3.7")
    assert twilio.read_media(sample("media-dtmf.json")) == twilio.Dtmf("1")
    assert isinstance(twilio.read_media(sample("media-stop.json")), twilio.Stop)
    for line in sample("media-session-barge-in.jsonl").splitlines():
        entry = json.loads(line)
        if entry["from"] == "twilio":
            assert not isinstance(twilio.read_media(json.dumps(entry["message"]).encode()), twilio.Unknown)


def test_what_we_send_is_what_the_reference_shows() -> None:
    """Media, mark and clear, key by key."""
    writer = twilio.MediaWriter(SID)
    shown = json.loads(sample("out-media.json"))
    mulaw = b"\xff\x00" * 80
    shown["media"]["payload"] = b64encode(mulaw).decode()
    assert json.loads(writer.media(mulaw)) == shown
    mark = json.loads(sample("out-mark.json"))
    assert json.loads(writer.mark(mark["mark"]["name"])) == mark
    assert json.loads(writer.clear()) == json.loads(sample("out-clear.json"))
    with pytest.raises(BadMessage):
        twilio.MediaWriter('MZ"},{"')


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(payload: bytes) -> None:
    """A stranger's bytes are read, or refused with a safe reason."""
    try:
        twilio.read_media(payload)
    except BadMessage as bad:
        assert len(bad.why) < 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["event", "media", "start", "mark", "dtmf", "stop", "streamSid", "payload", "name", "callSid"])
EVENTS = st.sampled_from(["media", "start", "mark", "dtmf", "stop", "connected", "x"])


MESSAGES = st.dictionaries(KEYS, JSON | st.dictionaries(KEYS, JSON, max_size=4), max_size=6)


@given(MESSAGES, EVENTS)
def test_no_json_raises_anything_else(message: dict[str, object], event: str) -> None:
    """The right keys with the wrong things in them."""
    with suppress(BadMessage):
        twilio.read_media(json.dumps({**message, "event": event}).encode())


def test_size_and_base64() -> None:
    """Too large, and garbage where audio should be."""
    with pytest.raises(BadMessage, match="over"):
        twilio.read_media(b'{"event": "x", "y": "' + b"a" * 70_000 + b'"}')
    for payload in ("%%%", "a", "AA=A", "====", "ÄÖ"):
        with pytest.raises(BadMessage, match=r"media\.payload"):
            twilio.read_media(json.dumps({"event": "media", "media": {"payload": payload}}).encode())


def test_forms() -> None:
    """Real bodies; blanks kept; `CallToken` decoded once only."""
    given_params = dict(twilio.read_form(sample("voice-webhook.form")))
    assert given_params["CallerCity"] == "" and given_params["CallToken"].startswith("%7B")
    hook = twilio.VoiceWebhook.of(given_params)
    assert (hook.from_number, hook.direction, hook.call_status) == ("+12025550123", "inbound", "ringing")
    assert "+1202" not in repr(hook)
    for path in SAMPLES.glob("*.form"):
        assert twilio.read_form(path.read_bytes().strip()), path.name
    for name in ("voice-webhook-anonymous.form", "voice-webhook-sip.form"):
        assert twilio.VoiceWebhook.of(dict(twilio.read_form(sample(name)))).call_sid
    with pytest.raises(BadMessage):
        twilio.read_form(b"&".join(b"a%d=1" % number for number in range(2000)))
    with pytest.raises(BadMessage):
        twilio.read_form(b"a=%ff%fe")


@given(
    st.dictionaries(KEYS, JSON | st.dictionaries(KEYS, JSON, max_size=4), max_size=6), EVENTS, st.binary(max_size=200)
)
def test_the_quick_reader_agrees(message: dict[str, object], event: str, audio: bytes) -> None:
    """Audio only from what the careful reader calls a media message, and the same audio."""
    for media in (message.get("media"), {"payload": base64.b64encode(audio).decode(), "track": "inbound"}):
        line = json.dumps({**message, "event": event, "media": media}).encode()
        try:
            careful = twilio.read_media(line)
        except BadMessage:
            careful = None
        quick = twilio.audio_of(line)
        if isinstance(careful, twilio.Media):
            assert quick == careful.payload
        elif careful is not None:
            assert quick is None
