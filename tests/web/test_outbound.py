"""Calls that the service makes: whom it never calls, what it never does twice, and what becomes of each."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import httpx
import msgspec
import pytest
import trio
import yaml
from quart_trio import QuartTrio

from actors.outbound import Dial, DialBook, Dialler, KeyTaken, NotDialled, TooMany, Wanted
from actors.twilio_rest import TwilioRest
from actors.world.house import KeptJournal
from engine.agent import Agent
from engine.errors import TwilioTrouble
from engine.outbound import PREMIUM, Outbound, numbers_of, words_for_machine
from tests.twins.twilio.harness import NUMBER, SID, TOKEN, World, open_world
from web.agents import inspect_agent
from web.api.access import Access
from web.api.dials import add_dials
from web.api.problems import add_problems
from web.settings import Settings
from web.twins.twilio.callee import Callee

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp()
TO = "+12025550144"
VARIABLES = {"name": "Ada"}
POLICY = Outbound(allow=("+1202",), block=("+1202666",), variables=("name",), per_number_per_day=2, ring_s=20)
MESSAGE = Outbound(allow=("+1202",), variables=("name",), machine="leave_message", message="Hello {{name}}.")


@dataclass
class FakeTwilio:
    """Twilio's REST side: keeps what it was asked, and answers what the test says."""

    trouble: TwilioTrouble | None = None
    asked: list[Mapping[str, Any]] = field(default_factory=list)

    async def create_call(
        self,
        *,
        to: str,
        from_: str,
        url: str,
        status_url: str | None = None,
        status_events: Sequence[str] = ("completed",),
        more: Mapping[str, Any] | None = None,
    ) -> str:
        await trio.lowlevel.checkpoint()
        self.asked.append({"to": to, "from": from_, "url": url, "status_url": status_url, **(more or {})})
        if self.trouble is not None:
            raise self.trouble
        return f"CA{len(self.asked):032d}"


@dataclass
class Desk:
    """A dialler with everything that a test looks at."""

    dialler: Dialler
    twilio: FakeTwilio
    journal: KeptJournal

    async def dial(self, to: str = TO, *, key: str = "", variables: Mapping[str, str] | None = None) -> Dial:
        given = VARIABLES if variables is None else variables
        return await self.dialler.dial(Wanted(to, key or secrets.token_hex(8), "tester", given))

    async def refused(self, **wanted: Any) -> str:
        with pytest.raises(NotDialled) as refusal:
            await self.dial(**wanted)
        assert wanted.get("to", TO) not in str(refusal.value), "a number never stands in an error"
        return refusal.value.why.kind

    async def told(self, dial: Dial, status: str, seq: int, sid: str = "CA1") -> None:
        params = {"CallStatus": status, "SequenceNumber": str(seq), "CallSid": sid}
        await self.dialler.status(dial.call_id, params)

    def outcomes(self, dial: Dial) -> list[str]:
        records = self.journal.take(dial.call_id)
        return [str(record.data["outcome"]) for record in records if record.name == "Closed"]


def desk(folder: Path, outbound: Outbound | None = POLICY, *, now: float = NOON) -> Desk:
    twilio, journal = FakeTwilio(), KeptJournal()
    dialler = Dialler(
        agent=lambda: Agent("reminder", assistant_id="a", outbound=outbound),
        folder=folder,
        book=DialBook(folder / "outbound.sqlite3"),
        twilio=twilio,
        journal=journal,
        public_url="https://calls.example.com",
        from_number=NUMBER,
        wall_clock=lambda: now,
    )
    return Desk(dialler, twilio, journal)


# --- whom nobody calls -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("2025550144", "number"),
        ("+1 202 555 0144", "number"),
        ("+12025550144;ext=1", "number"),
        ("+0112025550144", "number"),
        ("+12029760144", "premium"),
        ("+33612345678", "not-allowed"),
        ("+12026665555", "not-allowed"),
        *((prefix + "5550144", "premium") for prefix in PREMIUM),
    ],
)
async def test_numbers_that_are_never_called(tmp_path: Path, to: str, why: str) -> None:
    """Not in E.164, premium, blocked, or not on the list: Twilio is not even asked."""
    asking = desk(tmp_path, Outbound(allow=("+1202", "+1900", *PREMIUM), block=("+1202666",), variables=("name",)))
    assert await asking.refused(to=to) == why
    assert asking.twilio.asked == []


