"""What finished calls have in common: whose fault each end was, and sums that are checked by hand."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from engine.call import Call, noting
from engine.journal import Kind, Record
from engine.model_facts import POLICIES, facts_in
from engine.phases import Phase
from engine.rules import EVENTS
from engine.turns import name_event
from engine.wire.vapi import EndedClass, ended_class
from tests.web.api.journals import (
    ASKED,
    BEGAN_S,
    CUT,
    GREETED,
    OVER,
    REPORT,
    Line,
    call_id_of,
    records_of,
    whole_call,
    write,
)
from tests.web.api.service import open_service
from tests.web.lived_calls import live
from web.api.index import CallsIndex, Wanted
from web.api.summary import Summary, summarise
from web.insights.outcomes import RULES, Ending, Fault, Outcome, verdict
from web.insights.query import DAY_MS, HOUR_MS, Filter, insights
from web.insights.store import put
from web.insights.tables import csv_lines

NOTE, EVENT, CLOSED = Kind.NOTE, Kind.EVENT, Kind.CLOSED
MANY = 50_000


# --- how it ended, and because of whom --------------------------------------------------------------------------

VAPI_REASONS = (  # reference/vapi.md §14.3
    "customer-ended-call", "customer-busy", "customer-did-not-answer", "customer-ended-call-during-transfer",
    "customer-ended-call-before-warm-transfer", "assistant-ended-call",
    "assistant-ended-call-after-message-spoken", "assistant-ended-call-with-hangup-task",
    "assistant-said-end-call-phrase", "assistant-forwarded-call", "exceeded-max-duration", "silence-timed-out",
    "voicemail", "manually-canceled", "call-deleted", "scheduled-call-deleted",
    "call.in-progress.twilio-completed-call", "call.in-progress.sip-completed-call", "vonage-completed",
    "vonage-disconnected", "phone-call-provider-closed-websocket", "call.start.error-get-assistant",
    "call-start-error-neither-assistant-nor-server-set", "assistant-request-failed", "assistant-not-found",
    "assistant-not-valid", "assistant-join-timed-out", "twilio-failed-to-connect-call",
    "twilio-reported-customer-misdialed", "phone-call-provider-bypass-enabled-but-no-call-received",
    "call.start.error-subscription-concurrency-limit-reached",
    "call.start.error-subscription-insufficient-credits", "call.start.error-subscription-frozen",
    "call.start.error-subscription-wallet-does-not-exist", "call.start.error-fraud-check-failed",
    "call.in-progress.error-assistant-did-not-receive-customer-audio",
    "customer-did-not-give-microphone-permission", "call.forwarding.operator-busy",
    "call.in-progress.error-transfer-failed", "call.in-progress.error-warm-transfer-assistant-cancelled",
    "call.in-progress.error-sip-outbound-call-failed-to-connect", "call.in-progress.error-vapifault-worker-died",
    "worker-shutdown", "call.in-progress.error-vapifault-transport-never-connected",
    "call.in-progress.error-providerfault-openai-llm-failed", "pipeline-error-eleven-labs-voice-failed",
    "pipeline-no-available-llm-model", "call.in-progress.error-configfault-eleven-labs-voice-not-found",
    "call.ringing.hook-executed-say", "call.ending.hook-executed-transfer",
)  # fmt: skip


def reason_of(vapi_reason: str) -> str:
    """As the engine's reason has it: a failure of Vapi's is a lost agent (`actors.bridge`)."""
    return f"agent lost: {vapi_reason}" if ended_class(vapi_reason).is_failure else vapi_reason


def engine_reasons() -> Iterator[str]:
    """Every reason that an event can put into a call, whatever the phase."""
    for policy in POLICIES:
        for phase in Phase:
            call = Call("call-1", policy=policy, phase=phase, agent_up_at=1.0, line_up_at=1.0)
            for event in facts_in(call, 5.0):
                yield noting(call, name_event(call, event)).reason
            for kind in EVENTS:
                try:
                    event = kind(at=5.0)  # those that are only names: deadlines
                except TypeError:
                    continue
                yield noting(call, event).reason


def test_every_reason_has_a_place() -> None:
    """Whatever the engine or Vapi may call the end of a call, the table knows what it was and whose part."""
    reasons = {reason for reason in engine_reasons() if reason}
    assert {"nobody spoke", "longest duration reached", "agent overdue", "agent stalled", "stream never opened",
            "transferred", "crashed: crash", "line lost: closed"} <= reasons  # fmt: skip
    reasons |= {"operator", "shutdown", "spend limit", "the agent ended the call", "asked for the next TwiML"}
    reasons |= {f"caller {status}" for status in ("completed", "busy", "failed", "no-answer", "canceled")}
    for reason in sorted(reasons) + [reason_of(one) for one in VAPI_REASONS]:
        found = verdict(Ending(reason))
        assert found.outcome is not Outcome.OTHER and found.fault is not Fault.UNKNOWN, reason
        assert found.why.endswith(".")


@pytest.mark.parametrize(
    ("ending", "outcome", "fault"),
    [
        (Ending("stop"), Outcome.CALLER_ENDED, Fault.NOBODY),
        (Ending("stop", owed_ms=6000), Outcome.GAVE_UP_WAITING, Fault.VAPI),
        (Ending("stop", owed_ms=6000, tool_open=True), Outcome.GAVE_UP_WAITING, Fault.TOOL),
        (Ending("stop", agent_heard=False, duration_ms=1500), Outcome.ABANDONED, Fault.CALLER),
        (Ending("stop", agent_heard=False, duration_ms=9000), Outcome.ABANDONED, Fault.VAPI),
        (Ending("whatever", state="lost"), Outcome.CRASHED, Fault.US),
        (Ending("agent stalled"), Outcome.AGENT_STALLED, Fault.VAPI),
        (Ending("agent stalled", tool_open=True), Outcome.AGENT_STALLED, Fault.TOOL),
        (Ending("agent lost: Vapi answered 401: no"), Outcome.NO_AGENT, Fault.US),
        (Ending("agent lost: Vapi answered 503: no"), Outcome.NO_AGENT, Fault.VAPI),
        (Ending("agent lost: Vapi did not answer: no"), Outcome.NO_AGENT, Fault.VAPI),
        (Ending("agent lost: ValueError"), Outcome.NO_AGENT, Fault.US),
        (Ending("agent lost: socket closed 1006"), Outcome.AGENT_LOST, Fault.VAPI),
        (Ending("agent lost: pipeline-error-x"), Outcome.AGENT_LOST, Fault.VAPI),
        (Ending("agent lost: call.in-progress.error-configfault-x"), Outcome.AGENT_LOST, Fault.US),
        (Ending("line lost: socket closed 1006"), Outcome.LINE_LOST, Fault.TWILIO),
        (Ending("agent overdue", not_taken_back=True), Outcome.TRANSFER_FAILED, Fault.TWILIO),
        (Ending("nobody spoke"), Outcome.SILENT_CALLER, Fault.CALLER),
        (Ending("nobody spoke", agent_heard=False), Outcome.SILENT_CALLER, Fault.VAPI),
        (Ending("longest duration reached"), Outcome.TOO_LONG, Fault.AGENT),
        (Ending("the guest had enough", by_tool=True), Outcome.AGENT_ENDED, Fault.NOBODY),
        (Ending("a reason from the future"), Outcome.OTHER, Fault.UNKNOWN),
        (Ending("some-new-error-of-2027"), Outcome.AGENT_LOST, Fault.VAPI),
    ],
)
def test_whose_fault(ending: Ending, outcome: Outcome, fault: Fault) -> None:
    """The same hang-up is nobody's fault after a good talk, and somebody's after a long silence."""
    found = verdict(ending)
    assert (found.outcome, found.fault) == (outcome, fault), found


def test_no_rule_is_in_the_shade() -> None:
    """Every row of the table decides for some ending; one that never could is a mistake in the order."""
    said = [*engine_reasons(), *(reason_of(one) for one in VAPI_REASONS), "operator", "shutdown", "spend limit", "odd",
            "agent lost: ValueError", "agent lost: Vapi answered 400: x", "caller failed", "caller canceled",
            "agent lost: twilio-failed-to-connect-call", "agent lost: twilio-reported-customer-misdialed", "new-error",
            "agent lost: call.in-progress.error-transfer-failed"]  # fmt: skip
    endings = [
        Ending(reason, state, heard, length_ms, owed_ms, tool, by_tool, lost)
        for reason in set(said)
        for state in ("completed", "lost")
        for heard, length_ms in ((True, 9e4), (False, 1e3), (False, 9e4))
        for owed_ms, tool in ((0.0, False), (9e3, False), (9e3, True))
        for by_tool in (False, True)
        for lost in (False, True)
    ]
    decided = {id(verdict(ending)) for ending in endings}
    assert [rule.why for rule in RULES if id(rule) not in decided] == []
    assert {EndedClass.FAULT, EndedClass.CUSTOMER} <= {ended_class(one) for one in VAPI_REASONS}


# --- what one call leaves ---------------------------------------------------------------------------------------


def test_what_a_call_leaves() -> None:
    """The longest silence owed, its tools with times, what cut in and what was only a noise."""
    facts = summarise(whole_call(1)).insight
    assert facts.agent_heard and facts.cut == {"words": 1} and facts.held == {}
    assert facts.silence.longest_ms == 4000.0, "from 5.0 s, when the caller was quiet, to the end at 9.0 s"
    assert facts.owed_at_end_ms == 4000.0
    tool = facts.tools["book_table"]
    assert (tool.asked, tool.failed, tool.took_ms) == (1, 0, [199.0])


def test_a_murmur_is_no_debt() -> None:
    """Who says uh-huh while the agent speaks waits for nothing."""
    murmured: list[Line] = [
        (3900.0, EVENT, "CallerVoice", {"onset_at": 103.9}),
        (4100.0, EVENT, "CallerQuiet", {"voiced_ms": 200}),
        (4200.0, EVENT, "CallerTranscript", {"text": "uh-huh", "final": True}),
        (12_000.0, EVENT, "PlaybackDone", {"utterance": 2}),
        (12_000.0, Kind.PHASE, "listening", {"from": "speaking"}),
    ]
    over = [(30_000.0, kind, name, data) for _, kind, name, data in OVER]
    facts = summarise(records_of(1, GREETED, ASKED, murmured, over)).insight
    assert facts.owed_at_end_ms == 0 and facts.silence.longest_ms == 800.0


def test_cost() -> None:
    """Vapi's figure replaces our estimate, whichever comes first."""
    spent = [(9100.0, NOTE, "Spent", {"usd": 0.2, "how": "report"}),
             (9200.0, NOTE, "Spent", {"usd": 0.1, "how": "estimate"})]  # fmt: skip
    facts = summarise(records_of(1, GREETED, OVER, spent)).insight
    assert (facts.cost_usd, facts.cost_reported) == (0.2, True)


