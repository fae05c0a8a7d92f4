"""The peers do what the bench says they do: relay whole calls over real sockets, in order, and go when told."""

from __future__ import annotations

import base64
import json
import os
import queue
import select
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection, serve

from tests.bench import peers
from tests.bench.peers import install

PATIENCE_S = 10.0
START_S = 30.0
FRAMES = 50
SECRET = "correct horse"
SAMPLES = Path(__file__).parents[1] / "samples"


class Agents:
    """Vapi's end: every call that a peer dials waits in `calls`."""

    def __init__(self) -> None:
        self.calls: queue.Queue[ServerConnection] = queue.Queue()
        self._over = threading.Event()
        self._server = serve(self._serve_call, "127.0.0.1", 0, compression=None, ping_interval=None)
        self.url = f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}/agent"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def _serve_call(self, call: ServerConnection) -> None:
        self.calls.put(call)
        self._over.wait()

    def close(self) -> None:
        self._over.set()
        self._server.shutdown()
        self._thread.join(PATIENCE_S)


@pytest.fixture
def agents() -> Iterator[Agents]:
    agents = Agents()
    yield agents
    agents.close()


@dataclass(frozen=True)
class Peer:
    process: subprocess.Popen[bytes]
    port: int

    def leave(self) -> int:
        """Close its standard input, and wait for its end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(PATIENCE_S)


@contextmanager
def running(name: str, *options: str, **environment: str) -> Iterator[Peer]:
    command = peers.find(name)
    if isinstance(command, str):
        pytest.skip(command)
    with subprocess.Popen(
        [*command, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **environment}
    ) as process:
        try:
            assert process.stdout is not None
            assert select.select([process.stdout], [], [], START_S)[0], f"{name} said nothing"
            said = json.loads(process.stdout.readline())
            assert said["ready"] is True
            yield Peer(process, said["port"])
            if process.poll() is not None:
                assert process.stdout.read() == b"", "one line, no more"
        finally:
            process.kill()


class Call:
    """One call through a peer: Twilio's end, and Vapi's when it has been dialled."""

    def __init__(self, line: ClientConnection, number: int) -> None:
        self.line = line
        self.number = number
        self.sid = f"MZ{number:032d}"
        self.heard_sid = ""
        self.sent = 0
        self.say({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        start = json.loads((SAMPLES / "twilio" / "media-start.json").read_text(encoding="utf-8"))
        start["streamSid"] = start["start"]["streamSid"] = self.sid
        self.say(start)

    def say(self, message: dict[str, object]) -> None:
        self.line.send(json.dumps(message, separators=(",", ":")))

    def speak(self, audio: bytes) -> None:
        """One frame of the caller, as Twilio writes it."""
        self.sent += 1
        media = {"track": "inbound", "chunk": str(self.sent), "timestamp": str(20 * self.sent)}
        media["payload"] = base64.b64encode(audio).decode()
        self.say({"event": "media", "sequenceNumber": str(self.sent + 1), "media": media, "streamSid": self.sid})

    def hear(self) -> bytes:
        """The next audio that the peer sends to Twilio."""
        message = json.loads(self.line.recv(timeout=PATIENCE_S))
        assert message["event"] == "media"
        assert message["streamSid"].startswith("MZ") and len(message["streamSid"]) == 34
        self.heard_sid = message["streamSid"]
        return base64.b64decode(message["media"]["payload"])

    def answer(self, agents: Agents) -> ServerConnection:
        """Wait until the bridge stands both ways: it hears the agent."""
        agent = agents.calls.get(timeout=PATIENCE_S)
        agent.send(json.dumps({"type": "speech-update", "status": "started", "role": "assistant"}))  # not for Twilio
        agent.send(bytes(160))
        assert len(self.hear()) == 160
        return agent


@contextmanager
def calls_through(peer: Peer, count: int) -> Iterator[list[Call]]:
    with ExitStack() as lines:
        url = f"ws://127.0.0.1:{peer.port}/media"
        yield [
            Call(lines.enter_context(connect(url, compression=None, ping_interval=None)), number)
            for number in range(1, count + 1)
        ]


def frame(call: int, number: int, side: int) -> bytes:
    return bytes([call, number, side, 0xFF]) * 40


def closes(connection: ClientConnection | ServerConnection) -> bool:
    """Whether the other side ends this connection, in time."""
    until = time.monotonic() + PATIENCE_S
    try:
        while time.monotonic() < until:
            connection.recv(timeout=PATIENCE_S)
    except ConnectionClosed:
        return True
    return False


@pytest.mark.parametrize("name", ["floor", "node", "naive"])
def test_a_bridge_relays_two_calls(name: str, agents: Agents) -> None:
    """Fifty frames each way in each call, in order and byte for byte (the floor: as many, of the same size)."""
    with running(name, "--vapi", agents.url) as peer, calls_through(peer, 2) as calls:
        ends = [calls[0].answer(agents), calls[1].answer(agents)]
        if name != "floor" and calls[0].heard_sid != calls[0].sid:
            ends.reverse()
        for number in range(FRAMES):
            for call, agent in zip(calls, ends, strict=True):
                call.speak(frame(call.number, number, 0))
                agent.send(frame(call.number, number, 1))
        for call, agent in zip(calls, ends, strict=True):
            to_agent = [agent.recv(timeout=PATIENCE_S) for _ in range(FRAMES)]
            to_line = [call.hear() for _ in range(FRAMES)]
            if name == "floor":
                assert [len(audio) for audio in (*to_agent, *to_line)] == [160] * (2 * FRAMES)
            else:
                assert to_agent == [frame(call.number, number, 0) for number in range(FRAMES)]
                assert to_line == [frame(call.number, number, 1) for number in range(FRAMES)]
                assert call.heard_sid == call.sid
        for connection in (*ends, *(call.line for call in calls)):
            with pytest.raises(TimeoutError):
                connection.recv(timeout=0.05)  # nothing was sent twice

        calls[0].say({"event": "stop", "streamSid": calls[0].sid, "stop": {}})
        calls[0].line.close()
        assert closes(ends[0]), "the caller hung up, and the agent was not told"
        ends[1].close()
        assert closes(calls[1].line), "the agent left, and the caller stays on the line"
        assert peer.leave() == 0


@pytest.mark.parametrize("name", ["floor", "node", "naive"])
def test_a_bridge_without_its_agent_hangs_up(name: str) -> None:
    """Nobody listens where the agent should be: the caller's socket is closed, and the next caller's too."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = taken.getsockname()[1]
    with running(name, "--vapi", f"ws://127.0.0.1:{nobody}/agent") as peer:
        for _ in range(2):
            with calls_through(peer, 1) as (call,):
                assert closes(call.line)
        assert peer.leave() == 0


