"""What a live session costs beside its state row: `python -m benchmarks.session_memory`.

In this process and without a server, so that nothing else is counted: opens sessions, steps each once, and compares
the memory of the process with what it was before. Each number of sessions in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import islice

import numpy as np

from benchmarks import models
from benchmarks.processes import resident_bytes
from benchmarks.table import print_table
from service.metrics import Metrics
from service.models.device import Device
from service.models.repository import Repository
from service.sessions.ownership import EVERYONES
from service.sessions.service import OpenSession, Service, ServiceLimits
from service.sessions.session import Session
from service.sessions.store import StoreLimits
from service.tasks.forecast import observe

COLUMNS = ("sessions", "rows in memory", "bytes each", "beside the row", "times the row", "open µs", "collection ms")
_TOGETHER = 256
_DAY = 86400.0


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.session_memory", description=__doc__)
    parser.add_argument("--sessions", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--resident", type=int, help="rows in memory; as many as sessions if left out")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.here:
        print(json.dumps(asyncio.run(_measured(chosen.sessions[0], chosen.resident))))
        return
    rows = [_measured_alone(count, chosen.resident or count) for count in chosen.sessions]
    print_table("Memory of a live session, LSTM-128", COLUMNS, rows)


def _measured_alone(sessions: int, resident: int) -> list[str]:
    """The same as `_measured`, in a new process: one does not give back all memory that it took before."""
    command = [sys.executable, "-m", "benchmarks.session_memory", "--here"]
    command += ["--sessions", str(sessions), "--resident", str(resident)]
    return list(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


async def _measured(count: int, resident: int) -> list[str]:
    async with _running(count, resident) as service:
        await _warm_up(service)
        before = resident_bytes(os.getpid())
        started = time.perf_counter()
        for _ in range(count):
            await service.open(OpenSession(models.FORECASTER, owner=None))
        opening = (time.perf_counter() - started) / count
        for together in _groups(service):
            await _step(together)
        row = together[0].engine.table.row_bytes
        gc.collect()
        each = (resident_bytes(os.getpid()) - before) / count
        started = time.perf_counter()
        gc.collect()
        collection = time.perf_counter() - started
        figures = (f"{each:.0f}", f"{each - row:.0f}", f"{each / row:.3f}")
        return [f"{count:,}", f"{resident:,}", *figures, f"{opening * 1e6:.1f}", f"{collection * 1e3:.0f}"]


@asynccontextmanager
async def _running(sessions: int, resident: int) -> AsyncIterator[Service]:
    limits = ServiceLimits(StoreLimits(sessions + _TOGETHER, _DAY, _DAY), resident, 2 * _TOGETHER)
    service = Service(Repository(models.repository(), Device("cpu")), Metrics(), limits)
    await service.start()
    try:
        yield service
    finally:
        await service.stop(grace_s=5)


async def _warm_up(service: Service) -> None:
    await _step([await service.open(OpenSession(models.FORECASTER, owner=None)) for _ in range(_TOGETHER)])
    await service.store.close_many(EVERYONES, lambda session: True)
    gc.collect()


async def _step(sessions: list[Session]) -> None:
    """One step of each, all at once."""
    one = np.ones(1, np.float32)
    covariates = {name: one for name in models.COVARIATES}
    await asyncio.gather(*(observe(session, one, covariates=covariates) for session in sessions))


def _groups(service: Service) -> Iterator[list[Session]]:
    """All sessions, some hundred at a time."""
    live = service.store.live
    last: str | None = None
    while keys := list(islice(live.listing.after(last, None), _TOGETHER)):
        yield [live[key] for key in keys]
        last = keys[-1]


if __name__ == "__main__":
    main()
