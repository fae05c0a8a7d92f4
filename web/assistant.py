"""The agent as Vapi knows it: bodies of its REST requests, and the wait until a fresh assistant can be found."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
import trio

from actors.vapi_rest import VapiRest
from engine.errors import VapiTrouble
from engine.interrupting import in_force, local_minutes
from engine.wire import vapi_calls
from engine.wire.signatures import VapiAuth
from web.agents import LoadedAgent
from web.settings import Settings
from web.siblings import Place

log = structlog.get_logger(__name__)

READY_DEADLINE_S = 30.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0  # between tries (reference/vapi.md §2: after a 429 wait 30 s)
POLL_S = 0.2  # how often the other workers look for what the first one found


@dataclass
class Assistant:
    """The Vapi assistant that calls are routed to, once Vapi itself can find it."""

    id: str | None = None
    why_not: str = "the assistant is not ready yet"


def server(settings: Settings, place: Place | None = None) -> dict[str, Any]:
    """Where Vapi sends its webhooks, and how it proves itself with the plain scheme.

    The other schemes are credentials of the Vapi account, named by id in the agent file's `assistant.server`.

    Args:
        place: for one call of a worker of several: its webhooks then name that worker. A saved assistant's cannot.
    """
    url = settings.public_url + "/webhook/vapi" + (f"?{place.vapi_query}" if place else "")
    configured: dict[str, Any] = {"url": url, "timeoutSeconds": 20}
    if settings.vapi_server_secret:
        configured["secret"] = settings.vapi_server_secret
    return configured


def assistant_body(settings: Settings, loaded: LoadedAgent, place: Place | None = None) -> dict[str, Any]:
    """The assistant with its tools and message lists, as `POST /assistant` takes it."""
    return vapi_calls.assistant_body(
        loaded.agent.assistant or {},
        tools=loaded.toolbox.specs,
        server=server(settings, place),
        turns=loaded.agent.turns,
    )


def assistant_answer(settings: Settings, loaded: LoadedAgent) -> dict[str, Any]:
    """What an `assistant-request` gets."""
    assistant_id = settings.vapi_assistant_id or loaded.agent.assistant_id
    return {"assistantId": assistant_id} if assistant_id else {"assistant": assistant_body(settings, loaded)}


def call_bodies(
    settings: Settings,
    loaded: LoadedAgent,
    assistant: Assistant,
    place: Place | None = None,
    wall_clock: Callable[[], float] = time.time,
) -> Callable[[str, str], Mapping[str, Any]]:
    """Makes the body of `POST /call` for one of our calls.

    A fresh assistant is named by its id only once Vapi finds it; until then the call carries it inline.
    """
    inline = assistant_body(settings, loaded, place) if loaded.agent.assistant is not None else None

    def body(call_id: str, caller_number: str) -> Mapping[str, Any]:
        return vapi_calls.create_call_body(
            assistant_id=assistant.id,
            assistant=None if assistant.id else inline,
            name=call_id,
            server=server(settings, place),
            variables={"caller": caller_number},
            stop_speaking=_plan_of_this_hour(loaded, wall_clock()),
        )

    return body


def _plan_of_this_hour(loaded: LoadedAgent, epoch_s: float) -> Mapping[str, Any] | None:
    """When Vapi's assistant stops speaking in a call that opens now; None where that is the same at every hour."""
    agent = loaded.agent
    keywords = agent.turns.keywords
    if agent.assistant is None or "stopSpeakingPlan" in agent.assistant or keywords is None or not keywords.hours:
        return None
    there = local_minutes(epoch_s, keywords.timezone)
    return vapi_calls.stop_speaking_plan(agent.turns, by_keyword=in_force(keywords, there))


async def prepare_assistant(
    vapi: VapiRest, settings: Settings, loaded: LoadedAgent, assistant: Assistant, place: Place | None = None
) -> None:
    """Find or create the assistant, and wait until Vapi finds it too. Goes on trying; says in one line what fails.

    Of several workers the first does it, and the others take what it found: two that look at once would both create.
    """
    wanted = settings.vapi_assistant_id or loaded.agent.assistant_id
    if not wanted and place is not None and place.worker != 0:
        wanted = await _from_first_worker(place)
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            found = wanted or await vapi.ensure_assistant(loaded.agent.name, assistant_body(settings, loaded))
            if not wanted and place is not None:
                _tell_other_workers(place, found)
            await vapi.wait_assistant_ready(found, deadline_s=READY_DEADLINE_S)
        except VapiTrouble as trouble:
            assistant.why_not = f"no assistant: {trouble}"
            log.error("no assistant yet", why=str(trouble), again_in_s=pause_s)  # noqa: TRY400 — one line, no traceback
            await trio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            continue
        assistant.id = found
        log.info("assistant ready", assistant=found)
        return


def _tell_other_workers(place: Place, assistant_id: str) -> None:
    unfinished = place.assistant_file.with_suffix(".new")
    unfinished.write_text(assistant_id, encoding="utf-8")
    unfinished.replace(place.assistant_file)


async def _from_first_worker(place: Place) -> str:
    while not place.assistant_file.exists():
        await trio.sleep(POLL_S)
    return place.assistant_file.read_text(encoding="utf-8")


def vapi_auth(settings: Settings) -> VapiAuth:
    """How Vapi's webhooks prove themselves: every scheme that has a secret."""
    return VapiAuth(
        shared_secret=settings.vapi_server_secret,
        bearer_token=settings.vapi_server_bearer_token,
        hmac_secret=settings.vapi_server_hmac_secret,
    )
