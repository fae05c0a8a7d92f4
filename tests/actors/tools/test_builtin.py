"""The built-in tools: what an agent file may say, and what they order of a call."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from actors.supervisor import NextStep
from actors.tools import BadArguments, Caller, Tool, ToolContext, ToolProblem
from actors.tools.builtin import builtin_tools
from engine.builtin_tools import Builtins, EndCall, SendKeys, TakeMessage, Transfer
from engine.errors import BadSettings
from engine.tools import ToolEffect
from engine.wire.vapi_calls import function_tool
from web.agents import load_agent
from web.twiml import go_on

ALL = Builtins(
    end_call=EndCall(),
    transfers={"support": Transfer("+15550100", when="A complaint."), "night": Transfer("sip:desk@pbx.example.com")},
    send_keys=SendKeys(),
    take_message=TakeMessage(),
)


class Orders:
    """Fulfils `CallOrders`: writes down what was ordered."""

    def __init__(self, busy: int = 0) -> None:
        self.given: list[tuple[Any, ...]] = []
        self._busy = busy

    def end(self, reason: str) -> None:
        self.given.append(("end",))

    def transfer(self, to: str, *, words: str) -> None:
        self.given.append(("transfer", to))

    def press(self, keys: str) -> bool:
        self._busy -= 1
        if self._busy < 0:
            self.given.append(("press", keys))
        return self._busy < 0

    def note(self, name: str, data: Mapping[str, Any]) -> None:
        self.given.append((name, dict(data)))


def named(name: str) -> Tool:
    return next(tool for tool in builtin_tools(ALL) if tool.spec.name == name)


async def use(name: str, arguments: dict[str, Any], orders: Orders) -> Any:
    tool = named(name)
    return await tool.attempt(tool.fit(arguments), ToolContext(Caller("c", "+15550123"), "t1", "k", orders))


async def test_the_model_chooses_a_name_and_never_a_number() -> None:
    """What a caller can talk a model into, it cannot dial."""
    orders = Orders()
    await use("transfer_call", {"to": "night"}, orders)
    assert ("transfer", "sip:desk@pbx.example.com") in orders.given
    for wrong in ("+19005550100", "Support", "", None, ["night"], 7):
        with pytest.raises(BadArguments, match="support, night"):
            named("transfer_call").fit({"to": wrong})
    told = function_tool(named("transfer_call").spec, {"url": "https://x"})
    assert "+1555" not in str(told) and "sip:" not in str(told) and "A complaint." in str(told)


async def test_keys_wait_for_the_line_to_be_free(autojump_clock: MockClock) -> None:
    """While the agent speaks nothing can be pressed; after five seconds that is said."""
    orders = Orders(busy=10)
    await use("send_keys", {"keys": "12w#"}, orders)
    assert orders.given == [("press", "12w#")] and trio.current_time() == pytest.approx(1.0)
    with pytest.raises(ToolProblem, match="could not be pressed"):
        await use("send_keys", {"keys": "1"}, Orders(busy=10_000))
    for wrong in ("", "x", "1" * 41, "1; DROP"):
        with pytest.raises(BadArguments):
            named("send_keys").fit({"keys": wrong})


async def test_a_message_is_kept_with_who_called() -> None:
    """Who called is the call's word; the rest is the caller's. It is read back first, as the agent file wants."""
    orders = Orders()
    await use("take_message", {"message": "Call me\n back", "name": "Ada", "caller": "+1900"}, orders)
    assert orders.given == [("MessageTaken", {"message": "Call me back", "name": "Ada", "caller": "+15550123"})]
    for wrong in ({}, {"message": "  "}, {"message": "x" * 2001}):
        with pytest.raises(BadArguments):
            named("take_message").fit(wrong)
    assert named("take_message").spec.policy.confirm
    (plain,) = builtin_tools(Builtins(take_message=TakeMessage(read_back=False)))
    assert not plain.spec.policy.confirm


def test_what_ends_or_moves_a_call_is_terminal() -> None:
    """It waits until what is being said was heard."""
    effects = {tool.spec.name: tool.spec.effect for tool in builtin_tools(ALL)}
    assert effects["end_call"] is effects["transfer_call"] is ToolEffect.TERMINAL


def test_twilio_dials_numbers_and_sip_addresses() -> None:
    """Both kinds of goal are in TwiML's own words."""
    assert "<Dial>+15550100</Dial>" in go_on(NextStep("Wait.", "+15550100"))
    assert "<Dial><Sip>sip:desk@pbx.example.com</Sip></Dial>" in go_on(NextStep("", "sip:desk@pbx.example.com"))


AGENT = "name: x\nassistant: {firstMessage: Hello.}\n"


def test_an_agent_file_with_builtins(tmp_path: Path) -> None:
    """A few lines give the agent its hands."""
    path = tmp_path / "agent.yaml"
    path.write_text(AGENT + "builtins:\n  end_call: {}\n  transfers:\n    desk: {to: '+15550100'}\n", encoding="utf-8")
    assert set(load_agent(path).toolbox.tools) == {"end_call", "transfer_call"}


@pytest.mark.parametrize(
    "line", ["transfers: {desk: {to: '555'}}", "end_calls: {}", "transfers: {'a b': {to: '+15550100'}}"]
)
def test_builtins_that_cannot_be_meant(tmp_path: Path, line: str) -> None:
    """A goal that cannot be dialled, a misspelt tool, a name that no model can say."""
    path = tmp_path / "agent.yaml"
    path.write_text(f"{AGENT}builtins:\n  {line}\n", encoding="utf-8")
    with pytest.raises(BadSettings, match="builtins"):
        load_agent(path)
