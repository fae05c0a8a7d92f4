"""Vapi's door says beforehand that a tool call goes through several tasks, so that the media plane gives way to it."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from actors.supervisor import Supervisor
from engine.wire.signatures import VapiAuth
from web.fast_http import Answer
from web.vapi_hooks import VapiDoor

SAMPLES = Path(__file__).parents[1] / "samples" / "vapi"


class NobodyHome:
    """A supervisor without calls."""

    def heard_of(self, agent_call_id: str, kind: str) -> None:
        pass


@pytest.mark.parametrize(
    ("sample", "in_a_hurry"),
    [
        ("tool-calls-two-at-once", True),
        ("function-call-legacy", True),
        ("status-update-in-progress", False),
        ("assistant-request", False),
    ],
)
def test_a_tool_call_is_in_a_hurry(sample: str, in_a_hurry: bool) -> None:
    """The agent waits for a tool's answer; news is only noted, and nobody waits for it."""
    hurries: list[str] = []
    door = VapiDoor(
        supervisor=cast(Supervisor, NobodyHome()),
        auth=VapiAuth(shared_secret="s"),
        assistant_answer={"assistantId": "a"},
        hurry=lambda: hurries.append(sample),
    )
    body = (SAMPLES / f"{sample}.json").read_bytes()
    first = door.first_step({"x-vapi-secret": "s"}, body, 0.0)
    assert bool(hurries) is in_a_hurry
    assert isinstance(first, Answer) is not in_a_hurry


def test_a_stranger_hurries_nobody() -> None:
    """Without the secret nothing is done, whatever is asked for."""
    hurries: list[str] = []
    door = VapiDoor(
        supervisor=cast(Supervisor, NobodyHome()),
        auth=VapiAuth(shared_secret="s"),
        assistant_answer={},
        hurry=lambda: hurries.append("!"),
    )
    body = (SAMPLES / "tool-calls-two-at-once.json").read_bytes()
    refused = door.first_step({"x-vapi-secret": "wrong"}, body, 0.0)
    assert isinstance(refused, Answer) and refused.status == 401 and not hurries
