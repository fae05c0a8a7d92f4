"""`./dev python -m tests.museum`: writes specs/museum.md. With `--storm` it first says how many seeds find each bug."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.museum.page import page
from tests.museum.storm import ACTOR_SEEDS, ENGINE_SEEDS, search

PAGE = Path(__file__).parents[2] / "specs" / "museum.md"


def main() -> None:
    if "--storm" in sys.argv:
        from tests.museum.exhibits import EXHIBITS  # noqa: PLC0415

        for exhibit in EXHIBITS:
            found = search(exhibit.patch, "engine", ENGINE_SEEDS), search(exhibit.patch, "actors", ACTOR_SEEDS)
            print(f"{exhibit.number:12} {exhibit.name:55} engine {found[0]}  actors {found[1]}", flush=True)
        return
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
