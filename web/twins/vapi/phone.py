"""Calls over a phone line. The twin has no telephony: in its world nobody picks up (vapi.md §13.2)."""

from __future__ import annotations

import trio

from web.twins.vapi.clock import epoch_ms, iso
from web.twins.vapi.dials import Dials
from web.twins.vapi.report import final_facts, report_fields
from web.twins.vapi.state import CallRecord, CallState
from web.twins.vapi.webhooks import Webhooks

__all__ = ["ring_unanswered"]


async def ring_unanswered(record: CallRecord, dials: Dials, webhooks: Webhooks) -> None:
    """queued → ringing → ended, with the events and the report of a call that never started."""
    state = CallState(record, dials, webhooks)
    record.touch(status="ringing")
    state.tell("status-update", {"status": "ringing"})
    await trio.sleep(dials.no_answer_ms / 1000)
    reason = "customer-did-not-answer"
    record.touch(status="ended", endedReason=reason, endedAt=iso(epoch_ms()))
    record.timeline.note("ended", reason=reason)
    state.tell("status-update", {"status": "ended", "endedReason": reason})
    await trio.sleep(dials.report_delay_ms / 1000)
    facts = final_facts(state)
    record.touch(**facts)
    state.tell("end-of-call-report", report_fields(state, facts, epoch_ms()))
