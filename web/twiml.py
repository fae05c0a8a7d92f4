"""The TwiML that we answer, built with Twilio's own SDK (reference/twilio.md §4, §7)."""

from __future__ import annotations

from twilio.twiml.voice_response import Connect, VoiceResponse

from actors.supervisor import NextStep

CONTENT_TYPE = "text/xml; charset=utf-8"


def connect_stream(*, media_url: str, next_url: str, stream_status_url: str, token: str, apology: str) -> str:
    """Connect the call to our media socket. What follows `<Connect>` runs only if `action` is lost on the way."""
    response = VoiceResponse()
    connect = Connect(action=next_url)
    stream = connect.stream(url=media_url, status_callback=stream_status_url)
    stream.parameter(name="token", value=token)
    response.append(connect)
    response.say(apology)
    response.hangup()
    return str(response)


def go_on(step: NextStep) -> str:
    """Words, then a person or the end."""
    response = VoiceResponse()
    if step.words:
        response.say(_speakable(step.words))
    if step.number and step.number.startswith(("sip:", "sips:")):
        response.dial().sip(step.number)
    elif step.number:
        response.dial(step.number)
    response.hangup()
    return str(response)


def nothing() -> str:
    """The answer to what needs none."""
    return str(VoiceResponse())


def _speakable(words: str) -> str:
    """Without control characters, which XML 1.0 cannot hold."""
    return "".join(" " if ord(char) < 0x20 else char for char in words)
