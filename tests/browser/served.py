"""`callscope serve` as a process on a port that stays the same, so that it can die and come back under an open page."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.web.doors import NOBODY, SECRET, TOKEN

START_S = 30.0
ENVIRONMENT = {
    "TWILIO_ACCOUNT_SID": "AC" + "1" * 32,
    "TWILIO_AUTH_TOKEN": TOKEN,
    "TWILIO_PHONE_NUMBER": "+12025550199",
    "TWILIO_BASE_URL": NOBODY,
    "VAPI_API_KEY": "key",
    "VAPI_SERVER_SECRET": SECRET,
    "VAPI_BASE_URL": NOBODY,
}


class Served:
    """The service over a folder of data that the tests write; no vendor answers it."""

    def __init__(self, data: Path, **env: str) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self.data, self._env = data, env
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Served:
        env = {**os.environ, **ENVIRONMENT, "PUBLIC_URL": self.url, "CALLSCOPE_DATA": str(self.data), **self._env}
        arguments = ["-m", "web", "serve", "--host", "127.0.0.1", "--port", str(self.port), "--drain", "0"]
        with (self.data / "service.log").open("ab") as log:
            self._process = subprocess.Popen([sys.executable, *arguments], env=env, stdout=subprocess.PIPE, stderr=log)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, (self.data / "service.log").read_text(encoding="utf-8")[-2000:]
        return self

    def kill(self) -> None:
        """As a crash would, in the middle of everything."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    @property
    def cpu_s(self) -> float:
        """Processor time so far."""
        assert self._process is not None
        fields = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait(START_S)
            assert process.stdout is not None
            process.stdout.close()


def ask(url: str, body: object = None) -> Any:
    """JSON from an address, for what a test wants to know beside the page."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 - our own loopback
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return json.load(answer)


def until(condition: Callable[[], Any], *, within_s: float = 20.0, every_s: float = 0.1) -> Any:
    """Wait for a process of its own; returns what the condition returned."""
    give_up_at = time.monotonic() + within_s
    while time.monotonic() < give_up_at:
        found = condition()
        if found:
            return found
        time.sleep(every_s)
    raise AssertionError(f"not within {within_s} s")


def row_of(answer: Mapping[str, Any], call_id: str) -> Any:
    return next((row for row in answer["calls"] if row["id"] == call_id), None)
