"""From the checked body of POST /call to a call: which assistant, which transport, which server (vapi.md §3, §6.2)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from web.twins.vapi.clock import epoch_ms, iso, new_call_id
from web.twins.vapi.formats import format_of
from web.twins.vapi.problems import Problem
from web.twins.vapi.schemas import CALL, refuse
from web.twins.vapi.shelves import Shelf
from web.twins.vapi.state import CallRecord

__all__ = ["make_call"]

NO_NUMBER = "Couldn't Get Phone Number. Need Either `phoneNumberId` Or `phoneNumber`."
NO_ASSISTANT = "Couldn't Get Assistant. Need Either `assistantId` Or `assistant`."
_NOT_OFFERED = ("squadId", "squad", "workflowId", "workflow", "phoneCallProviderBypassEnabled", "schedulePlan")
_call_sids = itertools.count(1)


def make_call(body: Any, *, assistants: Shelf, numbers: Shelf, org_id: str, base_url: str) -> CallRecord:
    """A new call's record; nothing runs yet.

    Raises:
        Problem: 400 for what Vapi (or the twin) does not take, 404 for an assistant or a number that is not there.
    """
    refuse(CALL, body)
    asked = {name: entry for name, entry in body.items() if entry is not None}
    for name in _NOT_OFFERED:
        if asked.get(name):
            raise Problem(400, [f"{name}: the twin has none of this"])
    is_websocket = asked.get("transport", {}).get("provider") == "vapi.websocket"
    if is_websocket:
        wrong = [name for name in ("phoneNumberId", "phoneNumber") if name in asked]
        if wrong:
            raise Problem(400, [f"property {name} should not exist with transport vapi.websocket" for name in wrong])
    elif "phoneNumberId" not in asked and "phoneNumber" not in asked:
        raise Problem(400, NO_NUMBER)
    number = numbers.get(asked["phoneNumberId"]) if "phoneNumberId" in asked else asked.get("phoneNumber") or {}
    overrides = asked.get("assistantOverrides") or {}
    assistant = _effective(_base(asked, number, assistants), overrides)
    return CallRecord(
        body=_body(asked, org_id, base_url, is_websocket=is_websocket),
        assistant=assistant,
        variables=dict(overrides.get("variableValues") or {}),
        server=_server(assistant, number),
        created_ms=epoch_ms(),
        audio=format_of(asked["transport"]) if is_websocket else None,
    )


def _base(asked: Mapping[str, Any], number: Mapping[str, Any], assistants: Shelf) -> Mapping[str, Any]:
    if "assistant" in asked:
        return dict(asked["assistant"])
    assistant_id = asked.get("assistantId") or number.get("assistantId")
    if not assistant_id:
        raise Problem(400, NO_ASSISTANT)
    return assistants.get(assistant_id)


def _effective(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """An override replaces the assistant's whole object; only tools can be added to (§11.3)."""
    merged = {**base, **{name: entry for name, entry in overrides.items() if entry is not None}}
    merged.pop("variableValues", None)
    more = merged.pop("tools:append", None)
    if more:
        model = merged.get("model") or {}
        merged["model"] = {**model, "tools": [*(model.get("tools") or []), *more]}
    for stamp in ("createdAt", "updatedAt"):
        merged.pop(stamp, None)
    return merged


def _server(assistant: Mapping[str, Any], number: Mapping[str, Any]) -> dict[str, Any] | None:
    """The first that is set gets the events (§6.2); the twin's organisation has none."""
    for holder in (assistant, number):
        server = holder.get("server") or {}
        if server.get("url"):
            return dict(server)
    return None


def _body(asked: Mapping[str, Any], org_id: str, base_url: str, *, is_websocket: bool) -> dict[str, Any]:
    """The call object, as the samples have it. What was sent in `server` is not shown again: it may hold a secret."""
    call_id, now = new_call_id(), iso(epoch_ms())
    body: dict[str, Any] = {
        "id": call_id,
        "orgId": org_id,
        "createdAt": now,
        "updatedAt": now,
        "type": "vapi.websocketCall" if is_websocket else "outboundPhoneCall",
        "status": "queued",
    }
    if not is_websocket:
        body |= {"phoneCallProvider": "twilio", "phoneCallTransport": "pstn"}
    echoed = ("name", "assistantId", "assistant", "assistantOverrides", "phoneNumberId", "customer", "metadata")
    for name in echoed:
        if name in asked:
            entry = asked[name]
            hides = name in ("assistant", "assistantOverrides")
            body[name] = {key: one for key, one in entry.items() if key != "server"} if hides else entry
    if is_websocket:
        body["transport"] = {
            "provider": "vapi.websocket",
            "conversationType": "voice",
            "audioFormat": format_of(asked["transport"]).as_json(),
            "websocketCallUrl": f"{base_url.replace('http', 'ws', 1)}/{call_id}/transport",
        }
    else:
        sid = f"CA{next(_call_sids):032x}"
        body["transport"] = {"provider": "twilio", "conversationType": "voice", "callSid": sid}
        body["phoneCallProviderId"] = sid
    return body | {"cost": 0}
