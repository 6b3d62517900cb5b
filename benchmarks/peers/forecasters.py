"""GluonTS and NeuralForecast in an environment and a process of their own, asked for the times of forecasts."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers.environment import PeerUnavailable, environment, python
from benchmarks.peers.peer import APPS

PACKAGES = ("gluonts[torch]==0.17.0", "neuralforecast==3.3.0", "torch==2.13.0")
NAMES = {
    "gluonts": "GluonTS DeepAR, predict",
    "neuralforecast": "NeuralForecast DeepAR, predict",
    "neuralforecast-direct": "NeuralForecast LSTM with quantiles, predict (no paths)",
}


class Forecasters:
    """The running process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def times(self, name: str, count: int) -> list[float]:
        """Seconds of so many forecasts, one after another."""
        assert self.process.stdin is not None
        print(name, count, file=self.process.stdin, flush=True)
        found: list[float] = json.loads(self._line())
        return found

    def wait_until_ready(self) -> None:
        while self._line().strip() != "ready":  # libraries print as they train
            pass

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise PeerUnavailable(f"the forecasters ended with status {self.process.wait()}")
        return line


@contextmanager
def running_forecasters(data: Path, hidden: int, layers: int) -> Iterator[Forecasters]:
    """Networks of this size, trained for a moment on a file in long format.

    Raises:
        PeerUnavailable: the packages cannot be installed, or the process ended.
    """
    folder = environment("forecasters", PACKAGES)
    process = subprocess.Popen(
        # -P: beside the script lies a folder `triton`, which torch would take for the package.
        [python(folder), "-P", str(APPS / "forecasters.py"), str(data), str(hidden), str(layers)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=data.parent,  # checkpoints are left there
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    try:
        forecasters = Forecasters(process)
        forecasters.wait_until_ready()
        yield forecasters
    finally:
        process.terminate()
        process.communicate(timeout=60)
