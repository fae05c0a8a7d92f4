"""Vapi's and Twilio's REST sides, a recorder and a switchboard in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import trio

from actors.ports import AgentCall, Recording
from engine.errors import VapiTrouble


@dataclass
class FakeVapi:
    """Creates calls at once, late, or not at all."""

    delay_s: float = 0.05
    trouble: VapiTrouble | None = None
    bodies: list[Mapping[str, Any]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    async def create_call(self, body: Mapping[str, Any], *, deadline_s: float) -> AgentCall:
        self.bodies.append(body)
        with trio.move_on_after(deadline_s):
            await trio.sleep(self.delay_s)
            if self.trouble is not None:
                raise self.trouble
            return AgentCall(f"agent-{len(self.bodies)}", f"wss://vapi.test/{len(self.bodies)}/transport")
        raise VapiTrouble("no answer in time")

    async def end_call(self, call: AgentCall) -> None:
        await trio.lowlevel.checkpoint()
        self.ended.append(call.id)


@dataclass
class FakeTwilio:
    redirected: list[tuple[str, str]] = field(default_factory=list)

    async def redirect(self, call_sid: str, *, url: str) -> bool:
        await trio.lowlevel.checkpoint()
        self.redirected.append((call_sid, url))
        return True


class FakeRecording:
    def __init__(self) -> None:
        self.caller = bytearray()
        self.heard = bytearray()

    def tap(self, caller_mulaw: bytes, heard_mulaw: bytes) -> None:
        self.caller += caller_mulaw
        self.heard += heard_mulaw


class FakeRecorder:
    def __init__(self) -> None:
        self.recordings: dict[str, FakeRecording] = {}
        self.closed: list[Recording] = []

    def open(self, call_id: str) -> FakeRecording:
        self.recordings[call_id] = FakeRecording()
        return self.recordings[call_id]

    async def close(self, recording: Recording) -> Mapping[str, Any]:
        await trio.lowlevel.checkpoint()
        self.closed.append(recording)
        return {"path": "fake.wav", "problem": None}
