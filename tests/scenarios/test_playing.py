"""Playing scenarios: the same call everywhere, tools that stay in virtual time, each word of a file with its effect."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from actors.scenario import Outcome
from actors.world.caller import AfterMe
from tests.scenarios.playing import AGENT, ASKS, BISTRO, ROOT, TOOLS, desk, faults, played
from web.scenario_play import play_path

ENDS = "expect: [{lasts at most: 10m}]\n"
MANY_CHANCES = "network: {delay: 40ms, jitter: 60ms, loss: 2%, vapi jitter: 80ms, webhooks: twice}\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return desk(tmp_path_factory.mktemp("desk"))


def call(folder: Path, text: str, *, seed: int | None = None) -> Outcome:
    """One call that must be playable."""
    outcome = played(folder, "scenario: x\n" + text + ("" if "expect:" in text else ENDS), seed=seed)
    assert outcome.trouble == ""
    return outcome


# --- the same call everywhere ----------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_call(folder: Path) -> None:
    """And another one does not."""
    one, two, other = (call(folder, ASKS + MANY_CHANCES, seed=seed) for seed in (3, 3, 4))
    assert one.trace == two.trace != other.trace


def test_hash_seeds_and_processes_change_nothing() -> None:
    """Three scenarios in three processes with three orders of sets: the same numbers."""
    names = ("double-cut-in", "jitter", "webhook-twice")
    found = {
        subprocess.run(
            [sys.executable, "-m", "web", "test", "--hash", *(f"{BISTRO}/{name}.scenario.yaml" for name in names)],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.rpartition("\n3 passed")[0]
        for seed in ("0", "1", "4711")
    }
    (told,) = found
    here = [play_path(BISTRO / f"{name}.scenario.yaml")[1].trace for name in names]
    assert [line.split()[0] for line in told.splitlines()] == here


# --- tools -----------------------------------------------------------------------------------------------------------

WAITING = '''
@tool(effect="read")
async def stray(party: int = 2) -> str:
    """Goes where it must not."""
    {body}
    return "x"
'''
STRAYS = {
    "starts a thread": "import threading as t; t.Thread(target=print).start()",
    "waits for a thread": "await trio.to_thread.run_sync(print)",
    "opens a connection": "import socket; line = socket.socket(); line.close(); line.connect(('127.0.0.1', 9))",
    "looks up a name in the network": "import socket; socket.getaddrinfo('localhost', 80)",
    "starts a process": "import subprocess; subprocess.run(['true'])",
    "calls time.sleep, which stops every call (use trio.sleep)": "import time; time.sleep(0.001)",
}
STRAY = "caller: [{says: a table, after: 1s}, hangs up]\nvapi: [{hears: a table, calls: stray, says: 'x {result}'}]\n"


@pytest.mark.parametrize("what", STRAYS)
def test_a_tool_that_leaves_virtual_time_is_told(tmp_path: Path, what: str) -> None:
    """Even if it swallows what we raise: what would come of the call means nothing."""
    imports, _, act = STRAYS[what].rpartition("; ")
    body = f"{imports or 'pass'}\n    try: {act}\n    except BaseException: pass"
    outcome = played(desk(tmp_path, tools=TOOLS + WAITING.format(body=body)), "scenario: x\n" + STRAY + ENDS)
    assert not outcome.ok
    assert outcome.trouble == (
        f"tool stray {what}: give it an answer under `tools:`, like `stray: {{answers: …}}`, or run with --real"
    )


def test_with_an_answer_it_is_not_run(tmp_path: Path) -> None:
    """The file's answer is what Vapi gets."""
    tools = TOOLS + WAITING.format(body=STRAYS["starts a thread"])
    text = STRAY + "tools: {stray: {answers: made up}}\nexpect: [heard: x made up, {tool: stray, answers: made up}]\n"
    assert played(desk(tmp_path, tools=tools), "scenario: x\n" + text).ok


def test_threads_of_others_are_theirs(folder: Path) -> None:
    """Outside of a tool nobody is watched."""
    import threading  # noqa: PLC0415

    call(folder, ASKS)
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()


HTTP = """
http_tools:
  weather: {description: The weather., method: GET, url: "https://weather.example.com/now", effect: read}
"""


