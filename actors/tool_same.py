"""The same thing asked for again: answered with what came of it, done anew, or put to the caller first.

The same tool with the same arguments in the same call is one effect, whatever ids the model gives it: after an
interruption it often asks anew for what is done.
"""

from __future__ import annotations

from typing import Protocol

import trio

from actors.tool_host import ToolHost
from actors.tool_run import ToolRun
from engine import ledger
from engine.ledger import Stage
from engine.tools import ToolEffect


class Finish(Protocol):
    def __call__(self, run: ToolRun, text: str, *, ok: bool, stage: Stage) -> None:
        """Settle the run."""


class SameAgain:
    """What one call has asked for, by tool and arguments.

    `finish` is given with each question and not kept: it is its owner's, and an ended call is freed by counts alone.
    """

    def __init__(self, host: ToolHost) -> None:
        self._host = host
        self._asked: dict[tuple[str, bytes], list[ToolRun]] = {}  # the same thing, asked for under several ids
        self._put_at: dict[tuple[str, bytes], float] = {}  # when the model was told to ask the caller first

    def over(self, host: ToolHost) -> None:
        """The call is over. `host`: what is left of it."""
        self._host = host

    def forget(self) -> None:
        """Whatever comes is asked for the first time."""
        self._asked.clear()

    async def is_the_same_again(self, run: ToolRun, finish: Finish) -> bool:
        """Whether it was answered with what came of the same commit, asked for under another id.

        The same tool with the same arguments in the same call is one effect, whatever ids the model gives it: after an
        interruption it often asks anew for what is done. A second effect needs a turn of the caller's in between, and
        `again` in the tool's policy; of what ends a call, that the call was not ended by it. What surely came to
        nothing may be asked for again.
        """
        if run.effect is ToolEffect.READ:
            return False
        asked = self._asked.setdefault(run.identity, [])
        if run not in asked:
            asked.append(run)
        while True:
            first = next((one for one in reversed(asked) if one is not run and self._counts(one, run)), None)
            if first is None:
                return False
            run.number = first.number
            if self._is_meant_again(run, first):
                run.number += 1
                return False
            if run.effect is ToolEffect.IDEMPOTENT:
                return False  # runs again, with the same key
            await first.done.wait()
            if first.did_it:
                self._answer_as(run, first, finish)
                return True

    def _counts(self, one: ToolRun, run: ToolRun) -> bool:
        """Whether its effect happened, may have, or is about to; of two that wait, the first asked for goes first."""
        if one.done.is_set():
            return one.did_it
        asked = self._asked[run.identity]
        return one.began_at > 0 or (one.ordered and asked.index(one) < asked.index(run))

    def _is_meant_again(self, run: ToolRun, first: ToolRun) -> bool:
        if run.effect is ToolEffect.TERMINAL:  # the call goes on after it: what it was to end was called off
            return first.done.is_set() and not self._host.call.end_ordered
        may = run.tool is not None and run.tool.spec.policy.again
        return may and ledger.is_answered(self._host.call, first.settled_at or first.asked_at)

    def _answer_as(self, run: ToolRun, first: ToolRun, finish: Finish) -> None:
        assert first.result is not None
        text = first.result.text
        words = ledger.DONE_ALREADY.format(text=text) if first.result.ok else text
        run.sure, run.key = first.sure, first.key
        self._host.journal.try_note(
            "ToolSameAgain", {"tool_call_id": run.tool_call_id, "name": run.name, "first": first.tool_call_id}
        )
        finish(run, words, ok=first.result.ok, stage=Stage.DISCARDED)

    def must_be_confirmed(self, run: ToolRun, finish: Finish) -> bool:
        """Whether it was answered with a question for the caller instead."""
        if run.tool is None or not run.tool.spec.policy.confirm:
            return False
        put_at = self._put_at.get(run.identity)
        if put_at is None:
            self._put_at[run.identity] = trio.current_time()
            arguments = ", ".join(f"{name}: {value}" for name, value in run.arguments.items())
            words = ledger.CONFIRM.format(name=run.name, arguments=arguments[:1000] or "no details")
        elif not ledger.is_answered(self._host.call, put_at):
            words = ledger.NOT_CONFIRMED
        else:
            del self._put_at[run.identity]
            return False
        self._host.journal.try_note("ToolUnconfirmed", {"tool_call_id": run.tool_call_id, "name": run.name})
        finish(run, words, ok=True, stage=Stage.DISCARDED)
        return True
