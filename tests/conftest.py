"""For all tests: logs without tracebacks of locals, quiet unless something is wrong."""

from __future__ import annotations

import logging

import pytest
from hypothesis import HealthCheck, settings

from web import pytest_plugin
from web.logs import set_up_logs

SCENARIOS = "specs/scenarios"
MEASURES = ("test_bench_media.py", "test_bench_tools.py", "test_bench_webhooks.py", "test_memory.py")  # speed and size
IN_VIRTUAL_TIME = ("test_storm.py", "test_museum.py")  # one after the other, or real time beside them has no core

pytest_plugins = ["tests.edges"]

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


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What measures has the machine to itself; of what only computes for long, no two run at a time."""
    for item in items:
        if item.get_closest_marker("slow") is None:
            continue
        if item.path.name in MEASURES:
            item.add_marker("alone")
        if item.path.name in IN_VIRTUAL_TIME:
            item.add_marker(pytest.mark.xdist_group("processor"))
