"""The handset: whether this service can be phoned from its console, and which call of ours a handset's call is.

Only a twin on this machine has handsets. With the real Twilio there is none, and the page may not reach for one.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import trio
from quart import Response, request
from quart_trio import QuartTrio

from actors.journal_reader import NoJournal, reading
from engine.agent import Agent
from web.api.access import Access
from web.api.problems import Problem
from web.settings import Settings, is_loopback

__all__ = ["Handset", "HandsetCall", "add_handset", "handset_origin"]

PHONE_PATH = "/twin/phone"
YOUNG_S = 3600.0
MOST_PHRASES = 12
DIGITS_SLOT, SOME_DIGITS = "<digits>", "five five five zero one"  # as web.twins.speech.grammar has it
_CALL_SID = re.compile(r"CA[0-9a-f]{32}")


class Handset(msgspec.Struct, frozen=True):
    """Where the console's handset phones, and what one may say there."""

    available: bool
    url: str | None = None  # a websocket of the Twilio twin
    why_not: str | None = None
    number: str | None = None
    phrases: list[str] = []  # what the offline agent understands, an example of each
    script: list[dict[str, Any]] = []  # the steps of the agent file's scripted caller


class HandsetCall(msgspec.Struct, frozen=True):
    id: str


def handset_origin(settings: Settings) -> str:
    """The origin of the twin's websocket; empty when there is none."""
    base = urlsplit(settings.twilio_base_url)
    if base.scheme not in ("http", "https") or not is_loopback(settings.twilio_base_url):
        return ""
    return f"{'wss' if base.scheme == 'https' else 'ws'}://{base.netloc}"


def add_handset(app: QuartTrio, access: Access, settings: Settings, journal: Path, agent: Callable[[], Agent]) -> None:
    """Routes under `/api/handset`, for operators.

    Args:
        agent: the version that new calls get.
    """

    @app.get("/api/handset")
    async def handset_described() -> Response:
        access.require("operator")
        return _json(handset_of(settings, agent()))

    @app.get("/api/handset/call")
    async def which() -> Response:
        access.require("operator")
        call_sid = request.args.get("sid", "")
        if not _CALL_SID.fullmatch(call_sid):
            raise Problem(400, "`sid` is Twilio's name of a call: CA and 32 digits.", kind="parameter")
        call_id = await trio.to_thread.run_sync(_call_of, journal, call_sid)
        if call_id is None:
            raise Problem(404, "No call goes by that name. A new one is known a moment after it rings.", kind="no-call")
        return _json(HandsetCall(call_id))


def handset_of(settings: Settings, agent: Agent) -> Handset:
    origin = handset_origin(settings)
    if not origin:
        why_not = "This service works with the real Twilio: phone it with a telephone."
        return Handset(available=False, why_not=why_not, number=settings.twilio_phone_number or None)
    if not settings.twilio_phone_number:
        why_not = "There is no number to phone: set TWILIO_PHONE_NUMBER to the twin's, such as +12025550199."
        return Handset(available=False, why_not=why_not)
    return Handset(
        available=True,
        url=origin + PHONE_PATH,
        number=settings.twilio_phone_number,
        phrases=_phrases(agent) if is_loopback(settings.vapi_base_url) else [],
        script=_script(agent),
    )


def _phrases(agent: Agent) -> list[str]:
    """The shortest way to say each thing that the scripted brain listens for."""
    heard = [min(reply.hear, key=len) for reply in agent.twin.replies if reply.hear]
    return list(dict.fromkeys(one.replace(DIGITS_SLOT, SOME_DIGITS) for one in heard))[:MOST_PHRASES]


def _script(agent: Agent) -> list[dict[str, Any]]:
    return [msgspec.to_builtins(step) for step in agent.twin.caller]


def _call_of(journal: Path, call_sid: str) -> str | None:
    """Blocks: for a thread."""
    query = "SELECT call_id FROM calls WHERE twilio_call_sid = ? AND started_wall_s > ?"
    try:
        with reading(journal) as connection:
            found = connection.execute(query, (call_sid, time.time() - YOUNG_S)).fetchone()
    except NoJournal:
        return None
    return None if found is None else str(found[0])


def _json(what: Any) -> Response:
    return Response(msgspec.json.encode(what), 200, content_type="application/json")
