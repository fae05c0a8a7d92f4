"""The handset in a real browser against the whole stack: a microphone that plays speech, ears that recognise it."""

from __future__ import annotations

import base64
import re
import wave
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page, Playwright, expect
from websockets.sync.client import connect

from engine.audio import duration_ms, mulaw_to_pcm16, pcm16_to_mulaw, silence
from tests.browser.conftest import ARGS, CHROMIUM, PageOpener, until_js
from tests.browser.served import ask, until
from tests.browser.test_live_call import phases_of
from web.agents import example, load_agent
from web.console.files import PageFiles
from web.twins.speech.ears import Ears
from web.twins.speech.judge import agent_grammar, texts, transcribe
from web.twins.speech.voice import speak
from web.twins.twilio.phone import MOST_HANDSETS

pytestmark = pytest.mark.slow
EAR = Path(__file__).with_name("handset_ear.js").read_text(encoding="utf-8")
FIRST_SOUND_MS = 3000
MOST_BYTES = 300_000
Stack = Mapping[str, str]


def spoken(path: Path, *parts: tuple[float, str]) -> Path:
    """A WAV for the fake microphone: each text at its second, then silence."""
    track = b""
    for at_s, text in parts:
        track += silence(1000 * at_s - duration_ms(track)) + speak(text, voice="en-GB")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(mulaw_to_pcm16(track + silence(60_000)))
    return path


@pytest.fixture
def caller(tmp_path: Path, driver: Playwright) -> Iterator[Callable[..., Page]]:
    """Opens a page in a browser whose microphone says what is given; None: there is none; "refused": forbidden."""
    browsers: list[Browser] = []
    faults: list[str] = []

    def open_one(url: str, says: Sequence[tuple[float, str]] | str | None, **viewport: int) -> Page:
        args = list(ARGS)
        if says is not None:
            args += ["--use-fake-device-for-media-stream"]
            args += ["--use-fake-ui-for-media-stream"] if says != "refused" else ["--deny-permission-prompts"]
        if says is not None and says != "refused":
            assert not isinstance(says, str)
            args += [f"--use-file-for-fake-audio-capture={spoken(tmp_path / 'says.wav', *says)}%noloop"]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=args)
        browsers.append(browser)
        size: Any = {"width": 1280, "height": 860, **viewport}
        page = browser.new_context(viewport=size).new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda told: faults.append(told.text) if "Content Security" in told.text else None)
        page.add_init_script(EAR)
        page.goto(url)
        return page

    yield open_one
    for browser in browsers:
        browser.close()
    assert faults == []


def heard_by(page: Page) -> bytes:
    """What the page received as the caller's ear, as µ-law."""
    return pcm16_to_mulaw(base64.b64decode(page.evaluate("heardSoFar()")))


def recognised(heard: bytes) -> str:
    """What a recogniser makes of it."""

    async def listen() -> str:
        async with Ears() as ears:
            return texts(await transcribe(heard, agent_grammar(load_agent(example()).agent), ears))

    return trio.run(listen)


def state(page: Page) -> Any:
    return page.locator(".hs-state")


def first_sound_ms(page: Page) -> int:
    until_js(page, "document.querySelector('#handset').dataset.firstSoundMs !== undefined")
    return int(page.locator("#handset").get_attribute("data-first-sound-ms") or 0)


