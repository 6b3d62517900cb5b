"""Looking ahead over HTTP and WebSocket; h steps ahead the direct model says centre − h, centre and centre + h."""

from __future__ import annotations

import json
from typing import Any

import pytest

from service.protocols.native import examples
from tests.service.protocols.serving import COUNTED_SUM, COVARIATE_SUM, DIRECT_SUM, Served


def begun(served: Served, model: str = DIRECT_SUM, **more: Any) -> str:
    session = served.open(model, **more)
    covariates = {"future_covariates": {"temperature": [0, 0]}} if model == COVARIATE_SUM else {}
    served.observe(session, values=[1, 2], **covariates)
    return session


def ahead(served: Served, session: str, **asked: Any) -> Any:
    answer = served.post(f"/v1/sessions/{session}/forecast", asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(served: Served, session: str, **asked: Any) -> Any:
    answer = served.post(f"/v1/sessions/{session}/forecast", asked)
    assert answer.status_code == 422, answer.text
    return answer.json()["error"]


def test_a_direct_forecast_is_told_whole(served: Served) -> None:
    told = ahead(served, begun(served), horizon=2, quantiles=[0.25, 0.75], levels=[0.5])
    assert told.pop("mean") == pytest.approx([3, 3])
    assert told == {
        "position": 2,
        "method": "direct",
        "median": [3.0, 3.0],
        "quantiles": {"levels": [0.25, 0.75], "values": [[2.0, 4.0], [1.0, 5.0]]},
        "intervals": [{"level": 0.5, "lower": [2.0, 1.0], "upper": [4.0, 5.0]}],
    }


def test_further_ahead_the_answer_says_that_it_is_drawn(served: Served) -> None:
    session = begun(served)
    assert ahead(served, session, horizon=24)["method"] == "direct"
    assert ahead(served, session, horizon=25)["method"] == "sample_paths"


def test_samples_and_aggregates_come_from_the_same_paths(served: Served) -> None:
    told = ahead(served, begun(served, seed=5), horizon=3, samples=40, aggregate=["sum", "max"], levels=[0.8])
    sums = sorted(sum(path) for path in told["samples"])
    assert len(sums) == 40 and told["aggregates"].keys() == {"sum", "max"}
    total = told["aggregates"]["sum"]
    assert total["mean"] == pytest.approx(sum(sums) / 40, rel=1e-5)
    assert total["median"] == pytest.approx((sums[19] + sums[20]) / 2, rel=1e-5)
    assert total["quantiles"]["levels"] == [0.25, 0.5, 0.75] and total["quantiles"]["values"][1] == total["median"]
    (interval,) = total["intervals"]
    assert sums[0] < interval["lower"] < total["median"] < interval["upper"] < sums[-1]


def test_a_forecast_over_the_websocket_is_the_one_over_http(served: Served) -> None:
    session = begun(served, seed=5)
    asked = {"horizon": 3, "samples": 2, "aggregate": ["sum"], "levels": [0.9]}
    with served.stream(session) as stream:
        stream.send(json.dumps({"type": "forecast", **asked}))
        assert json.loads(stream.recv()) == {"type": "forecast", **ahead(served, session, **asked)}


def test_many_sessions_look_ahead_in_one_request_each_as_if_alone(served: Served) -> None:
    sessions = [begun(served, DIRECT_SUM, seed=index) for index in range(5)]
    asked = [{"session_id": one, "horizon": 2 + index, "samples": 3} for index, one in enumerate(sessions)]
    answer = served.post("/v1/forecast", {"sessions": [*asked, {"session_id": "nobody", "horizon": 1}]})
    *told, unknown = answer.json()["data"]
    for one, found in zip(asked, told, strict=True):
        session = str(one["session_id"])
        alone = ahead(served, session, **{name: value for name, value in one.items() if name != "session_id"})
        assert found == {"session_id": session, **alone}
    assert unknown["session_id"] == "nobody" and unknown["error"]["code"] == "session_not_found"


def test_the_samples_of_many_sessions_have_one_bound_together(served: Served) -> None:
    session = begun(served)
    asked = {"session_id": session, "horizon": 2048, "samples": 1000}
    answer = served.post("/v1/forecast", {"sessions": [asked, asked | {"horizon": 1, "samples": 1}]})
    assert answer.status_code == 413 and "values in all" in answer.json()["error"]["message"]


def test_a_step_far_longer_than_a_century_is_refused_when_a_session_is_opened(served: Served) -> None:
    answer = served.post("/v1/sessions", {"model": COUNTED_SUM, "frequency": "9999999999999999999s"})
    assert answer.status_code == 422 and answer.json()["error"]["parameter"] == "frequency"


def test_the_widest_interval_of_a_direct_forecast_has_bounds(served: Served) -> None:
    told = ahead(served, begun(served), horizon=1, levels=[0.9999999999999999])
    (interval,) = told["intervals"]
    assert interval["lower"][0] < told["median"][0] < interval["upper"][0]


def test_scenarios_are_told_by_their_names_and_compared(served: Served) -> None:
    session = begun(served, COVARIATE_SUM)
    scenarios = {"cool": {"temperature": [0, 0]}, "warm": {"temperature": [10, 10]}}
    told = ahead(served, session, horizon=2, quantiles=[0.5], scenarios=scenarios, aggregate=["sum"], seed=1)
    assert (told["position"], told["method"], list(told["scenarios"])) == (2, "sample_paths", ["cool", "warm"])
    cool, warm = told["scenarios"].values()
    assert "difference" not in cool and warm["difference"]["mean"] == pytest.approx([10, 20], rel=1e-3)
    assert warm["difference"]["aggregates"]["sum"]["median"] == pytest.approx(30, rel=1e-3)
    alone = ahead(served, session, horizon=2, quantiles=[0.5], future_covariates=scenarios["warm"], seed=1)
    assert (warm["mean"], warm["quantiles"]) == (alone["mean"], alone["quantiles"])


def test_scenarios_that_do_not_fit_are_refused_by_name(served: Served) -> None:
    session = begun(served, COVARIATE_SUM)
    error = refused(served, session, horizon=2, scenarios={"a": {"temperature": [1, 2]}, "b": {"temperature": [1]}})
    assert error["parameter"] == "scenarios.b" and "expected 2 values, got 1" in error["message"]
    both = {"scenarios": {"a": {}}, "future_covariates": {"temperature": [1]}}
    assert "leave one of them out" in refused(served, session, horizon=1, **both)["message"]
    plain = begun(served)
    assert "takes no future covariates" in refused(served, plain, horizon=1, scenarios={"a": {}})["message"]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"levels": [80]}, "levels.0: expected a number below 1.0, got 80"),
        ({"levels": []}, "levels: expected"),
        ({"aggregate": ["median"]}, "aggregate.0: expected one of"),
        ({"scenarios": {}}, "scenarios: expected"),
    ],
)
def test_what_cannot_be_told_is_named(served: Served, asked: dict[str, Any], words: str) -> None:
    assert words in refused(served, begun(served), horizon=1, **asked)["message"]


