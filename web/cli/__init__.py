"""The command line. Each command's module is imported only when it is run, so that `--help` is quick."""

from __future__ import annotations

import sys

from cyclopts import App

from engine.errors import BadSettings

app = App(
    name="callscope",
    help="An engine for phone agents: Twilio carries the call, Vapi is the voice AI, Callscope owns the call.",
    version="0.1.0",
    result_action="return_value",
)
app.command("web.cli.demo:demo", name="demo", help="A whole phone call on this machine: no account, key or network.")
app.command(
    "web.cli.serve:serve", name="serve", help="Serve real calls, with Twilio and Vapi unless base URLs say otherwise."
)
app.command("web.cli.call:call", name="call", help="Phone the running demo: speaks your text, prints what was heard.")
app.command("web.cli.dial:dial", name="dial", help="Let the running service call somebody; print how it went.")
app.command("web.cli.calls:app", name="calls", help="The calls that were: list them, read one with milliseconds.")
app.command("web.cli.watch:watch", name="watch", help="Watch live calls, or one call's lanes, in the terminal.")
app.command("web.cli.new:new", name="new", help="Make a new agent: a folder with a tool and a passing scenario.")
app.command("web.cli.check:check", name="check", help="Check an agent file, or a TwiML document; say what is unwise.")
app.command("web.cli.test:test", name="test", help="Play scenario files in virtual time; say what went differently.")
app.command("web.cli.diagram:diagram", name="diagram", help="The state diagram, from the code; --check compares.")
app.command(
    "web.cli.replay:replay_calls", name="replay", help="A call again, from its journal: the same, or what differs."
)
app.command(
    "web.cli.storm:storm", name="storm", help="Random calls under random faults; one integer replays what went wrong."
)
app.command("web.cli.bench:app", name="bench", help="How fast this is on this machine, peers in the same run.")
app.command("web.cli.twin:app", name="twin", help="Stand-ins for Twilio and Vapi, each a process of its own.")


def main() -> None:
    """The `callscope` command. A setting that is wrong is one clear message and exit status 2, never a traceback."""
    try:
        app()
    except BadSettings as problem:
        print(f"callscope: {problem}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
