"""`POST /v1/observe`: steps that are begun at once and steps that wait, answered with the same bytes."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.protocols.native import bulk
from tests.known_graphs import FAILING_VALUE
from tests.known_models import NEXT_TOKEN, RUNNING_SUM
from tests.service.protocols.hot.frames import steps
from tests.service.protocols.hot.raw import Raw, all_quiet, connected, request
from tests.service.protocols.serving import COVARIATE_SUM, Served

_numbers = count()
_models = {"a": RUNNING_SUM, "b": RUNNING_SUM, "c": COVARIATE_SUM, "t": NEXT_TOKEN}


class Both:
    """The same bulk request with and without the short way, for sessions that stand at the same places."""

    def __init__(self, served: Served, raw: Raw) -> None:
        self._served, self._raw = served, raw

    def ask(self, sessions: list[tuple[str, Any]] | list[tuple[str, bytes]]) -> bytes:
        said = []
        for at_once in (True, False):
            number = next(_numbers)
            names = {name: f"{name}{number:06d}" for name in (*_models, "x")}
            for name, model in _models.items():
                self._served.open(model, id=names[name])
            data = self._request([(names[name], steps) for name, steps in sessions])
            with pytest.MonkeyPatch.context() as patch:
                if not at_once:
                    patch.setattr(bulk, "observe_at_once", lambda *_, **__: False)
                answer = self._raw.ask(data)
            said.append(answer.lasting.replace(f"{number:06d}".encode(), b""))
        assert said[0] == said[1], f"{sessions!r:.300}\n{said[0]!r}\n{said[1]!r}"
        return said[0].partition(b"\r\n\r\n")[2]

    def _request(self, sessions: list[tuple[str, Any]]) -> bytes:
        if all(isinstance(steps, bytes) for _, steps in sessions):
            body = b"".join(struct.pack("<H", len(name)) + name.encode() + steps for name, steps in sessions)
            return request("/v1/observe", body, "X-Request-Id: same", "Content-Type: application/octet-stream")
        asked = [{"session_id": name} | steps for name, steps in sessions]
        return request("/v1/observe", {"sessions": asked}, "X-Request-Id: same")


@pytest.fixture
def both(served: Served) -> Iterator[Both]:
    with connected(served.url) as raw:
        yield Both(served, raw)
    all_quiet(served)


def test_sessions_are_answered_with_the_same_bytes(both: Both) -> None:
    both.ask([("a", {"values": [1, None]}), ("b", {"values": [2.5]}), ("a", {"values": [3]}), ("x", {"values": [1]})])
    with_covariate = {"values": [1], "future_covariates": {"temperature": [2]}}
    both.ask([("c", with_covariate), ("c", {"values": [1]}), ("t", {"text": "ab"}), ("t", {"values": [1]})])
    both.ask([("a", steps((1,), (math.nan,))), ("b", steps((2,), number=9)), ("a", steps((3,))), ("x", steps((1,)))])


def test_errors_name_their_session_and_the_request_whichever_way_they_come(both: Both) -> None:
    told = json.loads(both.ask([("a", {"values": [FAILING_VALUE]}), ("b", {"values": [1], "position": 4})]))
    assert [one["session_id"] for one in told["data"]] == ["a", "b"]
    assert [one["error"]["code"] for one in told["data"]] == ["step_failed", "position_conflict"]
    assert {one["error"]["request_id"] for one in told["data"]} == {"same"}
    both.ask([("a", steps((FAILING_VALUE,))), ("b", steps((1,), position=4))])


def test_numbers_at_the_bound_are_taken_or_refused_alike(both: Both) -> None:
    bounds = [1e36, -1e36, 1.00000001e36, 1.1e36, 1e300]
    both.ask([("ab"[index % 2], {"values": [value]}) for index, value in enumerate(bounds)])


body: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries(
        {"values": st.lists(st.one_of(st.none(), st.floats(-9, 9), st.integers(-(10**37), 10**37)), max_size=3)},
        optional={
            "position": st.integers(-1, 3),
            "idempotency_key": st.sampled_from(["", "k"]),
            "future_covariates": st.sampled_from([None, {}, {"temperature": [1]}, {"other": [1]}]),
        },
    ),
    st.just({"text": "ab"}),
    st.just({}),
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sessions=st.lists(st.tuples(st.sampled_from("abctx"), body), max_size=5))
def test_random_sessions_are_answered_alike(both: Both, sessions: list[tuple[str, Any]]) -> None:
    both.ask([*sessions, ("a", {"values": [1]})])
