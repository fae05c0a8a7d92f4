"""A twin on a free port with fake speech, a REST client for it, and a receiver of webhooks."""

from __future__ import annotations

import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from engine.agent import Agent, Reply, ToolCallPlan, TwinPlan
from tests.twins.vapi.fakes import Codes, fake_speech
from tests.twins.vapi.helpers import AUTH, KEY, HookServer
from web.twins.vapi import Dials, TwinSettings, VapiTwin, serve_twin

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # httpx would load all certificates for every test: 40 ms
ROOT = Path(__file__).parent.parent.parent.parent
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


@pytest.fixture(scope="package", autouse=True)
def sdk(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes] | None]:
    """The program with Vapi's own client, started early if its test will run: it imports for many seconds."""
    if not any(item.path.name == "test_vapi_sdk.py" for item in request.session.items):
        yield None
        return
    command = [sys.executable, "-m", "tests.twins.vapi.sdk_client"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT) as process:
        yield process
        process.kill()


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
        endpoint_ms=200,
        first_partial_ms=200,
        partial_every_ms=200,
        webhook_delay_ms=0,
        report_delay_ms=50,
    )


@pytest.fixture
async def twin(nursery: trio.Nursery, codes: Codes, dials: Dials) -> AsyncIterator[VapiTwin]:
    settings = TwinSettings(api_key=KEY, agent=Agent(name="test", twin=PLAN), dials=dials)
    async with httpx.AsyncClient(trust_env=False, verify=NO_TLS) as client:
        started: VapiTwin = await nursery.start(partial(serve_twin, settings, fake_speech(codes), client=client))
        yield started
        nursery.cancel_scope.cancel()


@pytest.fixture
async def rest(twin: VapiTwin) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=twin.url, headers=AUTH, trust_env=False, verify=NO_TLS) as client:
        yield client


@pytest.fixture
async def hooks(nursery: trio.Nursery) -> HookServer:
    server = HookServer()
    await nursery.start(server.run)
    return server
