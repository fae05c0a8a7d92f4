"""Two workers as an operator has them: `callscope serve --workers 2` between the twins, killed and drained."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
import yaml

from actors.journal_reader import list_calls, read_call
from engine.agent import CallerStep
from tests.stories.conftest import wait_for
from web.agents import example
from web.siblings import owner_of
from web.stack import Stack, open_stack

pytestmark = pytest.mark.slow

BOOKS = [CallerStep(say="Eight works."), CallerStep(say="Goodbye."), CallerStep(wait_for_end=True)]
TABLE = {"party": 2, "time": "20:00"}
STAYS = [CallerStep(wait_for_end=True, after="now")]


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    """The bistro in a hurry: the same tool, few words, so that a call takes seconds."""
    bistro = example()
    terse = yaml.safe_load(bistro.read_text(encoding="utf-8"))
    terse["tools"] = str(bistro.parent / terse["tools"])
    terse["assistant"]["firstMessage"] = "Hello."
    booking = {"hear": ["Eight works"], "say": "Yes.", "tool": {"name": "check_availability", "arguments": TABLE}}
    terse["twin"] = {"replies": [booking, {"hear": ["Goodbye"], "say": "Goodbye.", "end": True}]}
    path = tmp_path / "agent.yaml"
    path.write_text(yaml.safe_dump(terse), encoding="utf-8")
    return path


async def place_on_both(stack: Stack, script: Sequence[CallerStep], *, each: int = 1) -> tuple[list[str], list[str]]:
    """Place calls until each worker owns so many. Returns theirs; chance decides how many more than asked for."""
    owned: tuple[list[str], list[str]] = ([], [])
    while min(map(len, owned)) < each:
        call_sid = await stack.place_call(script)
        owned[owner_of(call_sid, 2)].append(call_sid)
    return owned


async def numbers(stack: Stack, name: str) -> dict[int, float]:
    """A metric of every worker that answers."""
    text = (await stack.http.get(f"{stack.service.url}/metrics")).text
    found = re.findall(rf'^callscope_{name}{{worker="(\d)"}} (\S+)$', text, re.MULTILINE)
    return {int(worker): float(value) for worker, value in found}


async def wait_numbers(stack: Stack, name: str, expected: dict[int, float], *, within_s: float = 20) -> None:
    told: dict[int, float] = {}
    with trio.move_on_after(within_s):
        while told != expected:
            told = await numbers(stack, name)
            await trio.sleep(0.05)
    assert told == expected


def said(known: Any) -> list[str]:
    """What Twilio itself said to the caller: our words in TwiML."""
    return [event["text"] for event in known["events"] if event["what"] == "say"]


def children_of(pid: int) -> dict[int, int]:
    """The processes of the workers, by number."""
    found: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            status = (entry / "status").read_text()
            command = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"\nPPid:\t{pid}\n" in status and b"--worker" in command:
            found[int(command[command.index(b"--worker") + 1])] = int(entry.name)
    return found


def run_dir_of(pid: int) -> str:
    command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return command[command.index("--run-dir") + 1]


async def wait_gone(pids: Sequence[int], *, within_s: float) -> None:
    """No such process, within that time. (Ours are reaped by their parent, or by init.)"""
    with trio.fail_after(within_s):
        while any(_lives(pid) for pid in pids):
            await trio.sleep(0.05)


def _lives(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


async def test_calls_with_tools_on_both_workers(agent: Path, tmp_path: Path) -> None:
    """Every call is one call though each webhook comes twice, gets its tool's answer, and is in the one journal."""
    async with open_stack(agent, tmp_path / "data", workers=2) as stack:
        assert stack.service.ready["workers"] == 2
        await stack.http.post(f"{stack.twilio.url}/twin/faults", json={"double_webhooks": True})
        owned = await place_on_both(stack, BOOKS, each=3)
        call_sids = [*owned[0], *owned[1]]
        for call_sid in call_sids:
            known = await stack.wait_call(call_sid)
            assert (known["status"], known["ended_by"], known["errors"]) == ("completed", "server", []), known
        await wait_numbers(stack, "calls_live", {0: 0, 1: 0})
        assert await numbers(stack, "calls_admitted_total") == {0: len(owned[0]), 1: len(owned[1])}
        assert await numbers(stack, "calls_unknown_webhooks_total") == {0: 0, 1: 0}
        assert await numbers(stack, "journal_records_lost_total") == {0: 0, 1: 0}
        assert sum((await numbers(stack, "siblings_forwarded_total")).values()) > 0
        await wait_numbers(stack, "media_sockets", {0: 0, 1: 0})
        reports = len(call_sids)  # they come some time after the call
        await wait_for(
            stack.journal, lambda told: sum(one.name == "ReportArrived" for one in told) == reports, within_s=10
        )
    rows = list_calls(stack.journal, 100)
    assert [row.outcome for row in rows] == ["completed"] * len(call_sids)
    for row in rows:
        names = [record.name for record in read_call(stack.journal, row.call_id)]
        assert (names.count("ToolResult"), names.count("ReportArrived"), names.count("Closed")) == (1, 1, 1), names


