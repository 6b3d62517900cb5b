"""From which batch size on is a step faster on the GPU than on one core of the CPU?

A step is what the engine does for it: rows gathered from the state table by slot, one run, outputs on the host, rows
scattered back. Two-layer LSTMs with random weights, 8 inputs and 24 outputs; float32 throughout, TF32 off. Where the
two meet decides `cuda_from_bytes`, the size of model from which `device=auto` takes CUDA.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.lstm_sizes import INPUTS, LAYERS, lstm, weight_bytes
from benchmarks.table import print_table, ratio
from service.engine.device_table import DeviceTable
from service.engine.tables import HostTable, Table
from service.models.device import Device, choose_device, why_cuda_cannot_load
from service.models.device_run import DeviceRuns
from service.models.graph import Graph
from service.models.graph_run import HostRuns

HIDDEN = (128, 256, 512, 1024)
BATCHES = (1, 4, 16, 64, 256)
SESSIONS = 1024
_WARM_UP = 3
Times = dict[tuple[int, int], float]
"""(hidden, batch) → microseconds of one step."""


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.1, help="of each model and batch size in a round")
    chosen = parser.parse_args(arguments)
    obstacle = why_cuda_cannot_load()
    devices = {"CPU": Device("cpu")}
    if obstacle is None:
        devices |= {"CUDA": choose_device("cuda"), "CUDA graphs": choose_device("cuda", cuda_graphs=True)}
    times = {name: _measured(device, chosen.rounds, chosen.seconds) for name, device in devices.items()}
    _print_times(times)
    if obstacle is None:
        _print_crossover(times["CPU"], times["CUDA"])
    else:
        print(f"CUDA was not measured: {obstacle}.\n")


def _measured(device: Device, rounds: int, seconds: float) -> Times:
    """Medians over the rounds."""
    times: Times = {}
    for hidden in HIDDEN:
        step = _Step(hidden, device)
        for batch in BATCHES:
            times[hidden, batch] = statistics.median(step.microseconds(batch, seconds) for _ in range(rounds))
    return times


class _Step:
    """One step of sessions whose rows lie in a table."""

    def __init__(self, hidden: int, device: Device) -> None:
        graph = Graph(*lstm(hidden), {}, device)
        width = 2 * LAYERS * hidden
        self._table: Table
        self._runs: HostRuns | DeviceRuns
        if device.name == "cpu":
            self._table, self._runs = HostTable(width, SESSIONS), HostRuns(graph)
        else:
            self._table = table = DeviceTable(width, SESSIONS, device)
            self._runs = DeviceRuns(graph, table.mover)
        self._table.put(np.arange(SESSIONS), np.zeros((SESSIONS, width), np.float32))

    def microseconds(self, batch: int, seconds: float) -> float:
        slots = np.random.default_rng(0).permutation(SESSIONS)[:batch]
        x = np.ones((batch, 1, INPUTS), np.float32)
        for _ in range(_WARM_UP):
            self._take(slots, x)
        count, started = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - started) < seconds:
            self._take(slots, x)
            count += 1
        return elapsed / count * 1e6

    def _take(self, slots: NDArray[np.intp], x: NDArray[np.float32]) -> None:
        run = self._runs.of(len(slots), 1)
        self._table.gather(slots, run)
        run.inputs["x"][:] = x
        run.run()
        self._table.scatter(slots, run)


def _print_times(times: dict[str, Times]) -> None:
    print_table(
        "One step, two-layer LSTM, state rows in a table: µs by batch size",
        ["model", "weights MiB", "", *(f"B={batch}" for batch in BATCHES)],
        [
            (f"LSTM-{hidden}", f"{weight_bytes(hidden) / 2**20:.1f}", name, *(f"{t[hidden, b]:,.0f}" for b in BATCHES))
            for hidden in HIDDEN
            for name, t in times.items()
        ],
    )


def _print_crossover(cpu: Times, cuda: Times) -> None:
    """Where CUDA overtakes, by model and, the other way round, by batch size."""
    rows = []
    for hidden in HIDDEN:
        faster = [batch for batch in BATCHES if cuda[hidden, batch] < cpu[hidden, batch]]
        gains = [ratio(cpu[hidden, batch] / cuda[hidden, batch]) for batch in BATCHES]
        rows.append((f"LSTM-{hidden}", *gains, faster[0] if faster else "none"))
    print_table("How many times as fast CUDA is", ["model", *(f"B={b}" for b in BATCHES), "faster from B="], rows)
    for batch in BATCHES:
        sizes = [weight_bytes(hidden) for hidden in HIDDEN if cuda[hidden, batch] < cpu[hidden, batch]]
        found = f"UNROLL_CUDA_FROM_BYTES={min(sizes)}" if sizes else "UNROLL_DEVICE=cpu"
        print(f"For about {batch} sessions at a time: {found}")


if __name__ == "__main__":
    main()
