"""Plays scenario files: joins the runner with what only `web` has: the scripted model and the TwiML of our answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from actors.scenario import Outcome, play
from actors.supervisor import NextStep
from actors.world import agent as world
from engine.agent import TwinPlan
from engine.errors import BadSettings, CallscopeError
from web.scenario_file import ScenarioFile, load_scenario
from web.twiml import connect_stream, go_on
from web.twins.vapi.brain import Brain

BASE_URL = "calls.example.com"


class PlayedTwiml:
    """Fulfils `actors.scenario.house.Twiml` with the production's own TwiML."""

    def __init__(self, apology: str) -> None:
        self._apology = apology

    def connect(self) -> str:
        return connect_stream(
            media_url=f"wss://{BASE_URL}/media",
            next_url=f"https://{BASE_URL}/webhook/twilio/next",
            stream_status_url=f"https://{BASE_URL}/webhook/twilio/stream",
            token="one-use",  # noqa: S106 — none that opens anything
            apology=self._apology,
        )

    def go_on(self, step: NextStep) -> str:
        return go_on(step)


def brain_of(plan: TwinPlan) -> Callable[[str], world.Reply]:
    """The model of one call: the Vapi twin's own."""
    brain = Brain(plan)

    def think(heard: str) -> world.Reply:
        thought = brain.think(heard)
        reply = thought.reply
        if reply is None:
            return world.Reply(thought.words)
        return world.Reply(
            thought.said(),
            tool=reply.tool.name if reply.tool else "",
            arguments=thought.arguments(),
            ends_call=reply.end,
            meanwhile=reply.before_tool,
            think_ms=reply.think_ms,
            said=thought.said,
        )

    return think


def play_file(file: ScenarioFile, *, seed: int | None = None) -> Outcome:
    """Play what a file describes, in virtual time."""
    agent = file.loaded.agent
    return play(
        file.scenario,
        agent,
        file.loaded.toolbox,
        make_brain=brain_of,
        twiml=PlayedTwiml(agent.fallback.words),
        seed=seed,
    )


def play_path(path: Path, *, agent: Path | None = None, seed: int | None = None) -> tuple[ScenarioFile, Outcome]:
    """Read and play.

    Raises:
        BadSettings: the file is not a scenario that can be played.
    """
    file = load_scenario(path, agent)
    try:
        return file, play_file(file, seed=seed)
    except* CallscopeError as group:
        raise BadSettings(f"{path}: it could not be played: {group.exceptions[0]}") from group
