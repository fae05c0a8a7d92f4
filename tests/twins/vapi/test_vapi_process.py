"""The twin as a process of its own, with real speech: it is spoken to, understands, answers, and goes on SIGTERM."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import trio

from tests.twins.vapi.helpers import AUTH, KEY, calling, until
from tests.twins.vapi.test_vapi_transport import created
from web.twins.speech.ears import hear_now
from web.twins.speech.grammar import Grammar
from web.twins.speech.voice import speak

pytestmark = pytest.mark.slow

AGENT = """
name: test
twin:
  replies:
    - {hear: ["what times do you have tonight"], say: "We have six and eight."}
    - {hear: ["my number is <digits>"], say: "I heard {digits}."}
    - {hear: ["thank you goodbye"], say: "Goodbye.", end: true}
"""


async def ready(process: trio.Process) -> str:
    """The address that the process prints."""
    assert process.stdout is not None
    line = b""
    with trio.fail_after(30):
        while not line.endswith(b"\n"):
            piece = await process.stdout.receive_some(1000)
            assert piece, "it ended before it was ready"
            line += piece
    said = json.loads(line)
    assert said["ready"] is True
    return str(said["url"])


async def test_a_call_with_real_speech(tmp_path: Path) -> None:
    agent = tmp_path / "agent.yaml"
    agent.write_text(AGENT)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        fd = listening.fileno()
        options = ["--agent", str(agent), "--data", str(tmp_path / "data"), "--api-key", KEY, "--fd", str(fd)]
        command = [sys.executable, "-m", "web.twins.vapi", *options]
        process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, pass_fds=[fd])
    try:
        async with httpx.AsyncClient(base_url=await ready(process), headers=AUTH, trust_env=False) as rest:
            call_id = await _talk(rest)
            await until((tmp_path / "data" / f"{call_id}.json").exists)
            _, url = await created(rest, firstMessage="This call is cut.")
            async with calling(url) as caller:
                await caller.heard("speech-update")
                process.send_signal(signal.SIGTERM)
                with trio.fail_after(5):
                    assert await process.wait() == 0
                assert (await caller.is_closed())[0] == 1001
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        assert process.stdout is not None
        await process.stdout.aclose()


async def _talk(rest: httpx.AsyncClient) -> str:
    greeting = "Welcome to Bistro Lune. We have six, seven and eight tonight. How can I help?"
    call_id, url = await created(rest, firstMessage=greeting, firstMessageInterruptionsEnabled=True)
    async with calling(url) as caller:
        await caller.heard("speech-update", role="assistant", status="started", within_s=10)
        await trio.sleep(0.5)
        began = trio.current_time()
        caller.say(speak("my number is four two seven"))
        await caller.heard("user-interrupted")
        assert 0.15 < caller.when("user-interrupted") - began < 0.5
        await caller.heard("transcript", transcript="I heard four two seven.", within_s=15)
        caller.say(speak("thank you goodbye"))
        code, _ = await caller.is_closed(within_s=15)
    assert code == 1000
    finals = caller.of("transcript", role="user", transcriptType="final")
    assert [one["transcript"] for one in finals] == ["my number is four two seven", "thank you goodbye"]
    last = b"".join(
        payload for at, payload in caller.audio if at > caller.when("transcript", transcript="thank you goodbye")
    )
    assert hear_now(last, Grammar.of(["goodbye", "i heard four two seven"])).text == "goodbye"
    return call_id


@pytest.mark.parametrize("words", ["xyzzy", ""])
def test_bad_settings_are_told_in_one_line(tmp_path: Path, words: str) -> None:
    agent = tmp_path / "agent.yaml"
    agent.write_text(f"name: t\ntwin: {{replies: [{{hear: ['{words}'], say: Hi}}]}}\n" if words else "name: [")
    done = subprocess.run(
        [sys.executable, "-m", "web.twins.vapi", "--agent", str(agent)], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert done.stdout == b""
    last = done.stderr.decode().splitlines()
    assert len(last) <= 5
    assert last[0].startswith("vapi twin: ")
