"""HTTP tools: what an agent file says about a request, made once for each attempt. Fulfils `actors.tools.port.Tool`.

Says what it knows: a request that never went out was not done, whatever its effect; a `commit` whose answer was lost
may be done, and is never called failed. Logs hold the tool's name and kinds of trouble, never addresses or values.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

import httpcore
import idna
import structlog
import trio

from actors.net_guard import ForbiddenAddress
from actors.tools.outbound import Answer, Destination, Outbound, Sent
from actors.tools.port import BadArguments, ToolContext, ToolProblem
from engine.errors import BadSettings
from engine.http_answers import NO_ANSWER, NOT_CERTAIN, NOT_REACHED, outcome_of
from engine.http_tools import HttpTool, Unsendable, place_of, request_of
from engine.tool_parameters import Misfit, fit, schema_of
from engine.tools import ToolEffect, ToolSpec

log = structlog.get_logger(__name__)

USER_AGENT = "callscope/0.1 (+https://github.com/callscope/callscope)"
_USUAL_HEADERS = (("User-Agent", USER_AGENT), ("Accept", "application/json, text/plain;q=0.9"))
_OPERATORS = frozenset({301, 302, 303, 307, 308, 401, 403, 405, 415})  # not the caller's doing: somebody must look


class RequestTool:
    """One HTTP tool of an agent file.

    Raises:
        BadSettings: the URL cannot be used; says why, without quoting it.
    """

    def __init__(self, name: str, plan: HttpTool, outbound: Outbound) -> None:
        try:
            self._place = place_of(plan.url)
            self._to = Destination(
                self._place.scheme, _ascii_host(self._place.host), self._place.port, plan.allow_private
            )
        except ValueError as problem:
            raise BadSettings(f"tool {name}: `url` {problem}") from problem
        self._plan, self._outbound = plan, outbound
        self._spec = ToolSpec(
            name, plan.description, schema_of(plan.parameters), ToolEffect(plan.effect), plan.policy, plan.hidden
        )

    @property
    def spec(self) -> ToolSpec:
        return self._spec

    @property
    def takes_caller(self) -> bool:
        """Whether a cached answer is one caller's."""
        return self._plan.knows_caller

    def __repr__(self) -> str:
        return f"RequestTool({self._spec.name})"

    def fit(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """The arguments as the request takes them."""
        try:
            fitted = fit(self._plan.parameters, arguments)
            request_of(self._plan, self._place, fitted, {"caller.number": "0", "call.id": "0", "idempotency_key": "0"})
        except (Misfit, Unsendable) as misfit:
            raise BadArguments(str(misfit)) from misfit
        return fitted

    async def attempt(self, arguments: Mapping[str, Any], context: ToolContext) -> str:
        """Make the request once."""
        sent = Sent()
        with trio.move_on_after(self._plan.attempt_s):
            answer = await self._ask(arguments, context, sent)
            if answer.status in _OPERATORS:
                log.warning("a tool's service does not do what the agent file expects", tool=self._spec.name,
                            status=answer.status)  # fmt: skip
            outcome = outcome_of(self._plan, answer.status, answer.content_type, answer.body)
            if not outcome.ok:
                raise ToolProblem(outcome.words, again=outcome.again, sure=outcome.sure)
            return outcome.words
        raise self._lost(sent)

    async def _ask(self, arguments: Mapping[str, Any], context: ToolContext, sent: Sent) -> Answer:
        of_the_call = {
            "caller.number": context.caller.number,
            "call.id": context.caller.call_id,
            "idempotency_key": context.idempotency_key,
        }
        try:
            request = request_of(self._plan, self._place, arguments, of_the_call)
        except Unsendable as problem:
            raise ToolProblem(f"{self._spec.name} cannot be asked this way: {problem}") from None
        named = {name.lower() for name, _ in request.headers}
        usual = [one for one in _USUAL_HEADERS if one[0].lower() not in named]
        try:
            return await self._outbound.ask(
                self._to,
                method=request.method,
                target=request.target,
                headers=[*usual, ("Accept-Encoding", "gzip"), *request.headers],
                body=request.body,
                sent=sent,
                connect_s=self._plan.connect_s,
                most_bytes=self._plan.max_bytes,
                fresh=self._plan.effect == "commit",
            )
        except ForbiddenAddress as forbidden:
            log.warning("a tool's host may not be asked; is `allow_private: true` meant?", tool=self._spec.name,
                      why=forbidden.why)  # fmt: skip
            raise ToolProblem("The service cannot be asked from here; nothing was done.") from None
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as lost:
            log.warning("a tool's request was lost", tool=self._spec.name, why=type(lost).__name__, sent=sent.begun)
            raise self._lost(sent, is_forged=_is_forged(lost)) from None

    def _lost(self, sent: Sent, *, is_forged: bool = False) -> ToolProblem:
        """What is known when no answer came."""
        if not sent.begun:
            return ToolProblem(NOT_REACHED, again=not is_forged)
        if self._plan.effect == "commit":
            return ToolProblem(NOT_CERTAIN, sure=False)
        return ToolProblem(NO_ANSWER, again=True)


def _ascii_host(host: str) -> str:
    """A host as DNS and certificates know it.

    Raises:
        ValueError: it is none.
    """
    if host.isascii():
        return host
    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError as problem:
        raise ValueError("must have a host that can be a domain name") from problem


def _is_forged(lost: BaseException) -> bool:
    """Whether the other side could not prove who it is: trying again will not help."""
    seen: BaseException | None = lost
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
