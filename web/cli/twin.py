"""`callscope twin twilio` and `callscope twin vapi`: the stand-ins, each a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from web.children import end_with_parent
from web.logs import set_up_logs
from web.twins.twilio.__main__ import main as twilio
from web.twins.vapi.__main__ import main as run_vapi

app = App(name="twin", help="Stand-ins for Twilio and Vapi: their wires, their rules, real speech, no account.")
app.command(twilio, name="twilio")


@app.command
def vapi(
    *,
    port: int = 8702,
    host: str = "127.0.0.1",
    api_key: str = "vapi-twin-key",
    agent: Path | None = None,
    data: Path | None = None,
    ears: int = 2,
    reload: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """A strict stand-in for Vapi: REST, websocket transport, webhooks, live control; ears, a scripted brain, a voice.

    Parameters
    ----------
    port
        The port to listen on; 0 takes a free one.
    host
        The address to listen on.
    api_key
        What clients send as their bearer token.
    agent
        An agent file; its `twin` part is what the assistant hears and says.
    data
        A folder for one JSON file per call; nowhere when left out.
    ears
        Recogniser processes.
    reload
        Follow changes of the agent file: calls that begin after one have the new script.
    """
    set_up_logs()
    end_with_parent()
    arguments = ["--host", host, "--port", str(port), "--api-key", api_key, "--ears", str(ears)]
    arguments += [] if agent is None else ["--agent", str(agent)]
    arguments += [] if data is None else ["--data", str(data)]
    arguments += ["--reload"] if reload else []
    raise SystemExit(run_vapi(arguments))
