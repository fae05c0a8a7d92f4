"""The API against whatever its own document allows and forbids: no crash, and no answer that is not described."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import schemathesis
import trio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.web.api.journals import GREETED, call_id_of, records_of, whole_call, write, write_recording
from tests.web.api.service import open_service

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 10  # of each operation and mode
ENDLESS = "getEvents"  # its answer does not end: test_events


@pytest.mark.slow
async def test_whatever_is_asked(tmp_path: Path) -> None:
    """Odd requests, good and bad, to every address: each gets an answer that the document describes."""
    write(tmp_path, whole_call(1), records_of(2, GREETED))
    write_recording(tmp_path, 1)
    async with open_service(tmp_path) as service:
        asked = await trio.to_thread.run_sync(fuzz, service.url, dict(service.document))
        async with service.client() as http:
            assert len((await http.get("/api/calls")).json()["calls"]) == 2, "and it is still there"
    assert asked > 10 * EXAMPLES


def fuzz(url: str, document: dict[str, Any]) -> int:
    """Blocks. Half of the requests are for a call that exists. Returns how many were made."""
    asked = 0
    schema = schemathesis.openapi.from_dict(document)
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        if operation.definition.raw["operationId"] == ENDLESS:
            continue
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @settings(
                max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: Any) -> None:
                nonlocal asked
                asked += 1
                if asked % 2 and case.path_parameters:
                    case.path_parameters["id"] = call_id_of(1)
                response = case.call(base_url=url, timeout=10)
                case.validate_response(response, checks=CHECKS)

            try:
                ask()
            except Unsatisfiable as nothing_to_negate:
                if mode is GenerationMode.POSITIVE:
                    raise AssertionError(operation.label) from nothing_to_negate
    return asked