# --- sums ---------------------------------------------------------------------------------------------------------


def index_of(data: Path) -> CallsIndex:
    index = CallsIndex(data)
    while index.read_on()[2]:
        pass
    return index


def test_sums_by_hand(tmp_path: Path) -> None:
    """Three calls in two hours: every figure as a pencil finds it."""
    lost = (2000.0, CLOSED, "Closed", {"reason": "line lost: x", "outcome": "handed over", "duration_ms": 2000})
    write(tmp_path, whole_call(1), whole_call(2, began_s=BEGAN_S + 3600, agent="pizzeria"),
          records_of(3, GREETED, [lost], began_s=BEGAN_S + 3700), records_of(4, GREETED))  # fmt: skip
    index = index_of(tmp_path)
    found = insights(index.connection(), Filter())
    assert (found.calls, found.talk_ms, found.step_ms) == (3, 20_020.0, HOUR_MS)
    assert [(slot.calls, slot.faults) for slot in found.slots] == [(1, {"vapi": 1}), (2, {"vapi": 1, "twilio": 1})]
    assert {(one.outcome, one.fault): one.calls for one in found.outcomes} == {
        ("gave_up_waiting", "vapi"): 2, ("line_lost", "twilio"): 1}  # fmt: skip
    assert (found.turns.count, found.turns.p50) == (2, 800.0)
    assert [(one.from_ms, one.count) for one in found.turn_bins if one.count] == [(800, 2)]
    assert (found.interruptions.cut, found.interruptions.cut_by_reason) == (2, {"words": 2})
    assert found.interruptions.silent.p95 == 48.0
    assert [(one.name, one.asked, one.failed, one.took.p50) for one in found.tools] == [("book_table", 2, 0, 199.0)]
    assert found.agents == ["bistro", "pizzeria"]
    assert [(one.weekday, one.hour, one.calls) for one in found.hours] == [(1, 8, 1), (1, 9, 2)]  # a Tuesday, UTC
    shifted = insights(index.connection(), Filter(offset_min=-9 * 60))
    assert [(one.weekday, one.hour, one.calls) for one in shifted.hours] == [(0, 23, 1), (1, 0, 2)]
    assert insights(index.connection(), Filter(agent="pizzeria")).calls == 1
    assert insights(index.connection(), Filter(fault="twilio")).calls == 1
    assert insights(index.connection(), Filter(outcome="gave_up_waiting")).calls == 2
    assert insights(index.connection(), Filter(outcome="handed over")).calls == 1
    assert insights(index.connection(), Filter(caller="+1")).calls == 3
    assert insights(index.connection(), Filter(caller="+44")).calls == 0
    assert insights(index.connection(), Filter(marked=True)).calls == 0
    assert insights(index.connection(), Filter(since_ms=round(BEGAN_S * 1000) + HOUR_MS)).calls == 2


