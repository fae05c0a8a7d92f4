"""Hot reload: new calls get the new version of an agent, calls that live keep theirs, and faults change nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from actors.tools import Caller, ToolContext
from actors.vapi_rest import VapiRest
from actors.world.agent import AgentPlan, Reply
from actors.world.caller import AfterAgent, CallerPlan, Step
from actors.world.house import CallscopeHouse
from actors.world.sounds import Sound
from actors.world.world import CallPlan, Lived, open_world
from engine.agent import Agent, Silence
from engine.errors import BadSettings, VapiTrouble
from engine.lines import LineBook
from tests.web.doors import NOBODY, PUBLIC_URL, SECRET, TOKEN
from web.agents import LoadedAgent, load_agent
from web.app import open_runtime
from web.assistant import Assistant
from web.file_watch import FileWatch, keep_current
from web.reload import Versions
from web.settings import Settings
from web.vapi_hooks import VapiDoor

TOOLS = '''import sys

from actors.tools import tool

VERSION = "version {n}"


@tool(effect="read", cache_s=60)
async def which_version() -> str:
    """Say which version this is."""
    return sys.modules[__name__].VERSION  # as dataclasses and typing look things up
'''
SETTINGS = Settings(
    public_url=PUBLIC_URL,
    twilio_account_sid="AC" + "1" * 32,
    twilio_auth_token=TOKEN,
    vapi_api_key="key",
    vapi_server_secret=SECRET,
    vapi_base_url=NOBODY,
    twilio_base_url=NOBODY,
)


def write(folder: Path, n: int, *, more: str = "") -> Path:
    """Version n of an agent."""
    path = folder / "agent.yaml"
    path.write_text(f"name: x\ntools: tools.py\nassistant: {{firstMessage: version {n}}}\n{more}", encoding="utf-8")
    (folder / "tools.py").write_text(TOOLS.replace("{n}", str(n)), encoding="utf-8")
    return path


WORDS = Sound("words", b"\x20\xa0" * 3200, 0.0, text="which version are you")
NOBODY_CALLS = ToolContext(Caller("call-1", "+12025550123"), "tool-1", "key-1")


@dataclass
class FakeWatch:
    """Fulfils `Watch`: a change is what a test says is one."""

    changes: trio.MemoryReceiveChannel[None]

    async def wait_changed(self) -> None:
        await self.changes.receive()


@dataclass
class FakeVapi:
    """As much of Vapi's REST side as an update needs."""

    trouble: bool = False
    updates: list[Mapping[str, Any]] = field(default_factory=list)

    async def ensure_assistant(self, name: str, body: Mapping[str, Any]) -> str:
        await trio.lowlevel.checkpoint()
        if self.trouble:
            raise VapiTrouble("no")
        self.updates.append(body)
        return "assistant"


@dataclass
class FakeDoor:
    answers: list[Mapping[str, Any]] = field(default_factory=list)

    def answer_requests_with(self, answer: Mapping[str, Any]) -> None:
        self.answers.append(answer)


async def no_lines(silence: Silence, folder: Path) -> LineBook:
    await trio.lowlevel.checkpoint()
    return LineBook({})


def versions(house: CallscopeHouse, loaded: LoadedAgent, vapi: FakeVapi, door: FakeDoor, **more: Any) -> Versions:
    return Versions(
        more.pop("settings", SETTINGS),
        loaded,
        supervisor=house.supervisor,
        door=cast(VapiDoor, door),
        vapi=cast(VapiRest, vapi),
        assistant=Assistant("assistant"),
        book=no_lines,
        **more,
    )


async def test_a_call_that_lives_keeps_its_version(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Two callers, the file changes between them: the first still reaches the tool that it began with."""
    first = load_agent(write(tmp_path, 1))
    asks = CallPlan(
        caller=CallerPlan(steps=[Step(AfterAgent(600), WORDS), Step(AfterAgent(600), WORDS)], stays_ms=20_000),
        agent=AgentPlan(
            first_message="Hello.",
            replies=(
                Reply("Let me see.", tool="which_version"),
                Reply("And again.", tool="which_version", ends_call=True),
            ),
        ),
        longest_s=60.0,
    )
    lived: dict[str, Lived] = {}
    async with open_world(lambda plane, vapi: CallscopeHouse(plane, vapi, toolbox=first.toolbox)) as world:
        house = cast(CallscopeHouse, world.house)
        vapi, door = FakeVapi(), FakeDoor()
        reloads = versions(house, first, vapi, door)

        async def live(who: str) -> None:
            result = await world.live(asks)
            assert result is not None
            lived[who] = result

        async with trio.open_nursery() as callers:
            callers.start_soon(live, "first")
            while not any(answers_of(house, actor.call_id) for actor in house.supervisor.live):
                await trio.sleep(0.1)
            await reloads.take(callers, load_agent(write(tmp_path, 2)))
            callers.start_soon(live, "second")
    assert answers(lived["first"]) == ["version 1", "version 1"]
    assert answers(lived["second"]) == ["version 2", "version 2"]
    assert [body["firstMessage"] for body in vapi.updates] == ["version 2"]
    assert [one["assistant"]["firstMessage"] for one in door.answers] == ["version 2"]


def answers(call: Lived) -> list[str]:
    return [record.data["text"] for record in call.records if record.name == "ToolResult"]


def answers_of(house: CallscopeHouse, call_id: str) -> list[str]:
    return [record.name for record in house.journal._records.get(call_id, []) if record.name == "ToolResult"]


async def test_faults_are_told_and_change_nothing(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A version with faults is passed over; the next good one is taken; what crashes stops nobody from looking."""
    tell, changes = trio.open_memory_channel[None](10)
    path = write(tmp_path, 1)
    taken: list[LoadedAgent] = []
    told: list[str] = []
    ill = iter([BadSettings("2 faults"), None, RuntimeError("a voice that fails"), None])

    async def load(asked: Path) -> LoadedAgent:
        await trio.lowlevel.checkpoint()
        problem = next(ill)
        if problem is not None:
            raise problem
        return load_agent(asked)

    async def take(loaded: LoadedAgent) -> None:
        await trio.lowlevel.checkpoint()
        taken.append(loaded)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(keep_current, path, FakeWatch(changes), take, load=load, told=told.append))
        for _ in range(4):
            await tell.send(None)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert told == ["2 faults"]
    assert len(taken) == 2


