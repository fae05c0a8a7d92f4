"""The command line as an operator meets it: real processes, real answers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import trio

from actors.journal_reader import list_calls
from actors.twilio_rest import TwilioRest
from engine.agent import CallerStep
from tests.stories.conftest import StackOpener
from web.stack import NUMBER

ROOT = Path(__file__).parents[2]
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("VAPI", "TWILIO", "PUBLIC"))}
GIVEN = {
    "TWILIO_ACCOUNT_SID": "AC" + "1" * 32,
    "TWILIO_AUTH_TOKEN": "a token of Twilio's",
    "VAPI_API_KEY": "a key of Vapi's",
    "VAPI_SERVER_SECRET": "a secret",
    "PUBLIC_URL": "https://calls.example.com",
}


async def command(*arguments: str, env: dict[str, str] | None = None, cwd: Path = ROOT) -> tuple[int, str]:
    """Run a callscope command; its exit status and all that it printed."""
    done = await trio.run_process(
        [sys.executable, "-m", "web", *arguments],
        capture_stdout=True,
        stderr=subprocess.STDOUT,
        check=False,
        env={**CLEAN, "PYTHONPATH": str(ROOT), **(env or {})},
        cwd=cwd,
    )
    return done.returncode, done.stdout.decode()


async def test_serve_names_all_that_is_missing(tmp_path: Path) -> None:
    """Started with nothing, it says which variables it needs and where each comes from, in one go."""
    status, told = await command("serve", cwd=tmp_path)
    assert status == 2
    for name in ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "VAPI_API_KEY", "VAPI_SERVER_SECRET", "PUBLIC_URL"):
        assert f"{name} is not set: " in told
    assert "console.twilio.com" in told and "Traceback" not in told


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"PUBLIC_URL": "http://calls.example.com"}, "must be https"),
        ({"PUBLIC_URL": "calls.example.com"}, "is not an address"),
        ({"PORT": "eighty"}, "PORT is not a number"),
        ({"VAPI_BASE_URL": "ftp://x"}, "VAPI_BASE_URL is not an http(s) address"),
    ],
)
async def test_serve_says_what_is_wrong(tmp_path: Path, wrong: dict[str, str], says: str) -> None:
    """A wrong setting is named with the way to put it right."""
    status, told = await command("serve", env={**GIVEN, **wrong}, cwd=tmp_path)
    assert status == 2 and says in told and "Traceback" not in told


async def test_serve_on_a_port_that_is_taken(tmp_path: Path) -> None:
    """It says so, and how to choose another."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, told = await command("serve", "--host", "127.0.0.1", "--port", port, env=GIVEN, cwd=tmp_path)
    assert status != 0 and "cannot listen" in told and "--port" in told and "Traceback" not in told


async def test_an_agent_file_with_a_mistake(tmp_path: Path) -> None:
    """`check` names the place; the example passes."""
    path = tmp_path / "agent.yaml"
    path.write_text("name: x\nassistant_id: a\nturns: {debounce: 5}\n", encoding="utf-8")
    status, told = await command("check", str(path))
    assert status == 2 and "debounce" in told and "$.turns" in told
    assert (await command("check"))[0] == 0


async def test_a_picture_that_is_not_the_code(tmp_path: Path) -> None:
    """`diagram --check` fails and names the edge; a fresh one passes; pictures are drawn offline."""
    path = tmp_path / "call.mmd"
    assert (await command("diagram", str(path), "--svg", "--png"))[0] == 0
    assert path.with_suffix(".svg").read_text(encoding="utf-8").startswith("<svg")
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert (await command("diagram", str(path), "--check"))[0] == 0
    changed = path.read_text(encoding="utf-8").replace(
        "speaking --> interrupted: CallerSpoke, ", "speaking --> ended: X, "
    )
    path.write_text(changed, encoding="utf-8")
    status, told = await command("diagram", str(path), "--check")
    assert status == 1 and "only in the code: speaking → interrupted on CallerSpoke" in told
    assert "only in the picture: speaking → ended on X" in told


async def test_help_reads_well() -> None:
    """Every command is named with a sentence."""
    status, told = await command("--help")
    assert status == 0
    for name in ("demo", "serve", "call", "calls", "check", "diagram", "twin"):
        assert name in told


async def test_call_without_a_demo(tmp_path: Path) -> None:
    """It says how to start one."""
    status, told = await command("call", "hello", "--data", str(tmp_path))
    assert status == 2 and "./dev run" in told


@pytest.mark.slow
async def test_phoning_the_running_demo(stack: StackOpener) -> None:
    """`callscope call` speaks a text and prints what the caller heard."""
    async with stack() as opened:
        status, told = await command("call", "What time do you open", "--data", str(opened.data))
        assert status == 0, told
        assert "we are open every day from noon until midnight" in told
        status, told = await command("calls", "show", "last", "--data", str(opened.data))
        assert status == 0 and "what time do you open" in told


@pytest.mark.slow
async def test_the_asgi_app_under_plain_hypercorn(stack: StackOpener, tmp_path: Path) -> None:
    """`hypercorn -k trio web.asgi:app` carries a call too, media and all, and its log says that this is slower."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    async with stack() as opened:
        environ = Path(f"/proc/{opened.service.process.pid}/environ").read_bytes().split(b"\0")
        env = dict(item.decode().split("=", 1) for item in environ if b"=" in item)
        env |= {"PUBLIC_URL": url, "CALLSCOPE_DATA": str(tmp_path / "asgi"), "PYTHONPATH": str(ROOT)}
        env.pop("CALLSCOPE_PARENT")
        log = tmp_path / "hypercorn.log"
        with log.open("wb") as output:
            server = await trio.lowlevel.open_process(
                [sys.executable, "-m", "hypercorn", "-k", "trio", "-b", f"127.0.0.1:{port}", "web.asgi:app"],
                env=env,
                stdout=output,
                stderr=output,
            )
            try:
                with trio.fail_after(30):
                    while not await _is_ready(url):
                        await trio.sleep(0.1)
                rest = TwilioRest(
                    opened.http,
                    account_sid=opened.account_sid,
                    auth_token=opened.auth_token,
                    base_url=opened.twilio.url,
                )
                await rest.point_number(NUMBER, voice_url=f"{url}/webhook/twilio")
                script = [
                    CallerStep(say="What time do you open"),
                    CallerStep(say="Goodbye."),
                    CallerStep(wait_for_end=True),
                ]
                known = await opened.wait_call(await opened.place_call(script))
                assert (known["ended_by"], known["errors"]) == ("server", [])
            finally:
                server.terminate()
                with trio.move_on_after(10):
                    await server.wait()
                server.kill()
                await server.wait()
        (row,) = list_calls(tmp_path / "asgi" / "journal.sqlite3")
        assert row.outcome == "completed"
        assert "media comes in over ASGI" in log.read_text(encoding="utf-8")


async def _is_ready(url: str) -> bool:
    try:
        async with httpx.AsyncClient() as http:
            return (await http.get(f"{url}/ready")).status_code == 200
    except httpx.TransportError:
        return False
