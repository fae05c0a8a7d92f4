"""The tool calls of one call: what may begin, what is told to whom, and what an interruption or a hang-up does to them.

Every ask ends in one answer, the same for each copy of its webhook. What changes the world begins only once the caller
is known not to have cut in, after its intent is durable; its result is durable before it is told, and is never lost:
when the webhook is gone, or the turn may be, it goes into the agent's conversation. The rules are `engine.ledger`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any

import structlog
import trio

from actors.supervision import RestartBudget
from actors.tool_host import NoHost, ToolHost
from actors.tool_news import ToolNews
from actors.tool_run import ToolRun
from actors.tool_same import SameAgain
from actors.tool_undo import ToolUndo
from actors.tools.detached import Detached
from actors.tools.port import BadArguments, Caller, CallOrders, ToolContext
from actors.tools.runner import Outcome, ToolRunner
from actors.tools.toolbox import Toolbox, misfits
from engine import effects as f
from engine import events as e
from engine import ledger
from engine.call import Call
from engine.errors import JournalUnavailable
from engine.ledger import Fate, Happening, Ruling, Stage
from engine.tools import LONGEST_TOOL_S, ToolEffect, ToolResult
from engine.wire import vapi

log = structlog.get_logger(__name__)

MOST_RUNS = 256  # remembered per call, so that a repeated webhook gets the first answer; then the oldest told go
LONGEST_WAIT_S = 14.0  # for the caller's decision, or for a speech to be heard; then it does not begin
MOST_CRASHES, CRASHES_WITHIN_S = 3, 10.0  # of one tool in one call; then it is switched off (reliability.md F25)

TOO_LARGE = "The arguments of {name} are too large. Say less."
NOT_KEPT = "{name} was not begun, because it could not be written down first. Nothing was done."
SWITCHED_OFF = "{name} keeps failing and is switched off for this call. Say so, and offer something else."
TOO_MANY = "Too many tools were asked for in this call."
BROKE = "{name} failed. Nothing more is known."


_NO_EXTRAS: Mapping[str, Any] = {}


class ToolRuns:
    """The tool calls of one call.

    Args:
        home: where runs live; some outlive the call.
        orders: what built-in tools may order of the call.
    """

    def __init__(
        self,
        host: ToolHost,
        *,
        toolbox: Toolbox,
        runner: ToolRunner,
        home: Detached,
        caller: Caller,
        orders: CallOrders | None = None,
    ) -> None:
        self._host: ToolHost = host
        self._toolbox, self._runner, self._home = toolbox, runner, home
        self._caller, self._orders = caller, orders
        self._runs: dict[str, ToolRun] = {}
        self._cut_asks: dict[tuple[str, bytes], float] = {}  # which interruption discarded it
        self._crashes: dict[str, RestartBudget] = {}
        self._off: set[str] = set()
        self._waiting: set[ToolRun] = set()  # for the caller to decide, or for a speech to be heard
        self._cut_seen = 0.0
        self._over = False
        self._news = ToolNews(host, home)
        self._same = SameAgain(host)
        self._undo = ToolUndo(host, self._runs, toolbox=toolbox, runner=runner, home=home, caller=caller)

    # --- webhooks ----------------------------------------------------------------------------------------------------

    async def answer(self, asked: Sequence[vapi.ToolCall], *, deadline_s: float) -> list[ToolResult]:
        """Answers for Vapi's `tool-calls`, in order, one for each, within the deadline."""
        until = trio.current_time() + deadline_s
        runs = [self._ask(one) for one in asked]
        for run in runs:
            run.waiting += 1
        try:
            for run in runs:
                await run.wait_answer(until)
        finally:
            for run in runs:
                run.waiting -= 1
        return [self._tell(run) for run in runs]

    def _tell(self, run: ToolRun) -> ToolResult:
        """The answer leaves now."""
        if run.result is None:
            self._put_off(run)
        elif run.stage is Stage.DONE and not self._over:
            run.stage, run.utterance = Stage.TOLD, self._host.call.utterance
        return run.answer()

    def _put_off(self, run: ToolRun) -> None:
        """Vapi does not wait for it any more."""
        if run.put_off:
            return
        run.put_off = True
        now = trio.current_time()
        self._host.journal.try_note("ToolPutOff", {"tool_call_id": run.tool_call_id, "name": run.name})
        self._post_answered(run, now, ok=True, goes_on=True)

    def _ask(self, asked: vapi.ToolCall) -> ToolRun:
        known = self._runs.get(asked.id)
        if known is not None:
            self._note_repeated(known, asked)
            return known
        now = trio.current_time()
        run = ToolRun(asked.id, asked.name, now)
        if self._over or self._is_full():
            self._finish(run, TOO_MANY if not self._over else ledger.OVER, ok=False, stage=Stage.DISCARDED)
            return run
        self._runs[asked.id] = run
        why_not = self._fit(run, asked)
        if why_not:
            self._finish(run, why_not, ok=False, stage=Stage.DISCARDED)
            return run
        run.is_known = True
        self._host.post(
            e.ToolRequested(
                at=now,
                tool_call_id=asked.id,
                name=asked.name,
                arguments=dict(asked.arguments),
                effect=run.effect.value,
            )
        )
        return run

    def _fit(self, run: ToolRun, asked: vapi.ToolCall) -> str:
        """Take the arguments; why they cannot be taken, in words for the model."""
        if asked.problem is not None:
            return asked.problem
        tool = self._toolbox.tools.get(asked.name)
        if tool is None or tool.spec.hidden:
            return self._toolbox.unknown(asked.name)
        if asked.name in self._off:
            return SWITCHED_OFF.format(name=asked.name)
        try:
            raw = ledger.canonical(asked.arguments)
            if len(raw) > ledger.MOST_ARGUMENT_BYTES:
                return TOO_LARGE.format(name=asked.name)
            run.raw, run.tool, run.effect = hash(raw), tool, tool.spec.effect
            run.arguments, run.fitting = asked.arguments, tool.fit(asked.arguments)
            run.same = ledger.canonical(run.fitting)
        except BadArguments as misfit:
            return misfits(asked.name, misfit)
        except Exception as crash:  # the tool's own mistake; its text may hold a caller's words
            log.error("arguments could not be read", tool=asked.name, why=type(crash).__name__)  # noqa: TRY400
            return BROKE.format(name=asked.name)
        return ""

    def _note_repeated(self, run: ToolRun, asked: vapi.ToolCall) -> None:
        data: dict[str, Any] = {"tool_call_id": asked.id}
        with suppress(TypeError, ValueError, RecursionError):
            if run.raw and hash(ledger.canonical(asked.arguments)) != run.raw:
                data["other_arguments"] = True  # the first ones count
        self._host.journal.try_note("ToolRepeated", data)

    def _is_full(self) -> bool:
        if len(self._runs) < MOST_RUNS:
            return False
        runs = self._runs.values()
        settled = (run for run in runs if run.done.is_set() and (run.effect is ToolEffect.READ or not run.did_it))
        oldest = next(settled, None) or next((run for run in runs if run.stage is Stage.TOLD), None)
        if oldest is not None:
            del self._runs[oldest.tool_call_id]
        return oldest is None

    # --- the call's orders -------------------------------------------------------------------------------------------

    def begin(self, order: f.RunTool) -> None:
        """The call's rules let it run, as soon as its effect may happen."""
        run = self._runs.get(order.tool_call_id)
        if run is None or run.ordered or run.done.is_set():
            return
        run.ordered = True
        if not self._home.start(self._live, run):
            self._finish(run, ledger.OVER, ok=False, stage=Stage.DISCARDED)

    def drop(self, tool_call_id: str) -> None:
        """The call's rules do not let it run."""
        run = self._runs.get(tool_call_id)
        if run is not None and not run.ordered and not run.done.is_set():
            self._finish(run, ledger.OVER, ok=False, stage=Stage.DISCARDED)

    def after_step(self) -> None:
        """The call's state has changed: what waits for it is looked at again. Quick: called after each step."""
        call = self._host.call
        for run in self._waiting:
            if self._ruling(run) is not Ruling.WAIT:
                run.changed.set()
        if call.cut_at != self._cut_seen:
            self._cut_seen = call.cut_at
            self._cut_in(call)
        self._news.after_step()

    def over(self) -> None:
        """The call is over: what that means for each is in the ledger's table. Twice is once."""
        if self._over:
            return
        self._over = True
        self._host, self._orders = NoHost(self._host.call, self._host.journal), None
        for part in (self._news, self._same, self._undo):
            part.over(self._host)
        for run in list(self._runs.values()):
            if run.done.is_set():
                self._undo.if_untold(run, self._settle)
                continue
            match ledger.fate(run.effect, run.stage, Happening.HUNG_UP):
                case Fate.CANCEL:
                    run.scope.cancel()
                case Fate.DISCARD if run.ordered:
                    run.why_not = ledger.OVER
                    run.changed.set()
                case Fate.DISCARD:
                    self._finish(run, ledger.OVER, ok=False, stage=Stage.DISCARDED)

    def remembered(self) -> dict[str, ToolRun]:
        """What late webhooks may still ask for."""
        return dict(self._runs)

    def _cut_in(self, call: Call) -> None:
        """The caller cut in. What the model was told in the turn that is gone now, it may have forgotten with it."""
        for run in self._runs.values():
            told_in_it = run.stage is Stage.TOLD and run.did_it and run.utterance == call.utterance
            if told_in_it and not run.put_off and self._is_told_again(run):
                self._news.tell_again(run)
            elif run.stage is Stage.RUNNING and run.effect is ToolEffect.READ and self._is_useless(run):
                run.scope.cancel()

    def _is_told_again(self, run: ToolRun) -> bool:
        return ledger.fate(run.effect, Stage.RUNNING, Happening.INTERRUPTED) is Fate.GO_ON_AND_TELL

    def _is_useless(self, run: ToolRun) -> bool:
        """Its turn is gone, nobody waits for it, and nobody will ask for it from memory."""
        cached = run.tool is not None and run.tool.spec.policy.cache_s > 0
        return not run.waiting and not run.put_off and not cached

    # --- one run -----------------------------------------------------------------------------------------------------

    async def _live(self, run: ToolRun) -> None:
        outcome: Outcome | None = None
        try:
            with run.scope:
                outcome = await self._wait_and_run(run)
        except Exception as crash:
            log.exception("tool run crashed", call=self._host.journal.call_id, tool=run.name)
            outcome = Outcome(
                BROKE.format(name=run.name), ok=False, sure=run.stage is not Stage.RUNNING, began=run.began_at > 0
            )
            self._host.journal.try_note("ToolBroke", {"tool_call_id": run.tool_call_id, "why": type(crash).__name__})
        finally:
            if outcome is None and not run.done.is_set():  # cut short
                stage = Stage.CANCELLED if run.stage is Stage.RUNNING else Stage.DISCARDED
                self._finish(run, run.why_not or ledger.OVER, ok=False, stage=stage)
        if outcome is not None and not run.done.is_set():
            await self._settle(run, outcome)

    async def _wait_and_run(self, run: ToolRun) -> Outcome | None:
        """The run's outcome; None when it was answered without one."""
        if not await self._wait_allowed(run):
            self._discard(run)
            return None
        if await self._same.is_the_same_again(run, self._finish) or self._same.must_be_confirmed(run, self._finish):
            return None
        tool = run.tool
        assert tool is not None
        run.key = ledger.key_of(self._host.journal.call_id, run.name, run.same, run.number)
        context = ToolContext(self._caller, run.tool_call_id, run.key, self._orders)
        cached = self._runner.cached(tool, run.fitting, context)
        if cached is not None:
            return cached
        until = None if tool.spec.policy.background_s else run.asked_at + LONGEST_TOOL_S
        with ExitStack() as kept:
            if run.effect is not ToolEffect.READ:
                kept.enter_context(self._home.shield())
            outcome = await self._runner.run(
                tool, run.fitting, context, before=lambda: self._may_begin(run), until=until
            )
        if not outcome.began and not outcome.text:  # it was not to begin after all
            self._discard(run)
            return None
        return outcome

    async def _wait_allowed(self, run: ToolRun) -> bool:
        """Until the caller has decided, and what is said was heard; False when it may not begin."""
        with trio.move_on_at(run.asked_at + LONGEST_WAIT_S):
            while not run.why_not:
                match self._ruling(run):
                    case Ruling.RUN:
                        return True
                    case Ruling.DISCARD:
                        run.why_not = ledger.OVER if self._over else ledger.CUT_IN
                    case Ruling.WAIT:
                        await self._wait_changed(run)
            return False
        run.why_not = ledger.NEVER_HEARD_OUT
        return False

    async def _wait_changed(self, run: ToolRun) -> None:
        run.changed = trio.Event()
        self._waiting.add(run)
        try:
            await run.changed.wait()
        finally:
            self._waiting.discard(run)

    def _ruling(self, run: ToolRun) -> Ruling:
        if self._over:
            return Ruling.DISCARD
        call = self._host.call
        asked_twice = self._cut_asks.get(run.identity) == call.cut_at
        return ledger.ruling(call, run.effect, run.asked_at, asked_twice=asked_twice)

    async def _may_begin(self, run: ToolRun) -> bool:
        """Make the intent durable, and see that it is still wanted."""
        run.began_at = trio.current_time()
        if not ledger.needs_intent(run.effect):
            run.stage = Stage.RUNNING
            return True
        run.stage = Stage.INTENDED
        intent = {
            "tool_call_id": run.tool_call_id,
            "name": run.name,
            "arguments": dict(run.arguments),
            "effect": run.effect.value,
            "key": run.key,
        }
        try:
            await self._host.journal.commit("ToolIntent", run.began_at, intent)
        except JournalUnavailable as trouble:
            log.error("tool intent is not durable", tool=run.name, why=str(trouble))  # noqa: TRY400
            run.why_not = NOT_KEPT.format(name=run.name)
            return False
        if not await self._wait_allowed(run):
            return False
        run.stage, run.began_at = Stage.RUNNING, trio.current_time()
        return True

    # --- the end of a run --------------------------------------------------------------------------------------------

    def _discard(self, run: ToolRun) -> None:
        """It never began."""
        why = run.why_not or ledger.OVER
        if why == ledger.CUT_IN:
            self._cut_asks[run.identity] = self._host.call.cut_at
        self._host.journal.try_note("ToolDiscarded", {"tool_call_id": run.tool_call_id, "name": run.name, "why": why})
        self._finish(run, why, ok=False, stage=Stage.DISCARDED)

    async def _settle(self, run: ToolRun, outcome: Outcome) -> None:
        """There is an outcome: durable first where it changed the world, then told."""
        self._count_crash(run, outcome)
        run.sure = outcome.sure
        extras: dict[str, Any] = {"attempts": outcome.attempts}
        if outcome.cached:
            extras["cached"] = True
        if not outcome.sure:
            extras["sure"] = False
        stage = Stage.DONE if outcome.sure else Stage.UNKNOWN
        if not outcome.began and not outcome.ok:
            stage = Stage.DISCARDED
        if ledger.needs_intent(run.effect) and run.stage in (Stage.RUNNING, Stage.INTENDED):
            with self._home.shield():  # the journal's own patience is the deadline
                data = self._result_data(run, outcome.text, ok=outcome.ok, extras=extras)
                try:
                    await self._host.journal.commit("ToolResult", trio.current_time(), data)
                except JournalUnavailable as trouble:
                    log.error("tool result is not durable", tool=run.name, why=str(trouble))  # noqa: TRY400
            self._finish(run, outcome.text, ok=outcome.ok, stage=stage, extras=None)
        else:
            self._finish(run, outcome.text, ok=outcome.ok, stage=stage, extras=extras)

    def _finish(
        self, run: ToolRun, text: str, *, ok: bool, stage: Stage, extras: Mapping[str, Any] | None = _NO_EXTRAS
    ) -> None:
        """Settle the run. The result is in the journal before anybody is told.

        Args:
            extras: more for the journal; None: it is there already.
        """
        now = trio.current_time()
        took_ms = round((now - run.asked_at) * 1000, 1)
        if extras is not None:
            self._host.journal.try_note("ToolResult", self._result_data(run, text, ok=ok, extras=extras))
        run.result = ToolResult(run.tool_call_id, run.name, text, ok, took_ms)
        run.stage, run.settled_at = stage, now
        run.done.set()
        if run.put_off:
            self._news.late(run, wanted=self._is_wanted(run))
        else:
            self._post_answered(run, now, ok=ok, goes_on=False)
            self._tell_besides(run)
        if self._over:
            self._undo.if_untold(run, self._settle)
        if not self._undo.is_possible(run):
            run.forget()

    def _result_data(self, run: ToolRun, text: str, *, ok: bool, extras: Mapping[str, Any]) -> dict[str, Any]:
        took_ms = round((trio.current_time() - run.asked_at) * 1000, 1)
        data = {"tool_call_id": run.tool_call_id, "name": run.name[: ledger.MOST_NAME_CHARS], "ok": ok, "text": text}
        data |= {"effect": run.effect.value, "took_ms": took_ms, **extras}
        return data | ({"key": run.key} if run.key and ledger.needs_intent(run.effect) else {})

    def _post_answered(self, run: ToolRun, now: float, *, ok: bool, goes_on: bool) -> None:
        if run.is_known and not self._over:
            took_ms = round((now - run.asked_at) * 1000, 1)
            self._host.post(
                e.ToolAnswered(at=now, tool_call_id=run.tool_call_id, ok=ok, took_ms=took_ms, goes_on=goes_on)
            )

    def _tell_besides(self, run: ToolRun) -> None:
        """What was done is told by webhook; and into the conversation, when that is gone or its turn may be."""
        if not run.did_it or self._over or run.effect is ToolEffect.READ:
            return
        if not run.waiting:
            self._news.late(run, wanted=True, how="tell")
        elif self._host.call.cut_at > run.began_at > 0 and self._is_told_again(run):
            self._news.tell_again(run)

    def _is_wanted(self, run: ToolRun) -> bool:
        """Whether a late result still is: the call is up, and the same tool was not asked anew."""
        if self._over:
            return False
        if run.effect is not ToolEffect.READ:
            return True
        return not any(one.name == run.name and one.asked_at > run.asked_at for one in self._runs.values())

    def _count_crash(self, run: ToolRun, outcome: Outcome) -> None:
        if not outcome.crashed:
            return
        budget = self._crashes.setdefault(run.name, RestartBudget(most=MOST_CRASHES - 1, within_s=CRASHES_WITHIN_S))
        if not budget.allows(trio.current_time()):
            self._off.add(run.name)
            self._host.journal.try_note("ToolDisabled", {"name": run.name})
