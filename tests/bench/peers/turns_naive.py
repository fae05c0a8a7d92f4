"""The bridge of the tutorials, in the same world as ours: audio both ways, and `clear` on a partial transcript.

What the guides of several vendors teach: a route for the media stream, a client for the agent, the caller's frames
passed on as they come, the agent's likewise, and when a transcript of the caller arrives while audio may be playing,
`clear`. No local ear, no hold, no decision, no fillers. Written as well as that design allows: nothing is re-encoded,
nothing waits, and the clear goes out in the moment in which the words arrive.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from actors.ports import Plane, VapiCalls, Wire
from actors.world.house import Ringing
from engine.errors import BadMessage, VendorTrouble
from engine.journal import Record
from engine.wire import twilio, vapi


class NaiveCall:
    """One call: the two sockets and what is passed between them. A `WireListener` for Twilio's."""

    def __init__(self, house: NaiveHouse, call_id: str) -> None:
        self.house, self.call_id = house, call_id
        self.line: Wire | None = None
        self.agent: Wire | None = None
        self.writer: twilio.MediaWriter | None = None

    def on_open(self, wire: Wire) -> None:
        self.line = wire

    def on_text(self, payload: bytes) -> None:
        match twilio.read_media(payload):
            case twilio.Media(payload=mulaw) if self.agent is not None:
                self.agent.send_binary(mulaw)
            case twilio.Start(stream_sid=sid):
                self.writer = twilio.MediaWriter(sid)
                self.house.nursery.start_soon(self.dial)
            case twilio.Stop() if self.agent is not None:
                self.agent.close()

    def on_binary(self, payload: bytes) -> None: ...

    def on_closed(self, code: int, reason: str) -> None:
        self.line = None
        if self.agent is not None:
            self.agent.close()

    async def dial(self) -> None:
        try:
            created = await self.house.vapi_calls.create_call({"name": self.call_id}, deadline_s=5.0)
            await self.house.plane.dial(created.websocket_url, NaiveAgent(self))
        except (VendorTrouble, ConnectionError):
            if self.line is not None:
                self.line.close()


class NaiveAgent:
    """A `WireListener` for Vapi's socket."""

    def __init__(self, call: NaiveCall) -> None:
        self.call = call

    def on_open(self, wire: Wire) -> None:
        self.call.agent = wire

    def on_binary(self, payload: bytes) -> None:
        if self.call.line is not None and self.call.writer is not None:
            self.call.line.send_text(self.call.writer.media(payload))

    def on_text(self, payload: bytes) -> None:
        try:
            message = vapi.read_frame(payload)
        except BadMessage:
            return
        match message:
            case vapi.Transcript(role="user", final=False) if (
                self.call.line is not None and self.call.writer is not None
            ):
                self.call.line.send_text(self.call.writer.clear())

    def on_closed(self, code: int, reason: str) -> None:
        if self.call.line is not None:
            self.call.line.close()


class NaiveHouse:
    """Fulfils `actors.world.house.House`."""

    call = NaiveCall

    def __init__(self, plane: Plane, vapi_calls: VapiCalls) -> None:
        self.plane, self.vapi_calls = plane, vapi_calls
        self.nursery: trio.Nursery
        self.count = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as self.nursery:
            task_status.started()
            await trio.sleep_forever()

    def ring(self, call_sid: str) -> Ringing:
        self.count += 1
        call_id = f"naive-{self.count}"
        return Ringing(call_id, self.call(self, call_id), {})

    def given_back(self, call_sid: str) -> str:
        return ""

    def hung_up(self, call_sid: str) -> None: ...

    async def run_tools(self, agent_call_id: str, calls: Sequence[vapi.ToolCall]) -> list[str]:
        await trio.lowlevel.checkpoint()
        return ["done"] * len(calls)

    async def wait_over(self, call_sid: str) -> None:
        await trio.lowlevel.checkpoint()

    def take_records(self, call_id: str) -> list[Record]:
        return []
