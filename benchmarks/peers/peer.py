"""One peer: how it is installed, started, spoken to and ended."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.free_port import free_port
from benchmarks.peers.environment import PeerUnavailable, environment
from benchmarks.plain_http import send
from benchmarks.processes import tree
from benchmarks.routes import Route, Server

APPS = Path(__file__).parent / "apps"
_START_SECONDS = 120


@dataclass(frozen=True)
class Launch:
    """How a peer's process is started."""

    command: Sequence[str]
    variables: dict[str, str]


@dataclass(frozen=True)
class PeerProcess:
    """A peer that takes requests."""

    address: str
    process_id: int


@dataclass(frozen=True)
class Peer:
    """A server other than ours.

    Args:
        key: its name on the command line and of its environment.
        packages: what pip installs for it, exact versions.
        without_dependencies: what pip installs beside them, without asking what that depends on.
        launch: (its environment, an empty folder, a free port) → how to start it.
        routes: how it is asked, by name.
    """

    key: str
    name: str
    packages: Sequence[str]
    launch: Callable[[Path, Path, int], Launch]
    routes: Sequence[Route]
    without_dependencies: Sequence[str] = ()

    @contextmanager
    def running(self) -> Iterator[Server]:
        """A server that takes requests; its process and descendants are killed at the end.

        Raises:
            PeerUnavailable: it cannot be installed or does not start.
        """
        packages = environment(self.key, self.packages, self.without_dependencies)
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            port = free_port()
            launch = self.launch(packages, Path(folder), port)
            log = Path(folder) / "log.txt"
            with log.open("wb") as output:
                process = subprocess.Popen(
                    launch.command,
                    cwd=folder,
                    env=os.environ | launch.variables,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            server = PeerProcess(f"127.0.0.1:{port}", process.pid)
            try:
                self._wait(process, server.address, log)
                yield server
            finally:
                kill_tree(process)

    def _wait(self, process: subprocess.Popen[bytes], address: str, log: Path) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                send(address, self.routes[0].prepare(address, 1)[0])
                return
            except (OSError, RuntimeError) as error:
                if process.poll() is not None or time.monotonic() > deadline:
                    told = log.read_text(errors="replace").strip()[-2000:]
                    raise PeerUnavailable(f"it did not start: {error}\n{told}") from error
                time.sleep(0.2)


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """End a process and its descendants at once: some take half a minute to stop with sequences open."""
    for member in reversed(tree(process.pid)):
        try:
            os.kill(member, signal.SIGKILL)
        except ProcessLookupError:
            pass
    process.wait()
