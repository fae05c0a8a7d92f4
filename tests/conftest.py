"""For all tests: logs without tracebacks of locals, quiet unless something is wrong."""

from __future__ import annotations

import logging

import pytest
from hypothesis import HealthCheck, settings

from web import pytest_plugin
from web.logs import set_up_logs

SCENARIOS = "specs/scenarios"

pytest_plugins = ["tests.edges", "tests.passes"]

set_up_logs(level=logging.ERROR)
# On a fresh checkout the first text takes Hypothesis over a second (it makes its table of characters), and a shared
# machine is slow by turns: how long a draw took says nothing about the code.
settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")


def pytest_configure(config: pytest.Config) -> None:
    """Our scenarios are tests too. The plugin is installed only where Callscope was installed since it has one."""
    if not config.pluginmanager.has_plugin("callscope"):
        config.pluginmanager.register(pytest_plugin, "callscope")
    if config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        config.args.append(str(config.rootpath / SCENARIOS))
