"""The page for people who do not see it, or see it otherwise: axe-core's rules, in both themes."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Page, expect

from tests.browser.conftest import RECORDS, PageOpener
from tests.browser.served import Served
from tests.web.api.journals import call_id_of

pytestmark = pytest.mark.slow
SERIOUS = ("serious", "critical")


def faults(page: Page) -> list[str]:
    """What axe finds that is serious, with the elements."""
    # The page forbids scripts that are not its own; Playwright's `evaluate` is not subject to that.
    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {one['help']}: {[node['html'][:120] for node in one['nodes'][:4]]}"
        for one in found
        if one["impact"] in SERIOUS
    ]


def faults_in_both_themes(page: Page) -> list[str]:
    found = []
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        page.wait_for_timeout(250)  # colours change softly
        found += [f"{theme}: {fault}" for fault in faults(page)]
    return found


def test_nothing_serious(served: Served, locked: Served, open_page: PageOpener) -> None:
    """List, help, call and login: no serious fault, light or dark."""
    page = open_page(served.url)
    expect(page.locator("#ended li").first).to_be_visible()
    assert faults_in_both_themes(page) == []
    page.keyboard.press("?")
    assert faults_in_both_themes(page) == []
    page.goto(f"{served.url}/calls/{call_id_of(0)}")
    expect(page.locator(".journal")).to_contain_text(f"{RECORDS} records")
    page.locator(".journal > summary").click()
    page.locator("#tools summary").click()
    assert faults_in_both_themes(page) == []
    login = open_page(locked.url)
    expect(login.get_by_label("Key", exact=True)).to_be_visible()
    assert faults_in_both_themes(login) == []
