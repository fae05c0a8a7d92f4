"""A strict stand-in for Vapi: REST, websocket transport, webhooks, live control (reference/vapi.md; DESIGN §7)."""

from web.twins.vapi.dials import Dials
from web.twins.vapi.server import serve_twin, webhook_client
from web.twins.vapi.settings import Speech, TwinSettings
from web.twins.vapi.twin import VapiTwin

__all__ = ["Dials", "Speech", "TwinSettings", "VapiTwin", "serve_twin", "webhook_client"]
