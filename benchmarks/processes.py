"""How busy processes and the machine are, from /proc: who is saturated, the server or the one who measures it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_IDLE = slice(3, 5)  # idle, and waiting for disks


@dataclass
class Usage:
    """Cores kept busy over a stretch of time: by a process tree, by its busiest thread, and by everybody."""

    cores: float = 0.0
    busiest_thread: float = 0.0
    machine: float = 0.0


@contextmanager
def watched(root: int) -> Iterator[Usage]:
    """The usage of a process and its descendants while the block runs, filled in at its end."""
    usage, before, machine, started = Usage(), _thread_ticks(root), _machine_ticks(), time.perf_counter()
    yield usage
    elapsed = (time.perf_counter() - started) * _TICKS
    spent = [(ticks - before.get(thread, 0)) / elapsed for thread, ticks in _thread_ticks(root).items()]
    usage.cores, usage.busiest_thread = sum(spent), max(spent, default=0.0)
    usage.machine = (_machine_ticks() - machine) / elapsed


def resident_bytes(root: int) -> int:
    """Memory of a process and its descendants; pages shared between them count in each."""
    page = os.sysconf("SC_PAGE_SIZE")
    fields = [_read(f"/proc/{process}/statm").split() for process in tree(root)]
    return sum(int(found[1]) * page for found in fields if found)


def tree(root: int) -> list[int]:
    """A process and all its descendants."""
    children: dict[int, list[int]] = {}
    for process in _numbers("/proc"):
        if fields := _fields_after_name(f"/proc/{process}/stat"):
            children.setdefault(int(fields[1]), []).append(process)
    found: list[int] = []
    waiting = [root]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def _thread_ticks(root: int) -> dict[int, int]:
    ticks: dict[int, int] = {}
    for process in tree(root):
        for thread in _numbers(f"/proc/{process}/task"):
            if fields := _fields_after_name(f"/proc/{process}/task/{thread}/stat"):
                ticks[thread] = int(fields[11]) + int(fields[12])  # in the process and in the kernel
    return ticks


def _machine_ticks() -> int:
    ticks = [int(field) for field in _read("/proc/stat").splitlines()[0].split()[1:9]]
    return sum(ticks) - sum(ticks[_IDLE])


def _fields_after_name(path: str) -> list[str]:
    """The fields of a stat file after the command's name, which may hold blanks; none if the process has ended."""
    return _read(path).rpartition(")")[2].split()


def _numbers(folder: str) -> list[int]:
    try:
        return [int(name) for name in os.listdir(folder) if name.isdigit()]
    except FileNotFoundError:
        return []


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
