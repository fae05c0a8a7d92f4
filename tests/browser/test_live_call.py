"""A real call under the eyes of a browser: both twins, the service, speech; and an operator who ends another one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PageOpener, until_js
from tests.browser.served import ask, until

pytestmark = pytest.mark.slow
CUTS_IN: list[dict[str, Any]] = [
    {"say": "Eight works."},  # a tool, and a long answer
    {"say": "No thank you, goodbye.", "barge_in_ms": 1800},
    {"wait_for_end": True},
]
WATCH = Path(__file__).with_name("phases.js").read_text(encoding="utf-8")


def dial(stack: Mapping[str, str], script: list[dict[str, Any]], number: str) -> None:
    """A caller with a voice phones the agent."""
    body = {"from": number, "to": "+12025550199", "voice": "en-GB", "script": script, "sounds": stack["sounds"]}
    ask(f"{stack['twilio']}/twin/calls", body)


def phases_of(stack: Mapping[str, str], call_id: str) -> list[str]:
    """The phases of a call, as its journal has them."""
    records = ask(f"{stack['service']}/api/calls/{call_id}/records?limit=2000")["records"]
    return [record["name"] for record in records if record["kind"] == "phase"]


def test_a_call_from_first_ring_to_export(stack: Mapping[str, str], open_page: PageOpener, tmp_path: Path) -> None:
    """The page shows a call come in, lights its phases in their order, and then plays what was said."""
    page = open_page(stack["service"])
    expect(page.locator("#live")).to_contain_text("No call right now")
    dial(stack, CUTS_IN, "+12025550123")
    page.locator("#live a.row").click()
    expect(page.locator("h1")).to_have_text("Call from +1•••23")
    page.evaluate(WATCH)
    expect(page.get_by_role("button", name="End call…")).to_be_visible()
    expect(page.locator("#talk")).to_contain_text("eight works", ignore_case=True, timeout=30_000)
    expect(page.locator(".call-top .chip")).to_have_text("completed", timeout=60_000)
    call_id = page.url.rpartition("/")[2]
    truth, lit = phases_of(stack, call_id), page.evaluate("window.lit")
    assert {"speaking", "interrupted", "ended"} <= set(truth), "a quick tool may answer unseen"
    assert lit[0] in ("connecting", "listening", "speaking") and lit[-1] == "ended"
    assert _is_part_of(lit, ["connecting", *truth]), (lit, truth)
    assert sum(map(int, page.locator(".edge[data-taken] .badge text").all_text_contents())) == len(truth)
    expect(page.locator("#cuts .chip", has_text="cut in")).to_have_count(1)
    expect(page.locator("#tools .name")).to_have_text("check_availability")
    page.get_by_role("button", name="Play", exact=True).click()
    until_js(page, "Number(document.querySelector('.tl-view').ariaValueNow) > 1200")
    page.get_by_role("button", name="Pause").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Export page").click()
    path = tmp_path / "call.html"
    download.value.save_as(path)
    offline = open_page(path.as_uri(), offline=True)
    expect(offline.locator("#talk")).to_contain_text("eight works", ignore_case=True)
    offline.get_by_role("button", name="Play", exact=True).click()
    until_js(offline, "Number(document.querySelector('.tl-view').ariaValueNow) > 1200")


def _is_part_of(lit: list[str], truth: list[str]) -> bool:
    """Whether the page lit these in this order; phases of a few milliseconds may share a frame with the next."""
    rest = iter(truth)
    return all(phase in rest for phase in lit)


def test_an_operator_steps_in(stack: Mapping[str, str], open_page: PageOpener) -> None:
    """An operator mutes the agent and takes that back, lets it say something, hangs up; the journal has all of it."""
    dial(stack, [{"wait_for_end": True, "after": "now"}], "+12025550145")
    page = open_page(stack["service"])
    page.locator("#live a.row").click()
    expect(page.locator(".call-top .chip")).to_have_text("speaking")
    page.get_by_role("button", name="Mute assistant").click()
    page.get_by_role("button", name="Unmute assistant").click()
    expect(page.get_by_role("button", name="Mute assistant", exact=True)).to_have_attribute("aria-pressed", "false")
    page.get_by_role("button", name="Say…").click()
    page.get_by_label("What to say").fill("One moment please.")
    page.get_by_role("button", name="Say it").click()
    expect(page.locator("#talk")).to_contain_text("One moment please.")
    page.get_by_role("button", name="End call…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("The call ends now")
    dialog.get_by_role("button", name="End call").click()
    expect(page.locator(".call-top .chip[data-live]")).to_have_count(0, timeout=20_000)
    call_id = page.url.rpartition("/")[2]

    def orders() -> list[str]:
        records = ask(f"{stack['service']}/api/calls/{call_id}/records?limit=2000")["records"]
        return [record["data"]["action"] for record in records if record["name"] == "OperatorAction"]

    until(lambda: orders() == ["mute_assistant", "unmute_assistant", "say", "hang_up"])
