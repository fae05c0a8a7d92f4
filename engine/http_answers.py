"""What an HTTP tool's answer means to the caller: status and body in, words out. Pure; trusts nothing in the answer."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from engine.http_tools import HttpTool
from engine.ledger import UNSURE
from engine.templates import MISSING, Slot, as_text, look_up, pieces

MOST_WORDS_CHARS = 4000
NOT_CERTAIN = UNSURE.format(name="this")
UNREADABLE = "The service gave an answer that could not be understood."
DONE_UNREAD = "The service accepted this, but gave no details that could be understood."
NO_ANSWER = "The service did not answer in time."
NOT_REACHED = "The service cannot be reached just now; nothing was done."
_REFUSALS = {
    400: "The service did not accept these details.",
    401: "The service did not let us in.",
    402: "The service asks for a payment first.",
    403: "The service does not allow this.",
    404: "Nothing was found for these details.",
    409: "This conflicts with something that is already there.",
    410: "This is no longer available.",
    422: "The service did not accept these details.",
    429: "The service is busy just now.",
    503: "The service is busy just now.",
}
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_NOT_DONE = frozenset({429, 503})  # of these, a server says that it did not begin
_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin-1", "windows-1252", "utf-16"})
_JSON_TYPE = re.compile(r"application/(?:[\w.+-]+\+)?json|text/json")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ufffd]")


class Outcome(msgspec.Struct, frozen=True):
    """What the model is told. `again`: another attempt may help. `sure`: False when it may have been done or not."""

    words: str
    ok: bool
    again: bool = False
    sure: bool = True


def outcome_of(tool: HttpTool, status: int, content_type: str, body: bytes | None) -> Outcome:
    """The meaning of an answer.

    Args:
        body: None when it was too long, or packed in a way we cannot read.
    """
    data, text = _read(content_type, body)
    if 200 <= status < 300:
        words = _result(tool, data, text)
        if words is not None:
            return Outcome(words[:MOST_WORDS_CHARS], ok=True)
        return Outcome(UNREADABLE, ok=False) if tool.effect == "read" else Outcome(DONE_UNREAD, ok=True)
    said = tool.problems.get(str(status)) or tool.problems.get(f"{status // 100}xx")
    own = _filled(said, data) if said else None
    if tool.effect == "commit" and status >= 500 and status not in _NOT_DONE:
        return Outcome(NOT_CERTAIN, ok=False, sure=False)
    if own is not None:
        return Outcome(own[:MOST_WORDS_CHARS], ok=False, again=status in _AGAIN)
    if 300 <= status < 400:
        return Outcome("The service has moved and could not be asked.", ok=False)
    usual = "The service has a problem just now." if status >= 500 else "The service refused this."
    return Outcome(_REFUSALS.get(status, usual), ok=False, again=status in _AGAIN)


def _read(content_type: str, body: bytes | None) -> tuple[Any, str | None]:
    """An answer's JSON, or `MISSING`, and its text, or None for what nobody should say aloud."""
    if body is None:
        return MISSING, None
    kind, _, options = content_type.lower().partition(";")
    kind = kind.strip()
    if _JSON_TYPE.fullmatch(kind) or (not kind and body[:1] in (b"{", b"[")):
        try:
            return msgspec.json.decode(body.removeprefix(b"\xef\xbb\xbf")), None
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return MISSING, None if body.strip() else ""
    charset = re.search(r"charset=[\"']?([\w-]+)", options)
    name = charset[1] if charset else "utf-8"
    if kind not in ("", "text/plain") or name not in _CHARSETS:
        return MISSING, None if body.strip() else ""
    try:
        text = " ".join(body.decode(name).split())
    except UnicodeDecodeError:
        return MISSING, None
    return MISSING, None if text.startswith("<") or _UNPRINTABLE.search(text) else text


def _result(tool: HttpTool, data: Any, text: str | None) -> str | None:
    """The words of a good answer; None if there are none that make sense."""
    if tool.result:
        return _filled(tool.result, data)
    if data is not MISSING:
        return _one_line(data)
    if text == "":
        return "The answer was empty." if tool.effect == "read" else "Done."
    return text


def _filled(template: str, data: Any) -> str | None:
    """A text with its places filled from the JSON answer, `unknown` for what is not in it; None if nothing is."""
    filled, found, places = [], 0, 0
    for piece in pieces(template):
        if isinstance(piece, Slot):
            value = look_up(data, piece.name)
            places += 1
            found += value is not MISSING
            filled.append("unknown" if value is MISSING or value is None else _one_line(value))
        else:
            filled.append(piece)
    return None if places and not found else " ".join("".join(filled).split())


def _one_line(value: Any) -> str:
    text = msgspec.json.encode(value).decode() if isinstance(value, dict | list) else as_text(value)
    return " ".join(_UNPRINTABLE.sub(" ", text).split())
