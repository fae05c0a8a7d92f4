"""The list of calls."""

from __future__ import annotations

import threading
import time
from itertools import cycle
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from engine.journal import Kind, Record
from tests.browser.conftest import FINISHED, PageOpener, until_js
from tests.browser.served import Served
from tests.web.api.journals import GREETED, OVER, call_id_of, records_of, write

pytestmark = pytest.mark.slow
MANY = 300
BUSY_S = 5.0
WRITE_EVERY_S = 0.25
WATCH = Path(__file__).with_name("long_tasks.js").read_text(encoding="utf-8")
TALK = cycle(
    [("speaking", "listening", "Your table is free."), ("listening", "speaking", "I would like a table for two.")]
)


def live_rows(page: Page) -> int:
    return page.locator("#live li").count()


def test_a_call_comes_and_goes(served: Served, open_page: PageOpener) -> None:
    """A call appears among the live ones by itself, shows its phase and words, and moves down when it is over."""
    page = open_page(served.url)
    expect(page.locator("#ended li")).to_have_count(FINISHED)
    expect(page.locator("#live")).to_contain_text("No call right now")
    records = records_of(900, GREETED, began_s=time.time())
    write(served.data, records)
    row = page.locator("#live li", has=page.locator(f"a[href='/calls/{call_id_of(900)}']"))
    expect(row.locator(".chip")).to_have_text("listening")
    expect(row).to_contain_text("Good evening.")
    expect(row).to_contain_text("+1•••23")
    write(served.data, records_of(900, OVER, began_s=time.time(), first_seq=len(records)))
    expect(page.locator("#live li")).to_have_count(0)
    expect(page.locator("#ended li").first).to_contain_text("completed")
    expect(page.locator("#ended li")).to_have_count(FINISHED + 1)


def test_search_and_keys(served: Served, open_page: PageOpener) -> None:
    """/ searches, j and k walk, Enter opens, g goes back: no mouse is needed."""
    page = open_page(served.url)
    expect(page.locator("#ended li").first).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type(call_id_of(1))
    expect(page.locator("#ended li")).to_have_count(1)
    assert "q=" in page.url, "the search can be passed on"
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Call from +1•••23")
    assert page.url.endswith(f"/calls/{call_id_of(1)}")
    page.keyboard.press("g")
    expect(page.locator("h1")).to_have_text("Calls")
    page.keyboard.press("?")
    expect(page.locator("dialog")).to_contain_text("previous call")


HEADS = """() => [...document.querySelectorAll('.rows-head')].flatMap((head) => {
  const shown = [...head.children].filter((one) => one.textContent && one.offsetParent);
  const cut = shown.filter((one) => one.scrollWidth > one.clientWidth).map((one) => `${one.textContent} is cut off`);
  const boxes = shown.map((one) => [one.textContent, one.getBoundingClientRect()]);
  const over = boxes.slice(1).filter(([, box], n) => box.left < boxes[n][1].right).map(([name]) => `${name} lies over`);
  return [...cut, ...over];
})"""


def test_heads_have_room_beside_the_handset(served: Served, open_page: PageOpener) -> None:
    """At any width no head lies over the next or is cut off, what was said has room, and nothing sticks out."""
    page = open_page(served.url)
    expect(page.locator("#handset")).to_be_visible()
    expect(page.locator("#ended li").first).to_be_visible()
    for width in (1600, 1280, 1180, 1179, 1000, 900, 760, 390):
        page.set_viewport_size({"width": width, "height": 860})
        assert page.evaluate(HEADS) == [], width
        assert page.evaluate("document.querySelector('#ended .words').clientWidth") >= 100, width
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width


@pytest.fixture
def crowded(served: Served) -> list[int]:
    """Three hundred live calls; the length of each one's journal."""
    now = time.time()
    calls = [records_of(1000 + n, GREETED, began_s=now - n / 1000) for n in range(MANY)]
    write(served.data, *calls)
    return [len(call) for call in calls]


@pytest.mark.alone
def test_three_hundred_live_calls(served: Served, open_page: PageOpener, crowded: list[int]) -> None:
    """With three hundred talking calls the page answers at once: no task keeps it busy for long."""
    page = open_page(served.url)
    until_js(page, f"document.querySelectorAll('#live li').length >= {MANY}")
    page.evaluate(WATCH)
    over = threading.Event()
    talking = threading.Thread(target=_talk, args=(served, crowded, over))
    cpu_s, since = served.cpu_s, time.monotonic()
    talking.start()
    try:
        page.wait_for_timeout(BUSY_S * 1000)
        began = time.monotonic()
        page.keyboard.press("j")
        until_js(page, "document.activeElement.matches('a.row')")
        key_ms = (time.monotonic() - began) * 1000
    finally:
        over.set()
        talking.join()
    cpu = (served.cpu_s - cpu_s) / (time.monotonic() - since)
    long, gaps = page.evaluate("[window.long, window.gaps]")
    blocked = sum(one - 50 for one in long) / (BUSY_S * 1000)
    print(
        f"\n{MANY} live rows, every third changing each second: {len(long)} long tasks, "
        f"worst {max(long, default=0):.0f} ms, blocked {blocked:.1%}; "
        f"frames: worst {max(gaps):.0f} ms of {len(gaps)}; a key took {key_ms:.0f} ms; "
        f"the service used {cpu:.1%} of a core"
    )
    assert blocked < 0.10, long
    assert max(long, default=0) < 300, long
    assert live_rows(page) >= MANY
    assert page.locator("#live .words", has_text="table").count() > MANY * 0.9, "what they said was shown"


def _talk(served: Served, lengths: list[int], over: threading.Event) -> None:
    """A third of the calls change their phase and say something each second, as in a busy hour."""
    now, n = time.time(), 0
    while not over.wait(WRITE_EVERY_S):
        records = []
        for _ in range(MANY // 12):
            n = (n + 1) % MANY
            phase, before, text = next(TALK)
            at_ms = (time.time() - now) * 1000 + 2000
            for kind, name, data in (
                (Kind.PHASE, phase, {"from": before}),
                (Kind.EVENT, "CallerTranscript", {"text": text, "final": True}),
            ):
                records.append(Record(call_id_of(1000 + n), lengths[n], at_ms, time.time(), kind, name, data))
                lengths[n] += 1
        write(served.data, records)
