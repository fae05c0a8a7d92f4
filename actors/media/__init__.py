"""The media plane: every websocket that carries audio, in one task. See `plane.py`."""

from actors.media.handshake import DialFailed
from actors.media.plane import MediaPlane
from actors.media.statistics import PlaneStatistics

__all__ = ["DialFailed", "MediaPlane", "PlaneStatistics"]
