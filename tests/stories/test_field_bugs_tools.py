"""Field bugs 2.5: tools against interruptions. Each scene is lived by the real actor and ledger, in virtual time.

What this is and what it leaves out: `test_field_bugs`. The scripted agent forgets a result when the caller cuts in, as
the issues describe it. No. 41 is about a realtime model's microphone, which Vapi has and we do not: shown is that the
caller is heard and answered after a result for which nobody waited any more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio

from actors.tools import Toolbox, make_tool
from actors.tools.builtin import builtin_tools
from actors.world.agent import Reply
from actors.world.caller import AfterAgent, AfterMe, IntoSpeech, Step
from engine.builtin_tools import Builtins, EndCall, Transfer
from engine.wire import vapi
from tests.stories.judged import Scene
from tests.stories.scenes import DEAD_AIR_MS, SceneHouse, agent_plan, call, live, live_all, noise, says, words

ASKS = Step(AfterAgent(700), words("a table for two please"))
SHORT = {"first_words": 4, "answer_words": 6}
HEARD_WITHIN_MS = 60  # from the caller's first sound to our knowing of it
ENDS = Builtins(end_call=EndCall(), transfers={"desk": Transfer("+15550177", words="One moment.")})


@dataclass
class Desk:
    """Somebody at the other end of the tools, who counts."""

    booked: list[int] = field(default_factory=list)
    looked_up: int = 0

    def tools(self, takes_s: float, **policy: Any) -> Toolbox:
        async def book(party: int) -> str:
            """Book a table."""
            await trio.sleep(takes_s)
            self.booked.append(party)
            return "Booked under number seven."

        async def look_up(party: int) -> str:
            """Look up a table."""
            await trio.sleep(takes_s)
            self.looked_up += 1
            return "There is one at eight."

        functions: list[tuple[Callable[..., Awaitable[str]], str]] = [(book, "commit"), (look_up, "read")]
        return Toolbox.of([make_tool(one, effect=effect, **policy) for one, effect in functions], builtin_tools(ENDS))


def asks_for(tool: str, **more: Any) -> Reply:
    arguments = {"party": 2} if tool in ("book", "look_up") else {"to": "desk"} if tool == "transfer_call" else {}
    return Reply(says(6), tool=tool, arguments=arguments, **more)


def names(scene: Scene) -> list[str]:
    return [record.name for record in scene.lived.records]


def test_the_result_is_lost_and_the_reservation_is_made_twice() -> None:
    """No. 37 (livekit#3702): the caller speaks while the table is booked; the agent forgets, and books only once."""
    desk = Desk()
    plan = agent_plan(**SHORT, replies=(asks_for("book"), asks_for("book"), Reply(says(6))))
    ours = live(ASKS, Step(AfterMe(1900), words("are you there")), vapi=plan, toolbox=desk.tools(2.0), stays_ms=9000)
    assert desk.booked == [2], "one table"
    first, second = ours.notes("ToolResult")
    assert first["text"] == "Booked under number seven." and second["ok"]
    assert "done already" in second["text"] and first["text"] in second["text"]
    assert any("Do not do it again" in told for told in ours.told("add-message")), "the agent is reminded besides"


def test_interrupting_just_as_a_tool_starts_leaves_it_in_progress() -> None:
    """No. 38 (pipecat#5779): cut in at any moment around the start of a tool; nothing stays in progress."""
    desk = Desk()
    plans = [
        call(
            ASKS,
            Step(AfterMe(900 + 60 * number), words("no wait")),
            vapi=agent_plan(**SHORT, replies=(asks_for("book"), Reply(says(6)))),
            stays_ms=7000,
            seed=number,
        )
        for number in range(14)
    ]
    for ours in live_all(plans, toolbox=desk.tools(0.4)):
        assert len(ours.notes("ToolRequested")) == len(ours.notes("ToolAnswered")) == len(ours.notes("ToolResult"))
        assert ours.is_whole(len(ours.lived.speeches) - 1), "the agent speaks again"
        assert ours.longest_dead_air_ms() <= DEAD_AIR_MS
    assert len(desk.booked) <= len(plans)


@pytest.mark.parametrize("tool", ["end_call", "transfer_call", "book"])
def test_a_tool_of_a_discarded_generation_still_runs(tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No. 39 (pipecat#4997): the caller has begun to speak again; what the agent then does belongs to nobody.

    A webhook takes 300 ms from Vapi to us, so it may meet a caller who began after it was sent.
    """
    at_once = SceneHouse.run_tools

    async def later(self: SceneHouse, agent_call_id: str, calls: Sequence[vapi.ToolCall]) -> list[str]:
        await trio.sleep(0.3)
        return await at_once(self, agent_call_id, calls)

    monkeypatch.setattr(SceneHouse, "run_tools", later)
    desk = Desk()
    plans = [
        call(
            ASKS,
            Step(AfterMe(1100 + 20 * number), words("no wait I want something else")),
            vapi=agent_plan(**SHORT, answer_ms=600, replies=(asks_for(tool), Reply(says(6)))),
            stays_ms=6000,
            seed=number,
        )
        for number in range(30)
    ]
    discarded = 0
    for ours in live_all(plans, toolbox=desk.tools(0.2)):
        asked = ours.at_ms("ToolRequested")
        if not asked or len(ours.lived.placed) < 2 or asked[0] > ours.lived.placed[1].end_ms:
            continue  # it ended before the caller spoke again, or is the agent's answer to all of it
        voice_ms = ours.lived.placed[1].onset_ms + HEARD_WITHIN_MS
        begun = ours.at_ms("ToolIntent")
        assert not any(at > voice_ms for at in begun), "it begins before the caller cuts in, or not at all"
        assert ours.lived.hung_up or (begun and tool != "book"), "nobody hangs up on a caller who speaks"
        discarded += len(ours.notes("ToolDiscarded"))
    assert discarded, "some of them met the very moment"


def test_a_live_lookup_is_lost_because_the_caller_spoke() -> None:
    """No. 40 (vortex#224): a lookup goes on while the caller says something; nobody is told that they do not exist."""
    desk = Desk()
    plan = agent_plan(**SHORT, replies=(asks_for("look_up"), Reply(says(6))))
    ours = live(ASKS, Step(AfterMe(1500), words("it is urgent")), vapi=plan, toolbox=desk.tools(1.5), stays_ms=6000)
    (found,) = ours.notes("ToolResult")
    assert desk.looked_up == 1 and found["ok"] and found["text"] == "There is one at eight."


def test_a_dropped_result_wedges_the_microphone() -> None:
    """No. 41 (agents-js#2249): after a result for which nobody waited the caller is heard, and gets an answer."""
    desk = Desk()
    plan = agent_plan(**SHORT, replies=(asks_for("book"), Reply(says(6)), Reply(says(8))))
    again = Step(AfterAgent(900), words("and is there parking"))
    ours = live(
        ASKS, Step(AfterMe(1500), words("hello there")), again, vapi=plan, toolbox=desk.tools(3.0), stays_ms=7000
    )
    assert ours.lived.missed == [] and ours.is_whole(len(ours.lived.speeches) - 1)
    assert ours.at_ms("CallerSaid" if "CallerSaid" in names(ours) else "CallerTranscript")
    assert desk.booked == [2]


def test_how_to_keep_talking_while_a_tool_runs() -> None:
    """No. 42 (pipecat-flows#121): a slow tool is put off, the talk goes on, and its result is told when it is there."""
    desk = Desk()
    plan = agent_plan(**SHORT, replies=(asks_for("look_up"), Reply(says(5)), Reply(says(6))))
    slow = desk.tools(9.0, background_s=30, answer_within_s=1.5)
    ours = live(ASKS, Step(AfterAgent(900), words("and is there parking")), vapi=plan, toolbox=slow, stays_ms=14_000)
    assert "ToolPutOff" in names(ours) and ours.longest_dead_air_ms() <= DEAD_AIR_MS
    (late,) = ours.notes("ToolLateResult")
    assert (late["how"], late["wanted"], late["ok"]) == ("tell", True, True)
    assert any("There is one at eight." in told for told in ours.told("add-message"))
    told_ms, spoke_ms = ours.at_ms("ToolLateResult")[0], ours.at_ms("UtteranceStarted")
    assert any(at < told_ms for at in spoke_ms[2:]) and any(at > told_ms for at in spoke_ms), "before and after it"


def test_a_late_result_that_nobody_wants_any_more() -> None:
    """No. 42: the caller has hung up, or the agent has asked anew: it is in the journal, and nobody hears of it."""
    desk = Desk()
    plan = agent_plan(**SHORT, replies=(asks_for("look_up"), Reply(says(5))))
    slow = desk.tools(9.0, background_s=30, answer_within_s=1.5)
    ours = live(ASKS, vapi=plan, toolbox=slow, stays_ms=4000)
    assert ours.lived.hung_up and not any("at eight" in told for told in ours.told("add-message"))


def test_the_agent_hangs_after_small_interruptions() -> None:
    """No. 43 (livekit#4484): coughs before, while and after a tool works; the answer comes, and no silence with it."""
    desk = Desk()
    plan = agent_plan(**SHORT, replies=(asks_for("look_up"), Reply(says(6))))
    coughs = tuple(Step(AfterMe(ms), noise(140)) for ms in (500, 500, 500))
    ours = live(ASKS, *coughs, vapi=plan, toolbox=desk.tools(1.5), stays_ms=8000)
    assert ours.notes("ToolResult")[0]["ok"] and ours.is_whole(1) and ours.longest_dead_air_ms() <= DEAD_AIR_MS


def goodbye(*steps: Step, tool: str = "end_call") -> Scene:
    """The agent says its goodbye, and asks for the end of the call in the same breath."""
    reply = asks_for(tool, meanwhile=says(8))
    plan = agent_plan(**SHORT, replies=(Reply("", tool=reply.tool, arguments=reply.arguments, meanwhile=says(8)),
                                        Reply(says(6))))  # fmt: skip
    return live(ASKS, *steps, vapi=plan, toolbox=Desk().tools(0.1), stays_ms=9000)


@pytest.mark.parametrize("tool", ["end_call", "transfer_call"])
def test_the_goodbye_is_heard_to_its_end(tool: str) -> None:
    """No. 44: who says nothing hears all of it, and is then hung up on, or connected."""
    ours = goodbye(tool=tool)
    assert not ours.lived.hung_up and ours.is_whole(1), "the service ended it, after the last word"
    assert ours.lived.words == ("One moment." if tool == "transfer_call" else "")


def test_barging_into_the_goodbye_cancels_the_hang_up() -> None:
    """No. 44 (bolna#1036): "wait, one more thing" over the goodbye: the call goes on, and is answered."""
    ours = goodbye(Step(IntoSpeech(900), words("wait one more thing")))
    assert ours.lived.hung_up and len(ours.notes("ToolDiscarded")) == 1 and "ToolIntent" not in names(ours)
    assert ours.is_whole(2)


def test_a_cough_does_not_cancel_the_hang_up() -> None:
    """No. 44: a noise over the goodbye is a false alarm: the rest of it is heard, and the call ends."""
    ours = goodbye(Step(IntoSpeech(900), noise(140)))
    assert not ours.lived.hung_up and ours.is_whole(1)
