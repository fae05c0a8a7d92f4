"""One finished call: timeline, sound, export, actions, and what the page says when something is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import RECORDS, PageOpener, until_js
from tests.browser.served import Served
from tests.web.api.journals import call_id_of

pytestmark = pytest.mark.slow
ONSET_MS = 4460  # of the interruption in the journal that the tests write


def cursor_ms(page: Page) -> int:
    return int(page.locator(".tl-view").get_attribute("aria-valuenow") or 0)


def open_call(served: Served, open_page: PageOpener, n: int = 0, **given: int) -> Page:
    page = open_page(f"{served.url}/calls/{call_id_of(n)}", **given)
    expect(page.locator(".journal")).to_contain_text(f"{RECORDS} records")
    return page


def test_playback_moves_the_cursor(served: Served, open_page: PageOpener) -> None:
    """While the recording plays, cursor, phase and conversation go with it; a click seeks."""
    page = open_call(served, open_page)
    play = page.get_by_role("button", name="Play", exact=True)
    expect(play).to_be_enabled()
    box = page.locator(".tl-view").bounding_box()
    assert box is not None
    page.locator(".tl-view").click(position={"x": box["width"] * 0.45, "y": 60})
    clicked_ms = cursor_ms(page)
    assert 3900 < clicked_ms < 4200
    expect(page.locator(".node[data-now]")).to_have_attribute("data-phase", "speaking")
    assert page.evaluate("document.querySelector('audio').currentTime * 1000") == pytest.approx(clicked_ms - 10, abs=30)
    play.click()
    until_js(page, f"Number(document.querySelector('.tl-view').ariaValueNow) > {clicked_ms + 900}")
    expect(page.locator(".node[data-now]")).to_have_attribute("data-phase", "interrupted")
    page.get_by_role("button", name="Pause").click()
    heard_ms = page.evaluate("document.querySelector('audio').currentTime * 1000")
    assert cursor_ms(page) == pytest.approx(heard_ms + 10, abs=60), "the recording begins 10 ms after the call"


def test_keys_move_and_zoom(served: Served, open_page: PageOpener) -> None:
    """Arrows step, ] goes to the next interruption, + and 0 zoom: all without a mouse."""
    page = open_call(served, open_page)
    page.keyboard.press("]")
    assert cursor_ms(page) == ONSET_MS
    page.keyboard.press("Shift+ArrowRight")
    assert cursor_ms(page) == ONSET_MS + 100
    before = page.locator(".tl-view canvas").screenshot()
    page.keyboard.press("+")
    page.wait_for_timeout(100)
    assert page.locator(".tl-view canvas").screenshot() != before
    page.keyboard.press("0")
    page.wait_for_timeout(100)
    assert page.locator(".tl-view canvas").screenshot() == before


def test_what_was_made_of_the_call(served: Served, open_page: PageOpener) -> None:
    """Edges are counted, the interruption has its certificate, the tool its line, and the journal is searchable."""
    page = open_call(served, open_page)
    counts = page.locator(".edge[data-taken] .badge text").all_text_contents()
    assert sorted(counts) == ["1", "1", "1", "1", "1", "1", "2"], (
        "one a change of phase, speaking after listening twice"
    )
    expect(page.locator("#cuts tbody tr")).to_have_count(1)
    expect(page.locator("#cuts")).to_contain_text("48 ms")
    expect(page.locator("#tools .name")).to_have_text("book_table")
    expect(page.locator("#story")).to_contain_text("the agent was silent 48 ms later")
    expect(page.locator("#latency .bars li")).to_have_count(1)
    page.locator(".journal > summary").click()
    expect(page.locator(".records > li")).to_have_count(RECORDS)
    page.get_by_role("searchbox", name="Search the journal").fill("ToolIntent")
    expect(page.locator(".records > li")).to_have_count(1)


def test_the_export_opens_from_a_disk(served: Served, open_page: PageOpener, tmp_path: Path) -> None:
    """The exported file shows the same page, with its sound, without any service or network."""
    page = open_call(served, open_page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Export page").click()
    path = tmp_path / "call.html"
    download.value.save_as(path)
    offline = open_page(path.as_uri(), offline=True)
    expect(offline.locator("h1")).to_have_text("Call from +1•••23")
    expect(offline.locator(".edge[data-taken]")).to_have_count(7)
    expect(offline.locator("#story")).to_contain_text("the agent was silent 48 ms later")
    offline.get_by_role("button", name="Play", exact=True).click()
    until_js(offline, "Number(document.querySelector('.tl-view').ariaValueNow) > 800")
    assert offline.get_by_role("button", name="End call").count() == 0


def test_an_operator_marks_a_call(served: Served, open_page: PageOpener) -> None:
    """A mark is kept: the button, the list and the journal say so."""
    page = open_call(served, open_page, 1)
    page.get_by_role("button", name="Mark for replay").click()
    expect(page.get_by_role("button", name="Marked")).to_have_attribute("aria-pressed", "true")
    page.goto(served.url)
    expect(page.locator(f"a[href='/calls/{call_id_of(1)}']")).to_contain_text("★")


def test_no_such_call(served: Served, open_page: PageOpener) -> None:
    """A call that is not there is told in words, with a way back."""
    page = open_page(f"{served.url}/calls/call-00000000000000000000000999")
    expect(page.get_by_role("heading", name="There is no such call")).to_be_visible()
    page.get_by_role("link", name="All calls").click()
    expect(page.locator("h1")).to_have_text("Calls")


def test_a_recording_that_is_not_there(served: Served, open_page: PageOpener) -> None:
    """Without its recording a call is shown all the same, and the page says why it cannot be heard."""
    page = open_call(served, open_page, 2)
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_disabled()
    expect(page.locator(".player")).to_contain_text("no recording")


def test_on_a_phone_nothing_sticks_out(served: Served, open_page: PageOpener) -> None:
    """On a screen 375 pixels wide nobody has to scroll sideways."""
    for path in ("/", f"/calls/{call_id_of(0)}"):
        page = open_page(served.url + path, width=375, height=740)
        expect(page.locator("h1")).to_be_visible()
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
