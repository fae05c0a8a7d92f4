"""Which rules the tests fire: `./dev test --edges FILE` counts each (phase, event) that goes through `engine.step`.

Off, it costs nothing: nothing is put in. On, it stands between `step` and `name_event`, so a test that walks the table
itself (`apply` on every pair) does not count. Workers of pytest-xdist write files of their own, which are then joined.
`callscope diagram --coverage FILE` reads it.
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from engine import step as stepping
from engine.call import Call
from engine.events import Event
from engine.phases import Phase

MOST_NAMES = 5  # of the tests that fire one edge


class Edges:
    """What was fired, and by whom first."""

    def __init__(self) -> None:
        self.fired: Counter[tuple[Phase, type[Event]]] = Counter()
        self.by: dict[tuple[Phase, type[Event]], dict[str, None]] = defaultdict(dict)

    def put_in(self) -> None:
        name_event = stepping.name_event  # type: ignore[attr-defined]

        def named(call: Call, fact: Event) -> Event:
            event = name_event(call, fact)
            edge = (call.phase, type(event))
            self.fired[edge] += 1
            by = self.by[edge]
            if len(by) < MOST_NAMES:
                by[os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]] = None
            return event

        stepping.name_event = named  # type: ignore[attr-defined]

    def write(self, path: Path) -> None:
        edges = [
            {"phase": str(phase), "event": event.__name__, "count": count, "by": sorted(self.by[phase, event])}
            for (phase, event), count in sorted(self.fired.items(), key=lambda one: (one[0][0], one[0][1].__name__))
        ]
        path.write_text(json.dumps({"edges": edges}, indent=1) + "\n", encoding="utf-8")


def joined(paths: list[Path]) -> dict[str, object]:
    """Several files as one."""
    count: Counter[tuple[str, str]] = Counter()
    by: dict[tuple[str, str], set[str]] = defaultdict(set)
    for path in paths:
        for one in json.loads(path.read_text(encoding="utf-8"))["edges"]:
            edge = (one["phase"], one["event"])
            count[edge] += one["count"]
            by[edge] |= set(one["by"])
    return {
        "edges": [
            {"phase": edge[0], "event": edge[1], "count": count[edge], "by": sorted(by[edge])[:MOST_NAMES]}
            for edge in sorted(count)
        ]
    }


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--edges", metavar="FILE", help="count which rules the tests fire, for `callscope diagram --coverage`"
    )


_KEY = pytest.StashKey[Edges]()


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--edges"):
        config.stash[_KEY] = Edges()
        config.stash[_KEY].put_in()


def pytest_unconfigure(config: pytest.Config) -> None:
    edges = config.stash.get(_KEY, None)
    if edges is None:
        return
    path, worker = Path(config.getoption("--edges")), os.environ.get("PYTEST_XDIST_WORKER")
    if worker:
        edges.write(path.with_name(f"{path.name}.{worker}"))
        return
    parts = sorted(path.parent.glob(f"{path.name}.gw*"))
    edges.write(path)
    if parts:
        path.write_text(json.dumps(joined([path, *parts]), indent=1) + "\n", encoding="utf-8")
        for part in parts:
            part.unlink()