@pytest.mark.parametrize("name", [*peers.MEDIA, *peers.WEBHOOKS])
def test_a_peer_ends_at_sigterm(name: str, agents: Agents) -> None:
    """Even with a call in progress."""
    options = ("--vapi", agents.url) if name in peers.MEDIA else ()
    with running(name, *options, VAPI_SERVER_SECRET=SECRET) as peer, ExitStack() as calls:
        if options:
            calls.enter_context(calls_through(peer, 1))
        peer.process.terminate()
        peer.process.wait(PATIENCE_S)


@pytest.mark.parametrize("name", ["express", "quart"])
def test_a_webhook_peer_answers_vapi(name: str) -> None:
    """Tools get results, a ringing call its assistant, news an empty answer; without the secret nobody gets any."""
    expected = {
        "tool-calls-two-at-once": {"results": [{"toolCallId": call, "result": "ok"} for call in two_tool_calls()]},
        "assistant-request": {"assistantId": "a"},
        "status-update-in-progress": {},
        "end-of-call-report": {},
    }
    with (
        running(name, VAPI_SERVER_SECRET=SECRET) as peer,
        httpx.Client(base_url=f"http://127.0.0.1:{peer.port}", timeout=PATIENCE_S) as vapi,
    ):
        for sample, answer in expected.items():
            body = (SAMPLES / "vapi" / f"{sample}.json").read_bytes()
            headers = {"content-type": "application/json", "x-vapi-secret": SECRET}
            response = vapi.post("/webhook/vapi", content=body, headers=headers)
            assert (response.status_code, response.json()) == (200, answer)
            for wrong in ("", "wrong"):
                assert vapi.post("/webhook/vapi", content=body, headers={**headers, "x-vapi-secret": wrong}).is_error
        headers.pop("x-vapi-secret")
        assert vapi.post("/webhook/vapi", content=body, headers=headers).status_code == 401
        assert peer.leave() == 0


