"""What all parts of one call share: its record, its history, and the one way in which it tells the world something."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from web.twins.vapi.clock import epoch_ms, iso
from web.twins.vapi.dials import Dials, Faults
from web.twins.vapi.formats import AudioFormat
from web.twins.vapi.history import History
from web.twins.vapi.schemas import CLIENT_DEFAULT, SERVER_DEFAULT
from web.twins.vapi.timeline import Timeline
from web.twins.vapi.webhooks import Answer, Webhooks

__all__ = ["CallRecord", "CallState"]


@dataclass
class CallRecord:
    """One call as REST sees it. `body` grows; `snapshot` is what webhooks carry: the call as it was made (§6.1)."""

    body: dict[str, Any]
    assistant: dict[str, Any]
    """The effective one: saved or inline, with this call's overrides."""
    variables: dict[str, Any]
    server: dict[str, Any] | None
    """Where its events go (§6.2)."""
    created_ms: int
    audio: AudioFormat | None = None
    monitor: dict[str, Any] | None = None
    fault: Faults | None = None
    timeline: Timeline = field(default_factory=Timeline)
    history: History | None = None
    """What the model is told, once the call lives."""
    generated: list[tuple[str, bytes]] = field(default_factory=list)
    """Each speech that was begun: its words, and all of its audio as µ-law in whole frames."""

    @property
    def id(self) -> str:
        return str(self.body["id"])

    @property
    def status(self) -> str:
        return str(self.body["status"])

    @property
    def is_websocket(self) -> bool:
        return self.audio is not None

    def touch(self, **changes: Any) -> None:
        self.body.update(changes, updatedAt=iso(epoch_ms()))

    def snapshot(self) -> dict[str, Any]:
        kept = {name: entry for name, entry in self.body.items() if name not in _GROWN}
        kept |= {"status": "queued", "updatedAt": kept["createdAt"]}
        kept["transport"] = {name: one for name, one in kept["transport"].items() if name != "websocketCallUrl"}
        if self.monitor:
            kept["monitor"] = self.monitor
        return kept


_GROWN = {
    "startedAt", "endedAt", "endedReason", "cost", "costBreakdown", "costs", "messages", "analysis", "artifact",
}  # fmt: skip


class CallState:
    """The record, the history and the clock of a live call, and `tell`."""

    def __init__(self, record: CallRecord, dials: Dials, webhooks: Webhooks) -> None:
        self.record, self.dials, self.timeline = record, dials, record.timeline
        self._webhooks = webhooks
        self._turns = 0
        self.send_text: Callable[[bytes], None] = lambda _: None
        """The wire, while there is one."""
        prompt = (record.assistant.get("model") or {}).get("messages") or []
        self.history = record.history = History(prompt, epoch_ms())
        self.interruptions = 0
        self.latencies: list[dict[str, int]] = []
        self._client = tuple(record.assistant.get("clientMessages") or CLIENT_DEFAULT)
        self._server = tuple(record.assistant.get("serverMessages") or SERVER_DEFAULT)

    @property
    def next_turn(self) -> int:
        """The number that the next `new_turn` will have."""
        return self._turns

    def new_turn(self) -> int:
        """Each speech of either side has a number, from 0 (as captured)."""
        self._turns += 1
        return self._turns - 1

    def tell(self, kind: str, slim: Mapping[str, Any], *, server: Mapping[str, Any] | None = None) -> None:
        """An event: slim to the socket, in full to the webhook, each if its list has the type (§4.4, §6.3).

        `server`: the fields that the webhook has instead.
        """
        self.tell_client(kind, slim)
        if self.record.server is not None and _wants(self._server, kind, slim):
            self.post(self.record.server, kind, server or slim)

    def tell_client(self, kind: str, slim: Mapping[str, Any]) -> None:
        """The socket's half of `tell`."""
        if _wants(self._client, kind, slim):
            self.timeline.texts_out += 1
            self.send_text(msgspec.json.encode({"type": kind, **slim}))

    def post(self, server: Mapping[str, Any], kind: str, fields: Mapping[str, Any]) -> None:
        """A webhook that nobody waits for."""
        self._webhooks.post(server, self.message(kind, fields), self._delivered)

    def message(self, kind: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The inside of a webhook's envelope, as of now."""
        return {
            "timestamp": epoch_ms(),
            "type": kind,
            **fields,
            "call": self.record.snapshot(),
            "assistant": public_assistant(self.record.assistant),
        }

    async def ask(self, server: Mapping[str, Any], kind: str, fields: Mapping[str, Any]) -> Answer:
        """A webhook that wants an answer."""
        message = self.message(kind, fields)
        answer = await self._webhooks.send(server, msgspec.json.encode({"message": message}), call_id=self.record.id)
        self._delivered(message, answer)
        return answer

    def _delivered(self, message: Mapping[str, Any], answer: Answer) -> None:
        facts: dict[str, Any] = {"type": message["type"], "status": answer.status, "took_ms": round(answer.took_ms, 1)}
        if answer.problem:
            facts["problem"] = answer.problem
        self.timeline.note("webhook", **facts)
        if not answer.is_good:
            self.timeline.complain(f"webhook {message['type']} was answered {answer.status or answer.problem}")


def public_assistant(assistant: Mapping[str, Any]) -> dict[str, Any]:
    """As webhooks carry it: without the server, which has a secret."""
    return {name: entry for name, entry in assistant.items() if name != "server"}


def _wants(kinds: tuple[str, ...], kind: str, fields: Mapping[str, Any]) -> bool:
    is_final = fields.get("transcriptType") == "final"
    return kind in kinds or (is_final and f'{kind}[transcriptType="final"]' in kinds)