def test_an_http_tool_needs_an_answer(tmp_path: Path) -> None:
    """A request to somebody has no place in virtual time; the file's fault if it asks for it, told when it happens."""
    folder = desk(tmp_path, AGENT + HTTP)
    asks = (
        "scenario: x\ncaller: [{says: rain}, hangs up]\nvapi: [{hears: rain, calls: weather, says: 'it is {result}'}]\n"
    )
    (told,) = faults(folder, asks + ENDS)
    assert "`weather` is a request over the network: give it an answer under `tools:`" in told
    assert played(folder, asks + "tools: {weather: {answers: dry}}\nexpect: [heard: it is dry]\n").ok
    asks_by_itself = "    - {hear: [rain], say: 'it is {result}', tool: {name: weather}}\n"
    agent = AGENT + asks_by_itself + HTTP
    outcome = played(desk(tmp_path, agent), "scenario: x\ncaller: [{says: rain}, hangs up]\n" + ENDS)
    assert outcome.trouble.startswith("tool weather is a request over the network: give it an answer")


@pytest.mark.parametrize(
    ("play", "expected"),
    [
        ("{answers: {free: [1, 2]}}", 'answers: "free 1 2"'),
        ("{fails: closed, after: 2s}", "fails: closed"),
        ("crashes", "fails: look failed"),
        ("hangs", "fails: too long"),
        ("{real: , after: 2s}", "answers: there is a table"),
    ],
)
def test_what_a_tool_can_do(folder: Path, play: str, expected: str) -> None:
    """Through the real runner: time-outs and words are the production's."""
    text = f"caller: [{{says: eight}}, {{waits: 14s}}]\ntools: {{look: {play}}}\nexpect: [{{tool: look, {expected}}}]\n"
    outcome = call(folder, text)
    assert [(one.expected, one.happened) for one in outcome.failures] == []


def test_state_in_a_tools_file_ends_with_the_scenario(tmp_path: Path) -> None:
    """A booking of one scenario is not there in the next."""
    tools = TOOLS.replace('return "it is yours"', 'BOOKED.append(party)\n    return f"booked {len(BOOKED)}"')
    folder = desk(tmp_path, tools=tools + "\nBOOKED: list[int] = []\n")
    text = "caller: [{says: book it}, hangs up]\nexpect: [{tool: book, answers: booked 1}]\n"
    assert call(folder, text).ok and call(folder, text).ok


# --- each word has its effect ----------------------------------------------------------------------------------------

BYE = "{says: bye}"
WORDS = [
    ("vapi: [greets: Hello you]", "heard: hello you"),
    ("vapi: [greets: '']\ncaller: [{says: a table}, hangs up]", "not heard: good evening"),
    ("vapi: [refuses the call]", "ends: handed over"),
    ("vapi: [never answers]", "heard: one moment please"),
    ("vapi: [never connects]", "ends: handed over"),
    ("vapi: [connects after: 2.5s]", "heard: one moment please"),
    ("vapi: [{drops the line: , at: 2s}]", "{ends: handed over, reason: agent lost}"),
    ("vapi: [{falls silent: , at: 2s}]", "not heard: how may I help you today"),
    ("vapi: [{freezes: , at: 2s}]", "not heard: how may I help you today"),
    ("vapi: [answers after: 3s]\ncaller: [{says: a table}, hangs up]", "heard: okay"),
    ("vapi: [hears late: 500ms]\ncaller: [{says: a table}, hangs up]", "understood: a table"),
    ("vapi: [hears no words]\ncaller: [{says: a table}, {waits: 8s}]", "heard: sorry I did not catch that"),
    ("vapi: [takes noise for speech]\ncaller: [coughs, {waits: 5s}]", "interruptions: [dropped]"),
    (
        "vapi: [is sure: 40%]\ncaller: [{cuts in: eight works}, {waits: 5s}]",
        "{journal: CallerTranscript, with: {confidence: 0.4}}",
    ),
    ("vapi: [{sends: {type: xyzzy}, at: 1s}]", "journal: UnknownFrame"),
    ("vapi: [{hears: a table, says: 'yes, {digits}'}]\ncaller: [{says: a table}, hangs up]", "heard: 'yes'"),
    (
        "vapi: [{hears: [x, a table], says: so long, hangs up: true}]\ncaller: [{says: a table}]",
        "{ends: completed, by: the agent}",
    ),
    (
        "vapi: [{hears: a table, calls: look, with: {party: 3}, meanwhile says: wait a bit, says: 'oh {result}',"
        " thinks: 2s}]\ncaller: [{says: a table}, {hangs up: , after hearing: there is a table}]\n"
        "tools: {look: {answers: there is a table, after: 2s}}",
        "heard: wait a bit",
    ),
    ("twilio: [loses marks]\ncaller: [{cuts in: eight works}, {waits: 3s}]", "interruptions: [dropped]"),
    ("twilio: [plays late: 150ms]", "heard: good evening"),
    ("twilio: [{loses the line: , at: 2s}]", "journal: StreamEnded"),
    ("twilio: [never comes back]\nvapi: [refuses the call]", "journal: Rescued"),
    ("network: {echo: 20dB}", "heard: how may I help you today"),
    ("network: {webhooks: twice}\ncaller: [{says: eight}, hangs up]", "{journal: ToolRepeated, times: 1}"),
    ("clock: '2026-01-01 23:30'", "heard: good evening"),
    ("caller: [{presses: '12#'}, {waits: 4s}]", "told vapi: 1 2"),
    ("caller: [{waits: 12s}]", "heard: are you still there"),
    ("caller: [{makes noise: 120ms}, {waits: 2s}]", "interruptions: [resumed]"),
    ("caller: [{murmurs: uh-huh}, {waits: 2s}]", "interruptions: [resumed]"),
    ("caller: [{says: a table, at: 6s}, hangs up]", "heard: we have one"),
    ("caller: [{says: a table, for: 3s}, hangs up]", "heard: we have one"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), WORDS, ids=[text for text, _ in WORDS])
