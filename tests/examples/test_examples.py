"""The examples are true: they check clean, their scenarios pass, their backends and tools work together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from actors.tools import Caller, ToolContext, ToolRunner
from engine.agent import DialPlan
from engine.masking import masked
from web.agent_lints import lint_agent
from web.agents import LoadedAgent, inspect_agent, load_agent
from web.children import start_child
from web.cli.check import check
from web.outbound import Service
from web.scenario_play import play_path
from web.scenario_report import as_text
from web.stack import open_stack

AGENTS = Path(__file__).parents[2] / "specs" / "agents"
EXAMPLES = ("restaurant", "support", "reminder")
SCENARIOS = sorted(AGENTS.glob("*/scenarios/*.scenario.yaml"))
CALLER = "+12025550123"


@pytest.mark.parametrize("name", [*EXAMPLES, "restaurant/first"])
def test_nothing_is_wrong_with_it(name: str) -> None:
    """No fault and no warning."""
    found = inspect_agent(AGENTS / name, {})
    assert found.faults == []
    assert [one.what for one in lint_agent(found)] == []


def test_all_are_checked_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`callscope check specs/agents/*`; the worst of several gives the status, and each is told."""
    check(*(AGENTS / name for name in EXAMPLES), strict=True)
    assert capsys.readouterr().out.count(" is fine") == len(EXAMPLES)
    (tmp_path / "agent.yaml").write_text("nmae: x\n")
    with pytest.raises(SystemExit) as left:
        check(tmp_path, AGENTS / "support")
    told = capsys.readouterr()
    assert left.value.code == 2 and "nmae" in told.err and "'support' is fine" in told.out


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: f"{path.parents[1].name}-{path.name.partition('.')[0]}")
def test_its_scenarios_pass(path: Path) -> None:
    """Each call goes as its page says."""
    _, outcome = play_path(path)
    assert outcome.ok, as_text(path, outcome)


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_is_whole(name: str) -> None:
    """A README of a page, and some scenarios."""
    folder = AGENTS / name
    assert len((folder / "README.md").read_text().splitlines()) <= 25
    assert 3 <= len(list((folder / "scenarios").iterdir())) <= 6


def test_the_first_agent_is_short() -> None:
    """The agent file and its tool together are under 30 lines, blank ones not counted."""
    texts = [(AGENTS / "restaurant" / "first" / name).read_text() for name in ("agent.yaml", "tools.py")]
    assert len([line for text in texts for line in text.splitlines() if line.strip()]) < 30


class Backend:
    """An example with its own backend, each a process of its own."""

    def __init__(self, loaded: LoadedAgent, call_id: str = "call-1", **variables: str) -> None:
        self._loaded, self._caller = loaded, Caller(call_id, CALLER, variables)

    async def ask(self, name: str, key: str = "key", **arguments: Any) -> tuple[bool, str]:
        """One run of a tool, past confirmation and ledger."""
        tool = self._loaded.toolbox.tools[name]
        outcome = await ToolRunner().run(tool, tool.fit(arguments), ToolContext(self._caller, f"t {key}", key))
        return outcome.ok, outcome.text


async def test_the_book_of_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One key books once; a table is nobody's twice; a guest cancels their own, and an undo takes back its own."""
    backend = await start_child("backend", ["web.backend", str(AGENTS / "restaurant/backend.py"), "--port", "0"],
                                logs=tmp_path)  # fmt: skip
    try:
        monkeypatch.setenv("BACKEND_URL", backend.url)
        book = Backend(load_agent(AGENTS / "restaurant"))
        four: dict[str, Any] = {"party": 4, "time": "20:00"}
        assert await book.ask("check_availability", **four) == (True, "A table for four at eight is free")
        assert (await book.ask("find_booking"))[0] is False
        first = await book.ask("book_table", "k1", **four)
        assert first == (True, "Your table for four at eight is booked")
        assert await book.ask("book_table", "k1", **four) == first
        again = await book.ask("book_table", "k2", **four)
        assert again[0] is False and "just taken" in again[1] and "nine" in again[1]
        assert (await book.ask("find_booking"))[1] == "You have a table for four at eight"
        assert (await book.ask("cancel_booking", party=2, time="20:00"))[0]
        assert (await book.ask("find_booking"))[0], "the undo of another booking leaves this one"
        assert (await book.ask("cancel_booking", **four))[0] and (await book.ask("find_booking"))[0] is False
        await book.ask("book_table", "k3", party=2, time="18:30")
        assert await book.ask("cancel_my_booking") == (True, "Your booking is cancelled")
        assert (await book.ask("cancel_my_booking"))[0] is False
    finally:
        await backend.stop()
    assert (await book.ask("find_booking"))[0] is False, "a book that is gone is told, not raised"


