"""Vapi's one webhook. Proved before it is read, answered in the shape that each message wants (reference/vapi.md §6).

Only `tool-calls` (and the old `function-call`) waits, for the tool; everything else is answered from memory, without
an await. `VapiDoor` knows no server: the Quart route here and `web.fast_http` both put their requests to it. With
several workers a webhook may be for a call of another one, which then answers it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import structlog
from quart import Response, request
from quart_trio import QuartTrio

from actors.supervisor import Supervisor
from engine.errors import BadMessage, Refused
from engine.wire import vapi
from engine.wire.signatures import Headers, VapiAuth
from web.bodies import raw_body
from web.fast_http import Answer, Later
from web.siblings import FORWARD_S, NOT_KNOWN, Siblings

__all__ = ["VAPI_PATH", "VapiDoor", "add_vapi_hooks"]

log = structlog.get_logger(__name__)

VAPI_PATH = "/webhook/vapi"
TOOL_ANSWER_S = 18.0  # Vapi's limit is 20 (§10); an apology that comes in time beats a result that does not
TEXT = "text/plain; charset=utf-8"

_NOTED = Answer(200, b"{}")
_STRANGER = b'{"error": "unauthorized"}'


class VapiDoor:
    """Answers Vapi's webhooks, whoever carries them.

    Args:
        assistant_answer: what an `assistant-request` gets, ready since the start: 7.5 s are its whole budget (§10).
        siblings: the other workers; None when there are none.
        hurry: called when a tool call comes in, which goes through several tasks before it is answered.
    """

    def __init__(
        self,
        *,
        supervisor: Supervisor,
        auth: VapiAuth,
        assistant_answer: Mapping[str, Any],
        siblings: Siblings | None = None,
        hurry: Callable[[], None] = lambda: None,
    ) -> None:
        self._supervisor, self._auth, self._siblings, self._hurry = supervisor, auth, siblings, hurry
        self.answer_requests_with(assistant_answer)

    def answer_requests_with(self, assistant_answer: Mapping[str, Any]) -> None:
        """From now on: what an `assistant-request` gets."""
        self._assistant = Answer(200, msgspec.json.encode(dict(assistant_answer)))

    async def answer(
        self, headers: Headers, body: bytes, now_s: float, *, query: bytes = b"", for_sibling: bool = False
    ) -> Answer:
        """Prove, read, do, answer. What is refused or unreadable is an answer too, and a line in the log."""
        first = self.first_step(headers, body, now_s, query=query, for_sibling=for_sibling)
        return first if isinstance(first, Answer) else await first()

    def first_step(
        self, headers: Headers, body: bytes, now_s: float, *, query: bytes = b"", for_sibling: bool = False
    ) -> Answer | Later:
        """As `answer`, as far as it goes without waiting: the answer, or what to await for it, once.

        Args:
            now_s: Unix seconds, for the replay window.
            query: of the address that Vapi asked; it may name the worker whose call this is.
            for_sibling: another worker asks: answer for this one alone, with 404 for a call that it does not have.
        """
        try:
            self._auth.check(headers, body, now_s)
            message = vapi.read_webhook(body)
        except Refused as refused:
            log.warning("refused", path=VAPI_PATH, why=refused.why)
            return Answer(refused.status, _STRANGER)
        except BadMessage as problem:
            log.warning("unreadable", path=VAPI_PATH, why=problem.why)
            return Answer(400, f"{problem.why}\n".encode(), TEXT)
        if self._siblings is None or self._is_here(message):
            return self._dispatch(message)
        if for_sibling:
            return Answer(NOT_KNOWN, b"{}")
        if self._siblings.owner_of_vapi(query) == self._siblings.place.worker:
            return self._dispatch(message)  # of a process before this one: nobody has it
        siblings = self._siblings
        return lambda: self._elsewhere(siblings, message, headers, body, query)

    def _is_here(self, message: vapi.Webhook) -> bool:
        return isinstance(message.content, vapi.AssistantRequest) or self._supervisor.knows_agent_call(message.call_id)

    async def _elsewhere(
        self, siblings: Siblings, message: vapi.Webhook, headers: Headers, body: bytes, query: bytes
    ) -> Answer:
        """The answer of the worker whose call this is; ours, for a call that is not known, when there is none."""
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        target = VAPI_PATH.encode() + (b"?" + query if query else b"")
        owner = siblings.owner_of_vapi(query)
        if owner is None:  # a tool's own address, in a saved assistant, names no worker
            answer = await siblings.ask_all("POST", target, raw, body, within_s=FORWARD_S)
        else:
            answer = await siblings.forward(owner, "POST", target, raw, body)
        if answer is None or not answer.is_known:
            first = self._dispatch(message)
            return first if isinstance(first, Answer) else await first()
        return Answer(answer.status, answer.body, answer.content_type)

    def _dispatch(self, message: vapi.Webhook) -> Answer | Later:
        match message.content:
            case vapi.AssistantRequest():
                return self._assistant
            case vapi.ToolCalls(calls=calls):
                self._hurry()
                return lambda: self._run_tools(message.call_id, calls)
            case vapi.FunctionCall(call=asked):
                self._hurry()
                return lambda: self._run_function(message.call_id, asked)
            case vapi.EndOfCallReport(ended_reason=reason, cost_usd=cost_usd):
                self._supervisor.report(message.call_id, reason, cost_usd=cost_usd)
            case _:
                self._supervisor.heard_of(message.call_id, message.type)
        return _NOTED

    async def _run_tools(self, call_id: str, calls: tuple[vapi.ToolCall, ...]) -> Answer:
        results = await self._supervisor.run_tools(call_id, calls, deadline_s=TOOL_ANSWER_S)
        return Answer(200, vapi.tool_results(results))

    async def _run_function(self, call_id: str, asked: vapi.ToolCall) -> Answer:
        (result,) = await self._supervisor.run_tools(call_id, [asked], deadline_s=TOOL_ANSWER_S)
        return Answer(200, vapi.function_result(result))


def add_vapi_hooks(app: QuartTrio, door: VapiDoor, *, for_siblings: bool = False) -> None:
    """The route `/webhook/vapi`, for what the fast path does not carry."""

    @app.post(VAPI_PATH)
    async def webhook() -> Response:
        answer = await door.answer(
            request.headers, await raw_body(), time.time(), query=request.query_string, for_sibling=for_siblings
        )
        return Response(answer.body, answer.status, content_type=answer.content_type)
