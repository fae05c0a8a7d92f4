"""For all tests: logs without tracebacks of locals, quiet unless something is wrong."""

from __future__ import annotations

import logging

from web.logs import set_up_logs

pytest_plugins = ["tests.edges"]

set_up_logs(level=logging.ERROR)