async def test_the_support_desk(tmp_path: Path) -> None:
    """Tools without code: an order, one that is not there, and one ticket for one key."""
    backend = await start_child("backend", ["web.backend", str(AGENTS / "support/backend.py"), "--port", "0"],
                                logs=tmp_path)  # fmt: skip
    try:
        loaded = load_agent(AGENTS / "support", {"BACKEND_URL": backend.url})
        async with loaded.ways_out.open():
            desk = Backend(loaded)
            assert await desk.ask("find_order", order="4217") == (True, "Your order is on its way. It is due Friday")
            assert await desk.ask("find_order", order="9999") == (False, "There is no order with that number.")
            broken = {"order": "3108", "trouble": "It came broken"}
            assert await desk.ask("open_ticket", **broken) == (True, "I have opened a ticket for you")
            assert (await desk.ask("open_ticket", **broken))[0]
    finally:
        await backend.stop()


async def test_the_calendar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The appointment is the call's: the model can name no other. A time that is taken is refused."""
    backend = await start_child("backend", ["web.backend", str(AGENTS / "reminder/backend.py"), "--port", "0"],
                                logs=tmp_path)  # fmt: skip
    try:
        monkeypatch.setenv("BACKEND_URL", backend.url)
        loaded = load_agent(AGENTS / "reminder")
        ours = Backend(loaded, appointment="a17")
        confirmed = await ours.ask("confirm_appointment")
        assert confirmed == (True, "Your appointment on Thursday at three is confirmed")
        assert (await ours.ask("move_appointment", "m1", day="Friday", hour="eleven"))[1] == "That time was just taken."
        moved = await ours.ask("move_appointment", "m2", day="Friday", hour="ten")
        assert moved == (True, "Your appointment is now on Friday at ten")
        assert await ours.ask("move_appointment", "m2", day="Friday", hour="ten") == moved
        assert (await Backend(loaded, "call-2").ask("confirm_appointment"))[0] is False
    finally:
        await backend.stop()


@pytest.mark.slow
async def test_a_message_on_a_voicemail(tmp_path: Path) -> None:
    """Real sockets and voices: the service calls, a voicemail answers, and hears the whole message after its tone."""
    loaded = load_agent(AGENTS / "reminder", {})
    dials = loaded.agent.twin.dials
    assert dials is not None
    voicemail = DialPlan(dials.to, dials.variables, "voicemail", "This is Ada. Leave a message.")
    async with open_stack(loaded.path, tmp_path) as stack:
        sid = await stack.dial(voicemail, ())
        known = await stack.wait_call(sid, timeout_s=60)
        listed = (await stack.http.get(f"{stack.public_url}/api/calls")).json()["calls"]
        service = Service(stack.public_url, stack.http)
        ended = await service.outcome(listed[0]["id"])
        dialled = [step async for step in service.follow(listed[0]["id"], timeout_s=5)]
    assert known["answered_by"] == "machine_end_beep" and known["errors"] == []
    assert [event["text"] for event in known["events"] if event.get("text", "").startswith("Hello Ada")] == [
        "Hello Ada, this is the dental practice. You have an appointment on Thursday at three. Goodbye."
    ], json.dumps(known["events"])
    told = [event["what"] for event in known["events"]]
    assert told.index("voicemail greets") < told.index("machine detection") < told.index("say")
    assert ended is not None
    assert (ended["outcome"], ended["direction"]) == ("voicemail", "outbound-api")
    assert (dialled[-1]["status"], dialled[-1]["answered_by"]) == ("completed", "machine_end_beep")
    assert dialled[-1]["to"] == masked(dials.to)


async def test_the_stand_in_ends_with_us(tmp_path: Path) -> None:
    """A backend is a child that says where it is, and stops when told."""
    backend = await start_child("backend", ["web.backend", str(AGENTS / "support/backend.py"), "--port", "0"],
                                logs=tmp_path)  # fmt: skip
    assert backend.url.startswith("http://127.0.0.1:")
    with trio.fail_after(10):
        assert await backend.stop() == 0
