"""Real Valkey or Redis servers for tests: started on free ports in folders of their own, paused, killed, restarted."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

PATIENCE_S = 20.0


def server_program() -> str:
    """Valkey's server or Redis's; skips the test where there is neither."""
    program = shutil.which("valkey-server") or shutil.which("redis-server")
    if program is None:
        pytest.skip("neither valkey-server nor redis-server is installed")
    return program


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class TestServer:
    """One server process. What it was told to keep survives `kill` and `start`."""

    __test__ = False

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.bus_port = int(options[options.index("--cluster-port") + 1]) if "--cluster-port" in options else 0
        try:
            self.start()
        except BaseException:
            self.end()
            raise

    @property
    def location(self) -> str:
        return f"valkey://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [
                *(
                    server_program(),
                    "--port",
                    str(self.port),
                    "--dir",
                    str(self._folder),
                    "--save",
                    "",
                    "--repl-diskless-sync-delay",
                    "0",
                ),
                *("--appendonly", "yes", "--appendfsync", "always", *self._options),
            ],
            stdout=subprocess.DEVNULL,
        )
        wait_until(lambda: self.ask("PING") == "+PONG", "the server answers")

    def says(self, *words: str) -> str:
        """The answer to a command, as it comes; empty if none does."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall((" ".join(words) + "\r\n").encode())
                return connection.recv(65536).decode()
        except OSError:
            return ""

    def ask(self, *words: str) -> str:
        """The first line of the answer to a command."""
        return self.says(*words).split("\r\n")[0]

    def pause(self) -> None:
        self._running().send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._running().send_signal(signal.SIGCONT)

    def kill(self) -> None:
        process = self._running()
        process.kill()
        process.wait(PATIENCE_S)
        self._process = None

    def end(self) -> None:
        if self._process is not None:
            self.go_on()
            self.kill()

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the server was killed"
        return self._process


@contextmanager
def running_server(folder: Path, *options: str) -> Iterator[TestServer]:
    """A server that keeps what it acknowledged, ended afterwards."""
    server = TestServer(folder, *options)
    try:
        yield server
    finally:
        server.end()


@contextmanager
def running_cluster(folder: Path, count: int = 3) -> Iterator[Sequence[TestServer]]:
    """A cluster of servers, each with its share of the hash slots."""
    servers: list[TestServer] = []
    try:
        for number in range(count):
            bus = str(free_port())
            options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "5000", "--cluster-port", bus)
            servers.append(TestServer(folder / str(number), *options))
        bounds = [16384 * number // count for number in range(count + 1)]
        for number, server in enumerate(servers):
            server.ask("CLUSTER", "ADDSLOTSRANGE", str(bounds[number]), str(bounds[number + 1] - 1))
            server.ask("CLUSTER", "MEET", "127.0.0.1", str(servers[0].port), str(servers[0].bus_port))
        for server in servers:
            wait_until(lambda server=server: _is_whole(server), "the cluster is whole")
        yield servers
    finally:
        for server in servers:
            server.end()


@contextmanager
def running_sentinel(folder: Path, master: TestServer) -> Iterator[str]:
    """A location through a Sentinel that looks after a server by the name `sessions`."""
    folder.mkdir(parents=True)
    port = free_port()
    (folder / "sentinel.conf").write_text(
        f"port {port}\nsentinel monitor sessions 127.0.0.1 {master.port} 1\n"
        "sentinel down-after-milliseconds sessions 500\nsentinel failover-timeout sessions 3000\n"
    )
    command = [server_program(), str(folder / "sentinel.conf"), "--sentinel"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            yield f"valkey://127.0.0.1:{port}/0?sentinel=sessions"
        finally:
            process.kill()


def _is_whole(server: TestServer) -> bool:
    return "cluster_state:ok" in server.says("CLUSTER", "INFO")


def wait_until(holds: object, what: str) -> None:
    """Wait for something that should come true soon."""
    assert callable(holds)
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)
