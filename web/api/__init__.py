"""The REST API and the event stream behind the console: `web.app` joins them to a running service."""

from web.api.access import Access
from web.api.handset import add_handset, handset_origin
from web.api.model import CallsModel
from web.api.orders import Orders, add_sibling_orders
from web.api.problems import add_problems
from web.api.recordings import Recordings
from web.api.routes import Api, add_api

__all__ = [
    "Access",
    "Api",
    "CallsModel",
    "Orders",
    "Recordings",
    "add_api",
    "add_handset",
    "add_problems",
    "add_sibling_orders",
    "handset_origin",
]
