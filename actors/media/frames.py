"""One whole websocket frame to bytes (RFC 6455 §5.2). No socket, no state beyond a pool of random masks."""

from __future__ import annotations

import os
import struct

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without the compiled wheel: right, only slower
    from websockets.utils import apply_mask

__all__ = ["BINARY", "FIN", "MASKED", "TEXT", "MaskPool", "apply_mask", "frame_head"]

TEXT, BINARY = 0x1, 0x2
FIN, MASKED = 0x80, 0x80

_SHORT = struct.Struct("!BBH").pack
_LONG = struct.Struct("!BBQ").pack


class MaskPool:
    """Unpredictable 4-byte masks, taken from the kernel a thousand at a time: a system call a frame would cost more."""

    __slots__ = ("ready",)

    def __init__(self) -> None:
        self.ready: list[bytes] = []

    def take(self) -> bytes:
        if not self.ready:
            pool = os.urandom(4096)
            self.ready += [pool[at : at + 4] for at in range(0, len(pool), 4)]
        return self.ready.pop()


def frame_head(opcode: int, size: int, masked: int = 0) -> bytes:
    """The first bytes of an unfragmented frame, up to its mask: `masked` is `MASKED` for what clients send, else 0."""
    if size < 126:
        return bytes((FIN | opcode, masked | size))
    if size < 65_536:
        return _SHORT(FIN | opcode, masked | 126, size)
    return _LONG(FIN | opcode, masked | 127, size)