def two_tool_calls() -> list[str]:
    said = json.loads((SAMPLES / "vapi" / "tool-calls-two-at-once.json").read_text(encoding="utf-8"))
    return [call["id"] for call in said["message"]["toolCallList"]]


def test_pipecat_echoes_two_calls() -> None:
    """What each caller said comes back to that caller, every byte in order, in frames of Twilio's length."""
    with running("pipecat", "--vapi", "ws://127.0.0.1:9/agent") as peer, calls_through(peer, 2) as calls:
        for number in range(FRAMES):
            for call in calls:
                call.speak(frame(call.number, number, 0))
        for call in calls:
            assert [call.hear() for _ in range(FRAMES)] == [frame(call.number, number, 0) for number in range(FRAMES)]
            assert call.heard_sid == call.sid
        calls[0].line.close()
        calls[1].speak(frame(2, FRAMES, 0))
        assert calls[1].hear() == frame(2, FRAMES, 0), "one hangs up, the other goes on"
        assert peer.leave() == 0


def test_the_floor_counts_frames_in_any_pieces(agents: Agents) -> None:
    """Bytes may come one by one or all together: as many frames go out as came in."""
    with running("floor", "--vapi", agents.url) as peer, calls_through(peer, 1) as (call,):
        agent = call.answer(agents)
        text = json.dumps({"event": "media", "media": {"payload": base64.b64encode(bytes(160)).decode()}}).encode()
        whole = bytes([0x81, 0xFE]) + len(text).to_bytes(2, "big") + b"\0\0\0\0" + text
        ping = bytes([0x89, 0x80, 0, 0, 0, 0])
        raw = call.line.socket
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(whole)):
            raw.sendall(whole[at : at + 1])
        raw.sendall((whole + ping) * 200)
        for _ in range(201):
            assert len(agent.recv(timeout=PATIENCE_S)) == 160
        with pytest.raises(TimeoutError):
            agent.recv(timeout=0.05)
        assert peer.leave() == 0


def test_every_peer_starts_or_says_why() -> None:
    """A peer that cannot run here costs a sentence, not the bench; an unknown one is a mistake of ours."""
    for name in (*peers.MEDIA, *peers.WEBHOOKS):
        found = peers.find(name)
        assert found if isinstance(found, str) else Path(found[0]).is_file()
    assert set(peers.PEERS) == {*peers.MEDIA, *peers.WEBHOOKS, *peers.OURSELVES}
    with pytest.raises(KeyError):
        peers.find("nobody")


def test_nothing_to_install_with_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No npm, no gcc, no node: each line says so, and the run goes on."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(peers, "VENV", tmp_path)
    assert install.npm_packages() == "skipped: no npm on PATH"
    assert install.floor() == "skipped: no gcc on PATH"
    assert peers.find("node") == "no node on PATH"


def test_an_install_that_fails_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Offline, npm's last words are the reason, and the exit code of the whole stays 0."""
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'no such host' >&2\nexit 1\n", encoding="utf-8")
    npm.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert install.npm_packages() == "skipped: npm failed: no such host"
