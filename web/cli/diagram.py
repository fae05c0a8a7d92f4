"""`callscope diagram`: the state diagram from the rules, as text and pictures, all offline."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from engine.diagram import differences, mermaid

_PICTURE = Path(__file__).parents[2] / "specs" / "diagrams" / "call.mmd"


def diagram(
    output: Path = _PICTURE,
    /,
    *,
    svg: bool = False,
    png: bool = False,
    check: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Write the call's state diagram, or compare it with the code.

    Parameters
    ----------
    output
        The Mermaid file; pictures go beside it.
    svg
        Also draw an SVG (offline, no browser).
    png
        Also draw a PNG.
    check
        Write nothing; exit 1 and name each edge that differs from the code.
    """
    code = mermaid()
    if check:
        told = _compare(code, output)
        if told:
            print(f"{output} is not what the code does; run `callscope diagram` and review it:", file=sys.stderr)
            for line in told:
                print(f"  {line}", file=sys.stderr)
            raise SystemExit(1)
        print(f"{output} is what the code does.")
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(code, encoding="utf-8")
    print(output)
    for wanted, kind in ((svg, "svg"), (png, "png")):
        if wanted:
            print(_draw(code, output.with_suffix(f".{kind}"), kind))


def _compare(code: str, path: Path) -> list[str]:
    try:
        return differences(code, path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ["the file is not there"]


def _draw(code: str, path: Path, kind: str) -> Path:
    from mermaid_render import convert  # noqa: PLC0415 — a JavaScript engine, 0.2 s: only when a picture is wanted

    convert(code, path, format=kind, title="Call")
    return path
