"""MCP tools: the official client under Trio, against a real server over stdio and over HTTP."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from actors.tools.mcp import McpHub, McpLine, RemoteTool, need_mcp
from actors.tools.port import BadArguments, ToolProblem
from engine.errors import BadSettings
from engine.http_answers import NO_ANSWER, NOT_CERTAIN, NOT_REACHED
from engine.mcp_tools import McpServer, faults_of
from tests.actors.tools_http.backends import CONTEXT, Exchange, Names, open_backend

SERVER = Path(__file__).parent / "mcp_server.py"
# The client leaves generators of its event streams to the collector; Trio finishes them, and says so.
pytestmark = pytest.mark.filterwarnings("ignore:.*[Aa]sync.?gen:ResourceWarning")
TOOLS: dict[str, Any] = {
    "find_order": {"effect": "read", "parameters": {"order_id": {}, "items": {"type": "integer", "optional": True}}},
    "refuse": {"effect": "read"},
    "think": {"effect": "read", "timeout_s": 0.5},
    "commit": {"effect": "commit", "timeout_s": 0.5, "remote": "think"},
    "shout": {"effect": "read", "timeout_s": 5},
    "die": {"effect": "commit", "timeout_s": 5},
    "book": {"effect": "idempotent", "remote": "shop.book"},
    "gone": {"effect": "commit"},
}


def plan(**keys: Any) -> McpServer:
    tools = {name: {"description": "A tool.", **one} for name, one in TOOLS.items()}
    return msgspec.convert({"tools": tools, **keys}, McpServer)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A server over HTTP, in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free: int = probe.getsockname()[1]
    quiet = subprocess.DEVNULL
    with subprocess.Popen([sys.executable, SERVER, str(free)], stdout=quiet, stderr=quiet) as process:
        try:
            for _ in range(200):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", free)) == 0:
                        break
                time.sleep(0.05)
            yield free
        finally:
            process.kill()


@pytest.fixture(params=["stdio", "http"])
def server(request: pytest.FixtureRequest, port: int) -> McpServer:
    if request.param == "stdio":
        return plan(command=[sys.executable, str(SERVER)])
    return plan(url=f"http://127.0.0.1:{port}/mcp", allow_private=True)


@pytest.fixture
async def hub(nursery: trio.Nursery) -> AsyncIterator[McpHub]:
    one = McpHub()
    await nursery.start(one.run)
    yield one


class Box:
    """The tools of one server."""

    def __init__(self, server: McpServer, hub: McpHub) -> None:
        self.line = McpLine("shop", server, SERVER.parent, hub)
        self._tools = {name: RemoteTool(name, one, self.line) for name, one in server.tools.items()}

    async def __call__(self, name: str, **arguments: Any) -> str:
        with trio.fail_after(20):
            return await self._tools[name].attempt(self._tools[name].fit(arguments), CONTEXT)

    async def problem(self, name: str) -> ToolProblem:
        with pytest.raises(ToolProblem) as problem:
            await self(name)
        return problem.value


async def test_a_servers_tools_under_trio(server: McpServer, hub: McpHub) -> None:
    """Calls share one session; what a tool says is one line, what it refuses a problem; a misfit is not sent."""
    box = Box(server, hub)
    assert await box("find_order", order_id="7", items="2") == "order 7 is on its way with 2"
    first = await box.line.session()
    async with trio.open_nursery() as calls:
        for number in range(10):
            calls.start_soon(partial(box, "find_order", order_id=str(number)))
    problem = await box.problem("refuse")
    assert "s3cret" not in str(problem) and not problem.again
    with pytest.raises(BadArguments, match="order_id is missing"):
        await box("find_order")
    assert (await box("book")).endswith("key-1")
    assert await box.line.session() is first


async def test_a_tool_that_never_answers(server: McpServer, hub: McpHub) -> None:
    """A look-up may be tried again, a commit is not certain; the session goes on for the others."""
    box = Box(server, hub)
    await box("find_order", order_id="1")
    looked, done = await box.problem("think"), await box.problem("commit")
    assert (str(looked), looked.again) == (NO_ANSWER, True)
    assert (str(done), done.again, done.sure) == (NOT_CERTAIN, False, False)
    assert await box("find_order", order_id="2")


async def test_a_tool_that_the_server_does_not_have(server: McpServer, hub: McpHub) -> None:
    """Nothing was done, and it is said so."""
    problem = await Box(server, hub).problem("gone")
    assert problem.sure and not problem.again


async def test_a_server_that_falls_over_is_started_anew(hub: McpHub) -> None:
    """A process dies in the middle of a commit: that is not certain; the next call gets a new process."""
    box = Box(plan(command=[sys.executable, str(SERVER)]), hub)
    assert await box("find_order", order_id="1")
    died = await box.problem("die")
    assert (str(died), died.sure) == (NOT_CERTAIN, False)
    assert await box("find_order", order_id="2")


async def test_an_answer_over_http_has_a_limit(port: int, hub: McpHub) -> None:
    """Three megabytes of shouting are cut off, and the next call is answered."""
    box = Box(plan(url=f"http://127.0.0.1:{port}/mcp", allow_private=True), hub)
    assert str(await box.problem("shout")) == NO_ANSWER
    assert await box("find_order", order_id="2")


@pytest.mark.parametrize("allowed", [False, True])
async def test_a_server_on_this_machine_must_be_meant(
    nursery: trio.Nursery, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard stands before MCP servers too, and a proxy of the environment is no way around it."""

    async def teapot(exchange: Exchange) -> None:
        await exchange.answer(b"no", status=418, kind="text/plain")

    there, proxy = await open_backend(nursery, teapot), await open_backend(nursery, teapot)
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
    names = Names(["127.0.0.1"])
    hub = McpHub(resolve=names)
    await nursery.start(hub.run)
    server = plan(url=f"http://shop.example.com:{there.port}/mcp", allow_private=allowed, connect_s=5)
    assert str(await Box(server, hub).problem("refuse")) == NOT_REACHED
    assert (there.connections > 0, proxy.connections) == (allowed, 0)
    assert set(names.asked) == {"shop.example.com"}


