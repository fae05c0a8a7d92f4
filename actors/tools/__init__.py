"""Tools of a phone agent. What an agent's own Python file needs is imported from here."""

from actors.tools.port import BadArguments, Caller, CallOrders, Tool, ToolContext, ToolProblem
from actors.tools.typed import Toolbox, as_words, make_tool, tool
from engine.tools import LONGEST_TOOL_S

__all__ = [
    "LONGEST_TOOL_S",
    "BadArguments",
    "CallOrders",
    "Caller",
    "Tool",
    "ToolContext",
    "ToolProblem",
    "Toolbox",
    "as_words",
    "make_tool",
    "tool",
]
