"""Tools of a phone agent. What an agent's own Python file needs is imported from here."""

from actors.tools.port import BadArguments, Caller, CallOrders, Tool, ToolContext, ToolProblem
from actors.tools.runner import Outcome, ToolRunner
from actors.tools.toolbox import Toolbox
from actors.tools.typed import TypedTool, make_tool, tool
from actors.tools.words import as_words
from engine.tools import LONGEST_TOOL_S

__all__ = [
    "LONGEST_TOOL_S",
    "BadArguments",
    "CallOrders",
    "Caller",
    "Outcome",
    "Tool",
    "ToolContext",
    "ToolProblem",
    "ToolRunner",
    "Toolbox",
    "TypedTool",
    "as_words",
    "make_tool",
    "tool",
]
