"""`callscope call "text…"`: phone the running demo from a second terminal."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import trio
from rich.console import Console

from engine.agent import Agent, CallerStep
from engine.errors import BadSettings
from web.agents import example, load_agent
from web.settings import environment
from web.stack import STACK_FILE, place_call, wait_call
from web.twins.speech.ears import Ears
from web.twins.speech.judge import agent_grammar, transcribe

console = Console(highlight=False)


def call(*text: str, agent: Path | None = None, data: Path | None = None, voice: str = "en-GB") -> None:
    """Phone the running demo: each text is spoken once the agent is quiet; then the caller hangs up.

    Parameters
    ----------
    text
        What the caller says, one argument a turn.
    agent
        An agent file whose sentences the recogniser knows; the demo's own when left out.
    data
        The demo's data folder; CALLSCOPE_DATA, or ./callscope-data, when left out.
    voice
        The caller's voice: en-GB or en-US.
    """
    if not text:
        raise BadSettings('say something: callscope call "a table for two tonight please"')
    folder = data or Path(environment().get("CALLSCOPE_DATA") or "callscope-data")
    twilio_url, of_demo = _running(folder)
    loaded = load_agent(agent or of_demo or example())
    trio.run(_call, text, loaded.agent, twilio_url, voice)


def _running(folder: Path) -> tuple[str, Path | None]:
    """Where the demo's Twilio is, and which agent it runs."""
    try:
        told = json.loads((folder / STACK_FILE).read_text(encoding="utf-8"))
        return str(told["twilio"]), Path(told["agent"]) if "agent" in told else None
    except (OSError, ValueError, KeyError):
        raise BadSettings(f"no demo runs with {folder}: start one with `./dev run` in another terminal") from None


async def _call(text: tuple[str, ...], agent: Agent, twilio_url: str, voice: str) -> None:
    script = [*(CallerStep(say=one) for one in text), CallerStep(pause_ms=0, hang_up=True)]
    async with httpx.AsyncClient(timeout=10.0) as http:
        with console.status("on the phone…"):
            call_sid = await place_call(http, twilio_url, script, voice=voice)
            known = await wait_call(http, twilio_url, call_sid)
            heard = (await http.get(f"{twilio_url}/twin/calls/{call_sid}/heard.ulaw")).content
        with console.status("a recogniser listens…"):
            async with Ears() as ears:
                spans = await transcribe(heard, agent_grammar(agent), ears)
    for span in spans:
        console.print(f"{span.start_ms / 1000:8.2f}  [green]agent[/]  {span.text or '… (not understood)'}")
    console.print(f"ended by {known.get('ended_by')}, status {known.get('status')}")
