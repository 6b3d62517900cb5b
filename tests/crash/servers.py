"""Server processes that are killed and started again on the same port."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import httpx

from benchmarks.free_port import free_port

ROOT = Path(__file__).parents[2]
_START_SECONDS = 60.0


class KilledServer:
    """One replica: a process of `python -m service`."""

    def __init__(self, models: Path, journal: str, log: Path) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self._command = [sys.executable, "-m", "service", "--models", str(models), "--journal", journal]
        self._command += ["--port", self.address.rpartition(":")[2], "--grpc-port", "-1", "--device", "cpu"]
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start a process; it may take requests in a moment."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, cwd=ROOT, stdout=log, stderr=log)

    async def until_ready(self) -> None:
        """Wait until it takes requests."""
        async with asyncio.timeout(_START_SECONDS), httpx.AsyncClient() as client:
            while True:
                try:
                    if (await client.get(f"http://{self.address}/health/ready")).status_code == 200:
                        return
                except httpx.HTTPError:
                    pass  # not yet
                await asyncio.sleep(0.02)

    def kill(self) -> None:
        """End the process as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> int:
        """Ask the process to stop, and return its exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(60)
