"""A project of `compose.yaml` under a name and on ports of its own, so that it disturbs no other."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from benchmarks.server import ROOT

IMAGE = "unroll:compose-test"
PATIENCE_S = 120.0
_PORTS = ("UNROLL_HTTP_PORT", "UNROLL_GRPC_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT")


class Failed(Exception):
    """A command did not end well; the message has what it said."""


def command(*words: str, given: str | None = None, environment: dict[str, str] | None = None) -> str:
    """What a command prints. Raises Failed if it ends with another status than 0."""
    done = subprocess.run(
        words, cwd=ROOT, env={**os.environ, **(environment or {})}, input=given, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise Failed(f"{' '.join(words)}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def engine_trouble() -> str | None:
    """Why no container can be run here; None if an engine with Compose answers."""
    for words in (("docker", "version"), ("docker", "compose", "version")):
        try:
            command(*words)
        except FileNotFoundError:
            return "docker is not installed"
        except Failed as failed:
            return str(failed).strip().splitlines()[-1]
    return None


@dataclass(frozen=True)
class Stack:
    """Some profiles, brought up together."""

    profiles: Sequence[str]
    project: str
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return self.local("UNROLL_HTTP_PORT")

    def local(self, port: str) -> str:
        """The address that a port variable of compose.yaml leads to."""
        return f"127.0.0.1:{self.environment[port]}"

    def compose(self, *words: str) -> str:
        profiles = [word for profile in self.profiles for word in ("--profile", profile)]
        return command("docker", "compose", "-p", self.project, *profiles, *words, environment=self.environment)

    def up(self, *options: str) -> float:
        """Bring everything up; the seconds until it is healthy."""
        started = time.monotonic()
        self.compose("up", "--detach", "--wait", "--quiet-pull", *options)
        return time.monotonic() - started

    def containers(self, service: str) -> list[str]:
        """The running containers of a service."""
        return self.compose("ps", "--quiet", service).split()


@contextmanager
def stack(*profiles: str, image: str = IMAGE, **environment: str) -> Iterator[Stack]:
    """A project with nothing in it yet, and removed with its volumes at the end; what it logged is shown on failure."""
    environment = {name: str(port) for name, port in zip(_PORTS, _free_ports(len(_PORTS)), strict=True)} | environment
    made = Stack(profiles, f"unroll-test-{os.getpid()}", {"UNROLL_IMAGE": image, **environment})
    try:
        yield made
    except BaseException:
        print(made.compose("logs", "--no-color", "--tail", "40"))
        raise
    finally:
        made.compose("down", "--volumes", "--timeout", "5", "--remove-orphans")


@contextmanager
def container(port: int, *options: str, runs: Sequence[str] = ()) -> Iterator[str]:
    """The address of one service on its own, that keeps its sessions in memory; ready, and removed at the end."""
    name = f"unroll-test-{os.getpid()}-{port}"
    about = ["--name", name, "--publish", f"127.0.0.1::{port}", "--read-only", "--env", "UNROLL_JOURNAL=memory:"]
    about += ["--env", "UNROLL_AUTHENTICATION=off"]  # nobody but this machine reaches it
    command("docker", "run", "--rm", "--detach", *about, *options, IMAGE, *runs)
    try:
        address = command("docker", "port", name, str(port)).split()[0]
        until(lambda: answers(f"http://{address}/health/ready"), "the service is ready")
        yield address
    finally:
        command("docker", "stop", name)


def answers(url: str) -> bool:
    """Whether somebody answers with status 200 there."""
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for something that should come true."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            raise Failed(f"never: {what}")
        time.sleep(0.2)
