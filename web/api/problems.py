"""What went wrong, for programs: `application/problem+json` (RFC 9457), whose `detail` says what to do."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import structlog
from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

__all__ = ["Problem", "ProblemDocument", "add_problems", "no_such_call"]

log = structlog.get_logger(__name__)

CONTENT_TYPE = "application/problem+json"
TITLES: Mapping[int, str] = {
    400: "Not understood",
    401: "Login needed",
    403: "Not allowed",
    404: "Not found",
    405: "No such method here",
    409: "Not now",
    410: "Gone",
    413: "Too large",
    415: "Not JSON",
    416: "Range not satisfiable",
    421: "Wrong address",
    422: "Does not fit",
    429: "Too many tries",
    500: "Our fault",
    503: "Not available now",
}
_DETAILS: Mapping[int, str] = {
    404: "There is nothing at this address. /openapi.json lists what there is.",
    405: "This address does not take that method. /openapi.json lists which it takes.",
    413: "The body is too large: 64 KiB are enough for everything that this API takes.",
    500: "Something broke in the service; its log says what. Try again, and report it if it stays.",
}


class ProblemDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of every answer that is not a success."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"


class Problem(Exception):
    """Raised by a route; becomes its answer.

    Args:
        detail: for the person who will read it: what is wrong and what to do. Never what a caller said or is called.
        kind: a short name that programs may rely on.
    """

    def __init__(self, status: int, detail: str, *, kind: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})
        self.type = f"urn:callscope:{kind}" if kind else "about:blank"


def no_such_call() -> Problem:
    """The one answer for every id that is not a call of ours, whatever it is otherwise."""
    return Problem(404, "There is no such call. GET /api/calls lists those that there are.", kind="unknown-call")


def problem_response(problem: Problem) -> Response:
    document = ProblemDocument(TITLES.get(problem.status, "Problem"), problem.status, problem.detail, problem.type)
    response = Response(msgspec.json.encode(document), problem.status, content_type=CONTENT_TYPE)
    response.headers["Cache-Control"] = "no-store"
    for name, value in problem.headers.items():
        response.headers[name] = value
    return response


def add_problems(app: QuartTrio) -> None:
    """Problems as answers; for the API's addresses also what the framework itself refuses, and what crashed."""

    @app.errorhandler(Problem)
    async def told(problem: Problem) -> Response:
        return problem_response(problem)

    @app.errorhandler(HTTPException)
    async def refused(error: HTTPException) -> Response | HTTPException:
        status = error.code or 500
        if not request.path.startswith("/api/") or status < 400:
            return error
        allowed = dict(error.get_headers()).get("Allow")
        return problem_response(
            Problem(
                status,
                _DETAILS.get(status, "The request cannot be answered as it is. /openapi.json describes what can."),
                headers={"Allow": allowed} if allowed else None,
            )
        )
