"""What `callscope new` makes: the templates, and the writing of them."""

from web.scaffold.make import make_agent

__all__ = ["make_agent"]