def test_late_records_count_once(tmp_path: Path) -> None:
    """A cost and a mark that come after the end change the sums; the call is still one call. Forgotten is gone."""
    write(tmp_path, whole_call(1))
    index = index_of(tmp_path)
    assert insights(index.connection(), Filter()).costs.reported_calls == 0
    late = [REPORT, (9600.0, NOTE, "Spent", {"usd": 0.5, "how": "report"}),
            (9700.0, NOTE, "OperatorAction", {"action": "mark", "by": "ann"})]  # fmt: skip
    write(tmp_path, records_of(1, late, first_seq=len(whole_call(1))))
    while index.read_on()[2]:
        pass
    found = insights(index.connection(), Filter(marked=True))
    assert (found.calls, found.costs.usd, found.costs.reported_calls) == (1, 0.5, 1)
    assert found.costs.per_minute_usd == pytest.approx(0.5 / 9010 * 60_000, abs=1e-4)
    index.forget(call_id_of(1))
    assert insights(index.connection(), Filter()).calls == 0


def test_days_and_weeks(tmp_path: Path) -> None:
    """A long time is told in days, a very long one in weeks that begin on Mondays; gaps are shown."""
    write(tmp_path, *(whole_call(n, began_s=BEGAN_S + n * 86_400 * 20) for n in range(10)))
    connection = index_of(tmp_path).connection()
    until_ms = round(BEGAN_S * 1000) + 41 * DAY_MS
    days = insights(connection, Filter(until_ms=until_ms))
    assert days.step_ms == DAY_MS and len(days.slots) == 42 and sum(slot.calls for slot in days.slots) == 3
    weeks = insights(connection, Filter())
    assert weeks.step_ms == 7 * DAY_MS
    assert {time.gmtime(slot.at_ms / 1000).tm_wday for slot in weeks.slots} == {0}
    assert sum(slot.calls for slot in weeks.slots) == 10


