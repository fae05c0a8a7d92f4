"""Where the REST side keeps its resources: assistants, phone numbers, credentials. In memory; a twin forgets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import trio

from web.twins.vapi.clock import epoch_ms, iso, new_id
from web.twins.vapi.problems import Problem

__all__ = ["CredentialShelf", "Shelf", "page"]

MOST_KEPT = 10_000


class Shelf:
    """Resources of one kind by id. With a lag, a fresh one is 404 everywhere for so many milliseconds."""

    def __init__(self, kind: str, org_id: str, lag_ms: Callable[[], float] = lambda: 0.0) -> None:
        self._kind, self._org_id, self._lag_ms = kind, org_id, lag_ms
        self._kept: dict[str, tuple[float, dict[str, Any]]] = {}

    def create(self, body: Mapping[str, Any], *, known_id: str | None = None, **more: Any) -> dict[str, Any]:
        if len(self._kept) >= MOST_KEPT:
            raise Problem(400, f"The twin keeps no more than {MOST_KEPT} of these.")
        now = iso(epoch_ms())
        head = {"id": known_id or new_id(), "orgId": self._org_id, "createdAt": now, "updatedAt": now}
        resource = {**head, **{name: entry for name, entry in body.items() if entry is not None}, **more}
        lag_s = 0.0 if known_id else self._lag_ms() / 1000
        self._kept[resource["id"]] = (trio.current_time() + lag_s, resource)
        return resource

    def find(self, one_id: str) -> dict[str, Any] | None:
        visible_at, resource = self._kept.get(one_id, (0.0, None))
        return resource if trio.current_time() >= visible_at else None

    def get(self, one_id: str) -> dict[str, Any]:
        """
        Raises:
            Problem: 404.
        """
        resource = self.find(one_id)
        if resource is None:
            raise Problem(404, f"{self._kind} not found.")
        return resource

    def change(self, one_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Nested objects are replaced whole (§2); null takes a property away."""
        resource = self.get(one_id)
        for name, entry in body.items():
            if entry is None:
                resource.pop(name, None)
            else:
                resource[name] = entry
        resource["updatedAt"] = iso(epoch_ms())
        return resource

    def delete(self, one_id: str) -> dict[str, Any]:
        resource = self.get(one_id)
        del self._kept[one_id]
        return resource

    def all(self) -> list[dict[str, Any]]:
        now = trio.current_time()
        return [resource for visible_at, resource in self._kept.values() if now >= visible_at]


class CredentialShelf(Shelf):
    """Fulfils `webhooks.Credentials`."""

    def plan(self, credential_id: str) -> Mapping[str, Any] | None:
        found = self.find(credential_id)
        return found["authenticationPlan"] if found else None


def page(
    resources: list[dict[str, Any]], query: Mapping[str, str], *, by: tuple[str, ...] = ()
) -> list[dict[str, Any]]:
    """A list answer: newest first, filtered by `createdAtGt` and the like and by equality of `by` (§2).

    Raises:
        Problem: a filter that there is not, or that does not read.
    """
    chosen = resources
    limit = 100
    for name, text in query.items():
        if name == "limit":
            if not text.isdecimal() or int(text) > 1000:
                raise Problem(400, ["limit must not be greater than 1000"])
            limit = int(text)
        elif name in by:
            chosen = [one for one in chosen if str(one.get(name)) == text]
        elif name[:-2] in ("createdAt", "updatedAt") and name[-2:] in _COMPARE:
            chosen = [one for one in chosen if _COMPARE[name[-2:]](_time(one[name[:-2]], name), _time(text, name))]
        else:
            raise Problem(400, [f"property {name} should not exist"])
    return sorted(chosen, key=lambda one: str(one["createdAt"]), reverse=True)[:limit]


_COMPARE: Mapping[str, Callable[[datetime, datetime], bool]] = {
    "Gt": lambda a, b: a > b,
    "Lt": lambda a, b: a < b,
    "Ge": lambda a, b: a >= b,
    "Le": lambda a, b: a <= b,
}


def _time(text: str, name: str) -> datetime:
    try:
        stamp = datetime.fromisoformat(text)
        return stamp if stamp.tzinfo else datetime.fromisoformat(f"{text}+00:00")
    except ValueError:
        raise Problem(400, [f"{name} must be a valid ISO 8601 date string"]) from None
