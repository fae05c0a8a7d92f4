"""The assistant's side of the talk: what was said goes to the scripted model, its reply to the tools and the voice."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import trio

from engine.agent import TwinPlan, spoken_plan
from web.twins.vapi.brain import Brain, Thought
from web.twins.vapi.caller import Said
from web.twins.vapi.clock import epoch_ms
from web.twins.vapi.speaker import DROPPED, Speaker, Words
from web.twins.vapi.state import CallState
from web.twins.vapi.tooling import SORRY, ToolCall, ToolResult, find_tool, message_of, result_of

__all__ = ["Conversation"]

MOST_WAITING = 8


class Conversation:
    """One reply after another. A reply that is overtaken by new words of the caller is dropped, unless a tool ran or it
    answers what was put into the conversation."""

    def __init__(self, state: CallState, speaker: Speaker, plan: TwinPlan) -> None:
        self._state, self._speaker = state, speaker
        self._brain = Brain(spoken_plan(plan, state.record.variables))
        self._send, self._receive = trio.open_memory_channel[Said](MOST_WAITING)
        self._words_waiting = 0
        self._noise_s = 0.0
        self._wait_s = float((state.record.assistant.get("startSpeakingPlan") or {}).get("waitSeconds", 0.4))

    def said(self, said: Said) -> None:
        try:
            self._send.send_nowait(said)
            self._words_waiting += bool(said.text)
        except trio.WouldBlock:
            self._state.timeline.complain("the caller says more than the model can answer")

    def noise(self) -> None:
        """The caller made a noise, and what was about to be said before it is forgotten (dial `mute_after_noise`)."""
        self._noise_s = trio.current_time()

    def told(self, message: Mapping[str, Any], *, respond: bool) -> None:
        """An `add-message`."""
        self._state.history.added(dict(message), epoch_ms())
        content = message.get("content")
        if respond and isinstance(content, str) and self._brain.knows(content):
            self.said(Said(content, trio.current_time() * 1000, 0.0, was_told=True))

    async def run(self) -> None:
        async for said in self._receive:
            self._words_waiting -= bool(said.text)
            if said.text or said.over_ms / 1000 > self._speaker.last_began:  # else: a noise before what we just said
                await self._answer(said)

    async def _answer(self, said: Said) -> None:
        began = trio.current_time()
        await trio.sleep(self._state.dials.model_latency_ms / 1000)
        thought = self._brain.think(said.text)
        self._state.timeline.note("thinks", fits=thought.reply is not None)
        if thought.reply is not None:
            await trio.sleep(thought.reply.think_ms / 1000)
        await trio.sleep_until(said.over_ms / 1000 + self._wait_s)
        model_ms = (trio.current_time() - began) * 1000
        if thought.reply is not None and thought.reply.tool is not None:
            await self._with_tool(thought, said, model_ms)
        else:
            await self._say(thought, thought.said(), said, model_ms, may_be_overtaken=not said.was_told)

    async def _say(
        self, thought: Thought, text: str, said: Said, model_ms: float, *, may_be_overtaken: bool, failed: bool = False
    ) -> None:
        words = Words(text)
        if thought.reply is not None and thought.reply.end and not failed:
            words.ends_call = "assistant-ended-call"
        if may_be_overtaken:
            words.still_wanted = lambda: not self._words_waiting and self._noise_s <= said.over_ms / 1000
        self._speaker.say(words)
        await words.done.wait()
        if words.outcome == DROPPED:
            self._brain.forget(thought)
        else:
            self._measured(said, model_ms, words)

    def _measured(self, said: Said, model_ms: float, words: Words) -> None:
        endpointing = self._state.dials.endpoint_ms
        parts = [model_ms, words.voice_ms, said.heard_ms, endpointing]
        names = ["modelLatency", "voiceLatency", "transcriberLatency", "endpointingLatency"]
        entry = {name: round(part) for name, part in zip(names, parts, strict=True)}
        self._state.latencies.append(entry | {"turnLatency": math.ceil(sum(parts))})

    async def _with_tool(self, thought: Thought, said: Said, model_ms: float) -> None:
        reply, state = thought.reply, self._state
        assert reply is not None and reply.tool is not None
        tool = find_tool(state.record.assistant, reply.tool.name)
        server = (tool or {}).get("server") or state.record.server
        if tool is None or not (server or {}).get("url"):
            why = "the assistant has no such tool" if tool is None else "the tool has no server"
            state.timeline.complain(f"{reply.tool.name}: {why}")
            await self._say(thought, SORRY, said, model_ms, may_be_overtaken=False, failed=True)
            return
        start = message_of(tool, "request-start")
        before = reply.before_tool or str((start or {}).get("content") or "")
        if before:
            self._speaker.say(Words(before))
        result = await self._run(ToolCall(tool, thought.arguments(), is_preceded_by_text=bool(before)), server)
        text = result.spoken or thought.said(result.text)
        if result.failed:
            failed = message_of(tool, "request-failed")
            text = str((failed or {}).get("content") or SORRY)
        await self._say(thought, text, said, model_ms, may_be_overtaken=False, failed=result.failed)

    async def _run(self, call: ToolCall, server: Mapping[str, Any] | None) -> ToolResult:
        """Ask the tool's server; say what the tool has for a slow answer meanwhile."""
        state, fields = self._state, call.fields()
        assert server is not None
        artifact = state.history.artifact()
        state.history.tool_call(call.id, call.name, call.arguments, epoch_ms())
        state.timeline.note("tool_calls", name=call.name, arguments=call.arguments, id=call.id)
        slim = {name: fields[name] for name in ("toolCallList", "toolCalls", "toolWithToolCallList")}
        state.tell_client("tool-calls", slim)
        if call.tool.get("async"):
            state.post(server, "tool-calls", {**fields, "artifact": artifact})
            return ToolResult("")
        async with trio.open_nursery() as nursery:
            for one in call.tool.get("messages") or []:
                if one["type"] == "request-response-delayed":
                    nursery.start_soon(self._say_later, one)
            answer = await state.ask(server, "tool-calls", {**fields, "artifact": artifact})
            nursery.cancel_scope.cancel()
        result = result_of(call, answer)
        if result.complaint:
            state.timeline.complain(f"{call.name}: {result.complaint}")
        state.timeline.note("tool_result", result=result.text, failed=result.failed, took_ms=round(answer.took_ms))
        state.history.tool_result(call.id, call.name, result.text, epoch_ms())
        return result

    async def _say_later(self, message: Mapping[str, Any]) -> None:
        await trio.sleep(float(message.get("timingMilliseconds", 1000)) / 1000)
        self._speaker.say(Words(str(message.get("content") or "")))
