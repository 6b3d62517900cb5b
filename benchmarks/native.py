"""The service's own interface: sessions opened by the list, and one prepared step for each."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence

from benchmarks.frames import observe_frame
from benchmarks.inputs import step_inputs
from benchmarks.models import COVARIATES, FORECASTER
from benchmarks.plain_http import call, prepared, send
from benchmarks.routes import Route

_SESSIONS_PER_REQUEST = 256
_ID_LENGTH = struct.Struct("<H")


def open_sessions(address: str, count: int, model: str = FORECASTER) -> list[str]:
    """Open sessions and return their ids."""
    ids: list[str] = []
    while len(ids) < count:
        bodies = [{"model": model}] * min(count - len(ids), _SESSIONS_PER_REQUEST)
        ids += [session["id"] for session in call(address, "/v1/sessions", bodies)]
    return ids


def open_numbered(address: str, count: int, model: str = FORECASTER, start: int = 0) -> None:
    """Open sessions `s0` (or that of `start`), `s1`, … up to the count, and take each a step on.

    Until then their rows take no memory.
    """
    for first in range(start, count, _SESSIONS_PER_REQUEST):
        ids = [f"s{number}" for number in range(first, min(first + _SESSIONS_PER_REQUEST, count))]
        call(address, "/v1/sessions", [{"model": model, "id": session} for session in ids])
        send(address, bulk_request(ids, steps=1))


def numbered_request() -> bytes:
    """A step of one of these sessions, with `%d` in place of its number."""
    return prepared("/v1/sessions/s%d/observe", _step(0))


def bulk_request(ids: Sequence[str], steps: int) -> bytes:
    """One request that takes in so many steps of each session, binary."""
    frame = observe_frame(steps)
    records = b"".join(_ID_LENGTH.pack(len(session)) + session.encode() + frame for session in ids)
    return prepared("/v1/observe", records, {"content-type": "application/octet-stream"})


def position(address: str, session: str) -> int:
    """How many steps a session has taken in."""
    return int(call(address, f"/v1/sessions/{session}", None, "GET")["position"])


def close_sessions(address: str, ids: Sequence[str]) -> None:
    for session in ids:
        call(address, f"/v1/sessions/{session}", None, "DELETE")


def step_requests(ids: Sequence[str]) -> list[bytes]:
    """For each session a request that takes in one value and its covariates."""
    return [prepared(f"/v1/sessions/{session}/observe", _step(index)) for index, session in enumerate(ids)]


def prepare(address: str, count: int) -> list[bytes]:
    """Open sessions and return each one's prepared step."""
    return step_requests(open_sessions(address, count))


def numbers(body: bytes) -> list[float]:
    """The quantiles that an answer tells."""
    return list(json.loads(body)["quantiles"]["values"][0])


def _step(session: int) -> bytes:
    value, *covariates = step_inputs(session)
    known = {name: [number] for name, number in zip(COVARIATES, covariates, strict=True)}
    return json.dumps({"values": [value], "future_covariates": known}, separators=(",", ":")).encode()


ROUTE = Route("native JSON", prepare, numbers)
UNOPENED = Route("the same requests", lambda _, count: step_requests([f"s{n}" for n in range(count)]), numbers)
"""For a server that opens nothing."""
