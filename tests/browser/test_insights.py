"""The insights in a real browser: pictures, filters in the address, the way from a bar to its calls."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Page, Response, expect

from tests.browser.conftest import PageOpener
from tests.browser.served import Served
from tests.web.api.journals import GREETED, OVER, records_of, whole_call, write
from web.console.files import PageFiles

pytestmark = pytest.mark.slow
FIRST_LOAD_BYTES = 300_000
CALLS, GOOD, OTHER_AGENT = 24, 6, 5


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The service over a few days of calls."""
    data = tmp_path_factory.mktemp("insights")
    now = time.time()
    write(data, *(whole_call(n, began_s=now - 3600 * 5 * (n + 1)) for n in range(CALLS)))
    write(data, *(records_of(100 + n, GREETED, OVER, began_s=now - 7200 * (n + 1)) for n in range(GOOD)))
    write(data, *(whole_call(200 + n, began_s=now - 3000 * (n + 1), agent="pizzeria") for n in range(OTHER_AGENT)))
    service = Served(data).start()
    yield service
    service.stop()


def kpi(page: Page, name: str) -> str:
    return page.locator(".kpi", has=page.get_by_text(name, exact=True)).locator("dd").first.inner_text()


def calls_in(title: str) -> int:
    """`Sat, Nov 15: 7 calls (…)` → 7."""
    found = re.search(r": (\d+) calls?", title)
    assert found is not None, title
    return int(found[1])


def faults_of(page: Page) -> list[str]:
    """What axe finds wrong."""
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [f"{one['id']}: {[node['html'][:120] for node in one['nodes']]}" for one in found]


def test_from_a_bar_to_its_calls(week: Served, open_page: PageOpener) -> None:
    """The page adds up; a bar leads to the list of just those calls, and Back to the same picture."""
    page = open_page(week.url)
    page.get_by_role("link", name="Insights").click()
    expect(page.locator("#volume svg")).to_be_visible()
    assert kpi(page, "Calls") == str(CALLS + GOOD + OTHER_AGENT)
    titles = page.locator("#volume .bar-group title").all_text_contents()
    assert sum(map(calls_in, titles)) == CALLS + GOOD + OTHER_AGENT
    bar = page.locator("#volume .bar-group[data-href]").first
    wanted = calls_in(bar.locator("title").text_content() or "")
    box = bar.locator(".hit").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.locator(".filtered")).to_contain_text("Only calls")
    expect(page.locator("#ended li")).to_have_count(wanted)
    assert "since=" in page.url and "until=" in page.url
    page.go_back()
    expect(page.locator("#volume svg")).to_be_visible()


def test_filters_in_the_address(week: Served, open_page: PageOpener) -> None:
    """What is chosen stands in the address, can be passed on, and goes with the exports."""
    page = open_page(f"{week.url}/insights")
    expect(page.locator("#volume svg")).to_be_visible()
    page.get_by_label("Agent", exact=True).select_option("pizzeria")
    expect(page.locator(".kpi dd").first).to_have_text(str(OTHER_AGENT))
    assert "agent=pizzeria" in page.url
    again = open_page(page.url)
    expect(again.locator(".kpi dd").first).to_have_text(str(OTHER_AGENT))
    with again.expect_download() as coming:
        again.get_by_role("link", name="Calls CSV").click()
    lines = Path(coming.value.path()).read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + OTHER_AGENT and all("pizzeria" in line for line in lines[1:])
    again.get_by_label("Whose fault").select_option("twilio")
    expect(again.locator(".empty")).to_contain_text("No finished call here")
    again.go_back()
    outcome = open_page(f"{week.url}/insights").locator("#outcomes a.row-bar", has_text=re.compile("caller ended"))
    outcome.click()
    expect(outcome.page.locator("#ended li")).to_have_count(GOOD)


def test_tables_behind_the_pictures(week: Served, open_page: PageOpener) -> None:
    """Each picture has the same facts as a table, reached with the keyboard."""
    page = open_page(f"{week.url}/insights")
    expect(page.locator("#volume svg")).to_be_visible()
    for card in ("volume", "week", "latency", "latency-time"):
        button = page.locator(f"#{card}").get_by_role("button", name="Table")
        button.focus()
        page.keyboard.press("Enter")
        expect(page.locator(f"#{card} table")).to_be_visible()
        expect(page.locator(f"#{card} .picture")).to_be_hidden()
    cells = page.locator("#volume tbody tr td:nth-child(2)").all_text_contents()
    assert sum(map(int, cells)) == CALLS + GOOD + OTHER_AGENT
    assert faults_of(page) == []


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)])
def test_looks(week: Served, open_page: PageOpener, scheme: str, width: int) -> None:
    """Nothing stands out at the side, and axe finds no fault, light and dark, wide and on a phone."""
    page = open_page(f"{week.url}/insights?by=outcome", width=width, color_scheme=scheme)
    expect(page.locator("#volume svg")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert faults_of(page) == []


def weighed(answers: list[Response]) -> dict[str, int]:
    """The files of a page that is shown: bytes by address."""
    files = [answer for answer in answers if "/api/" not in answer.url and answer.ok]
    return {answer.url: len(answer.body()) for answer in files}


def test_it_costs_the_first_page_nothing(week: Served, open_page: PageOpener) -> None:
    """The pictures' code is loaded when somebody looks at them, and all of it is small."""
    answers: list[Response] = []
    page = open_page("about:blank")

    def came(answer: Response) -> None:
        answers.append(answer)

    page.on("response", came)
    page.goto(week.url)
    expect(page.locator("#ended li").first).to_be_visible()
    sizes = weighed(answers)  # now: an answer has no body any more once its page was left
    assert sizes and not any(url.endswith(("insights.js", "charts.js")) for url in sizes)
    answers.clear()
    with page.expect_response(lambda answer: answer.url.endswith("insights.js")):
        page.goto(f"{week.url}/insights")
    expect(page.locator("#volume svg")).to_be_visible()
    sizes |= weighed(answers)
    assert any(url.endswith("insights.js") for url in sizes)
    assert sum(sizes.values()) <= FIRST_LOAD_BYTES, sum(sizes.values())
    files = PageFiles()
    assert "insights.js" not in files.first_load() and "charts.js" not in files.first_load()
