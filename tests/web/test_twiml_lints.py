"""Lints of TwiML: what people answer Twilio with today, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import BadSettings
from web.cli.check import check
from web.twiml import connect_stream
from web.twiml_lints import lint_twiml

KEY = "sk-live-Zq7Rk2Wv9Xp4Lm1Nb8Tc3"


def answer(attributes: str = "", inside: str = "", *, before: str = "", after: str = "") -> str:
    """A good answer, but for these."""
    stream = f'<Stream url="wss://a.example.com/m"{attributes}>{inside}</Stream>'
    return f'<Response>{before}<Connect action="/next">{stream}</Connect>{after}</Response>'


def pointed(url: str) -> str:
    return f'<Response><Connect action="/n"><Stream url="{url}"/></Connect></Response>'


ODD = [
    ("<Response>", "1:11", "not-xml"),
    ("\n<?xml version='1.0'?><Response/>", "2:1", "not-xml"),
    ('<!DOCTYPE r [<!ENTITY a "aaaa">]><Response>&a;</Response>', "1:1", "not-xml"),
    ("<response/>", "1:1", "root"),
    (f"<Response><Say>{'x' * 70_000}</Say></Response>", "1:1", "too-large"),
    ("<Response>\n <connect/>\n</Response>", "2:2", "unknown-verb"),
    (answer(' vad="on"'), "1:35", "unknown-attribute"),
    (answer(' audioFormat="mulaw"'), "1:35", "stream-format"),
    (answer(' track="both_tracks"'), "1:35", "wrong-track"),
    (answer(' track="inbound"'), "1:35", "wrong-track"),
    (answer(' statusCallback="/s"'), "1:35", "relative-callback"),
    (answer(inside=f'<Parameter name="a" value="{"x" * 500}"/>'), "1:71", "long-parameter"),
    (answer(inside=f'<Parameter name="a" value="{KEY}"/>'), "1:71", "secret-in-twiml"),
    (answer(inside='<Parameter name="vapiKey" value="abc"/>'), "1:71", "secret-in-twiml"),
    (f"<Response><Redirect>https://a.example.com/?k={KEY}</Redirect></Response>", "1:11", "secret-in-twiml"),
    (pointed("https://a/m"), "1:32", "not-wss"),
    (pointed("wss://a/m?x=1"), "1:32", "stream-query"),
    (pointed("wss://api.vapi.ai/x"), "1:32", "vapi-stream"),
    ('<Response><Start><Stream url="wss://a/m"/></Start></Response>', "1:11", "one-way"),
    (answer(before='<Start><Stream url="wss://a/m"/></Start>'), "1:11", "double-audio"),
    (answer(after='\n<Connect action="/n"><Stream url="wss://a/m"/></Connect>'), "2:1", "double-audio"),
    (answer(before="<Start><Transcription/></Start>"), "1:18", "double-transcription"),
    (answer(after='\n<Gather input="dtmf speech"/>'), "2:1", "double-transcription"),
    (answer(after="\n<Connect><ConversationRelay/></Connect>"), "2:10", "double-transcription"),
    (answer(after="\n<Record/>"), "2:1", "double-recording"),
    ("<Response><Hangup/><Say>bye</Say></Response>", "1:20", "never-runs"),
    ('<Response><Connect><Stream url="wss://a/m"/></Connect></Response>', "1:11", "no-action"),
    ("<Response><Say>no</Say><Reject/></Response>", "1:24", "late-reject"),
    (answer(after='\n<Pause length="60"/>'), "2:1", "trailing-pause"),
]


@pytest.mark.parametrize(("document", "place", "code"), ODD, ids=[code for *_, code in ODD])
def test_what_is_odd_in_twiml(document: str, place: str, code: str) -> None:
    """One thing, where it stands; its key is not quoted."""
    (found,) = lint_twiml(document)
    assert (f"{found.line}:{found.column}", found.code) == (place, code), found
    assert KEY not in str(found)


def test_our_own_answer_is_fine() -> None:
    """With its token, which works once."""
    ours = connect_stream(
        media_url="wss://calls.example.com/media",
        next_url="https://calls.example.com/webhook/twilio/next",
        stream_status_url="https://calls.example.com/webhook/twilio/stream",
        token="kJ3d9-XQ2f_81mTTz0aBcd",
        apology="Sorry.",
    )
    assert lint_twiml(ours) == []


def test_twiml_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Warnings and errors as for agents; a comment may allow."""
    path = tmp_path / "answer.xml"
    path.write_text("<Response><Hangup/>\n<Say>bye</Say></Response>", encoding="utf-8")
    check(twiml=str(path))
    assert f"{path}:2:1: warning never-runs" in capsys.readouterr().out
    with pytest.raises(SystemExit) as left:
        check(twiml=str(path), strict=True)
    assert left.value.code == 1
    path.write_text(
        "<Response><Hangup/>\n<Say>bye</Say><!-- callscope: allow never-runs --></Response>", encoding="utf-8"
    )
    check(twiml=str(path), strict=True)
    with pytest.raises(BadSettings, match="cannot be read"):
        check(twiml=str(tmp_path / "none.xml"))
