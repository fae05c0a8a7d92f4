"""From an agent file to a backend: tools without code, as a service loads and runs them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import trio

from actors.tools.port import Caller
from engine.errors import BadSettings
from tests.actors.tools_http.backends import Exchange, open_backend
from web.agents import load_agent

CALLER = Caller("call-1", "+15550123")
FILE = """\
name: shop
assistant_id: a
http_tools:
  find_order:
    description: Look up an order by its number.
    effect: read
    url: http://127.0.0.1:${SHOP_PORT}/orders/{order_id}
    headers: {Authorization: "Bearer ${SHOP_KEY}"}
    parameters:
      order_id: {pattern: "^[0-9]{6}$", description: six digits}
    result: "{status}, arriving {eta}"
    problems: {404: There is no such order.}
    allow_private: true
    retries: 2
  cancel_order:
    description: Cancel an order.
    effect: commit
    method: POST
    url: http://127.0.0.1:${SHOP_PORT}/orders
    body: {id: "{order_id}", from: "{caller.number}"}
    parameters: {order_id: {type: integer}}
    allow_private: true
    confirm: true
    undo: restore_order
  restore_order:
    description: Take a cancellation back.
    effect: idempotent
    method: POST
    url: http://127.0.0.1:${SHOP_PORT}/orders/{order_id}/restore
    parameters: {order_id: {type: integer}}
    allow_private: true
    hidden: true
"""
MCP = f"""\
mcp:
  warehouse:
    command: ["{sys.executable}", "{Path(__file__).parent / "mcp_server.py"}"]
    tools:
      stock: {{description: Ask for the stock., effect: read, remote: find_order, parameters: {{order_id: {{}}}}}}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "agent.yaml"
    path.write_text(text)
    return path


async def test_tools_without_code(nursery: trio.Nursery, tmp_path: Path) -> None:
    """A file is enough: the model knows the tools, a busy shop is asked again, a booking has its key."""
    statuses = [503, 200]

    async def shop(exchange: Exchange) -> None:
        if exchange.line.startswith("GET"):
            await exchange.answer(b'{"status": "on its way", "eta": "Friday"}', status=statuses.pop(0))
        else:
            await exchange.answer(b'{"done": true}')

    backend = await open_backend(nursery, shop)
    env = {"SHOP_PORT": str(backend.port), "SHOP_KEY": "s3cret"}
    loaded = load_agent(written(tmp_path, FILE), env)
    assert {spec.name: (spec.effect, spec.policy.retries, spec.hidden) for spec in loaded.toolbox.specs} == {
        "find_order": ("read", 2, False), "cancel_order": ("commit", 0, False),
        "restore_order": ("idempotent", 0, True),
    }  # fmt: skip
    async with loaded.ways_out.open():
        found = await loaded.toolbox.run("t1", "find_order", {"order_id": " 000123 "}, CALLER)
        assert (found.text, found.ok) == ("on its way, arriving Friday", True)
        misfit = await loaded.toolbox.run("t2", "find_order", {"order_id": "12"}, CALLER)
        assert "order_id must look like ^[0-9]{6}$" in misfit.text and not misfit.ok
        assert (await loaded.toolbox.run("t3", "cancel_order", {"order_id": "7"}, CALLER)).ok
    first, again, cancelled = backend.asked
    assert first.headers["authorization"] == again.headers["authorization"] == "Bearer s3cret"
    assert json.loads(cancelled.body) == {"id": 7, "from": "+15550123"}
    assert cancelled.headers["idempotency-key"]
    assert "s3cret" not in f"{loaded!r} {loaded.agent!r} {loaded.toolbox!r} {loaded.toolbox.specs!r}"
    assert "s3cret" not in f"{loaded.agent.http_tools!r}"


@pytest.mark.filterwarnings("ignore:.*[Aa]sync.?gen:ResourceWarning")
async def test_an_mcp_server_of_the_file(tmp_path: Path) -> None:
    """A server's tool is the agent's under its own name, and its process ends with the service."""
    loaded = load_agent(written(tmp_path, FILE + MCP), {"SHOP_PORT": "1", "SHOP_KEY": "s3cret"})
    async with loaded.ways_out.open():
        found = await loaded.toolbox.run("t1", "stock", {"order_id": "7"}, CALLER)
        assert (found.text, found.ok) == ("order 7 is on its way with 1", True)
    assert not (await loaded.toolbox.run("t2", "stock", {"order_id": "7"}, CALLER)).ok


def test_every_fault_has_its_place(tmp_path: Path) -> None:
    """What is wrong with tools is told with line and column, all at once, and no secret is quoted."""
    text = (FILE + MCP).replace("{order_id}\n", "{oder_id}\n").replace("effect: read, ", "effect: red, ")
    text = text.replace("  cancel_order:", "  cancel-order:\n    retries: 1").replace('["', '["", "')
    text = text.replace("    command:", "    url: https://me:s3cret@a.example.com/\n    command:")
    with pytest.raises(BadSettings) as problem:
        load_agent(written(tmp_path, text), {"SHOP_PORT": "1", "SHOP_KEY": "s3cret{x}"})
    told = str(problem.value)
    for at, said in (
        ("7:10", "did you mean {order_id}?"), ("8:30", "`Authorization` holds a place"), ("16:14", "could do it twice"),
        ("39:56", "did you mean `read`?"),
    ):  # fmt: skip
        assert any(f"yaml:{at}" in line and said in line for line in told.splitlines()), told
    assert "s3cret" not in told


def test_an_undo_that_is_not_there_is_told_where_it_stands(tmp_path: Path) -> None:
    """Also in a file without a line of Python."""
    text = FILE.replace("undo: restore_order", "undo: restore_all")
    with pytest.raises(BadSettings, match=r"yaml:\d+:11: .*there is no tool restore_all"):
        load_agent(written(tmp_path, text), {"SHOP_PORT": "1", "SHOP_KEY": "k"})


def test_a_name_means_one_tool(tmp_path: Path) -> None:
    """Two tools of one name would be a matter of luck."""
    text = FILE + MCP.replace("      stock:", "      find_order:")
    with pytest.raises(BadSettings, match="a name means one tool"):
        load_agent(written(tmp_path, text), {"SHOP_PORT": "1", "SHOP_KEY": "k"})
