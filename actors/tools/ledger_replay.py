"""Tool calls of a call that no process has any more: a webhook that was sent again after a crash.

The journal says how far the first one came, and `engine.ledger.TABLE` what then becomes of it. A result is given again;
a commit without one is not repeated; what may be repeated is, with the same key. What happens here is written into that
call's own journal.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

import structlog
import trio

from actors.call_journal import CallJournal
from actors.ports import Journal
from actors.tools.detached import Detached
from actors.tools.ledger import ToolLedger
from actors.tools.port import BadArguments, Caller, ToolContext
from actors.tools.runner import Outcome, ToolRunner
from actors.tools.toolbox import Toolbox
from engine import ledger
from engine.errors import BadSettings, JournalUnavailable
from engine.ledger import Fate, Happening, Past, Stage
from engine.tools import ToolEffect, ToolResult
from engine.wire import vapi

log = structlog.get_logger(__name__)

MOST_REMEMBERED = 1000
NOT_KNOWN_HERE = "This call is not known here."
NOT_NOW = "{name} cannot be answered just now."


class _Answering:
    """One answer that is being found, for however many webhooks wait for it."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.result: ToolResult | None = None


class LedgerReplay:
    """Answers for calls of dead processes.

    Args:
        ledger_port: None: nothing is known of any.
        toolbox: the present tools.
    """

    def __init__(
        self,
        ledger_port: ToolLedger | None,
        *,
        journal: Journal,
        toolbox: Callable[[], Toolbox],
        runner: ToolRunner,
        home: Detached,
    ) -> None:
        self._ledger, self._journal, self._toolbox = ledger_port, journal, toolbox
        self._runner, self._home = runner, home
        self._answers: OrderedDict[tuple[str, str], _Answering] = OrderedDict()

    async def answer(
        self, agent_call_id: str, asked: Sequence[vapi.ToolCall], *, deadline_s: float
    ) -> list[ToolResult]:
        """One answer for each, in order, within the deadline."""
        if self._ledger is None:
            await trio.lowlevel.checkpoint()
            return [ToolResult(one.id, one.name, NOT_KNOWN_HERE, ok=False) for one in asked]
        finding = [self._find(agent_call_id, one) for one in asked]
        with trio.move_on_after(deadline_s):
            for one in finding:
                await one.done.wait()
        return [
            found.result or ToolResult(one.id, one.name, NOT_NOW.format(name=one.name[:64]), ok=False)
            for one, found in zip(asked, finding, strict=True)
        ]

    def _find(self, agent_call_id: str, asked: vapi.ToolCall) -> _Answering:
        key = agent_call_id, asked.id
        known = self._answers.get(key)
        if known is not None:
            return known
        answering = self._answers[key] = _Answering()
        while len(self._answers) > MOST_REMEMBERED:
            self._answers.popitem(last=False)
        if not self._home.start(self._answer, key, asked, answering):
            answering.done.set()
        return answering

    async def _answer(self, key: tuple[str, str], asked: vapi.ToolCall, answering: _Answering) -> None:
        try:
            answering.result = await self._decide(key[0], asked)
        except (BadSettings, JournalUnavailable) as trouble:
            log.exception("the ledger could not be asked", why=str(trouble))
        finally:
            if answering.result is None:
                self._answers.pop(key, None)  # the next webhook may have more luck
            answering.done.set()

    async def _decide(self, agent_call_id: str, asked: vapi.ToolCall) -> ToolResult:
        past = await self._ledger.find(agent_call_id, asked.id) if self._ledger is not None else None
        if past is None:
            return ToolResult(asked.id, asked.name, NOT_KNOWN_HERE, ok=False)
        journal = CallJournal(self._journal, past.call_id, opened_at=_opened_at(past), seq=past.next_seq)
        if past.result is not None:
            journal.try_note("ToolRepeated", {"tool_call_id": asked.id, "after_restart": True})
            return past.result
        name = past.name or asked.name[: ledger.MOST_NAME_CHARS]
        begun = past.stage in ledger.BEGUN
        match ledger.fate(past.effect, past.stage, Happening.RESTARTED) if past.name else Fate.DISCARD:
            case Fate.RUN_AGAIN if past.effect is ToolEffect.READ or not past.overtaken:
                return await self._run_again(past, journal)
            case Fate.NOT_KNOWN | Fate.RUN_AGAIN:
                text = ledger.UNSURE.format(name=name)
            case _:
                text = ledger.OVER if begun or not past.name else ledger.LOST.format(name=name)
        return await self._keep(journal, past, name, Outcome(text, ok=False, began=False))

    async def _run_again(self, past: Past, journal: CallJournal) -> ToolResult:
        """With the arguments and the key of the first time."""
        tool = self._toolbox().tools.get(past.name)
        if tool is None or tool.spec.effect is not past.effect:
            return await self._keep(journal, past, past.name, Outcome(ledger.OVER, ok=False, began=False))
        try:
            fitting = tool.fit(past.arguments)
        except BadArguments:
            return await self._keep(journal, past, past.name, Outcome(ledger.OVER, ok=False, began=False))
        context = ToolContext(Caller(past.call_id, past.number, past.variables), past.tool_call_id, past.key)
        with self._home.shield():
            outcome = await self._runner.run(tool, fitting, context)
            return await self._keep(journal, past, past.name, outcome)

    async def _keep(self, journal: CallJournal, past: Past, name: str, outcome: Outcome) -> ToolResult:
        """The answer is durable before it is told, so that it stays the same."""
        data = {"tool_call_id": past.tool_call_id, "name": name, "ok": outcome.ok, "text": outcome.text}
        data |= {"effect": past.effect.value, "after_restart": True, "attempts": outcome.attempts}
        if past.effect is ToolEffect.READ and past.stage is Stage.WAITING:
            journal.try_note("ToolResult", data)
        else:
            await journal.commit("ToolResult", trio.current_time(), data)
        return ToolResult(past.tool_call_id, name, outcome.text, outcome.ok)


def _opened_at(past: Past) -> float:
    """On Trio's clock, so that the call's own goes on."""
    return trio.current_time() - (time.time() - past.opened_wall_s)