def test_a_model_that_counts_steps_takes_timestamps_with_a_frequency(served: Served) -> None:
    session = begun(served, COUNTED_SUM)
    assert "timestamps" not in ahead(served, session, horizon=1)
    answer = served.post("/v1/sessions", {"model": COUNTED_SUM, "first_timestamp": "2024-07-01T00:00:00Z"})
    assert answer.status_code == 422 and "give the frequency with it, such as 1h" in answer.json()["error"]["message"]
    dated = begun(served, COUNTED_SUM, first_timestamp="2024-07-01T00:00:00Z", frequency="5min")
    assert ahead(served, dated, horizon=1)["timestamps"] == ["2024-07-01T00:10:00Z"]
    wrong = served.post("/v1/sessions", {"model": DIRECT_SUM, "frequency": "D"})
    assert wrong.status_code == 422 and wrong.json()["error"]["parameter"] == "frequency"


def test_the_documented_answers_have_the_fields_that_are_told(served: Served) -> None:
    told = ahead(served, begun(served, first_timestamp="2024-07-01T00:00:00Z"), **examples.FORECAST)
    assert told.keys() == examples.FORECAST_ANSWER.keys()
    assert told["aggregates"]["sum"].keys() == examples.FORECAST_ANSWER["aggregates"]["sum"].keys()
