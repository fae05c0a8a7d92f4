"""`python -m web.clips --render`: speak the default lines anew into `lines/`, after they or the voice changed."""

from __future__ import annotations

import argparse
import ctypes
from pathlib import Path

from engine.audio import duration_ms
from web.clips.shipped import FOLDER, rendered, ship

M_MMAP_THRESHOLD, FRESH_BYTES = -3, 65_536


def fresh_memory() -> None:
    """Let the C library take each large block of memory from the system, which hands it out as zeros.

    The voice reads memory that it never wrote: with what earlier allocations left there (measured: of Python's, too),
    the same text comes out otherwise from one run to the next. Other C libraries than glibc do so unasked.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, FRESH_BYTES)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m web.clips", description="The lines that come with Callscope.")
    parser.add_argument("--render", action="store_true", required=True, help="speak them anew")
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, help="emptied and filled; else the package's")
    folder = parser.parse_args().folder
    fresh_memory()
    clips = rendered()
    ship(clips, folder)
    for text, mulaw in clips.items():
        print(f"{duration_ms(mulaw):6.0f} ms  {text}")


if __name__ == "__main__":
    main()
