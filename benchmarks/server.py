"""A real server process, on a free port, for measurements and for the tests that need a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class ServerProcess:
    """A server that takes requests: its address `host:port`, its process, and its address for gRPC if that is on."""

    address: str
    process: subprocess.Popen[str]
    grpc_address: str | None = None

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def process_id(self) -> int:
        return self.process.pid


@contextmanager
def running_server(
    models: Path = ROOT / "models",
    *flags: str,
    python: str | Path = sys.executable,
    stderr: IO[bytes] | None = None,
) -> Iterator[ServerProcess]:
    """Start `python -m service` with these flags, wait until it takes requests, and stop it at the end.

    Args:
        stderr: where it logs; where this process does, if None.
    """
    command = [str(python), "-m", "service", "--port", "0", "--models", str(models)]
    command += ["--grpc-port", "-1", "--log-level", "warning", "--journal", "memory:", *flags]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr, text=True)
    try:
        greeting = _greeting(process)
        over_grpc = greeting.partition(" over gRPC at ")[2].split()
        yield ServerProcess(greeting.split(" at http://")[1].split()[0], process, over_grpc[0] if over_grpc else None)
    finally:
        process.terminate()
        process.communicate(timeout=60)


def _greeting(process: subprocess.Popen[str]) -> str:
    """What the server prints once it takes requests: `Unroll serves … at http://host:port and over gRPC at … (…`."""
    assert process.stdout is not None
    for line in process.stdout:
        if " at http://" in line:
            return line
    raise RuntimeError(f"the server ended with status {process.wait()} before it took requests")
