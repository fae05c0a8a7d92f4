"""Keys from a terminal, one by one, without Enter; the terminal is put back as it was."""

from __future__ import annotations

import os
import termios
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import trio

__all__ = ["keys_from", "raw_keys", "read_keys"]

_NAMES = {
    b"\x1b[A": "up", b"\x1b[B": "down", b"\x1bOA": "up", b"\x1bOB": "down", b"\r": "enter", b"\n": "enter",
    b"\x1b": "escape", b"\x7f": "escape", b"\x1b[D": "escape", b"\x1b[C": "enter", b"k": "up", b"j": "down",
    b"q": "quit",
}  # fmt: skip


@contextmanager
def raw_keys(fd: int) -> Iterator[None]:
    """Every key at once and unseen; Ctrl-C stays an interrupt."""
    before = termios.tcgetattr(fd)
    tty.setcbreak(fd)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


async def keys_from(fd: int) -> AsyncIterator[str]:
    """Names of the keys that mean something here; ends when the terminal is gone."""
    while True:
        await trio.lowlevel.wait_readable(fd)
        came = os.read(fd, 64)
        if not came:
            return
        for name in read_keys(came):
            yield name


def read_keys(came: bytes) -> Iterator[str]:
    """A terminal writes the bytes of one key in one go, and several keys when somebody holds one down."""
    while came:
        known = next((key for key in sorted(_NAMES, key=len, reverse=True) if came.startswith(key)), None)
        if known is None:
            came = came[1:]
            continue
        yield _NAMES[known]
        came = came[len(known) :]