async def test_new_calls_carry_the_assistant_whole(autojump_clock: MockClock, tmp_path: Path) -> None:
    """An update at Vapi may come late or fail; a saved assistant that is not ours is named as before."""
    loaded = load_agent(write(tmp_path, 1))
    async with open_world(CallscopeHouse) as world, trio.open_nursery() as nursery:
        house = cast(CallscopeHouse, world.house)
        await versions(house, loaded, FakeVapi(trouble=True), FakeDoor()).take(nursery, load_agent(write(tmp_path, 2)))
        body = house.supervisor.services.agent_call_body("call-1", "+12025550123")
        assert body["assistant"]["firstMessage"] == "version 2"
        theirs = replace(SETTINGS, vapi_assistant_id="theirs")
        vapi = FakeVapi()
        await versions(house, loaded, vapi, FakeDoor(), settings=theirs).take(nursery, load_agent(write(tmp_path, 3)))
        assert house.supervisor.services.agent_call_body("call-2", "+12025550123")["assistantId"] == "theirs"
        assert house.supervisor.services.agent.assistant == {"firstMessage": "version 3"}
        await trio.sleep(1)
        assert vapi.updates == []


async def test_a_version_without_an_assistant_is_not_taken(autojump_clock: MockClock, tmp_path: Path) -> None:
    """It would have nobody to talk."""
    loaded = load_agent(write(tmp_path, 1))
    async with open_world(CallscopeHouse) as world, trio.open_nursery() as nursery:
        house = cast(CallscopeHouse, world.house)
        reloads = versions(house, loaded, FakeVapi(), FakeDoor())
        before = house.supervisor.services
        with pytest.raises(BadSettings, match="no assistant"):
            await reloads.take(nursery, replace(loaded, agent=Agent("x")))
        assert (house.supervisor.services, reloads.number) == (before, 1)


def test_two_versions_of_a_tools_file_live_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written twice within one second, and of one length: each toolbox has its own functions, types and names."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)

    def loaded(n: int) -> Iterator[str]:
        path = write(tmp_path, n)
        os.utime(tmp_path / "tools.py", (1, 1))  # the same second, for certain
        tool = load_agent(path).toolbox.tools["which_version"]
        while True:
            yield trio.run(partial(tool.attempt, {}, NOBODY_CALLS))

    first, second = loaded(1), loaded(2)
    assert [next(first), next(second), next(first)] == ["version 1", "version 2", "version 1"]


async def test_files_are_watched(tmp_path: Path) -> None:
    """A change, a new file and a lost one are seen; what was only touched, or is still being written, is not."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("a", encoding="utf-8")
    watch = FileWatch(lambda: [one, other], every_s=0.02)

    async def changed(within_s: float) -> bool:
        with trio.move_on_after(within_s):
            await watch.wait_changed()
            return True
        return False

    assert not await changed(0.1)
    one.write_text("b", encoding="utf-8")
    assert await changed(5)
    os.utime(one, (1, 1))
    assert not await changed(0.15)
    other.write_text("new", encoding="utf-8")
    assert await changed(5)
    other.unlink()
    assert await changed(5)
    async with trio.open_nursery() as nursery:  # an editor that writes piece by piece: one change, at its end
        nursery.start_soon(_write_slowly, one)
        assert await changed(5)
        assert one.read_text(encoding="utf-8") == "x" * 10
    assert not await changed(0.1)


async def _write_slowly(path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for _ in range(10):
            file.write("x")
            file.flush()
            await trio.sleep(0.01)


async def test_a_service_follows_its_file(tmp_path: Path) -> None:
    """The real thing: files on a disk, a running service; faults leave the version before in place."""
    path = write(tmp_path, 1)
    settings = replace(SETTINGS, data=tmp_path / "data")
    async with open_runtime(settings, load_agent(path), reload=True) as runtime:
        supervisor = runtime.supervisor
        write(tmp_path, 2, more="turns: {voice_ms: nonsense}\n")
        await trio.sleep(1.5)
        assert supervisor.services.agent.assistant == {"firstMessage": "version 1"}
        write(tmp_path, 3, more="fallback: {words: New words.}\n")
        with trio.fail_after(20):
            while supervisor.services.agent.fallback.words != "New words.":
                await trio.sleep(0.1)
        assert supervisor.services.agent.assistant == {"firstMessage": "version 3"}
        tool = supervisor.services.toolbox.tools["which_version"]
        assert await tool.attempt({}, NOBODY_CALLS) == "version 3"
