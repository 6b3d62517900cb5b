"""Answers that tell anomalies: below the application and through it, byte for byte, whatever the threshold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.protocols.native.frames import ANOMALY, HEADER, SCORED
from tests.known_models import RUNNING_SUM
from tests.service.protocols.hot.both_ways import BothSequences, BothWays
from tests.service.protocols.hot.frames import BINARY, observing, steps
from tests.service.protocols.hot.noting import Noted
from tests.service.protocols.hot.raw import all_quiet, connected
from tests.service.protocols.hot.test_frames_both_ways import answers_both_ways
from tests.service.protocols.serving import SCORED_SUM, Served

NAN = float("nan")


@pytest.fixture(autouse=True)
def nothing_is_left(served: Served) -> Iterator[None]:
    yield
    all_quiet(served)


@pytest.fixture(params=[(SCORED_SUM, None), (SCORED_SUM, 0.25), (RUNNING_SUM, None), (RUNNING_SUM, 0.999)])
def both(served: Served, noted: Noted, request: pytest.FixtureRequest) -> Iterator[BothWays]:
    model, threshold = request.param
    with connected(served.url) as raw:
        yield BothWays(served, noted, raw, model, anomaly_threshold=threshold)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.none() | st.floats(-30, 30, width=32), min_size=1, max_size=4), min_size=1, max_size=6))
def test_flags_are_the_same_bytes(both: BothWays, requests: list[list[float | None]]) -> None:
    for values in requests:
        both.ask({"values": values})


def test_flags_are_told_where_there_is_a_threshold(served: Served, noted: Noted) -> None:
    with connected(served.url) as raw:
        scored = BothWays(served, noted, raw, SCORED_SUM)
        answers = [scored.ask({"values": values}).json for values in ([10], [12], [None], [30, 100])]
        assert [answer["anomaly"] for answer in answers] == [[False], [False], [False], [True, True]]
        assert answers[1] | {"pit": 0} == {
            "start": 1,
            "position": 2,
            "durable_position": 0,
            "quantiles": {"levels": [0.25, 0.5, 0.75], "values": [[9, 10, 11]]},
            "expected": [10],
            "interval": {"level": 0.5, "lower": [9], "upper": [11]},
            "pit": 0,
            "anomaly_score": [0.25],
            "anomaly": [False],
        }
        assert "anomaly" not in BothWays(served, noted, raw).ask({"values": [1]}).json


@pytest.mark.parametrize("threshold", [None, 0.25])
def test_text_frames_are_flagged_as_requests_are(served: Served, noted: Noted, threshold: float | None) -> None:
    messages = [observing(*values) for values in ([10], [12], [None], [30, 100])]
    came = answers_both_ways(served, noted, messages, model=SCORED_SUM, anomaly_threshold=threshold)
    flags = [json.loads(payload)["anomaly"] for _, payload in came]
    assert flags == [[False], [threshold is not None], [False], [True, True]]


def test_a_binary_answer_says_with_one_bit_that_a_value_is_an_anomaly(served: Served, noted: Noted) -> None:
    messages = [steps((10,)), steps((12,)), steps((NAN,)), steps((22,), (100,), (122,)), steps((0,), flags=SCORED)]
    came = answers_both_ways(served, noted, messages, model=SCORED_SUM)
    heads = [HEADER.unpack_from(payload) for opcode, payload in came if opcode == BINARY]
    assert [head[5] for head in heads] == [0, 0, 0, ANOMALY, SCORED | ANOMALY]
    assert [head[4] for head in heads] == [4, 4, 4, 4, 5]
    unflagged = answers_both_ways(served, noted, messages)
    assert [HEADER.unpack_from(payload)[5] for _, payload in unflagged] == [0, 0, 0, 0, SCORED]


def tensors(*values: float | None, **more: Any) -> dict[str, Any]:
    target = {"name": "target", "datatype": "FP32", "shape": [1, len(values)], "data": list(values)}
    return {"inputs": [target]} | more


def test_a_sequences_answer_is_flagged_and_has_the_models_own_score(served: Served, noted: Noted) -> None:
    with connected(served.url) as raw:
        both = BothSequences(served, noted, raw, SCORED_SUM)
        answers = [both.ask(tensors(*values)).json for values in ([10], [12], [None], [30, 100])]
        assert [answer["parameters"].get("anomaly") for answer in answers] == [None, None, None, True]
        assert [one["name"] for one in answers[0]["outputs"]] == ["quantiles", "pit", "anomaly_score"]
        assert answers[1]["outputs"][2]["data"] == [0.25]
        named = both.ask(tensors(1, outputs=[{"name": "anomaly_score"}])).json
        assert [one["name"] for one in named["outputs"]] == ["anomaly_score"]
