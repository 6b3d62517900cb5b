"""Clients that ask for four times what the server can carry: what is got done, how long it takes, who is refused.

A few seconds of `python -m benchmarks overload`, on a model whose forecasts take long for the engine alone.
"""

from __future__ import annotations

import asyncio
import statistics
from pathlib import Path

from benchmarks.native import open_sessions
from benchmarks.open_loop import in_turn, offer
from benchmarks.plain_http import prepared, send
from benchmarks.processes import resident_bytes
from benchmarks.server import ServerProcess, running_server
from tests.known_models import RUNNING_SUM

_CLIENTS = 16
_TIMES = 4
_SECONDS = 3.0
_MIB = 2**20


def forecasts(server: ServerProcess, count: int) -> list[bytes]:
    """For each of so many sessions, a forecast far ahead."""
    sessions = open_sessions(server.address, count, RUNNING_SUM)
    for session in sessions:
        send(server.address, prepared(f"/v1/sessions/{session}/observe", b'{"values":[1]}'))
    return [prepared(f"/v1/sessions/{session}/forecast", b'{"horizon":200}') for session in sessions]


def steps(server: ServerProcess, count: int) -> list[bytes]:
    sessions = open_sessions(server.address, count, RUNNING_SUM)
    return [prepared(f"/v1/sessions/{session}/observe", b'{"values":[1]}') for session in sessions]


def test_four_times_the_capacity_costs_little_of_it_and_is_refused_quickly(running_sum_models: Path) -> None:
    asyncio.run(overloaded(running_sum_models))


async def overloaded(models: Path) -> None:
    with running_server(models) as server:
        requests, beside = forecasts(server, 200), steps(server, 2)
        await in_turn(server.address, requests[:_CLIENTS], 1.0)
        peak = await in_turn(server.address, requests[:_CLIENTS], _SECONDS)
        memory = resident_bytes(server.process_id)
        flood, neighbours = await asyncio.gather(
            offer(server.address, requests, _TIMES * peak.done_per_second, _SECONDS),
            in_turn(server.address, beside, _SECONDS, pause_s=0.02),
        )
        # Whatever else the machine does now, it may not have done before.
        again = await in_turn(server.address, requests[:_CLIENTS], _SECONDS)
        grown = resident_bytes(server.process_id) - memory
    assert not flood.others and not flood.unanswered
    capacity = min(peak.done_per_second, again.done_per_second)
    # How much of it is kept is for the benchmark to tell, on a machine of its own; here, that it is not lost.
    assert flood.done_per_second > 0.2 * capacity, (flood.done_per_second, peak.done_per_second, again.done_per_second)
    assert flood.refused
    # By the machine's own measure, which others may be using as well.
    assert statistics.median(flood.refused) < statistics.median(flood.accepted) / 2 + 0.1
    # Nobody who is accepted waits for more than some sixty others, and a single step for none of them.
    assert max(flood.accepted) < 200 / capacity + 2
    assert statistics.median(neighbours.accepted) < statistics.median(flood.accepted) / 2 + 0.1
    assert grown < 64 * _MIB


def test_clients_that_wait_for_their_answers_are_not_refused(running_sum_models: Path) -> None:
    with running_server(running_sum_models) as server:
        seen = asyncio.run(in_turn(server.address, forecasts(server, _CLIENTS), 2.0))
    assert set(seen.by_status) == {200}
