"""One forecast in every borrowed schema: what a model tells directly, and intervals, samples and aggregates of it."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from tests.service.protocols.inference_v2.asking import ask, output, refused, tensor
from tests.service.protocols.serving import COUNTED_SUM, COVARIATE_SUM, DIRECT_SUM, Served

KSERVE = "/v1/timeseries/forecast"


def native(served: Served, model: str = DIRECT_SUM, seed: int = 0, **asked: Any) -> Any:
    """What a session of the same values is told."""
    session = served.open(model)
    served.observe(session, values=[1, 2])
    return served.post(f"/v1/sessions/{session}/forecast", {"seed": seed, **asked}).json()


def kserve(served: Served, given: dict[str, Any], model: str = DIRECT_SUM, **options: Any) -> Any:
    body = {"model": model, "inputs": [{"name": "s", "series": [1, 2], **given}], "options": {"horizon": 3, **options}}
    answer = served.post(KSERVE, body)
    assert answer.status_code == 200, answer.text
    return answer.json()["outputs"][0]


def test_kserve_tells_a_direct_forecast_with_all_that_is_asked(served: Served) -> None:
    asked: dict[str, Any] = {"quantiles": [0.25, 0.6], "levels": [0.8], "samples": 4, "aggregate": ["sum"]}
    (content,) = kserve(served, {}, **asked)["content"]
    told = native(served, horizon=3, **asked)
    assert content["method"] == "direct" and content["mean_forecast"] == told["mean"]
    assert content["quantiles"] == {"0.25": [2, 1, 0], "0.6": [row[1] for row in told["quantiles"]["values"]]}
    assert content["intervals"] == told["intervals"] and content["samples"] == told["samples"]
    total = content["aggregates"]["sum"]
    assert total["mean"] == told["aggregates"]["sum"]["mean"]
    assert list(total["quantiles"].values()) == told["aggregates"]["sum"]["quantiles"]["values"]
    assert total["intervals"] == told["aggregates"]["sum"]["intervals"]


def test_kserve_tells_each_variable_of_several_beside_the_others(served: Served) -> None:
    rows = {"type": "multivariate_time_series", "series": [[1, 10], [2, 20]]}
    asked: dict[str, Any] = {"quantiles": [0.5], "levels": [0.5], "samples": 2, "aggregate": ["max"]}
    (content,) = kserve(served, rows, **asked)["content"]
    assert np.shape(content["mean_forecast"]) == (3, 2) and np.shape(content["samples"]) == (2, 3, 2)
    assert content["quantiles"]["0.5"] == [[3, 30]] * 3 and content["intervals"][0]["lower"][0] == [2, 29]
    assert len(content["aggregates"]["max"]["mean"]) == 2


def test_kserve_inputs_that_differ_in_covariates_are_scenarios(served: Served) -> None:
    inputs = [
        {"name": name, "series": [1, 2], "future_covariates": {"temperature": [0, 0, warm]}}
        for name, warm in (("usual", 0), ("warm", 5))
    ]
    body = {"model": COVARIATE_SUM, "inputs": inputs, "options": {"horizon": 1, "seed": 3}}
    usual, warm = (one["content"][0]["mean_forecast"][0] for one in served.post(KSERVE, body).json()["outputs"])
    assert warm - usual == pytest.approx(5, abs=1e-4)


def test_kserve_gives_a_model_that_counts_steps_its_frequency(served: Served) -> None:
    dated = {"frequency": "5min", "start_timestamp": "2024-07-01T00:00:00Z"}
    (content,) = kserve(served, dated, COUNTED_SUM)["content"]
    assert (content["frequency"], content["start_timestamp"]) == ("5min", "2024-07-01T00:10:00Z")
    (content,) = kserve(served, {}, COUNTED_SUM)["content"]
    assert (content["frequency"], content["start_timestamp"]) == (None, None)
    undated = {"name": "s", "series": [1], "start_timestamp": "2024-07-01T00:00:00Z"}
    answer = served.post(KSERVE, {"model": COUNTED_SUM, "inputs": [undated], "options": {"horizon": 1}})
    assert answer.status_code == 422 and "give the frequency with it" in answer.json()["error"]["message"]


def test_a_kserve_session_keeps_its_frequency(served: Served) -> None:
    session = {"session_id": uuid4().hex}
    dated = {"frequency": "1h", "start_timestamp": "2024-07-01T00:00:00Z"}
    kserve(served, session | dated, COUNTED_SUM)
    later = kserve(served, session | {"start_timestamp": "2024-07-01T04:00:00Z"}, COUNTED_SUM)
    assert later["position"] == 6 and later["content"][0]["start_timestamp"] == "2024-07-01T06:00:00Z"
    other = {"name": "s", "series": [1], "frequency": "D", **session}
    answer = served.post(KSERVE, {"model": COUNTED_SUM, "inputs": [other], "options": {"horizon": 1}})
    assert answer.status_code == 422 and "was opened with 1h, got 'D'" in answer.json()["error"]["message"]


def test_sagemaker_tells_a_direct_forecast_with_intervals_and_aggregates(served: Served) -> None:
    """As many steps as the model was trained for, so all of them at once."""
    configuration = {"output_types": ["mean", "quantiles"], "quantiles": ["0.5"], "levels": [0.8], "aggregate": ["sum"]}
    body = {"model": DIRECT_SUM, "instances": [{"target": [1, 2]}], "configuration": configuration}
    (told,) = served.post("/invocations", body).json()["predictions"]
    same = native(served, horizon=24, quantiles=[0.5], levels=[0.8], aggregate=["sum"])
    assert told["method"] == "direct" and told["mean"] == same["mean"] and told["intervals"] == same["intervals"]
    assert told["quantiles"] == {"0.5": [3.0] * 24}
    total = same["aggregates"]["sum"]
    assert told["aggregates"]["sum"]["quantiles"] == {"0.5": total["median"]}
    assert told["aggregates"]["sum"]["intervals"] == total["intervals"]


def test_sagemaker_clients_send_a_start_that_a_model_that_counts_steps_can_do_without(served: Served) -> None:
    body = {"model": COUNTED_SUM, "instances": [{"start": "2024-07-01 00:00:00", "target": [1, 2]}]}
    assert served.post("/invocations", body).json()["predictions"][0]["method"] == "direct"
    header = {"X-Amzn-SageMaker-Session-Id": "NEW_SESSION"}
    opened = served.post("/invocations", {"requestType": "NEW_SESSION", "model": COUNTED_SUM, "start": "2024-07-01"})
    assert opened.status_code == 200 and opened.json()["first_timestamp"] is None
    assert served.post("/invocations", body, **header).status_code == 200


def test_v2_tells_a_direct_forecast_as_tensors(served: Served) -> None:
    asked: dict[str, Any] = {
        "horizon": 3,
        "quantiles": "0.25,0.6",
        "levels": "0.8,0.5",
        "samples": 4,
        "aggregate": "sum,min",
    }
    answer = ask(served, tensor("target", [[1, 2], [None, None]]), model=DIRECT_SUM, **asked).json()
    told = native(served, horizon=3, quantiles=[0.25, 0.6], levels=[0.8, 0.5], samples=4, aggregate=["sum", "min"])
    assert answer["parameters"] == {"forecast_method": "direct"}
    shapes = {one["name"]: one["shape"] for one in answer["outputs"] if one["name"].startswith("forecast_")}
    assert shapes == {
        "forecast_mean": [2, 3],
        "forecast_quantiles": [2, 3, 2],
        "forecast_intervals": [2, 3, 2, 2],
        "forecast_samples": [2, 4, 3],
        "forecast_aggregates": [2, 2, 2],
        "forecast_aggregate_means": [2, 2],
    }
    assert output(answer, "forecast_quantiles")[0].tolist() == told["quantiles"]["values"]
    assert output(answer, "forecast_samples")[0].tolist() == told["samples"]
    intervals = output(answer, "forecast_intervals")[0]
    assert intervals[:, 0, 0].tolist() == told["intervals"][0]["lower"]
    assert intervals[:, 1, 1].tolist() == told["intervals"][1]["upper"]
    sums, least = told["aggregates"]["sum"], told["aggregates"]["min"]
    assert output(answer, "forecast_aggregate_means")[0].tolist() == [sums["mean"], least["mean"]]
    assert output(answer, "forecast_aggregates")[0, 1].tolist() == least["quantiles"]["values"]
    assert all(np.isnan(output(answer, name)[1]).all() for name in shapes)  # of a series without any value
    alone = ask(
        served, tensor("target", [[1, 2]]), model=DIRECT_SUM, outputs=["forecast_samples"], horizon=3, samples=4
    )
    assert output(alone.json(), "forecast_samples")[0].tolist() == told["samples"]


def test_v2_tells_the_same_of_a_sequence(served: Served) -> None:
    target = tensor("target", [[1, 2]])
    asked: dict[str, Any] = {"horizon": 3, "levels": "0.9", "seed": 0, "samples": 2}
    rows = ask(served, target, model=DIRECT_SUM, **asked).json()
    sequence: dict[str, Any] = {"sequence_id": uuid4().hex, "sequence_start": True}
    held = ask(served, target, model=DIRECT_SUM, **asked, **sequence).json()
    assert held["outputs"] == rows["outputs"] and held["parameters"]["forecast_method"] == "direct"
    further = ask(served, target, model=DIRECT_SUM, outputs=["forecast_median"], horizon=25).json()
    assert "parameters" not in further
    assert output(further, "forecast_median").shape == (1, 25)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"outputs": ["forecast_intervals"]}, "output 'forecast_intervals': expected the parameter levels with it"),
        ({"outputs": ["pit"], "levels": "0.8"}, "parameters.levels: expected only with a forecast"),
        ({"horizon": 1, "levels": "high"}, "expected levels in a text such as \"0.8,0.95\", got 'high'"),
        ({"horizon": 1, "quantiles": "0.5,1"}, "quantiles: expected levels between 0 and 1, got 1"),
        ({"horizon": 1, "aggregate": "sum,product"}, "expected some of sum, mean, min, max in a text, each once"),
        ({"horizon": 1, "frequency": "D"}, "forecasts at 1h, got 'D'"),
        ({"horizon": 100, "samples": 50}, None),
    ],
)
def test_v2_names_what_cannot_be_told(served: Served, asked: dict[str, Any], words: str | None) -> None:
    if words is None:  # one row may have so many values of samples, two may not
        refused(ask(served, tensor("target", [[1], [2]]), model=DIRECT_SUM, **asked), 413)
    else:
        assert words in refused(ask(served, tensor("target", [[1]]), model=DIRECT_SUM, **asked))


def test_a_v2_sequence_of_a_model_that_counts_steps_may_be_dated(served: Served) -> None:
    dated: dict[str, Any] = {"first_timestamp": "2024-07-01T00:00:00Z"}
    start: dict[str, Any] = {"sequence_id": uuid4().hex, "sequence_start": True, **dated}
    target = tensor("target", [[1]])
    assert "give the frequency with it" in refused(ask(served, target, model=COUNTED_SUM, **start))
    assert ask(served, target, model=COUNTED_SUM, frequency="D", **start).status_code == 200
    session = served.client.get(f"/v1/sessions/{COUNTED_SUM}:{start['sequence_id']}").json()
    assert (session["frequency"], session["next_timestamp"]) == ("1D", "2024-07-02T00:00:00Z")
    assert "give the frequency with it" in refused(ask(served, target, model=COUNTED_SUM, **dated))
    assert ask(served, target, model=COUNTED_SUM, frequency="D", **dated).status_code == 200
