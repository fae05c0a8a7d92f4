"""Two workers and one API: whichever worker is asked, the list has every call, and an order reaches its call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import yaml

from engine.agent import CallerStep
from tests.web.test_workers_stack import STAYS, place_on_both, said
from web.agents import example
from web.siblings import owner_of
from web.stack import Stack, open_stack

pytestmark = pytest.mark.slow


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    """An agent of few words, who waits."""
    bistro = example()
    terse = yaml.safe_load(bistro.read_text(encoding="utf-8"))
    terse["tools"] = str(bistro.parent / terse["tools"])
    terse["assistant"]["firstMessage"] = "Hello."
    terse["twin"] = {"replies": []}
    path = tmp_path / "agent.yaml"
    path.write_text(yaml.safe_dump(terse), encoding="utf-8")
    return path


async def ask(stack: Stack, method: str, path: str, **given: Any) -> httpx.Response:
    """On a new connection, so that any worker may get it."""
    async with httpx.AsyncClient(base_url=stack.service.url, timeout=10) as http:
        return await http.request(method, path, **given)


async def test_orders_reach_their_call(agent: Path, tmp_path: Path) -> None:
    """Two calls, one on each worker: each is ended by an operator once, though the order came to any worker, twice."""
    script: list[CallerStep] = list(STAYS)
    async with open_stack(agent, tmp_path / "data", workers=2) as stack:
        owned = await place_on_both(stack, script)
        sids = [*owned[0], *owned[1]]
        by_sid: dict[str, str] = {}
        with trio.fail_after(20):
            while len(by_sid) < len(sids):
                listed = (await ask(stack, "GET", "/api/calls?state=live")).json()["calls"]
                for row in listed:
                    (first,) = (await ask(stack, "GET", f"/api/calls/{row['id']}/records?limit=1")).json()["records"]
                    if row["phase"] not in (None, "connecting"):
                        by_sid[first["data"]["twilio_call_sid"]] = row["id"]
        assert {owner_of(sid, 2) for sid in by_sid} == {0, 1}
        for n in range(6):  # whoever is asked, nobody else's call is touched
            (seen,) = {(await ask(stack, "GET", "/api/calls?state=live")).json()["live"] for _ in range(2)}
            assert seen == len(sids), n
        for sid in sids:
            for _ in range(4):
                order = {"json": {"action": "hang_up"}, "headers": {"Idempotency-Key": sid}}
                answer = await ask(stack, "POST", f"/api/calls/{by_sid[sid]}/actions", **order)
                assert answer.status_code == 202, answer.text
            refused = await ask(stack, "POST", f"/api/calls/{by_sid[sid]}/actions", json={"action": "say", "text": "x"})
            assert refused.status_code == 409, refused.text
            (words,) = said(await stack.wait_call(sid))
            assert words.startswith("We have to end the call here.")
        marked = await ask(stack, "POST", f"/api/calls/{by_sid[sids[0]]}/actions", json={"action": "mark"})
        assert marked.status_code == 202
        for _ in range(4):
            whole = (await ask(stack, "GET", f"/api/calls/{by_sid[sids[0]]}")).json()
            assert whole["marked"] and whole["state"] == "ended"
            assert sum("ended the call" in line["text"] for line in whole["story"]) == 1


async def test_logging_out_at_one_worker_is_logging_out(agent: Path, tmp_path: Path) -> None:
    """The kernel chooses who answers: after a log-out none of many new connections gets in with the old cookie."""
    key = "operator-key-0123456789"
    given = {"CALLSCOPE_OPERATOR_KEY": key}
    async with open_stack(agent, tmp_path / "data", workers=2, service_env=given) as stack:
        response = await ask(stack, "POST", "/api/session", json={"key": key})
        assert response.status_code == 200, response.text
        cookie = {"Cookie": response.headers["set-cookie"].partition(";")[0]}
        assert {(await ask(stack, "GET", "/api/calls", headers=cookie)).status_code for _ in range(30)} == {200}
        gone = {**cookie, "X-CSRF-Token": response.json()["csrf"]}
        assert (await ask(stack, "DELETE", "/api/session", headers=gone)).status_code == 204
        assert {(await ask(stack, "GET", "/api/calls", headers=cookie)).status_code for _ in range(30)} == {401}