@pytest.mark.slow
def test_fifty_thousand_calls(tmp_path: Path) -> None:
    """Sums over fifty thousand calls of ten turns each take a moment, with filters and without."""
    index = CallsIndex(tmp_path)
    connection = index.connection()
    one = summarise(whole_call(1))
    connection.execute("BEGIN")
    began = time.perf_counter()
    put(connection, (_like(one, n) for n in range(MANY)))
    print(f"stored in {time.perf_counter() - began:.1f} s")
    connection.execute("COMMIT")
    for chosen in (Filter(), Filter(fault="vapi", since_ms=round((BEGAN_S + 600_000) * 1000))):
        took_s = min(_seconds(connection, chosen) for _ in range(2))
        print(f"{took_s:.2f} s for {chosen}")
        assert took_s < 4.0, "on the slowest machine; one second here, beside other work"
    assert insights(connection, Filter()).calls == MANY


def _seconds(connection: Any, chosen: Filter) -> float:
    began = time.perf_counter()
    insights(connection, chosen)
    return time.perf_counter() - began


def _like(one: Summary, n: int) -> Summary:
    return msgspec.structs.replace(
        one,
        id=call_id_of(n),
        began_wall_s=BEGAN_S + n * 48.0,
        latencies_ms=[float((n * 37 + turn * 211) % 2600 + 300) for turn in range(10)],
    )


def test_a_lived_week(tmp_path: Path) -> None:
    """Calls that were really lived: what they leave adds up, and each has an end that is understood."""
    made = live(tmp_path, calls=12, seed=3, until_s=BEGAN_S)
    index = index_of(tmp_path)
    found = insights(index.connection(), Filter())
    summaries = list(index.summaries(Wanted(state="ended", limit=100)))
    assert found.calls == len(made) == len(summaries)
    assert found.turns.count == sum(len(one.latencies_ms) for one in summaries) > 10
    cuts = found.interruptions
    assert cuts.cut + cuts.held == sum(one.interruptions + one.resumed for one in summaries)
    assert sum(tool.asked for tool in found.tools) == sum(one.tools for one in summaries) > 0
    assert sum(tool.failed for tool in found.tools) == sum(one.tools_failed for one in summaries)
    assert "other" not in {one.outcome for one in found.outcomes}
    assert found.costs.reported_calls > 0 and found.costs.usd > 0
    assert (found.owed.longest or 0.0) < 10_000


