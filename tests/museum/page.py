"""The museum as a page for people."""

from __future__ import annotations

from tests.museum.exhibits import EXHIBITS, Exhibit

HEADER = """\
<!-- Made by `./dev python -m tests.museum`; do not edit. A test compares. -->
# The bug museum

Bugs that users of other voice stacks reported, numbered as in the list that the scenes of `tests/stories` follow. For
each there is a patch that puts it into Callscope (`tests/museum/patches.py`), and what then finds it: always a scene,
which passes without the patch and fails with it (`./dev test tests/museum`), and where random calls find it as well,
how many seeds of the storm are enough, on the pure engine and on the real actors.

| no. | what users said | the patch that puts it back | the scene that finds it | storm, engine | storm, actors |
|---|---|---|---|---:|---:|
"""


def page() -> str:
    return HEADER + "".join(map(_line, EXHIBITS))


def _line(one: Exhibit) -> str:
    doc = " ".join((one.patch.__doc__ or "").split())
    cells = [
        one.number,
        one.complaint,
        f"`{one.name}`: {doc}",
        f"`{one.found_by}`",
        *(f"{seeds:,}" if seeds else "–" for seeds in (one.engine, one.actors)),
    ]
    return f"| {' | '.join(cells)} |\n"
