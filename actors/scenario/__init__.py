"""Scenario files played in virtual time: the real actors, a scripted world around them, and what must come of it."""

from actors.scenario.expecting import Finding
from actors.scenario.runner import Outcome, play

__all__ = ["Finding", "Outcome", "play"]