def test_call_the_agent(stack: Stack, caller: Callable[..., Page]) -> None:
    """Click, hear the greeting, order, cut in, press keys, cough, hang up, look at what happened."""
    says = [(5.4, "A table for two tonight please."), (12.5, "Eight works.")]
    page = caller(stack["service"], says)
    expect(page.locator(".hs-say")).to_contain_text("Eight works")
    page.get_by_role("button", name="Call the agent").click()
    expect(state(page)).to_contain_text("Connected: talk")
    took_ms = first_sound_ms(page)
    print(f"first sound {took_ms} ms after the click")
    assert took_ms <= FIRST_SOUND_MS
    page.wait_for_url(re.compile("/calls/call-"), timeout=3000)
    expect(page.locator("h1")).to_have_text("Call from +1•••42")
    expect(page.locator("#handset")).to_be_visible()
    expect(page.locator("#talk")).to_contain_text("table for two tonight", ignore_case=True, timeout=20_000)
    expect(page.locator("#talk")).to_contain_text("eight works", ignore_case=True, timeout=20_000)
    expect(page.locator("#cuts .chip", has_text="cut in")).to_have_count(1, timeout=20_000)
    page.get_by_role("button", name="5", exact=True).click()
    page.keyboard.press("7")
    page.get_by_role("button", name="Cough").click()
    page.get_by_role("button", name="Bad line").click()
    expect(page.get_by_role("button", name="Bad line")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("m")
    expect(state(page)).to_contain_text("muted")
    page.wait_for_timeout(800)
    page.locator(".hs-talk > .danger").click()
    expect(state(page)).to_have_text(re.compile("Call over after 0:[0-9]+: you hung up"))
    expect(page.locator(".call-top .chip")).to_have_text(re.compile("completed|hung"), timeout=20_000)
    call_id = page.url.rpartition("/")[2]
    page.keyboard.press("g")
    page.get_by_role("link", name="What happened in this call").click()
    page.wait_for_url(f"**/calls/{call_id}")
    records = ask(f"{stack['service']}/api/calls/{call_id}/records?limit=2000")["records"]
    names = [record["name"] for record in records]
    assert any("Key" in name or "Digit" in name for name in names), names
    assert {"speaking", "interrupted", "ended"} <= set(phases_of(stack, call_id))
    told = page.evaluate("line.told")
    assert [one["type"] for one in told] == ["ringing", "connected", "ended"] and told[-1]["by"] == "caller"
    twin = ask(f"{stack['twilio']}/twin/calls/{told[0]['call_sid']}")
    what = [event["what"] for event in twin["events"]]
    assert what.count("key") == 2 and "caller sounds" in what and "line" in what and twin["errors"] == []
    heard = recognised(heard_by(page))
    print(heard)
    assert "welcome to the garden bistro" in heard.lower(), heard


def test_a_scripted_caller_needs_no_microphone(stack: Stack, caller: Callable[..., Page]) -> None:
    """Without a microphone the page says so, and offers the scripted caller, who is heard."""
    page = caller(stack["service"], None)
    page.get_by_role("button", name="Call the agent").click()
    expect(page.get_by_role("alert")).to_contain_text("no microphone")
    expect(page.get_by_role("alert")).to_contain_text("scripted caller")
    expect(page.get_by_role("button", name="Let a scripted caller call")).to_be_focused()
    page.keyboard.press("Enter")
    expect(state(page)).to_contain_text("A scripted caller is on the line")
    assert first_sound_ms(page) <= FIRST_SOUND_MS
    page.wait_for_url(re.compile("/calls/call-"), timeout=3000)
    found = Axe().run(page).response["violations"]
    assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
    expect(page.locator("#talk")).to_contain_text("table for two tonight", ignore_case=True, timeout=20_000)
    page.locator(".hs-talk > .danger").click()
    expect(state(page)).to_contain_text("Call over")
    call_id = page.url.rpartition("/")[2]
    until(lambda: phases_of(stack, call_id)[-1:] == ["ended"])
    both = page.evaluate("line.sound.length && line.sound[0].length")
    assert both == 320, "what is heard and what is said"


def test_a_refused_microphone(stack: Stack, caller: Callable[..., Page]) -> None:
    """The page says what to do, makes no call, and can be tried again."""
    page = caller(stack["service"], "refused")
    page.get_by_role("button", name="Call the agent").click()
    expect(page.get_by_role("alert")).to_contain_text("microphone was refused")
    expect(state(page)).to_have_text("Not connected.")
    expect(page.get_by_role("button", name="Call the agent")).to_be_enabled()
    assert page.evaluate("line.sent") == []


def test_a_closed_tab_hangs_up(stack: Stack, caller: Callable[..., Page]) -> None:
    """Whoever closes the page is gone, and the agent does not talk to nobody."""
    page = caller(stack["service"], [])
    page.get_by_role("button", name="Call the agent").click()
    page.wait_for_url(re.compile("/calls/call-"))
    call_id = page.url.rpartition("/")[2]
    page.close()
    until(lambda: phases_of(stack, call_id)[-1:] == ["ended"])


def test_the_twin_is_away(stack: Stack, caller: Callable[..., Page]) -> None:
    """A demo that was stopped in part: clear words, and the button is there again."""
    page = caller(stack["service"], [])
    page.route("**/api/handset", lambda route: route.fulfill(json=_elsewhere(stack)))
    page.reload()
    page.get_by_role("button", name="Call the agent").click()
    expect(page.get_by_role("alert")).to_contain_text("does not answer")
    expect(page.get_by_role("button", name="Call the agent")).to_be_visible()


def _elsewhere(stack: Stack) -> dict[str, Any]:
    told: dict[str, Any] = ask(f"{stack['service']}/api/handset")
    return {**told, "url": told["url"].replace("/twin/phone", "/nobody")}


def test_all_handsets_are_in_use(stack: Stack, caller: Callable[..., Page]) -> None:
    """The twin has so many and no more; the page says it in words."""
    url = stack["twilio"].replace("http", "ws") + "/twin/phone"
    page = caller(stack["service"], [])
    with ExitStack() as held:
        for _ in range(MOST_HANDSETS):
            held.enter_context(connect(url))
        page.get_by_role("button", name="Call the agent").click()
        expect(page.get_by_role("alert")).to_contain_text("handsets are in use")
    expect(page.get_by_role("button", name="Call the agent")).to_be_visible()


def test_it_works_on_a_telephone(stack: Stack, caller: Callable[..., Page]) -> None:
    """At the width of a telephone nothing sticks out, and the keypad is there."""
    page = caller(stack["service"], [], width=390, height=844)
    page.get_by_role("button", name="Call the agent").click()
    expect(state(page)).to_contain_text("Connected")
    expect(page.get_by_role("button", name="hash")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_first_load_with_the_handset_is_light() -> None:
    """Everything that the first page loads, the handset included, weighs at most 300 kB before any compression."""
    files = PageFiles()
    handset = [name for name in files.files if name.startswith(("handset", "resample"))]
    weight = len(files.page.body) + sum(len(files.files[one].body) for one in {*files.first_load(), *handset})
    assert handset and weight <= MOST_BYTES, weight


RESAMPLE = """async ([url, fromHz, toHz, hz]) => {
  const { Resampler } = await import(url);
  const made = new Resampler(fromHz, toHz);
  const out = [];
  const sine = (at) => Math.sin((2 * Math.PI * hz * at) / fromHz);
  for (let at = 0; at < fromHz; at += 128)
    out.push(...made.take(Float32Array.from({ length: 128 }, (_, i) => sine(at + i))));
  const settled = out.slice(toHz / 10, -toHz / 10);
  return [out.length, Math.sqrt(settled.reduce((sum, one) => sum + one * one, 0) / settled.length)];
}"""


def test_the_low_pass(stack: Stack, open_page: PageOpener) -> None:
    """A voice passes, what 8 kHz cannot hold is gone before it could fold down, and back up nothing is added."""
    page = open_page(stack["service"])
    url = f"{PageFiles().base}/resample.js"
    level = partial(_level, page, url)
    for rate in (48_000, 44_100, 16_000):
        assert level(rate, 8000, 1000) == pytest.approx(0.707, abs=0.01)
        assert level(rate, 8000, 3000) == pytest.approx(0.707, abs=0.05)
        assert level(rate, 8000, 4800) < 0.01, "40 dB down"
        assert level(8000, rate, 1000) == pytest.approx(0.707, abs=0.01)


def _level(page: Page, url: str, from_hz: int, to_hz: int, hz: int) -> float:
    count, level = page.evaluate(RESAMPLE, [url, from_hz, to_hz, hz])
    assert abs(count - to_hz) < to_hz / 50
    return float(level)