async def test_who_said_no_is_not_called(tmp_path: Path) -> None:
    """From the moment on at which the number is on the list; and a list that cannot be read lets nobody be called."""
    asking = desk(tmp_path, Outbound(allow=("+1202",), variables=("name",), do_not_call="no.txt"))
    assert await asking.refused() == "do-not-call"
    (tmp_path / "no.txt").write_text("# nobody yet\n")
    assert (await asking.dial()).status == "queued"
    (tmp_path / "no.txt").write_text("+1 (202) 555-0144  # asked us to stop\n")
    assert await asking.refused() == "do-not-call"
    (tmp_path / "no.txt").write_text("not a number\n")
    assert await asking.refused(to="+12025550155") == "do-not-call"
    assert numbers_of("+1 (202) 555-0144 # x\n\n") == {TO}


@pytest.mark.parametrize(("hour", "fine"), [(8, False), (9, True), (19, True), (20, False), (3, False)])
async def test_nobody_is_woken(tmp_path: Path, hour: int, fine: bool) -> None:
    """Between nine and eight on the clocks of the agent's own timezone."""
    there = datetime(2026, 1, 5, hour, 0, tzinfo=UTC).timestamp() + 5 * 3600  # New York in winter
    asking = desk(tmp_path, Outbound(allow=("+1202",), timezone="America/New_York"), now=there)
    if fine:
        assert (await asking.dial(variables={})).status == "queued"
    else:
        assert await asking.refused(variables={}) == "hours"


async def test_words_are_never_left_with_a_gap(tmp_path: Path) -> None:
    """A variable that is missing, misspelt or empty: no call."""
    asking = desk(tmp_path)
    for given in ({}, {"nmae": "Ada"}, {"name": " "}, {"name": "Ada", "caller": "x"}, {"name": "x" * 501}):
        assert await asking.refused(variables=given) == "variables"
    assert await desk(tmp_path, None).refused() == "no-outbound"


# --- never twice -----------------------------------------------------------------------------------------------------


async def test_a_race_for_the_last_calls(tmp_path: Path) -> None:
    """Of 120 that ask at once, through three processes' books, exactly as many ring as the cap allows."""
    caps = Outbound(allow=("+1202",), per_day=15, per_number_per_day=100, at_once=100)
    books = [DialBook(tmp_path / "outbound.sqlite3") for _ in range(3)]
    entered: list[str] = []

    def enter(number: int) -> None:
        try:
            dial, _ = books[number % 3].enter(
                Wanted(f"+1202555{number:04d}", f"key {number}", "x"),
                call_id=f"call-{number}", from_number=NUMBER, caps=caps, now_s=NOON, longest_s=600,
            )  # fmt: skip
            entered.append(dial.call_id)
        except TooMany as cap:
            assert cap.which == "per_day"

    async with trio.open_nursery() as nursery:
        for number in range(120):
            nursery.start_soon(trio.to_thread.run_sync, enter, number)
    assert len(entered) == 15
    with pytest.raises(TooMany):  # and a restart forgets none of them
        DialBook(tmp_path / "outbound.sqlite3").enter(
            Wanted(TO, "new", "x"), call_id="c", from_number=NUMBER, caps=caps, now_s=NOON + 3600, longest_s=600
        )


async def test_the_same_key_is_the_same_call(tmp_path: Path) -> None:
    """Asked again, also after a restart and at night, the phone does not ring again; another wish is refused."""
    asking = desk(tmp_path)
    first = await asking.dial(key="k1")
    again = await desk(tmp_path, now=NOON + 12 * 3600).dial(key="k1")
    assert (again.call_id, len(asking.twilio.asked)) == (first.call_id, 1)
    assert await asking.refused(key="k1", variables={"name": "Bob"}) == "key-used"
    with pytest.raises(KeyTaken):
        asking.dialler.book.of_key(Wanted("+12025550155", "k1", "x", VARIABLES))


async def test_nobody_is_called_too_often(tmp_path: Path) -> None:
    """Twice a day for one number; a call that Twilio refused did not ring and does not count."""
    asking = desk(tmp_path)
    asking.twilio.trouble = TwilioTrouble("invalid", status=400, code=21211)
    assert (await asking.dial()).status == "failed"
    asking.twilio.trouble = None
    for _ in range(2):
        await asking.dial()
    assert await asking.refused() == "cap"
    assert (await desk(tmp_path, now=NOON + 24 * 3600 + 1).dial()).status == "queued"


async def test_an_answer_that_was_lost(tmp_path: Path) -> None:
    """The call may exist: it is not made again, it counts, and its callbacks tell what became of it."""
    asking = desk(tmp_path)
    asking.twilio.trouble = TwilioTrouble("ReadTimeout")
    dial = await asking.dial(key="k")
    assert dial.status == "unknown"
    assert (await asking.dial(key="k")).call_id == dial.call_id and len(asking.twilio.asked) == 1
    await asking.told(dial, "ringing", 1)
    await asking.told(dial, "no-answer", 2)
    assert asking.outcomes(dial) == ["no-answer"]


