"""Vapi's own Python client is a judge of the REST side: see `sdk_client.py`."""

from __future__ import annotations

import subprocess

import pytest
import trio

from web.twins.vapi import VapiTwin

pytestmark = pytest.mark.slow


async def test_the_official_client(twin: VapiTwin, sdk: subprocess.Popen[bytes]) -> None:
    told, _ = await trio.to_thread.run_sync(sdk.communicate, f"{twin.url}\n".encode(), 90)
    assert (sdk.returncode, told.decode().splitlines()[-1]) == (0, "passed"), told.decode()
