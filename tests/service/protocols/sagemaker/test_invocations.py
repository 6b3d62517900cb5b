"""Forecasts at `/invocations`: which model, what is asked for, and what is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests import known_models
from tests.service.protocols.sagemaker.deepar_model import DEEPAR, HORIZON
from tests.service.protocols.serving import Served, serve

RUNNING_SUM = known_models.RUNNING_SUM


def instance(target: list[Any] | None = None, **more: Any) -> dict[str, Any]:
    values = [1.0, 2.0] if target is None else target
    given = {"start": "2024-07-01", "target": values, "cat": [0, 1], "dynamic_feat": [[0.0] * (len(values) + HORIZON)]}
    return {name: value for name, value in (given | more).items() if value is not None}


def predictions(served: Served, *instances: dict[str, Any], **configuration: Any) -> Any:
    body: dict[str, Any] = {"instances": list(instances)}
    if configuration:
        body["configuration"] = configuration
    answer = served.post("/invocations", body)
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


def test_a_series_is_forecast_as_at_every_other_route(tmp_path: Path) -> None:
    known_models.running_sum(tmp_path)
    with serve(tmp_path) as served:
        (told,) = predictions(served, {"target": [1, None, "NaN", 2]}, quantiles=["0.25", 0.75])
        body = {
            "model": RUNNING_SUM,
            "inputs": [{"name": "s", "series": [1, None, None, 2]}],
            "options": {"horizon": HORIZON, "quantiles": [0.25, 0.75]},
        }
        ((content,),) = (one["content"] for one in served.post("/v1/timeseries/forecast", body).json()["outputs"])
        assert told == {"mean": content["mean_forecast"], "quantiles": content["quantiles"]}


def test_instances_are_answered_in_their_order_each_as_if_alone(deepar: Served) -> None:
    several = [instance([float(number)]) for number in range(4)]
    together = predictions(deepar, *several)
    assert together == [predictions(deepar, one)[0] for one in several]


@pytest.mark.parametrize("wanted", [["mean"], ["quantiles"], ["samples"], ["samples", "mean"]])
def test_only_the_outputs_asked_for_are_told(deepar: Served, wanted: list[str]) -> None:
    (told,) = predictions(deepar, instance(), output_types=wanted)
    assert told.keys() == set(wanted)
    assert len(told.get("samples", [None] * 100)) == 100  # DeepAR's default


def test_categories_are_numbered_in_the_order_of_the_manifest(deepar: Served) -> None:
    """The model adds both numbers to its centre."""
    low, high = predictions(deepar, instance(cat=[0, 0]), instance(cat=[2, 3]), output_types=["mean"])
    assert high["mean"][0] - low["mean"][0] == pytest.approx(5, abs=1e-3)


def test_the_setting_names_the_model_that_nobody_else_names(tmp_path: Path) -> None:
    known_models.running_sum(tmp_path)
    known_models.running_sum(tmp_path, name="other")
    body = {"instances": [{"target": [1]}]}
    with serve(tmp_path) as served:
        refused = served.post("/invocations", body)
        error = refused.json()["error"]
        assert refused.status_code == 400 and error["parameter"] == "model"
        assert "several forecasters are served (other, running-sum)" in error["message"]
        assert "X-Amzn-SageMaker-Target-Model" in error["message"] and "UNROLL_INVOCATIONS_MODEL" in error["message"]
        assert served.post("/invocations", body | {"model": "other"}).status_code == 200
        header = {"X-Amzn-SageMaker-Target-Model": RUNNING_SUM}
        assert served.post("/invocations", body | {"model": "nobody"}, **header).status_code == 200
    with serve(tmp_path, invocations_model=RUNNING_SUM) as served:
        assert served.post("/invocations", body).status_code == 200


def test_without_any_forecaster_that_is_said(next_token_models: Path) -> None:
    with serve(next_token_models) as served:
        refused = served.post("/invocations", {"instances": [{"target": [1]}]})
        assert refused.status_code == 404 and "no forecaster is loaded" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "status", "parameter", "words"),
    [
        ({}, 400, "instances", "expected a list, got nothing"),
        ({"instances": []}, 400, "instances", "expected"),
        ({"instances": [{}]}, 400, "instances.0.target", "expected a list, got nothing"),
        ({"instances": [instance(["nan"])]}, 400, "instances.0.target.0", 'got "nan"'),
        ({"instances": [instance(), instance([1e39])]}, 400, "instances.1.target.0", "float32"),
        ({"instances": [instance([])]}, 400, "instances.0.target", "at least one value"),
        ({"instances": [instance(start="soon")]}, 400, "instances.0.start", "ISO 8601"),
        ({"instances": [instance(start=None)]}, 400, "instances.0.start", "looks at the calendar"),
        ({"instances": [instance(cat=None)]}, 400, "instances.0.cat", "a number for each of store, kind, got none"),
        ({"instances": [instance(cat=[1])]}, 400, "instances.0.cat", "a number for each of store, kind, got 1"),
        ({"instances": [instance(cat=[3, 0])]}, 400, "instances.0.cat.0", "of store from 0 to 2, got 3"),
        ({"instances": [instance(cat=[0, -1])]}, 400, "instances.0.cat.1", "of kind from 0 to 4, got -1"),
        ({"instances": [instance(dynamic_feat=None)]}, 400, "instances.0.dynamic_feat", "a list for each of promotion"),
        ({"instances": [instance(dynamic_feat=[[1.0]])]}, 400, "instances.0.dynamic_feat.0", "expected 26 values"),
        ({"instances": [instance(colour=1)]}, 400, "instances.0.colour", "unknown parameter"),
        ({"instances": [instance()], "position": 1}, 400, "position", "X-Amzn-SageMaker-Session-Id"),
        ({"instances": [instance()], "model": "nobody"}, 404, "model", "expected one of"),
        ({"instances": [instance()], "model": known_models.NEXT_TOKEN}, 400, "model", "use a forecast model"),
        ({"instances": [instance()] * 9}, 413, "instances", "UNROLL_MAX_INPUTS"),
        ({"instances": [instance()], "configuration": {"num_samples": 0}}, 400, "configuration.num_samples", "1"),
        ({"instances": [instance()], "configuration": {"num_samples": 201}}, 413, "samples", "at most 200"),
        (
            {"instances": [instance()], "configuration": {"quantiles": ["0.5", "p90"]}},
            400,
            "configuration.quantiles.1",
            "such as \"0.9\", got 'p90'",
        ),
        ({"instances": [instance()], "configuration": {"quantiles": ["1"]}}, 400, "configuration.quantiles.0", "'1'"),
        (
            {"instances": [instance()], "configuration": {"output_types": ["median"]}},
            400,
            "configuration.output_types.0",
            "median",
        ),
        ({"requestType": "OPEN"}, 400, "requestType", "one of NEW_SESSION, CLOSE"),
    ],
)
def test_what_cannot_be_forecast_is_named(deepar: Served, body: Any, status: int, parameter: str, words: str) -> None:
    answer = deepar.post("/invocations", body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error.keys() == {"code", "message", "parameter", "request_id"}
    assert error["parameter"] == parameter and words in error["message"]


def lines(served: Served, *given: Any) -> Any:
    text = "\r\n".join(one if isinstance(one, str) else json.dumps(one) for one in given)
    return served.client.post("/invocations", content=text, headers={"content-type": "application/jsonlines"})


def test_a_line_may_have_a_configuration_of_its_own(deepar: Served) -> None:
    answer = lines(deepar, instance(), "", instance(configuration={"output_types": ["mean"]}))
    first, second = map(json.loads, answer.text.splitlines())
    assert first.keys() == {"mean", "quantiles"} and second.keys() == {"mean"}


def test_a_line_that_cannot_be_read_is_named(deepar: Served) -> None:
    for given, words in ((instance(cat=[9, 9]), "of store"), ("{", "expected JSON"), ({"targets": []}, "targets")):
        answer = lines(deepar, instance(), given)
        assert answer.status_code == 400
        assert answer.json()["error"]["message"].startswith("instances.1: ") and words in answer.text
    assert "at least one line" in lines(deepar, "").json()["error"]["message"]
    assert "UNROLL_MAX_INPUTS" in lines(deepar, *["not read"] * 9).json()["error"]["message"]


def test_neither_json_nor_lines_of_it_is_refused(deepar: Served) -> None:
    answer = deepar.client.post("/invocations", content="1,2,3", headers={"content-type": "text/csv"})
    assert answer.status_code == 400 and "expected JSON" in answer.json()["error"]["message"]


def test_the_model_is_the_newest_version(tmp_path: Path) -> None:
    known_models.running_sum(tmp_path, name=DEEPAR)
    known_models.running_sum(tmp_path, name=DEEPAR, version=2, future_covariates=["promotion"])
    with serve(tmp_path) as served:
        refused = served.post("/invocations", {"instances": [{"target": [1]}]})
        assert "a list for each of promotion" in refused.json()["error"]["message"]
        assert served.post("/invocations", {"instances": [{"target": [1]}], "model": f"{DEEPAR}/1"}).status_code == 200


def test_a_service_that_shuts_down_is_not_healthy(tmp_path: Path) -> None:
    with serve(tmp_path) as served:
        empty = served.client.get("/ping")
        assert empty.status_code == 503 and empty.json()["reasons"] == ["no model version is loaded"]
        served.context.traffic.draining = True
        assert served.client.get("/ping").status_code == 503


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "got nothing"),
        (b'{"requestType": "CLOSE"', "expected JSON"),
        (b'{"requestType": "CLOSE\xff"}', "UTF-8"),
        (b'{"requestType": ' + b"[" * 2000 + b"]" * 2000 + b"}", "nested too deeply"),
        (b'{"instances": [{"target": [NaN]}]}', "NaN is not JSON"),
    ],
)
def test_what_cannot_be_read_at_all_is_refused(deepar: Served, content: bytes, words: str) -> None:
    answer = deepar.client.post("/invocations", content=content)
    assert answer.status_code == 400 and words in answer.json()["error"]["message"], answer.text
