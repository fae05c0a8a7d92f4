"""What a process has cost so far, read from /proc: CPU seconds and resident memory, children included."""

from __future__ import annotations

import os
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def family(pid: int) -> list[int]:
    """The process and all that descend from it."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            children = (task / "children").read_text(encoding="ascii").split()
        except OSError:
            continue  # it ended just now
        for child in children:
            found += family(int(child))
    return found


def cpu_s(pid: int) -> float:
    """User and system time of the living family. A child that ended in between is missing: compare short windows."""
    total = 0.0
    for member in family(pid):
        try:
            fields = Path(f"/proc/{member}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        except OSError:
            continue
        total += (int(fields[11]) + int(fields[12])) * _TICK_S
    return total


def resident_bytes(pid: int) -> int:
    """Resident memory of the family, shared pages counted for each."""
    total = 0
    for member in family(pid):
        try:
            total += int(Path(f"/proc/{member}/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES
        except (OSError, IndexError):
            continue
    return total


def open_files(pid: int) -> int:
    """File descriptors of the family."""
    return sum(len(list(Path(f"/proc/{member}/fd").glob("*"))) for member in family(pid))


def pin(pid: int, cores: set[int]) -> None:
    """Keep all threads of the family on these cores."""
    for member in family(pid):
        for task in Path(f"/proc/{member}/task").glob("*"):
            try:
                os.sched_setaffinity(int(task.name), cores)
            except OSError:
                continue
