"""What came of scenarios, for machines: JUnit's XML, as CI systems read it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

from actors.scenario import Outcome
from web.scenario_report import as_text

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_junit(
    path: Path, outcomes: Sequence[tuple[Path, Outcome]], faults: Mapping[Path, str], *, took_s: float
) -> None:
    """Write one suite: a test case for each scenario, an error for each file that could not be read."""
    failed = sum(not outcome.ok for _, outcome in outcomes)
    suite = Element(
        "testsuite",
        name="callscope",
        tests=str(len(outcomes) + len(faults)),
        failures=str(failed),
        errors=str(len(faults)),
        time=f"{took_s:.3f}",
    )
    for file, outcome in outcomes:
        case = _case(suite, outcome.scenario.scenario, file, outcome.took_s)
        if outcome.ok:
            continue
        first = outcome.trouble or "; ".join(f"{one.expected}: {one.happened}" for one in outcome.failures)
        SubElement(case, "failure", message=_fit(first.splitlines()[0])).text = _fit(as_text(file, outcome))
    for file, fault in faults.items():
        case = _case(suite, file.name, file, 0.0)
        SubElement(case, "error", message=_fit(fault.splitlines()[0])).text = _fit(fault)
    tree = ElementTree(suite)
    indent(tree)
    path.parent.mkdir(parents=True, exist_ok=True)
    tree.write(path, encoding="utf-8", xml_declaration=True)


def _case(suite: Element, name: str, file: Path, took_s: float) -> Element:
    return SubElement(suite, "testcase", classname=str(file), name=_fit(name), time=f"{took_s:.3f}")


def _fit(text: str) -> str:
    return _NOT_IN_XML.sub("�", text)
