"""Lints of a TwiML document: what people answer Twilio with today, before or beside Callscope.

Read with expat, for lines and columns; nothing outside the document is ever loaded. (T: reference/twilio.md, V:
reference/vapi.md.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from urllib.parse import urlsplit
from xml.parsers import expat

from web.agent_env import looks_secret
from web.findings import Finding, Severity, allowed_there

__all__ = ["lint_twiml"]

ERROR, WARNING = Severity.ERROR, Severity.WARNING
MOST_BYTES = 64 * 1024  # T §4: 11750
MOST_PARAMETER_CHARS = 500  # T §7.3
LONG_PAUSE_S = 10
_KNOWN = {
    "Connect": {"action", "method"},
    "Start": {"action", "method"},
    "Stop": set(),
    "Stream": {"url", "name", "track", "statusCallback", "statusCallbackMethod"},
    "Parameter": {"name", "value"},
}
_UNDOCUMENTED = {"connectorName", "audioFormat", "sampleRate"}  # T §7.2
_VERBS = (
    "Connect", "Dial", "Echo", "Enqueue", "Gather", "Hangup", "Leave", "Pause", "Pay", "Play", "Prompt", "Queue",
    "Record", "Redirect", "Refer", "Reject", "Say", "Sms", "Start", "Stop",
)  # fmt: skip
_ENDS = ("Hangup", "Reject", "Redirect", "Leave")
_VAPI_HOST = re.compile(r"(?:^|\.)vapi\.ai$")


@dataclass
class Element:
    """One element, and where it begins."""

    name: str
    attributes: dict[str, str]
    line: int
    column: int
    inside: list[Element] = field(default_factory=list)
    text: str = ""

    def every(self, name: str) -> Iterator[Element]:
        for one in self.inside:
            if one.name == name:
                yield one
            yield from one.every(name)


Wrong = tuple[Element, str, Severity, str, str]


def lint_twiml(document: str) -> list[Finding]:
    """Everything that is wrong with a document, in its order."""
    size = len(document.encode())
    if size > MOST_BYTES:
        what = f"{size} bytes: Twilio reads 64 kB at most (11750)."
        return [Finding(1, 1, "too-large", ERROR, "Response", what, "Answer less.")]
    try:
        root = _parsed(document)
    except expat.ExpatError as problem:
        what = f"This is not XML: {expat.errors.messages[problem.code]} (12100)."
        fix = "Nothing may stand before the XML declaration; & and < are written &amp; and &lt;."
        return [Finding(problem.lineno, problem.offset + 1, "not-xml", ERROR, "document", what, fix)]
    found = [
        Finding(element.line, element.column, code, severity, element.name, what, fix)
        for look in (_form, _streams, _topology, _order, _secrets)
        for element, code, severity, what, fix in look(root)
    ]
    return allowed_there(found, document.splitlines())


def _parsed(document: str) -> Element:
    top = Element("", {}, 1, 1)
    above = [top]
    parser = expat.ParserCreate()

    def start(name: str, attributes: dict[str, str]) -> None:
        one = Element(name, attributes, parser.CurrentLineNumber, parser.CurrentColumnNumber + 1)
        above[-1].inside.append(one)
        above.append(one)

    def text(data: str) -> None:
        above[-1].text += data

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda name: above.pop()
    parser.CharacterDataHandler = text
    parser.EntityDeclHandler = _no_entities
    parser.Parse(document.encode(), True)
    return top.inside[0]


def _no_entities(*declared: object) -> None:
    """No TwiML declares any; a document that does is refused before it can grow."""
    problem = expat.ExpatError("entities")
    problem.code, problem.lineno, problem.offset = 24, 1, 0  # recursive entity reference
    raise problem


def _form(root: Element) -> Iterator[Wrong]:
    """Names (T §4): Twilio ignores what it does not know, with a warning that nobody reads (12200)."""
    if root.name != "Response":
        yield root, "root", ERROR, f"The document begins with <{root.name}> (12102).", "Begin with <Response>."
        return
    for one in root.inside:
        if one.name not in _VERBS:
            near = next((verb for verb in _VERBS if verb.lower() == one.name.lower()), "")
            fix = f"Write <{near}>: names are case-sensitive." if near else f"Verbs are {', '.join(_VERBS)}."
            yield one, "unknown-verb", ERROR, f"<{one.name}> is no verb: Twilio passes over it (12200).", fix
    for name, known in _KNOWN.items():
        for one in root.every(name):
            for attribute in one.attributes.keys() - known:
                if name == "Stream" and attribute in _UNDOCUMENTED:
                    what = f"`{attribute}` is not documented for streams; audio is µ-law 8000 Hz in any case."
                    yield one, "stream-format", WARNING, what, "Leave it out, and read start.mediaFormat."
                else:
                    what = f"<{name}> has no attribute `{attribute}`: it is ignored (12200)."
                    yield one, "unknown-attribute", WARNING, what, f"Known are {', '.join(sorted(known)) or 'none'}."


def _streams(root: Element) -> Iterator[Wrong]:
    """Address, track and parameters of each stream (T §7.1 to §7.3, V §1)."""
    for holder in ("Connect", "Start"):
        for parent in root.every(holder):
            for stream in parent.every("Stream"):
                yield from _address(stream)
                yield from _track(stream, holder)
                for parameter in stream.every("Parameter"):
                    name, value = parameter.attributes.get("name", ""), parameter.attributes.get("value", "")
                    if len(name) + len(value) >= MOST_PARAMETER_CHARS:
                        what = f"Name and value have {len(name) + len(value)} characters; fewer than 500 are allowed."
                        yield parameter, "long-parameter", ERROR, what, "Pass an id, and look the rest up."


def _address(stream: Element) -> Iterator[Wrong]:
    url = stream.attributes.get("url", "")
    parts = urlsplit(url)
    if _VAPI_HOST.search(parts.hostname or ""):
        what = "Vapi does not speak Media Streams: no address of Vapi's takes Twilio's stream (V §1)."
        yield stream, "vapi-stream", ERROR, what, "Point it at Callscope's /media; it bridges to Vapi."
    if parts.scheme != "wss":
        what = "The address is not wss:// (31922)." if parts.scheme else "The address is not absolute (31923)."
        yield stream, "not-wss", ERROR, what, "Write wss://host/path."
    if parts.query:
        what = "A query is dropped, or the handshake fails (31920)."
        yield stream, "stream-query", ERROR, what, "Pass values as <Parameter>: they come in start.customParameters."
    callback = stream.attributes.get("statusCallback", "https://")
    if not urlsplit(callback).scheme:
        yield (
            stream,
            "relative-callback",
            WARNING,
            "`statusCallback` is not absolute (T §7.2).",
            "Write https://host/path.",
        )


def _track(stream: Element, holder: str) -> Iterator[Wrong]:
    track = stream.attributes.get("track", "inbound_track")
    if track not in ("inbound_track", "outbound_track", "both_tracks"):
        fix = "Write inbound_track: `inbound` is the spelling of the messages, not of TwiML."
        yield stream, "wrong-track", ERROR, f"`{track}` is no track.", fix
    elif holder == "Connect" and track != "inbound_track":
        what = f"A <Connect><Stream> takes inbound_track only, not {track} (31941): the agent would hear itself."
        yield stream, "wrong-track", ERROR, what, "Leave `track` out."


def _topology(root: Element) -> Iterator[Wrong]:
    """Who hears and who writes down the same call twice (T §7.1, §14, §15, §20)."""
    connects = [one for one in root.every("Connect") if any(one.every("Stream"))]
    starts = [one for one in root.every("Start") if any(one.every("Stream"))]
    if connects and starts:
        what = "<Start><Stream> forks the same audio that <Connect><Stream> carries: double audio, billed twice."
        yield starts[0], "double-audio", WARNING, what, "Keep <Connect> alone; recording and listening are Callscope's."
    elif starts:
        what = "<Start><Stream> goes one way: nothing can be said to the caller, and the next verb runs at once."
        yield starts[0], "one-way", ERROR, what, "Use <Connect><Stream>."
    if len(connects) > 1:
        yield connects[1], "double-audio", WARNING, "One bidirectional stream a call.", "Keep the first."
    relays = list(root.every("ConversationRelay"))
    written = [
        *root.every("Transcription"),
        *(one for one in root.every("Gather") if "speech" in one.attributes.get("input", "")),
    ]
    if connects or relays:
        for one in written:
            what = f"<{one.name}> transcribes what the agent's own transcriber hears already."
            yield one, "double-transcription", WARNING, what, "Take it out; the journal has the words."
        if connects and relays:
            what = "ConversationRelay recognises and speaks by itself, beside the stream."
            yield relays[0], "double-transcription", WARNING, what, "Keep one of them."
        for one in [*root.every("Recording"), *root.every("Record")]:
            what = "Twilio would record what Callscope records: two files of one call to guard and to delete."
            yield one, "double-recording", WARNING, what, "Keep one, or allow it on this line."


def _order(root: Element) -> Iterator[Wrong]:
    """What runs when (T §4, §7.1, §7.4, §15)."""
    for before, after in pairwise(root.inside):
        if before.name in _ENDS:
            yield after, "never-runs", WARNING, f"Nothing after <{before.name}> runs.", "Take it out, or move it."
    for index, one in enumerate(root.inside):
        if one.name == "Connect" and "action" not in one.attributes and any(one.every("Stream")):
            what = "Without `action` nobody can take the call back when the stream ends; the next verb just runs."
            yield one, "no-action", WARNING, what, "Set action: hand-over, fallback and resuming go through it."
        if one.name == "Reject" and index:
            yield one, "late-reject", ERROR, "<Reject> works as the first verb only.", "Use <Hangup>."
    last = root.inside[-1] if root.inside else None
    if last is not None and last.name == "Pause" and len(root.inside) > 1:
        length = last.attributes.get("length", "1")
        if length.isdecimal() and int(length) >= LONG_PAUSE_S:
            what = f"After the stream a silent, billed line stays open for {length} s."
            yield last, "trailing-pause", WARNING, what, "End with <Hangup/>."


def _secrets(root: Element) -> Iterator[Wrong]:
    """Twilio keeps every document in its request log (T §7.3): no keys in it."""
    for one in [root, *_all(root)]:
        for name, value in one.attributes.items():
            parts = urlsplit(value) if "://" in value else None
            named = re.search(r"key|secret|passw|auth.?token", one.attributes.get("name", ""), re.I)
            is_named = one.name == "Parameter" and name == "value" and value and named
            if looks_secret(value) or is_named or (parts is not None and parts.password):
                what = f"`{name}` of <{one.name}> holds what looks like a key; Twilio's request log keeps it."
                yield one, "secret-in-twiml", ERROR, what, "Pass a token that works once and for this call."
        if looks_secret(one.text):
            what = f"The text of <{one.name}> holds what looks like a key; Twilio's request log keeps it."
            yield one, "secret-in-twiml", ERROR, what, "Take it out."


def _all(element: Element) -> Iterator[Element]:
    for one in element.inside:
        yield one
        yield from _all(one)
