"""A browser, pages that tell on themselves, and services to look at. Without Chromium all of it is skipped, aloud."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, Request, sync_playwright

from tests.browser.served import Served
from tests.web.api.journals import whole_call, write, write_recording

CHROMIUM = os.environ.get("CALLSCOPE_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
ARGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]  # fmt: skip
OPERATOR, VIEWER = "operator-key-0123456789", "viewer-key-0123456789"
FINISHED = 3  # calls in the journal of `served`
RECORDS = len(whole_call(0))  # of each

PageOpener = Callable[..., Page]


@pytest.fixture(scope="session")
def driver() -> Iterator[Playwright]:
    """What starts browsers: one a process, more it does not allow."""
    if not Path(CHROMIUM).exists():
        pytest.skip(f"SKIPPED: no Chromium at {CHROMIUM}; on Debian: apt install chromium (or set CALLSCOPE_CHROMIUM)")
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def browser(driver: Playwright) -> Iterator[Browser]:
    opened = driver.chromium.launch(executable_path=CHROMIUM, args=ARGS)
    yield opened
    opened.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[PageOpener]:
    """Opens pages in a context of their own. At the end none may have thrown, or broken its own content policy."""
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    def open_one(url: str, *, width: int = 1280, height: int = 860, **given: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **given)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if "Content Security" in message.text else None)
        page.on("request", lambda request: faults.append(request.url) if _leaves(request) else None)
        page.goto(url)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert faults == []


def _leaves(request: Request) -> bool:
    """Whether a page reaches for anything but this machine."""
    return not request.url.startswith(("http://127.0.0.1:", "file://", "data:", "blob:"))


def until_js(page: Page, expression: str, *, within_s: float = 15.0) -> None:
    """Wait until it is so. (`wait_for_function` needs `eval`, which the page's policy forbids.)"""
    give_up_at = time.monotonic() + within_s
    while not page.evaluate(expression):
        assert time.monotonic() < give_up_at, f"not within {within_s} s: {expression}"
        page.wait_for_timeout(50)


@pytest.fixture(scope="session")
def finished_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a few finished calls, the first one recorded."""
    data = tmp_path_factory.mktemp("console")
    began_s = time.time() - 3600
    write(data, *(whole_call(n, began_s=began_s + 60 * n) for n in range(FINISHED)))
    write_recording(data, 0, seconds=9)
    return data


@pytest.fixture(scope="session")
def served(finished_data: Path) -> Iterator[Served]:
    """The service, open to this machine alone."""
    service = Served(finished_data).start()
    yield service
    service.stop()


@pytest.fixture(scope="session")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The service with keys."""
    data = tmp_path_factory.mktemp("locked")
    write(data, whole_call(0, began_s=time.time() - 3600))
    service = Served(data, CALLSCOPE_OPERATOR_KEY=OPERATOR, CALLSCOPE_VIEWER_KEY=VIEWER).start()
    yield service
    service.stop()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """The addresses of the whole stack."""
    folder = tmp_path_factory.mktemp("stack")
    arguments = [sys.executable, "-m", "tests.browser.stack_process", str(folder)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.stdin.close()
        process.wait(30)