def test_a_word_does_what_it_says(folder: Path, text: str, expected: str) -> None:
    """Each word of the page, in a call of its own."""
    ending = "" if "caller:" in text else "caller: [{waits: 9s}]\n"
    outcome = call(folder, f"{text}\n{ending}expect: [{expected}]\n")
    assert [(one.expected, one.happened) for one in outcome.failures] == []


def test_keys_over_the_agents_words_are_kept(folder: Path) -> None:
    """What Vapi is told while it speaks is answered when it has spoken."""
    text = (
        "caller: [{says: a table}, {presses: '12#', into: 300ms}, {waits: 12s}]\n"
        "vapi: [{hears: a table, says: please type your number on the keypad of your telephone}, "
        "{hears: typed, says: thank you}]\n"
        "expect: [told vapi: 1 2, heard: thank you]\n"
    )
    assert [(one.expected, one.happened) for one in call(folder, text).failures] == []


def test_moments(folder: Path) -> None:
    """When each move began, by the tap."""
    outcome = call(
        folder,
        "caller: [{says: a table, after: 500ms}, {cuts in: nine, into: 2s}, {says: bye, pause: 700ms}, {waits: 2s}]\n",
    )
    assert outcome.story is not None
    table, nine, bye = outcome.story.lived.placed
    greeted = max(run.end_ms for run in outcome.story.lived.tap.runs if run.end_ms <= table.at_ms)
    assert table.at_ms - greeted == pytest.approx(500, abs=20)
    heard = sum(run.ms for run in outcome.story.lived.tap.runs if table.end_ms <= run.at_ms and run.at_ms < nine.at_ms)
    assert heard == pytest.approx(2000, abs=120)  # a clump or two more come before the silence
    assert bye.at_ms - nine.end_ms == pytest.approx(700, abs=1)


def test_the_caller_does_not_answer_fillers(folder: Path) -> None:
    """They wait for the agent, whatever we say meanwhile."""
    outcome = call(folder, "caller: [{says: eight}, {says: bye}]\ntools: {look: {answers: x, after: 4s}}\n")
    assert outcome.story is not None
    bye = outcome.story.lived.placed[1]
    spoken = [at for at, is_agent, text in outcome.story.utterances() if is_agent and "Good news" in text]
    assert spoken and bye.at_ms > spoken[0]


def test_waits_is_silence() -> None:
    """And what follows comes at once."""
    from actors.scenario.plan import steps_of  # noqa: PLC0415
    from engine.scenario import Says, Waits  # noqa: PLC0415

    first, second = steps_of([Waits(waits_ms=5000.0), Says(says="hello")], greets=True)
    assert first.when == AfterMe(5000.0) and first.say is None
    assert second.when == AfterMe(0.0) and second.say is not None
