"""A twin on a free port with fake speech, a REST client for it, and a receiver of webhooks."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import trio

from engine.agent import Agent, Reply, ToolCallPlan, TwinPlan
from tests.twins.vapi.fakes import Codes, fake_speech
from tests.twins.vapi.helpers import AUTH, KEY, HookServer
from web.twins.vapi import Dials, TwinSettings, VapiTwin, serve_twin

PLAN = TwinPlan(
    replies=[
        Reply(hear=["what times do you have"], say="We have six, seven and eight o'clock tonight, or noon."),
        Reply(
            hear=["eight works"],
            say="{result} More?",
            tool=ToolCallPlan("check_table", {"party": 4, "time": "19:30"}),
            before_tool="One moment.",
        ),
        Reply(hear=["my number is <digits>"], say="I heard {digits}."),
        Reply(hear=["goodbye"], say="Goodbye.", end=True),
    ],
    not_understood="Pardon?",
)


@pytest.fixture
def codes() -> Codes:
    return Codes()


@pytest.fixture
def dials() -> Dials:
    return Dials(
        create_delay_ms=0,
        connect_ms=20,
        first_message_ms=40,
        model_latency_ms=20,
        voice_latency_ms=10,
        endpoint_ms=300,
        partial_every_ms=200,
        webhook_delay_ms=0,
        report_delay_ms=50,
    )


@pytest.fixture
async def twin(nursery: trio.Nursery, codes: Codes, dials: Dials) -> VapiTwin:
    settings = TwinSettings(api_key=KEY, agent=Agent(name="test", twin=PLAN), dials=dials)
    started: VapiTwin = await nursery.start(serve_twin, settings, fake_speech(codes))
    return started


@pytest.fixture
async def rest(twin: VapiTwin) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=twin.url, headers=AUTH, trust_env=False) as client:
        yield client


@pytest.fixture
async def hooks(nursery: trio.Nursery) -> HookServer:
    server = HookServer()
    await nursery.start(server.run)
    return server
