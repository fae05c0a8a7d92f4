"""An inbound call to a number without an assistant: `assistant-request` asks who shall answer (vapi.md §7, §10)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from web.twins.vapi.checks import anything, items, record, text
from web.twins.vapi.clock import epoch_ms, iso, new_call_id, new_id
from web.twins.vapi.problems import Problem
from web.twins.vapi.schemas import refuse
from web.twins.vapi.settings import TwinSettings
from web.twins.vapi.webhooks import Answer, Webhooks

__all__ = ["ring"]

_RING = record(
    {
        "url": text(like=r"https?://\S+"),
        "server": anything,
        "number": text(most=40),
        "customer": text(most=40),
        "accept": items(text()),
    }
)
_CHOICES = ("assistantId", "assistant", "squadId", "squad", "workflowId", "workflow", "destination", "error")


async def ring(order: Any, *, webhooks: Webhooks, settings: TwinSettings) -> dict[str, Any]:
    """Ask `url` (or `server.url`, with its auth), and report the answer, its delay and whether Vapi would take it.

    Raises:
        Problem: the order does not say whom to ask.
    """
    refuse(_RING, order)
    server = {**(order.get("server") or {}), **({"url": order["url"]} if order.get("url") else {})}
    if not server.get("url"):
        raise Problem(400, ["url should not be empty"])
    message = _request(settings, order.get("number", "+15555550100"), order.get("customer", "+15555550142"))
    limit_s = settings.dials.assistant_request_s
    body = msgspec.json.encode({"message": message})
    answer = await webhooks.send({**server, "backoffPlan": None}, body, call_id=message["call"]["id"], limit_s=limit_s)
    problem = _problem(answer)
    return {
        "ok": not problem,
        "problem": problem,
        "status": answer.status,
        "took_ms": round(answer.took_ms, 1),
        "limit_ms": round(limit_s * 1000),
        "answer": answer.json(),
    }


def _problem(answer: Answer) -> str:
    if answer.status is None:
        return answer.problem
    if not answer.is_good:
        return f"answered {answer.status}, not 2xx"
    body = answer.json()
    if not isinstance(body, Mapping):
        return "the answer is no JSON object"
    chosen = [name for name in _CHOICES if body.get(name) is not None]
    return "" if len(chosen) == 1 else f"exactly one of {', '.join(_CHOICES)} is wanted, there are {len(chosen)}"


def _request(settings: TwinSettings, number: str, customer: str) -> dict[str, Any]:
    now = iso(epoch_ms())
    number_id, org_id = new_id(), settings.org_id
    sid = "AC" + "0" * 31 + "1"
    return {
        "timestamp": epoch_ms(),
        "type": "assistant-request",
        "call": {
            "id": new_call_id(),
            "orgId": org_id,
            "createdAt": now,
            "updatedAt": now,
            "type": "inboundPhoneCall",
            "status": "ringing",
            "phoneCallProvider": "twilio",
            "phoneCallProviderId": "CA" + "0" * 31 + "1",
            "phoneCallTransport": "pstn",
            "phoneNumberId": number_id,
            "assistantId": None,
            "squadId": None,
            "customer": {"number": customer},
        },
        "phoneNumber": {
            "id": number_id,
            "orgId": org_id,
            "provider": "twilio",
            "number": number,
            "name": "Front desk",
            "createdAt": now,
            "updatedAt": now,
            "twilioAccountSid": sid,
            "assistantId": None,
            "status": "active",
        },
        "customer": {"number": customer},
        "artifact": {"messages": [], "messagesOpenAIFormatted": []},
    }