NO_SERVERS = {
    "not there": ["/nowhere/at/all"],
    "ends": [sys.executable, "-c", "pass"],
    "nonsense": [sys.executable, "-c", "print('hello')"],
    "silent": [sys.executable, "-c", "import time; time.sleep(60)"],
}


@pytest.mark.parametrize("command", NO_SERVERS.values(), ids=NO_SERVERS)
async def test_a_server_that_is_none(hub: McpHub, command: list[str]) -> None:
    """What cannot be started, ends at once, talks nonsense or says nothing is a service that cannot be reached."""
    problem = await Box(plan(command=command, connect_s=1), hub).problem("refuse")
    assert (str(problem), problem.again) == (NOT_REACHED, True)


async def test_without_its_hub_a_tool_says_so() -> None:
    """A place that runs no sessions has no MCP tools, and no crash."""
    assert str(await Box(plan(command=["x"]), McpHub()).problem("refuse")) == NOT_REACHED


def test_the_client_is_there() -> None:
    """The tests have the package; a place without it is told what to install."""
    need_mcp()


def test_without_the_client_one_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is optional; a file that needs it says so when it is read."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BadSettings, match="pip install"):
        need_mcp()


@pytest.mark.parametrize(
    ("keys", "at", "said"),
    [
        ({}, "url", "one of them"),
        ({"url": "https://a.example.com/", "command": ["x"]}, "url", "one of them"),
        ({"url": "http://a.example.com/"}, "url", "allow_private"),
        ({"url": "https://u:s3cret@a.example.com/"}, "url", "no user name"),
        ({"url": "https://a.example.com/{x}"}, "url", "no places"),
        ({"url": "https://a.example.com/", "env": {"A": "b"}}, "env", "is for `command`"),
        ({"command": ["x"], "headers": {"A": "b"}}, "headers", "are for `url`"),
        ({"url": "https://a.example.com/", "headers": {"Host": "b"}}, "headers.Host", "leave it out"),
        ({"command": ["x"], "tools": {}}, "tools", "names none"),
        ({"command": ["x"], "tools": {"a b": {"description": "x", "effect": "read"}}}, "tools.a b", "`remote`"),
        (
            {"command": ["x"], "tools": {"a": {"description": "x", "effect": "commit", "retries": 1}}},
            "tools.a.retries",
            "could do it twice",
        ),
    ],
)
def test_what_a_server_cannot_mean_is_said_where_it_stands(keys: dict[str, Any], at: str, said: str) -> None:
    """Each fault names its key and quotes no secret."""
    found = dict(faults_of(plan(**keys)))
    assert said in found.get(at, f"nothing; but {found}")
    assert "s3cret" not in f"{found} {plan(**keys)!r}"
