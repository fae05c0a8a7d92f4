"""`${NAME}` in an agent file: filled in where it is set, a fault with its place where not, and never shown."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
import structlog

from actors.hidden import HIDDEN, SHOWN, Hidden
from actors.journal_file import Entry
from engine.errors import BadSettings
from engine.journal import Kind, Record
from web import logs
from web.agent_env import agent_environment, looks_secret, resolve
from web.agents import LoadedAgent, load_agent

SECRET = "sk-live-Zq7Rk2Wv9Xp4Lm1Nb8Tc3"
ENV = {"CRM_KEY": SECRET, "CRM_HOST": "crm.example.com", "MOST_CALLS": "7", "EMPTY": "", "HOLD": "false"}


def load(folder: Path, text: str) -> LoadedAgent:
    path = folder / "agent.yaml"
    path.write_text(text, encoding="utf-8")
    return load_agent(path, ENV)


def faults(folder: Path, text: str) -> list[str]:
    with pytest.raises(BadSettings) as caught:
        load(folder, text)
    return [line.removeprefix(f"{folder / 'agent.yaml'}:") for line in str(caught.value).splitlines()]


def test_what_is_set_is_filled_in(tmp_path: Path) -> None:
    """Inside texts, at any depth, as numbers where numbers belong, with defaults, and `$${` for itself."""
    agent = load(
        tmp_path,
        "name: x\n"
        "assistant: {model: {url: 'https://${CRM_HOST}/v1', headers: [{k: 'Bearer ${CRM_KEY}'}]}, a: '$${CRM_KEY}'}\n"
        "limits:\n  concurrent_calls: ${MOST_CALLS}\n  idle_s: ${NOT_SET:-45}\n"
        "turns:\n  hold: ${HOLD}\n  act_on: ${EMPTY:-partials}\n"
        "fallback:\n  number: ${FALLBACK_NUMBER:-+12025550100}\n",
    )
    assert agent.agent.assistant == {
        "model": {"url": "https://crm.example.com/v1", "headers": [{"k": f"Bearer {SECRET}"}]},
        "a": "${CRM_KEY}",
    }
    assert agent.agent.limits.concurrent_calls == 7
    assert agent.agent.limits.idle_s == 45
    assert (agent.agent.turns.hold, agent.agent.turns.act_on) == (False, "partials")
    assert agent.agent.fallback.number == "+12025550100"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "assistant: {k: 'Bearer ${CRM_KEI}'}\n",
            "2:24: ${CRM_KEI}: CRM_KEI is not set; set nearby: CRM_KEY, CRM_HOST",
        ),
        ("assistant:\n  a: >-\n    two lines\n    then ${NOWHERE}\n", "5:10: ${NOWHERE}: NOWHERE is not set; set it"),
        (
            "assistant: {a: '${EMPTY}'}\n",
            "2:17: ${EMPTY}: EMPTY is empty; set it in the environment or in .env, or write",
        ),
        ("assistant: {a: '${not a name}'}\n", "2:17: `${` begins a reference like ${NAME} or ${NAME:-default}"),
        (
            "limits: {concurrent_calls: '${CRM_KEY}'}\n",
            "`concurrent_calls` must be a whole number; what ${CRM_KEY} stands",
        ),
        ("fallback: {number: '${CRM_KEY}'}\n", "what ${CRM_KEY} stands for does not fit"),
        ("turns:\n  act_on: ${CRM_HOST}\n", "`act_on` must be one of finals, partials; what ${CRM_HOST} stands for"),
    ],
)
def test_what_means_nothing_is_a_fault(tmp_path: Path, text: str, says: str) -> None:
    """With its place, the names that come near, and never a value."""
    (told,) = faults(tmp_path, "name: x\n" + text)
    assert says in told
    assert SECRET not in told


def test_two_of_one_name_have_two_places(tmp_path: Path) -> None:
    """Both are told, each where it stands."""
    told = faults(tmp_path, "name: x\nassistant: {a: 'x ${NO} y ${NO}'}\n")
    assert [line.partition(": ")[0] for line in told[1:]] == ["2:19", "2:27"]


def test_dot_env_is_read_here_and_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process's own environment goes first, then `.env` here, then the agent's."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    (here / ".env").write_text("ONE=here\nTWO=here\n", encoding="utf-8")
    (there / ".env").write_text("ONE=there\nTWO=there\nTHREE=there\n", encoding="utf-8")
    monkeypatch.chdir(here)
    monkeypatch.setenv("ONE", "process")
    found = agent_environment(there)
    assert [found[name] for name in ("ONE", "TWO", "THREE")] == ["process", "here", "there"]


def test_a_secret_is_in_no_repr_journal_or_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However it gets there: as it is, inside other words, or escaped."""
    loaded = load(tmp_path, "name: x\nassistant: {k: 'Bearer ${CRM_KEY}'}\n")
    assert SECRET not in repr(loaded) + repr(loaded.agent)
    entry = Entry.of(Record("call-1", 0, 0.0, 0.0, Kind.NOTE, "ToolResult", {"text": f"said {SECRET}!"}))
    assert json.loads(entry.line)["data"] == {"text": f"said {SHOWN}!"}
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    for as_json in (False, True):
        structlog.reset_defaults()
        logs.set_up_logs(json=as_json)
        structlog.get_logger().info("asked", header=f"Bearer {SECRET}")
    structlog.reset_defaults()
    assert written.getvalue().count(SHOWN) == 2
    assert SECRET not in written.getvalue()


def test_names_and_ordinary_words_stay_readable() -> None:
    """What is no secret is not hidden, and a short one would stand in other words."""
    found = resolve("${SHOP_NAME} ${PIN_SECRET} ${A}", {"SHOP_NAME": "Garden bistro", "PIN_SECRET": "x1", "A": SECRET})
    assert found.secrets == ("x1", SECRET)
    hidden = Hidden()
    hidden.add(found.secrets)
    assert hidden.out_of(f"Garden bistro x1 {SECRET}") == f"Garden bistro x1 {SHOWN}"


def test_hidden_texts_are_hidden_as_json_spells_them() -> None:
    """Quotes and letters beyond ASCII are written otherwise there; the longer secret goes first."""
    hidden = Hidden()
    secret = 'pa"ss\\wörd'
    hidden.add([secret, secret + "-and-more"])
    for text in (json.dumps({"k": secret}), json.dumps({"k": secret}, ensure_ascii=False), repr(secret), secret):
        assert "rd" not in hidden.out_of(text).replace(SHOWN, "")
        assert hidden.out_of_bytes(text.encode()).decode() == hidden.out_of(text)
    assert hidden.out_of(secret + "-and-more") == SHOWN


@pytest.mark.parametrize("text", ["21m00Tcm4TlvDq8ikWAM", "nova-3", "gpt-4o", "a Bearer of news", "2c1f7c52-8f0e-4a55"])
def test_ids_are_no_secrets(text: str) -> None:
    """A voice's id, a model's name, a UUID."""
    assert looks_secret(text) == ""


def test_the_registry_does_not_grow_by_repetition(tmp_path: Path) -> None:
    """A file that is read a hundred times hides its secrets once."""
    load(tmp_path, "name: x\nassistant: {k: '${CRM_KEY}'}\n")
    before = len(HIDDEN)
    for _ in range(100):
        load(tmp_path, "name: x\nassistant: {k: '${CRM_KEY}'}\n")
    assert len(HIDDEN) == before
