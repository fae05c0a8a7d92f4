"""For `hypercorn -k trio web.asgi:app`: the whole service as an ASGI app, settings from the environment.

For development and for hosts that insist on an ASGI server; `callscope serve` is quicker and drains properly.
`CALLSCOPE_AGENT` names the agent file.
"""

from __future__ import annotations

from pathlib import Path

from web.agents import example, load_agent
from web.app import create_asgi_app
from web.settings import environment, settings_from

_env = environment()
app = create_asgi_app(settings_from(_env), load_agent(Path(_env.get("CALLSCOPE_AGENT") or example())))
