"""Which of the slow tests may run beside which: what `./dev test` does with `-m` and `--dist loadgroup`."""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

MEASURES = ("test_bench_media.py", "test_bench_tools.py", "test_bench_webhooks.py", "test_memory.py")
TOGETHER = {
    # They share a browser and a service, or a browser and the whole stack.
    "console": ("browser/test_access.py", "browser/test_call.py", "browser/test_insights.py", "browser/test_list.py",
                "browser/test_session.py"),
    "stack": ("browser/test_handset.py", "browser/test_live_call.py"),
    # They compute all the time: two at once, and for real time beside them no core is left.
    "processor": ("storm/test_storm.py", "museum/test_museum.py", "web/api/test_fuzz.py", "web/api/test_insights.py",
                  "twins/vapi/test_vapi_process.py", "twins/vapi/test_vapi_sdk.py"),
}  # fmt: skip
GROUP_OF = {f"tests/{file}": group for group, files in TOGETHER.items() for file in files}


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What of the bench measures has the machine to itself. The rest of it, in virtual time or counted, need not."""
    for item in items:
        if item.path.name in MEASURES and item.get_closest_marker("slow"):
            item.add_marker("alone")


class Together(LoadScopeScheduling):  # type: ignore[misc]
    """Groups one after the other in one worker, every other test wherever there is room.

    As `xdist_group` would have it, which xdist 3.8 writes where pytest 9.2 no longer looks (`_nodeid`).
    """

    def _split_scope(self, nodeid: str) -> str:
        return GROUP_OF.get(nodeid.partition("::")[0], nodeid)


@pytest.hookimpl(optionalhook=True)  # `-p no:xdist` has no such hook
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    return Together(config, log) if config.getvalue("dist") == "loadgroup" else None