# --- what becomes of them --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["busy", "no-answer", "failed", "canceled"])
async def test_nobody_was_talked_to(tmp_path: Path, status: str) -> None:
    """The journal has one call with that outcome, however often and in whatever order the callbacks come."""
    asking = desk(tmp_path)
    dial = await asking.dial()
    for name, seq in (("initiated", 0), (status, 2), ("ringing", 1), (status, 2), ("completed", 3), ("nonsense", 9)):
        await asking.told(dial, name, seq)
    found = await asking.dialler.find(dial.call_id)
    assert found is not None and (found.status, found.is_over) == (status, True)
    assert asking.outcomes(dial) == [status]


async def test_an_answered_call_tells_its_own_story(tmp_path: Path) -> None:
    """Its journal is the call's; only one that found no room is told of here."""
    asking = desk(tmp_path)
    one, other = await asking.dial(), await asking.dial("+12025550155")
    for dial, sid in ((one, "CA1"), (other, "CA2")):
        admitted = await asking.dialler.answered(dial.call_id, dial.call_sid)
        assert admitted is not None and admitted.variables == VARIABLES
        assert await asking.dialler.answered(dial.call_id, f"{sid} of a stranger") is None
    await asking.dialler.turned_away(other.call_id)
    for dial in (one, other):
        await asking.told(dial, "completed", 3)
    assert asking.outcomes(one) == []
    assert asking.outcomes(other) == ["declined"]
    assert await asking.dialler.answered("call-unknown", "CA9") is None


def test_what_a_machine_hears() -> None:
    """The message with the call's own words after a tone; nothing for a fax; people are talked to."""
    assert words_for_machine(MESSAGE, "machine_end_beep", VARIABLES) == "Hello Ada."
    assert words_for_machine(MESSAGE, "fax", VARIABLES) == ""
    assert words_for_machine(POLICY, "machine_start", VARIABLES) == ""
    for answered_by in ("human", "unknown", ""):
        assert words_for_machine(MESSAGE, answered_by, VARIABLES) is None
    assert words_for_machine(None, "machine_start", {}) is None


# --- over the wires --------------------------------------------------------------------------------------------------


async def placed(world: World, folder: Path, outbound: Outbound, callee: Callee) -> tuple[Desk, Dial]:
    """A call through the vendor's own SDK to the Twilio twin."""
    world.twin.expect(callee)
    asking = desk(folder, outbound)
    asking.dialler.public_url = world.server_url
    asking.dialler.twilio = TwilioRest(world.http, account_sid=SID, auth_token=TOKEN, base_url=world.url)
    return asking, await asking.dial()


async def test_busy_over_the_wire(tmp_path: Path) -> None:
    """Twilio takes the call as we ask for it, and its callbacks carry our id and end it."""
    async with open_world() as world:
        asking, dial = await placed(world, tmp_path, POLICY, Callee(TO, answers="busy"))
        (call,) = world.twin.calls.values()
        with trio.fail_after(10):
            await call.ended.wait()
            while call.callbacks_sent < 3 or len(world.hooks) < 3:
                await trio.sleep(0.01)
        for _, params, _ in world.hooks:
            await asking.dialler.status(dial.call_id, params)
        assert asking.outcomes(dial) == ["busy"]
        assert call.plan.url.endswith(f"/webhook/twilio/status?call={dial.call_id}")


async def test_a_voicemail_over_the_wire(tmp_path: Path) -> None:
    """Detection waits for the tone when a message is to be left, and tells it to us while the call lives."""
    async with open_world() as world:
        world.twiml["/webhook/twilio"] = '<Response><Pause length="20"/></Response>'
        callee = Callee(TO, answers="voicemail", greeting="Leave a message please")
        _, dial = await placed(world, tmp_path, MESSAGE, callee)
        await world.told("/webhook/twilio/amd")
        (call,) = world.twin.calls.values()
        params = next(params for path, params, _ in world.hooks if path == "/webhook/twilio/amd")
        assert (params["AnsweredBy"], params["CallSid"]) == ("machine_end_beep", call.sid)
        told = [str(event["what"]) for event in call.tap.events]
        assert told.index("voicemail greets") < told.index("machine detection")
        call.hang_up("server")
        await call.ended.wait()
    assert dial.call_sid == call.sid


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"machine_detection": "Maybe"}, 21263),
        ({"machine_detection": "Enable", "async_amd": "true"}, 21262),
        ({"timeout": 700}, 21234),
    ],
)
async def test_the_stand_in_is_strict(wrong: Mapping[str, Any], code: int) -> None:
    """What Twilio does not take, the twin does not take either."""
    async with open_world() as world:
        rest = TwilioRest(world.http, account_sid=SID, auth_token=TOKEN, base_url=world.url)
        with pytest.raises(TwilioTrouble) as trouble:
            await rest.create_call(to=TO, from_=NUMBER, url="https://x.example.com/v", more=wrong)
        assert trouble.value.code == code