async def test_a_worker_is_killed(agent: Path, tmp_path: Path) -> None:
    """Its callers hear words; its sibling's do not notice; it is back in a moment, and takes calls again."""
    async with open_stack(agent, tmp_path / "data", workers=2) as stack:
        owned = await place_on_both(stack, BOOKS)
        await wait_numbers(stack, "media_sockets", {0: 2 * len(owned[0]), 1: 2 * len(owned[1])})
        before = children_of(stack.service.process.pid)
        os.kill(before[1], signal.SIGKILL)
        for call_sid in owned[1]:
            (words,) = said(await stack.wait_call(call_sid))
            assert words.startswith("Sorry, we have a problem with our phone.")
        for call_sid in owned[0]:
            known = await stack.wait_call(call_sid)
            assert (known["ended_by"], known["errors"], said(known)) == ("server", [], [])
        await wait_numbers(stack, "calls_admitted_total", {0: len(owned[0]), 1: 0})
        after = children_of(stack.service.process.pid)
        assert after[0] == before[0] and after[1] != before[1]
        again = await place_on_both(stack, STAYS)
        await wait_numbers(stack, "media_sockets", {0: 2 * len(again[0]), 1: 2 * len(again[1])})
        run_dir = run_dir_of(after[0])
        # The parent dies too: nobody looks after the workers any more. They say goodbye, and free the port.
        stack.service.process.kill()
        for call_sid in [*again[0], *again[1]]:
            assert (await stack.wait_call(call_sid))["ended_by"] == "server"
        await wait_gone([*after.values()], within_s=10)
        shutil.rmtree(run_dir)  # a parent that was killed cannot


async def test_draining_with_a_live_call(agent: Path, tmp_path: Path) -> None:
    """SIGTERM: a live call goes on to its end, webhooks and all, a new one gets words, and no process is left."""
    async with open_stack(agent, tmp_path / "data", workers=2) as stack:
        call_sid = await stack.place_call(BOOKS)
        owner = owner_of(call_sid, 2)
        await wait_numbers(stack, "calls_live", {owner: 1, 1 - owner: 0})
        pids = [*children_of(stack.service.process.pid).values(), stack.service.process.pid]
        assert len(pids) == 3
        stack.service.process.terminate()
        with trio.fail_after(5):
            while len(re.findall(r"draining +calls=", stack.service.log.read_text(encoding="utf-8"))) < 2:
                await trio.sleep(0.02)
        refused = await stack.wait_call(await stack.place_call(STAYS))
        assert said(refused)[0].startswith("Sorry, we have a problem with our phone.")
        known = await stack.wait_call(call_sid)
        assert (known["ended_by"], known["errors"], said(known)) == ("server", [], [])
        with trio.fail_after(10):
            assert await stack.service.process.wait() == 0
        await wait_gone(pids, within_s=1)
    (row,) = list_calls(stack.journal)
    assert row.outcome == "completed"
    assert "ToolResult" in [record.name for record in read_call(stack.journal, row.call_id)]


async def test_haste(agent: Path, tmp_path: Path) -> None:
    """A second SIGTERM: the caller hears a goodbye at once, and all is over."""
    async with open_stack(agent, tmp_path / "data", workers=2) as stack:
        call_sid = await stack.place_call(STAYS)
        with trio.fail_after(10):
            while sum((await numbers(stack, "media_sockets")).values()) < 2:
                await trio.sleep(0.05)
        stack.service.process.terminate()
        with trio.fail_after(5):
            while (await stack.http.get(f"{stack.service.url}/ready")).status_code == 200:
                await trio.sleep(0.02)
        assert stack.service.process.returncode is None
        stack.service.process.terminate()
        with trio.fail_after(15):
            assert await stack.service.process.wait() == 0
        assert (await stack.wait_call(call_sid))["ended_by"] == "server"
