"""A client in a process of its own that sends one long message after another to a session."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event

from benchmarks.bare_stream import BareStream
from benchmarks.inputs import step_inputs
from benchmarks.models import COVARIATES
from benchmarks.native import open_sessions
from benchmarks.plain_http import prepared, send

Protocol = Callable[[str, str, int], Callable[[], object]]
"""(address, session, steps) → a function that sends one message of so many steps and waits for its answer."""


def json_over_http(address: str, session: str, steps: int) -> Callable[[], object]:
    value, *covariates = step_inputs(0)
    known = {name: [number] * steps for name, number in zip(COVARIATES, covariates, strict=True)}
    body = json.dumps({"values": [value] * steps, "future_covariates": known}).encode()
    request = prepared(f"/v1/sessions/{session}/observe", body)
    return lambda: send(address, request)


def binary_frames(address: str, session: str, steps: int) -> Callable[[], object]:
    return BareStream(address, session, steps).step


@contextmanager
def sending(protocol: Protocol, address: str, steps: int) -> Iterator[Callable[[], float]]:
    """Send long messages while the block runs; gives a function that tells how many steps a second were answered.

    The block begins once the first message is answered.
    """
    context = multiprocessing.get_context("spawn")
    answered, stop = context.Value("q", 0), context.Event()
    (session,) = open_sessions(address, 1)
    process = context.Process(target=_send_until, args=(protocol, address, session, steps, answered, stop))
    process.start()
    try:
        while not answered.value and process.is_alive():
            time.sleep(0.01)
        before, started = answered.value, time.perf_counter()
        yield lambda: (answered.value - before) * steps / (time.perf_counter() - started)
    finally:
        stop.set()
        process.join()


def _send_until(
    protocol: Protocol, address: str, session: str, steps: int, answered: Synchronized[int], stop: Event
) -> None:
    message = protocol(address, session, steps)
    while not stop.is_set():
        message()
        answered.value += 1
