"""Vapi's one webhook. Proved before it is read, answered in the shape that each message wants (reference/vapi.md §6).

Only `tool-calls` (and the old `function-call`) waits, for the tool; everything else is answered from memory.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec
import structlog
from quart import Response, request
from quart_trio import QuartTrio

from actors.supervisor import Supervisor
from engine.wire import vapi
from engine.wire.signatures import VapiAuth
from web.bodies import raw_body

log = structlog.get_logger(__name__)

TOOL_ANSWER_S = 18.0  # Vapi's limit is 20 (§10); an apology that comes in time beats a result that does not
_ENCODER = msgspec.json.Encoder()


def add_vapi_hooks(
    app: QuartTrio, *, supervisor: Supervisor, auth: VapiAuth, assistant_answer: Mapping[str, Any]
) -> None:
    """The route `/webhook/vapi`.

    Args:
        assistant_answer: what an `assistant-request` gets, ready since the start: 7.5 s are its whole budget (§10).
    """
    ready_answer = _ENCODER.encode(dict(assistant_answer))

    @app.post("/webhook/vapi")
    async def webhook() -> Response:
        body = await raw_body()
        auth.check(request.headers, body, time.time())
        message = vapi.read_webhook(body)
        match message.content:
            case vapi.AssistantRequest():
                return _json(ready_answer)
            case vapi.ToolCalls(calls=calls):
                results = await supervisor.run_tools(message.call_id, calls, deadline_s=TOOL_ANSWER_S)
                return _json(vapi.tool_results(results))
            case vapi.FunctionCall(call=asked):
                (result,) = await supervisor.run_tools(message.call_id, [asked], deadline_s=TOOL_ANSWER_S)
                return _json(vapi.function_result(result))
            case vapi.EndOfCallReport(ended_reason=reason):
                supervisor.report(message.call_id, reason)
            case _:
                supervisor.heard_of(message.call_id, message.type)
        return _json(b"{}")


def _json(body: bytes) -> Response:
    return Response(body, 200, content_type="application/json")