async def test_the_api(tmp_path: Path) -> None:
    """A key is needed, and one idempotency key is one call; what is refused says why, and never the number."""
    asking = desk(tmp_path)
    settings = Settings(
        public_url="https://calls.example.com", twilio_account_sid=SID, twilio_auth_token=TOKEN, vapi_api_key="k",
        data=tmp_path, operator_keys=("operator-key-0123456789",), viewer_keys=("viewer-key-0123456789",),
    )  # fmt: skip
    app = QuartTrio("test")
    ready = [""]
    add_problems(app)
    add_dials(app, asking.dialler, Access(settings), not_dialling=lambda: ready[0])
    transport = httpx.ASGITransport(app=cast("Any", app))
    operator, viewer = ({"Authorization": f"Bearer {who}-key-0123456789"} for who in ("operator", "viewer"))
    wanted = {"to": TO, "variables": VARIABLES}
    async with httpx.AsyncClient(transport=transport, base_url="https://calls.example.com") as http:

        async def post(body: Any, key: str = "k1", **headers: str) -> httpx.Response:
            given = {**(headers or operator), **({"Idempotency-Key": key} if key else {})}
            return await http.post("/api/calls", json=body, headers=given)

        assert (await post(wanted, **{"X-Nobody": "1"})).status_code == 401
        assert (await post(wanted, **viewer)).status_code == 403
        assert (await post(wanted, key="")).json()["type"] == "urn:callscope:no-key"
        first = await post(wanted)
        assert first.status_code == 202 and TO not in first.text
        assert (await post(wanted)).json()["id"] == first.json()["id"]
        assert len(asking.twilio.asked) == 1
        assert asking.twilio.asked[0]["url"] == f"https://calls.example.com/webhook/twilio?call={first.json()['id']}"
        bad: list[tuple[dict[str, Any], int]] = [
            ({"to": "+33612345678", "variables": VARIABLES}, 422),
            ({"to": "oops"}, 422),
            ({**wanted, "agent": "another"}, 409),
            ({**wanted, "from": NUMBER}, 422),
        ]
        for body, status in bad:
            refused = await post(body, key="k2")
            assert refused.status_code == status and body["to"] not in refused.text
        ready[0] = "draining"
        assert (await post(wanted, key="k3")).status_code == 503
        seen = await http.get(f"/api/calls/{first.json()['id']}/dial", headers=viewer)
        assert seen.json()["status"] == "queued"
        assert (await http.get("/api/calls/call-none/dial", headers=viewer)).status_code == 404


# --- the agent file --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outbound", "fault"),
    [
        ("{allow: []}", "allow"),
        ("{allow: ['1202']}", "allow"),
        ("{allow: ['+1'], hours: '9 to 5'}", "hours"),
        ("{allow: ['+1'], timezone: Europe/Berln}", "Europe/Berlin"),
        ("{allow: ['+1'], machine: leave_message}", "message"),
        ("{allow: ['+1'], message: Hello}", "leave_message"),
        ("{allow: ['+1'], machine: leave_message, variables: [name], message: 'Hi {{nmae}}'}", "`name`"),
        ("{allow: ['+1'], variables: [caller]}", "caller"),
        ("{allow: ['+1'], do_not_call: gone.txt}", "gone.txt"),
    ],
)
def test_what_check_says(tmp_path: Path, outbound: str, fault: str) -> None:
    """What cannot be meant is a fault of the file, before anybody is called."""
    path = tmp_path / "agent.yaml"
    path.write_text(f"name: x\nassistant_id: a\noutbound: {outbound}\n")
    faults = inspect_agent(path, {}).faults
    assert faults and any(fault in str(one) for one in faults), faults


def test_the_page_tells_every_key() -> None:
    """With its true default."""
    page = (Path(__file__).parents[2] / "specs" / "agent-file.md").read_text()
    for one in msgspec.structs.fields(Outbound):
        (default,) = re.findall(rf"^\| `{one.encode_name}` \| `?([^|`]*)`? \|", page, re.MULTILINE)
        if one.required:
            assert default.strip() == "required"
            continue
        read = yaml.safe_load(default)
        assert read == (list(one.default) if isinstance(one.default, tuple) else one.default), one.name
