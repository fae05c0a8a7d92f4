"""Autobahn's 301 cases without compression, against the plane as server and as client, over real sockets.

`python -m tests.conformance` runs the same and writes reports. All cases are run here too, the big ones of 9.* as well:
a run takes about three seconds.
"""

from __future__ import annotations

import pytest

from actors.media.session import MAX_FRAGMENTS
from tests.conformance.peers import Role, run_cases
from tests.conformance.report import Run, failures_of

CASES = 301

NON_STRICT = {"6.4.3", "6.4.4"}
"""A wrong byte in a frame that is still on its way: we see it when the frame is whole, Autobahn likes it at once."""

INFORMATIONAL = {"7.1.6", "7.13.1", "7.13.2"}
"""What RFC 6455 leaves open: what is said just before a close, and close codes 5000 and 65535."""


@pytest.mark.parametrize("in_place", [True, False], ids=["in_place", "library"])
@pytest.mark.parametrize("role", ["server", "client"])
async def test_all_cases_pass(role: Role, in_place: bool) -> None:
    """No case fails, and none is passed less well than it was."""
    verdicts = await run_cases(role, in_place=in_place)
    assert failures_of([Run(role, in_place, verdicts, 0)]) == ""
    assert len({verdict.case for verdict in verdicts}) == CASES
    assert {verdict.case for verdict in verdicts if verdict.behavior == "NON-STRICT"} <= NON_STRICT
    assert {verdict.case for verdict in verdicts if verdict.behavior == "INFORMATIONAL"} <= INFORMATIONAL


@pytest.mark.parametrize("role", ["server", "client"])
async def test_a_failure_is_seen(role: Role) -> None:
    """With the fragments that production allows, case 9.3.1 must fail: so the judge does judge."""
    verdicts = await run_cases(role, cases=["9.3.1", "1.1.1"], max_fragments=MAX_FRAGMENTS)
    assert {verdict.case: verdict.passed for verdict in verdicts} == {"1.1.1": True, "9.3.1": False}
    assert "9.3.1: FAILED" in failures_of([Run(role, True, verdicts, 0)])
