"""A real server process, on a free port, for measurements and for the tests that need a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class ServerProcess:
    """A server that takes requests: its address `host:port`, and its process."""

    address: str
    process: subprocess.Popen[str]

    @property
    def url(self) -> str:
        return f"http://{self.address}"


@contextmanager
def running_server(
    models: Path = ROOT / "models", *flags: str, python: str | Path = sys.executable
) -> Iterator[ServerProcess]:
    """Start `python -m service` with these flags, wait until it takes requests, and stop it at the end."""
    command = [str(python), "-m", "service", "--port", "0", "--models", str(models), "--log-level", "warning", *flags]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        yield ServerProcess(_address(process), process)
    finally:
        process.terminate()
        process.communicate(timeout=60)


def _address(process: subprocess.Popen[str]) -> str:
    """From the server's greeting, which it prints once it takes requests: `Unroll serves … at http://host:port (…`."""
    assert process.stdout is not None
    for line in process.stdout:
        if " at http://" in line:
            return line.split(" at http://")[1].split()[0]
    raise RuntimeError(f"the server ended with status {process.wait()} before it took requests")