# --- tables and addresses -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["=1+1", "+1•••23", "-2", "@SUM(A1)", "\t=1", "  =cmd", "\r=1", "＝1"])
def test_no_formulas(text: str) -> None:
    """What a caller or a tool can write never begins a formula in somebody's spreadsheet."""
    ((cell,),) = csv.reader(io.StringIO(csv_lines([[text]]), newline=""))
    assert cell == "'" + text


def test_cells() -> None:
    """Numbers stay numbers, also negative ones; commas, quotes and lines stay in their cell."""
    rows: Sequence[Sequence[Any]] = [["a,b", 'say "hi"', "two\nlines", -1.5, 3, None, 0.1 + 0.2]]
    ((*cells,),) = csv.reader(io.StringIO(csv_lines(rows), newline=""))
    assert cells == ["a,b", 'say "hi"', "two\nlines", "-1.5", "3", "", "0.3"]


async def test_addresses(tmp_path: Path) -> None:
    """JSON that fits its schema, two tables, filters that also choose the list; what cannot be is a 400."""
    evil = records_of(7, GREETED, OVER, began_s=BEGAN_S + 60, agent='=HYPERLINK("http://x")')
    live_one = records_of(8, GREETED, began_s=time.time())
    write(tmp_path, whole_call(1), whole_call(2, began_s=BEGAN_S + 86_400 * 9), evil, live_one)
    async with open_service(tmp_path) as service, service.client() as client:
        found = service.validate(await client.get("/api/insights?offset_min=60"))
        assert found["calls"] == 3 and found["agents"] == ['=HYPERLINK("http://x")', "bistro"]
        until = f"until={round(BEGAN_S * 1000) + 9}"
        some = service.validate(await client.get(f"/api/insights?fault=vapi&{until}"))
        assert some["calls"] == 1
        rows = [*csv.DictReader(io.StringIO((await client.get("/api/calls.csv")).text))]
        assert [row["call_id"] for row in rows] == [call_id_of(2), call_id_of(7), call_id_of(1)]
        assert rows[1]["agent"] == """'=HYPERLINK("http://x")""" and rows[0]["caller"] == "'+1•••23"
        assert rows[0]["began_at"] == "2023-11-23T08:00:00.000Z" and "2025550123" not in str(rows)
        sums = [*csv.DictReader(io.StringIO((await client.get("/api/insights.csv")).text))]
        assert sum(int(row["calls"]) for row in sums) == 3 and len(sums) == 10
        listed = service.validate(await client.get("/api/calls?fault=vapi&caller=%2B1"))
        assert [row["id"] for row in listed["calls"]] == [call_id_of(2), call_id_of(1)]
        listed = service.validate(await client.get("/api/calls?outcome=caller_ended"))
        assert [row["id"] for row in listed["calls"]] == [call_id_of(7)]
        for bad in ("offset_min=x", "since=later", "marked=maybe", "agent=" + "x" * 300):
            answer = await client.get(f"/api/insights?{bad}")
            assert answer.status_code == 400 and answer.json()["detail"], bad


async def test_a_call_as_a_scenario(tmp_path: Path) -> None:
    """A finished call comes as a scenario file with numbers masked; a live one is not ready for it."""
    told = (3210.0, EVENT, "CallerTranscript", {"text": "my number is 5550123", "final": True})
    write(tmp_path, records_of(1, GREETED, ASKED, [told], CUT, OVER), records_of(2, GREETED, began_s=time.time()))
    async with open_service(tmp_path) as service, service.client() as client:
        answer = await client.get(f"/api/calls/{call_id_of(1)}/scenario")
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("application/yaml")
        scenario = yaml.safe_load(answer.text)
        assert scenario["caller"] and "5550123" not in answer.text and "masked" in answer.text
        assert (await client.get(f"/api/calls/{call_id_of(2)}/scenario")).status_code == 409
        assert (await client.get("/api/calls/nobody/scenario")).status_code == 404


def test_records_that_make_no_sense() -> None:
    """A journal of another version, or a broken one, is counted as far as it can be read."""
    names = ("ToolAnswered", "ToolRequested", "ToolResult", "Interruption", "EndOrdered", "UtteranceStarted",
             "PlaybackDone", "DigitPressed", "Closed")  # fmt: skip
    odd: list[Record] = records_of(1, [(1.0, EVENT, name, {}) for name in names])
    summary = summarise([*odd, *records_of(1, [(2.0, NOTE, "Spent", {"usd": "much"})], first_seq=50)])
    assert summary.insight.cost_usd is None and summary.insight.tools["unknown"].asked == 1
