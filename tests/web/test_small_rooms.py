"""Settings, agent files, TwiML, restart budgets: the small rooms."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.supervision import RestartBudget
from actors.supervisor import NextStep
from engine.errors import BadSettings
from web import twiml
from web.agents import load_agent
from web.settings import environment, settings_from

GOOD = {
    "TWILIO_ACCOUNT_SID": "AC1",
    "TWILIO_AUTH_TOKEN": "token-1",
    "VAPI_API_KEY": "key-1",
    "VAPI_SERVER_SECRET": "secret-1",
    "PUBLIC_URL": "https://calls.example.com/",
}


def test_settings_keep_their_secrets() -> None:
    """Nothing secret in a repr; the media address is the public one over wss; the vendors are the default."""
    settings = settings_from(GOOD)
    assert not [secret for secret in ("token-1", "key-1", "secret-1") if secret in repr(settings)]
    assert settings.media_url == "wss://calls.example.com/media"
    assert (settings.twilio_base_url, settings.vapi_base_url) == ("https://api.twilio.com", "https://api.vapi.ai")
    assert not settings.offline


@pytest.mark.parametrize("name", list(GOOD))
def test_each_missing_setting_is_named(name: str) -> None:
    """With the way to get it."""
    with pytest.raises(BadSettings, match=f"{name} is not set: ."):
        settings_from({key: value for key, value in GOOD.items() if key != name})


def test_another_scheme_stands_in_for_the_shared_secret() -> None:
    """Bearer or HMAC alone is enough."""
    rest = {key: value for key, value in GOOD.items() if key != "VAPI_SERVER_SECRET"}
    for name in ("VAPI_SERVER_BEARER_TOKEN", "VAPI_SERVER_HMAC_SECRET"):
        assert settings_from({**rest, name: "x"}).vapi_server_secret == ""


def test_a_dotenv_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment wins over it."""
    (tmp_path / ".env").write_text("VAPI_API_KEY=from-file\nPORT=9\n", encoding="utf-8")
    monkeypatch.setenv("PORT", "10")
    env = environment(tmp_path)
    assert (env["VAPI_API_KEY"], env["PORT"]) == ("from-file", "10")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: [", "is not YAML"),
        ("", "Expected `object`"),
        ("name: x\nassistent: {}\n", "assistent"),
        ("name: x\nlimits: {idle_s: soon}\n", r"\$\.limits\.idle_s"),
        ("name: x\nassistant: {}\nassistant_id: a\n", "not both"),
        ("name: x\nassistant_id: a\ntools: none.py\n", "is not there"),
    ],
)
def test_agent_files_that_are_wrong(tmp_path: Path, text: str, says: str) -> None:
    """The file, the place and the fault."""
    path = tmp_path / "agent.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadSettings, match=says):
        load_agent(tmp_path)
    with pytest.raises(BadSettings, match="cannot be read"):
        load_agent(tmp_path / "nowhere.yaml")


@given(st.text(max_size=60))
def test_no_words_break_the_twiml(words: str) -> None:
    """Whatever an agent file says: one Say, one Hangup, nothing else (reliability.md S8)."""
    try:
        words.encode()
    except UnicodeEncodeError:
        return
    root = Xml.fromstring(twiml.go_on(NextStep("a" + words, "+15550100")))
    assert [verb.tag for verb in root] == ["Say", "Dial", "Hangup"]


def test_a_restart_budget() -> None:
    """One restart in thirty seconds, and then again one."""
    budget = RestartBudget(most=1, within_s=30)
    assert [budget.allows(at) for at in (0, 1, 29, 31, 32)] == [True, False, False, True, False]
