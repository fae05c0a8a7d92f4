"""Tools of MCP servers: one session a server, opened when a call first needs it. Fulfils `actors.tools.port.Tool`.

A session lives in a task of its own, below the process and not below a call: calls come and go, and a call that is
cancelled in the middle takes nothing with it. A session that breaks is opened anew by the next call that needs it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
import trio

from actors.net_guard import Resolve
from actors.tools.port import BadArguments, ToolContext, ToolProblem
from engine.errors import BadSettings
from engine.http_answers import DONE_UNREAD, MOST_WORDS_CHARS, NO_ANSWER, NOT_CERTAIN, NOT_REACHED, UNREADABLE
from engine.mcp_tools import McpServer, McpTool, words_of
from engine.tool_parameters import Misfit, fit, schema_of
from engine.tools import ToolEffect, ToolSpec

if TYPE_CHECKING:
    from mcp import ClientSession

log = structlog.get_logger(__name__)

KEY = "callscope/idempotency-key"  # in `_meta`: MCP has no header of its own for it
MOST_PROBLEM_CHARS = 500
OLDEST_CLIENT = 2
_NOT_DONE = frozenset({-32600, -32601, -32602})  # JSON-RPC: no such request, method, parameters


def need_mcp() -> None:
    """Load the client now: it takes half a second, and no call should wait for it.

    Raises:
        BadSettings: it is not installed, or too old.
    """
    what = f"`mcp` needs the package mcp, version {OLDEST_CLIENT} or newer: pip install 'mcp>={OLDEST_CLIENT}'"
    if importlib.util.find_spec("mcp") is None or int(version("mcp").split(".")[0]) < OLDEST_CLIENT:
        raise BadSettings(what)
    try:
        importlib.import_module("actors.tools.mcp_wire")
    except ImportError as problem:
        raise BadSettings(f"{what} ({problem.name} is missing)") from problem


class McpHub:
    """The sessions of one process. `run` must be running for tools to work; without it they say so."""

    def __init__(self, *, resolve: Resolve | None = None) -> None:
        self._resolve = resolve
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold sessions until cancelled."""
        async with trio.open_nursery() as sessions:
            self._nursery = sessions
            try:
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._nursery = None

    async def open(self, line: McpLine) -> _Session:
        """A new session. Raises ToolProblem when it cannot be had."""
        if self._nursery is None:
            raise ToolProblem(NOT_REACHED)
        try:
            with trio.fail_after(line.plan.connect_s):
                session: _Session = await self._nursery.start(line.live, self._resolve)
        except trio.TooSlowError:
            why = "no answer in time"
        except Exception as lost:
            why = _first_of(lost)
        else:
            return session
        log.warning("an MCP server cannot be reached", server=line.name, why=why)
        raise ToolProblem(NOT_REACHED, again=True)


class _Session:
    """An open session. `over` is set when nobody should use it any more."""

    def __init__(self, client: ClientSession) -> None:
        self.client, self.over = client, trio.Event()


class McpLine:
    """The way to one server."""

    def __init__(self, name: str, plan: McpServer, folder: Path, hub: McpHub) -> None:
        self.name, self.plan, self._folder, self._hub = name, plan, folder, hub
        self._session: _Session | None = None
        self._opening = trio.Lock()

    async def session(self) -> _Session:
        """The open session, or a new one."""
        async with self._opening:
            if self._session is None or self._session.over.is_set():
                self._session = await self._hub.open(self)
            return self._session

    async def live(self, resolve: Resolve | None, *, task_status: trio.TaskStatus[_Session]) -> None:
        """One session, from its handshake until somebody calls it over. A failure before `started` is its opener's."""
        from actors.tools.mcp_wire import open_session  # noqa: PLC0415 — optional; loaded by `need_mcp`

        session: _Session | None = None
        try:
            async with open_session(self.plan, self._folder, resolve=resolve) as client:
                session = _Session(client)
                task_status.started(session)
                await session.over.wait()
        except Exception as lost:
            if session is None:
                raise
            log.warning("an MCP session broke", server=self.name, why=_first_of(lost))
        finally:
            if session is not None:
                session.over.set()


class RemoteTool:
    """One tool of an MCP server."""

    def __init__(self, name: str, plan: McpTool, line: McpLine) -> None:
        self._plan, self._line = plan, line
        self._spec = ToolSpec(
            name, plan.description, schema_of(plan.parameters), ToolEffect(plan.effect), plan.policy, plan.hidden
        )

    takes_caller = False  # MCP servers are told arguments and a key, not who calls

    @property
    def spec(self) -> ToolSpec:
        return self._spec

    def __repr__(self) -> str:
        return f"RemoteTool({self._spec.name})"

    def fit(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """The arguments as the server takes them."""
        try:
            return fit(self._plan.parameters, arguments)
        except Misfit as misfit:
            raise BadArguments(str(misfit)) from misfit

    async def attempt(self, arguments: Mapping[str, Any], context: ToolContext) -> str:
        """Call the tool once."""
        session: _Session | None = None
        meta = {KEY: context.idempotency_key} if self._plan.effect != "read" else None
        with trio.move_on_after(0.95 * self._plan.longest_s):
            session = await self._line.session()
            try:
                name = self._plan.remote or self._spec.name
                result = await session.client.call_tool(name, dict(arguments), meta=meta)  # type: ignore[arg-type]
            except Exception as lost:
                if getattr(lost, "code", 0) in _NOT_DONE:
                    log.warning("an MCP server does not know what the agent file asks", tool=self._spec.name)
                    raise ToolProblem("The service does not know how to do this; nothing was done.") from None
                session.over.set()  # its state is not known: the next call gets a new one
                log.warning("an MCP tool's answer was lost", tool=self._spec.name, why=_first_of(lost))
                raise self._lost() from None
            return self._told(
                [one.text for one in result.content if one.type == "text"], result.structured_content, result.is_error
            )
        raise ToolProblem(NOT_REACHED, again=True) if session is None else self._lost()

    def _told(self, texts: list[str], structured: Any, is_error: bool) -> str:
        words = words_of(texts, structured)
        if is_error:
            raise ToolProblem((words or UNREADABLE)[:MOST_PROBLEM_CHARS])
        if words is None:
            if self._plan.effect == "read":
                raise ToolProblem(UNREADABLE)
            return DONE_UNREAD
        return words[:MOST_WORDS_CHARS]

    def _lost(self) -> ToolProblem:
        if self._plan.effect == "commit":
            return ToolProblem(NOT_CERTAIN, sure=False)
        return ToolProblem(NO_ANSWER, again=True)


def _first_of(raised: BaseException) -> str:
    """What went wrong, by its kind: a message may hold addresses or values."""
    while isinstance(raised, BaseExceptionGroup):
        raised = raised.exceptions[0]
    return type(raised).__name__
