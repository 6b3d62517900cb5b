"""How long from starting `python -m service` until it is ready, with all bundled models?

Ready is when `/health/ready` answers 200. The first start of a round may still read files from the disk; the median
tells what one sees the second time.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path

from benchmarks.free_port import free_port
from benchmarks.server import ROOT
from benchmarks.table import print_table

INSTALLED = ROOT / ".venv" / "bin" / "python"
"""The environment that `make serve` makes; without it, the one that runs this."""


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks startup", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", type=Path, default=ROOT / "models")
    chosen = parser.parse_args(arguments)
    python = INSTALLED if INSTALLED.exists() else Path(sys.executable)
    seconds = [_seconds_until_ready(python, chosen.models) for _ in range(chosen.rounds)]
    models = sum(1 for _ in chosen.models.glob("*/*/manifest.json"))
    print_table(
        f"Start-up with {models} models of {chosen.models.name}/",
        ["", "median s", "first s", "slowest s"],
        [("until ready", *(f"{value:.2f}" for value in (statistics.median(seconds), seconds[0], max(seconds))))],
    )


def _seconds_until_ready(python: Path, models: Path) -> float:
    port = free_port()
    command = [str(python), "-m", "service", "--port", str(port), "--models", str(models), "--log-level", "warning"]
    command += ["--grpc-port", "0", "--journal", "memory:"]
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        while not _is_ready(port):
            if process.poll() is not None:
                raise RuntimeError(f"the server ended with status {process.returncode} before it was ready")
            time.sleep(0.005)
        return time.perf_counter() - started
    finally:
        process.terminate()
        process.wait(timeout=60)


def _is_ready(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
