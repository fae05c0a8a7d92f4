"""The console: the page that shows calls, its files, and the one-file export."""

from web.console.routes import add_console

__all__ = ["add_console"]
