"""Is a text drawn faster by the loop inside the graph, or by one-step runs that leave the state on the device?

The `generate` graph of a bundled text model, 64 tokens for each of B sessions. On CUDA the engine takes one-step runs;
this is where to look whether that is right on a machine.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.table import print_table
from service.models.device import Device, choose_device, why_cuda_cannot_load
from service.models.device_rows import RowMover
from service.models.device_run import DeviceRuns
from service.models.model import Model

MODEL = Path("models/songci/1")
BATCHES = (1, 16, 64)
TOKENS = 64


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu_generate", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args(arguments).rounds
    obstacle = why_cuda_cannot_load()
    devices = [Device("cpu")] if obstacle is not None else [Device("cpu"), choose_device("cuda")]
    rows = []
    for device in devices:
        model = Model.load(MODEL, device)
        for name, chained in (("loop in the graph", False), ("one-step runs", True)):
            times = [_microseconds(model, batch, chained, rounds) for batch in BATCHES]
            rows.append((f"{device.name.upper()}, {name}", *(f"{us:,.0f}" for us in times)))
    print_table(f"{model.manifest.id}: µs for one token of all B sessions", ["", *(f"B={b}" for b in BATCHES)], rows)
    if obstacle is not None:
        print(f"CUDA was not measured: {obstacle}.\n")


def _microseconds(model: Model, batch: int, chained: bool, rounds: int) -> float:
    """The median over the rounds."""
    graph = model.graphs["generate"]
    run = DeviceRuns(graph, RowMover(graph.device), model.manifest.minimum_batch, chained=chained).of(batch, TOKENS)
    inputs = model.example_inputs("generate", batch, TOKENS)
    inputs["uniforms"] = np.random.default_rng(0).uniform(size=(batch, TOKENS)).astype(np.float32)
    times = []
    for _ in range(rounds + 1):
        run.set_rows(slice(None), inputs["state"])
        for name, values in run.inputs.items():
            values[:] = inputs[name]
        started = time.perf_counter()
        run.run()
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:]) / TOKENS * 1e6
