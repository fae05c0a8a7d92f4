"""What came of scenarios, for machines: JUnit's XML, as CI systems read it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

from web.scenario_report import Told

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_junit(path: Path, all_told: Sequence[Told], *, took_s: float) -> None:
    """Write one suite: a test case for each scenario, an error for each file that could not be read."""
    suite = Element(
        "testsuite",
        name="callscope",
        tests=str(len(all_told)),
        failures=str(sum(not one.ok and not one.fault for one in all_told)),
        errors=str(sum(one.fault for one in all_told)),
        skipped=str(sum(not one.played for one in all_told)),
        time=f"{took_s:.3f}",
    )
    for one in all_told:
        case = SubElement(suite, "testcase", classname=str(one.path), name=_fit(one.name), time=f"{one.took_s:.3f}")
        if not one.played:
            SubElement(case, "skipped")
        elif not one.ok:
            kind = "error" if one.fault else "failure"
            SubElement(case, kind, message=_fit(one.why)).text = _fit(one.plain)
    tree = ElementTree(suite)
    indent(tree)
    path.parent.mkdir(parents=True, exist_ok=True)
    tree.write(path, encoding="utf-8", xml_declaration=True)


def _fit(text: str) -> str:
    return _NOT_IN_XML.sub("�", text)
