"""One whole websocket frame to bytes (RFC 6455 §5.2). No socket, no state beyond a pool of random masks."""

from __future__ import annotations

import os
import struct

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without the compiled wheel: right, only slower
    from websockets.utils import apply_mask

__all__ = ["BINARY", "FIN", "MASKED", "TEXT", "MaskPool", "apply_mask", "client_frame", "server_frame"]

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


def server_frame(opcode: int, payload: bytes) -> bytes:
    """An unfragmented, unmasked frame, as servers send."""
    size = len(payload)
    if size < 126:
        return bytes((FIN | opcode, size)) + payload
    if size < 65_536:
        return _SHORT(FIN | opcode, 126, size) + payload
    return _LONG(FIN | opcode, 127, size) + payload


def client_frame(opcode: int, payload: bytes, mask: bytes) -> bytes:
    """An unfragmented, masked frame, as clients send."""
    size = len(payload)
    if size < 126:
        head = bytes((FIN | opcode, MASKED | size))
    elif size < 65_536:
        head = _SHORT(FIN | opcode, MASKED | 126, size)
    else:
        head = _LONG(FIN | opcode, MASKED | 127, size)
    return head + mask + apply_mask(payload, mask)
