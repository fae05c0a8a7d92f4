"""The API over real sockets: lists, one call, its recording, and clear problems for what cannot be answered."""

from __future__ import annotations

import io
import sqlite3
import wave
from pathlib import Path
from typing import Any

import httpx

from tests.web.api.journals import ASKED, BEGAN_S, GREETED, call_id_of, records_of, whole_call, write, write_recording
from tests.web.api.service import open_service

ONE = call_id_of(1)
FOREIGN = ("call-" + "9" * 26, "..%2f..%2fjournal.sqlite3", "call-1", "%00", "💥", "a" * 500, "last")


async def test_calls_and_one_call(tmp_path: Path) -> None:
    """The list, then the call whole, its lanes, its journal in pages, and its sound."""
    write(tmp_path, whole_call(1), records_of(2, GREETED, ASKED, began_s=BEGAN_S + 60))
    write_recording(tmp_path, 1)
    async with open_service(tmp_path) as service, service.client() as http:
        listed = service.validate(await http.get("/api/calls?limit=1"))
        assert [row["id"] for row in listed["calls"]] == [call_id_of(2)]
        rest = service.validate(await http.get("/api/calls", params={"cursor": listed["next"]}))
        assert [row["id"] for row in rest["calls"]] == [ONE] and rest["next"] is None

        whole = service.validate(await http.get(f"/api/calls/{ONE}"))
        assert (whole["state"], whole["interruptions"], len(whole["story"])) == ("ended", 1, 11)
        assert [row["state"] for row in whole["tools"]] == ["ok"]
        assert whole["recording"] == {
            "url": f"/api/calls/{ONE}/recording.wav", "duration_ms": 1000.0, "offset_ms": 10.0, "problem": None,
            "waveform_url": f"/api/calls/{ONE}/waveform",
        }  # fmt: skip
        lost = service.validate(await http.get(f"/api/calls/{call_id_of(2)}"))
        assert (lost["state"], lost["outcome"], lost["recording"]) == ("ended", "lost", None)
        drawn = service.validate(await http.get(f"/api/calls/{ONE}/lanes"))
        assert drawn["duration_ms"] == 9010.0

        seqs: list[int] = []
        after: int | None = -1
        while after is not None:
            page = service.validate(await http.get(f"/api/calls/{ONE}/records?limit=10&after={after}"))
            seqs += [record["seq"] for record in page["records"]]
            after = page["next"]
        assert seqs == list(range(len(whole_call(1))))

        waveform = service.validate(await http.get(f"/api/calls/{ONE}/waveform?points=50"))
        assert waveform["caller"] == [0.0] * 50 and waveform["heard"] == [0.5] * 50
        rules = service.validate(await http.get("/api/diagram"))
        cut = [edge for edge in rules["edges"] if (edge["from"], edge["event"]) == ("speaking", "CallerSpoke")]
        assert [(edge["to"], edge["effects"]) for edge in cut] == [("interrupted", ["Drop"])]
        assert rules["svg"].startswith("<svg")


async def test_a_recording_in_ranges(tmp_path: Path) -> None:
    """A player asks for parts; whatever it asks, the parts are those of the file."""
    write(tmp_path, whole_call(1))
    data = write_recording(tmp_path, 1).read_bytes()
    url = f"/api/calls/{ONE}/recording.wav"
    async with open_service(tmp_path) as service, service.client() as http:
        whole = await http.get(url)
        assert (whole.status_code, whole.content) == (200, data)
        with wave.open(io.BytesIO(whole.content)) as sound:
            assert (sound.getnchannels(), sound.getframerate(), sound.getnframes()) == (2, 8000, 8000)
        for asked, first, last in (("0-0", 0, 0), ("44-143", 44, 143), ("32000-", 32000, 32043), ("-5", 32039, 32043),
                                   ("10-99999999", 10, 32043), ("-99999999", 0, 32043)):  # fmt: skip
            part = await http.get(url, headers={"Range": f"bytes={asked}"})
            assert (part.status_code, part.content) == (206, data[first : last + 1]), asked
            assert part.headers["content-range"] == f"bytes {first}-{last}/{len(data)}"
        for asked in ("99999999-", "5-4", "-0", "9" * 30 + "-"):
            refused = await http.get(url, headers={"Range": f"bytes={asked}"})
            assert (refused.status_code, refused.headers["content-range"]) == (416, f"bytes */{len(data)}"), asked
        for asked in ("lines=1-2", "bytes=0-1,5-6", "bytes=-", "x"):
            assert (await http.get(url, headers={"Range": asked})).content == data
        head = await http.head(url)
        assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(data)))


async def test_a_recording_that_is_gone(tmp_path: Path) -> None:
    """Deleted, or a link put in its place: a clear word, and the call is still there."""
    write(tmp_path, whole_call(1), whole_call(2))
    path = write_recording(tmp_path, 1)
    elsewhere = tmp_path / "elsewhere.wav"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    async with open_service(tmp_path) as service, service.client() as http:
        for n in (1, 2):
            for what in ("recording.wav", "waveform"):
                problem = service.validate(await http.get(f"/api/calls/{call_id_of(n)}/{what}"))
                assert problem["status"] == 410 and "deleted" in problem["detail"]
            assert service.validate(await http.get(f"/api/calls/{call_id_of(n)}"))["recording"] is None


