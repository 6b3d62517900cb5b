"""Who is measured: the service by each of its protocols, and the peers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import numpy as np

from benchmarks import floor, inference_v2, models, native
from benchmarks.null_server import running_null_server
from benchmarks.peers import PEERS
from benchmarks.peers.environment import PeerUnavailable
from benchmarks.plain_http import send
from benchmarks.routes import Route, Server
from benchmarks.server import running_server

OURS = "Unroll"
_V2 = inference_v2.routes(
    lambda x: {"target": np.array([x[:1]], np.float32), "covariates": np.array([[x[1:]]], np.float32)},
    ["quantiles", "pit"],
)


@dataclass(frozen=True)
class Contender:
    """A server to measure, and the ways to ask it; `computes` where its answers are to be checked."""

    name: str
    running: Callable[[], AbstractContextManager[Server]]
    routes: Sequence[Route]
    computes: bool = True


def contenders(peers: Sequence[str]) -> list[Contender]:
    """A server that does nothing, the service, then the named peers."""
    named = [PEERS[name] for name in peers]
    return [
        Contender("nothing (wrk's ceiling)", running_null_server, (native.UNOPENED,), computes=False),
        Contender(OURS, lambda: running_server(models.repository()), (native.ROUTE, *_V2)),
        *(Contender(peer.name, peer.running, peer.routes) for peer in named),
    ]


@contextmanager
def running(contender: Contender) -> Iterator[Server | None]:
    """The contender's server; None, told on standard error, where it cannot run here."""
    try:
        with contender.running() as server:
            yield server
    except PeerUnavailable as error:
        print(f"{contender.name} is left out: {error}", file=sys.stderr)
        yield None


def check_answers(server: Server, route: Route) -> None:
    """Check that a new session's next two steps are answered with the numbers that the graph gives.

    Raises:
        RuntimeError: they are not: a wrong network, an empty answer, or a state that is not kept.
    """
    (request,) = route.prepare(server.address, 1)
    wanted = floor.quantiles(0, route.steps_taken + 2)[route.steps_taken :]
    for expected in wanted:
        got = route.numbers(send(server.address, request))
        if len(got) != len(expected) or not np.allclose(got, expected, atol=1e-5):
            raise RuntimeError(f"{route.name}: expected {expected}, got {got}")
