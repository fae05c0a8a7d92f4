"""Collects `*.scenario.yaml` with pytest: each file is a test, and its failure reads as `callscope test` prints it.

Installed with Callscope (entry point `pytest11`). Scenarios run in virtual time, in tens of milliseconds each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engine.errors import BadSettings

if TYPE_CHECKING:
    from actors.scenario import Outcome

ENDING = ".scenario.yaml"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("callscope", "Callscope scenarios")
    group.addoption("--scenario-agent", type=Path, default=None, help="play scenarios with this agent file or folder")
    group.addoption("--scenario-seed", type=int, default=None, help="of all chance in scenarios, instead of theirs")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path.name.endswith(ENDING):
        return ScenarioFileNode.from_parent(parent, path=file_path)
    return None


class ScenarioFailed(Exception):
    """A scenario went differently; the text is the report."""


class ScenarioFileNode(pytest.File):
    """One file."""

    def collect(self) -> Iterator[pytest.Item]:
        yield ScenarioItem.from_parent(self, name=self.path.name.removesuffix(ENDING))


class ScenarioItem(pytest.Item):
    """One scenario."""

    @property
    def obj(self) -> Callable[[], None]:
        """What is run. pytest-trio looks at it without asking whether it is there."""
        return self.runtest

    def runtest(self) -> None:
        from web.scenario_play import play_path  # noqa: PLC0415 — who has no scenarios loads nothing of this
        from web.scenario_report import as_text  # noqa: PLC0415

        outcome: Outcome
        _, outcome = play_path(
            self.path,
            agent=self.config.getoption("--scenario-agent", default=None),
            seed=self.config.getoption("--scenario-seed", default=None),
        )
        if not outcome.ok:
            raise ScenarioFailed(as_text(self.path, outcome))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: str | None = None) -> str:
        """The report, or what is wrong with the file; a traceback only for what is a bug of ours."""
        if isinstance(excinfo.value, ScenarioFailed | BadSettings):
            return str(excinfo.value)
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, f"scenario: {self.name}"