async def test_unknown_calls(tmp_path: Path) -> None:
    """An id that is not one of ours is not found, whatever it looks like and whatever is asked of it."""
    write(tmp_path, whole_call(1))
    write_recording(tmp_path, 1)
    async with open_service(tmp_path) as service, service.client() as http:
        for call_id in FOREIGN:
            asked: list[httpx.Response] = [
                await http.get(f"/api/calls/{call_id}{what}")
                for what in ("", "/lanes", "/records", "/recording.wav", "/waveform")
            ]
            asked.append(await http.post(f"/api/calls/{call_id}/actions", json={"action": "mark"}))
            asked.append(await http.get("/api/events", params={"call": call_id}))
            for response in asked:
                assert response.status_code == 404, response.request.url
                assert response.headers["content-type"] == "application/problem+json"
                assert "GET /api/calls" in response.json()["detail"] or "openapi" in response.json()["detail"]


async def test_a_call_that_was_deleted_from_the_journal(tmp_path: Path) -> None:
    """It is not found, and leaves the list."""
    write(tmp_path, whole_call(1), whole_call(2))
    async with open_service(tmp_path) as service, service.client() as http:
        assert len((await http.get("/api/calls")).json()["calls"]) == 2
        with sqlite3.connect(tmp_path / "journal.sqlite3") as journal:
            journal.execute("DELETE FROM records WHERE call_id = ?", (ONE,))
            journal.execute("DELETE FROM calls WHERE call_id = ?", (ONE,))
        journal.close()
        assert (await http.get(f"/api/calls/{ONE}")).status_code == 404
        assert [row["id"] for row in (await http.get("/api/calls")).json()["calls"]] == [call_id_of(2)]


async def test_parameters_that_cannot_be(tmp_path: Path) -> None:
    """Each gets an answer that names it and says what would fit."""
    write(tmp_path, whole_call(1))
    wrong: list[tuple[str, dict[str, str]]] = [
        ("", {"state": "sleeping"}), ("", {"limit": "0"}), ("", {"limit": "many"}), ("", {"limit": "9" * 400}),
        ("", {"limit": "٣"}), ("", {"cursor": "!!"}), ("", {"cursor": "YWJj"}), ("", {"cursor": "é"}),
        ("", {"since": "yesterday"}), ("", {"until": "9" * 17}), ("", {"q": "x" * 201}),
        (f"/{ONE}/records", {"after": "-2"}), (f"/{ONE}/records", {"limit": "2001"}),
        (f"/{ONE}/waveform", {"points": "0"}), (f"/{ONE}/waveform", {"points": "1e3"}),
    ]  # fmt: skip
    async with open_service(tmp_path) as service, service.client() as http:
        for path, params in wrong:
            response = await http.get(f"/api/calls{path}", params=params)
            assert response.status_code == 400, params
            assert f"`{next(iter(params))}`" in service.validate(response)["detail"]
        for good in ("2023-11-14", "2023-11-14T08:00:00Z", "2023-11-14T09:00:00+01:00", "1699948800000"):
            listed = (await http.get("/api/calls", params={"since": good})).json()
            assert [row["id"] for row in listed["calls"]] == [ONE], good


async def test_bodies_that_do_not_fit(tmp_path: Path) -> None:
    """Not JSON, too large, of another shape: each has its own status, and the problem says what is wrong."""
    write(tmp_path, whole_call(1))
    url = f"/api/calls/{ONE}/actions"
    json_type = {"Content-Type": "application/json"}
    cases: list[tuple[int, dict[str, Any]]] = [
        (415, {"content": b"action=mark"}),
        (400, {"content": b"{", "headers": json_type}),
        (400, {"content": b"\xff", "headers": json_type}),
        (413, {"content": b" " * 70_000, "headers": json_type}),
        (422, {"json": {"action": "fire"}}),
        (422, {"json": {"action": "say"}}),
        (422, {"json": {"action": "say", "text": "   "}}),
        (422, {"json": {"action": "mark", "text": "no"}}),
        (422, {"json": {"action": "mark", "more": 1}}),
        (422, {"json": ["mark"]}),
        (400, {"json": {"action": "mark"}, "headers": {"Idempotency-Key": "k" * 201}}),
    ]
    async with open_service(tmp_path) as service, service.client() as http:
        for status, given in cases:
            response = await http.post(url, **given)
            assert response.status_code == status, given
            assert service.validate(response)["detail"]
        for response in (await http.get("/api/nothing"), await http.delete("/api/calls"), await http.get("/api/")):
            assert response.headers["content-type"] == "application/problem+json"
            assert response.status_code in (404, 405)


async def test_marks_outlive_the_service(tmp_path: Path) -> None:
    """A call of last week is marked: its journal says who did it, and the next start still knows."""
    write(tmp_path, whole_call(1))
    for expected in (True, False):
        async with open_service(tmp_path) as service, service.client() as http:
            order = {"action": "mark" if expected else "unmark", "note": "listen again"}
            assert (await http.post(f"/api/calls/{ONE}/actions", json=order)).status_code == 202
            assert service.validate(await http.get(f"/api/calls/{ONE}"))["marked"] is expected
        async with open_service(tmp_path) as service, service.client() as http:
            whole = service.validate(await http.get(f"/api/calls/{ONE}"))
            assert whole["marked"] is expected
            assert whole["marks"][-1]["by"] == "local operator" and whole["marks"][-1]["note"] == "listen again"
            say = await http.post(f"/api/calls/{ONE}/actions", json={"action": "say", "text": "Hello"})
            assert service.validate(say)["detail"] == "Not done: the call is over."
