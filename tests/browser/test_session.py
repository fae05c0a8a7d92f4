"""Keys, sessions, and a service that goes away under an open page."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OPERATOR, VIEWER, PageOpener
from tests.browser.served import Served
from tests.web.api.journals import call_id_of, records_of, whole_call, write

pytestmark = pytest.mark.slow


def test_sign_in_and_out(locked: Served, open_page: PageOpener) -> None:
    """A wrong key is told; the right one leads on to the page that was asked for; signing out closes it."""
    page = open_page(f"{locked.url}/calls/{call_id_of(0)}")
    page.get_by_label("Key", exact=True).fill("not-a-key-0123456789")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not known here")
    page.get_by_label("Key", exact=True).fill(OPERATOR)
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Call from +1•••23")
    expect(page.get_by_role("button", name="Mark for replay")).to_be_visible()
    cookie = page.context.cookies()[0]
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict"
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in to Callscope")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Sign in to Callscope")).to_be_visible()


def test_a_viewer_sees_no_buttons(locked: Served, open_page: PageOpener) -> None:
    """Who may only look is shown nothing that they may not do."""
    page = open_page(f"{locked.url}/calls/{call_id_of(0)}")
    page.get_by_label("Key", exact=True).fill(VIEWER)
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Export page")).to_be_visible()
    assert page.get_by_role("button", name="Mark").count() == 0


def test_an_expired_session(locked: Served, open_page: PageOpener) -> None:
    """A session that is over asks for the key again, and goes on where it was."""
    page = open_page(locked.url)
    page.get_by_label("Key", exact=True).fill(VIEWER)
    page.keyboard.press("Enter")
    expect(page.locator("#ended li")).to_have_count(1)
    page.context.clear_cookies()
    page.locator("#ended a.row").click()
    expect(page.get_by_role("alert")).to_contain_text("session is over")
    page.get_by_label("Key", exact=True).fill(VIEWER)
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Call from +1•••23")


def test_the_service_restarts_under_an_open_page(open_page: PageOpener, tmp_path: Path) -> None:
    """The page says that the service is gone, keeps what it shows, and is up to date again by itself."""
    write(tmp_path, whole_call(0, began_s=time.time() - 3600))
    service = Served(tmp_path).start()
    try:
        page = open_page(service.url)
        expect(page.locator("#link")).to_have_attribute("data-state", "live")
        page.wait_for_timeout(300)
        service.kill()
        expect(page.locator("#banner")).to_contain_text("does not answer")
        expect(page.locator("#ended li")).to_have_count(1)
        service.start()
        write(tmp_path, records_of(1, began_s=time.time() + 1))
        expect(page.locator("#live li")).to_have_count(1)
        expect(page.locator("#banner")).to_be_hidden()
        expect(page.locator("#link")).to_have_attribute("data-state", "live")
    finally:
        service.stop()
