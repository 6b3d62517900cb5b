"""Multivariate series: with the model's covariates in their rows, or of variables that are forecast each for itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests import known_models
from tests.service.protocols.serving import Served, serve

PATH = "/v1/timeseries/forecast"
WEATHER_SUM = "weather-sum"
"""A running sum with the covariates wind and sun."""
PLAIN_SUM = known_models.RUNNING_SUM
ROWS: list[list[float | None]] = [[1, 10, 0.5], [2, 20, None], [None, 30, 0.25]]
AHEAD = [[40, 0.5], [50, 0.75]]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("multivariate")
    known_models.running_sum(folder)
    known_models.running_sum(folder, name=WEATHER_SUM, future_covariates=["wind", "sun"])
    with serve(folder, max_inputs=8) as running:
        yield running


def request(model: str, *inputs: dict[str, Any], **options: Any) -> dict[str, Any]:
    return {"model": model, "inputs": list(inputs), "options": {"horizon": 2, "quantiles": [0.25, 0.75], **options}}


def given(rows: Any, **more: Any) -> dict[str, Any]:
    return {"type": "multivariate_time_series", "name": "many", "series": rows, "frequency": "H", **more}


def one(values: Any, **more: Any) -> dict[str, Any]:
    return {"type": "univariate_time_series", "name": "many", "series": values, "frequency": "H", **more}


def content(served: Served, body: dict[str, Any]) -> Any:
    answer = served.post(PATH, body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "completed"
    ((told,),) = (output["content"] for output in answer.json()["outputs"])
    return told


def test_each_variable_is_forecast_as_if_it_had_come_alone(served: Served) -> None:
    together = content(served, request(PLAIN_SUM, given(ROWS), seed=3))
    assert together["type"] == "multivariate_time_series"
    for variable in range(3):
        alone = content(served, request(PLAIN_SUM, one([row[variable] for row in ROWS]), seed=3))
        assert [step[variable] for step in together["mean_forecast"]] == alone["mean_forecast"]
        for level, values in together["quantiles"].items():
            assert [step[variable] for step in values] == alone["quantiles"][level]


def test_rows_hold_the_value_and_then_the_models_covariates(served: Served) -> None:
    """Whichever way the covariates come, the forecast is the same, and it is of the series alone."""
    wind, sun = [10, 20, 30, 40, 50], [0.5, None, 0.25, 0.5, 0.75]
    told = [
        content(served, request(WEATHER_SUM, asked, seed=3))
        for asked in (
            given(ROWS, future_covariates=AHEAD),
            given(ROWS, future_covariates={"sun": sun[3:], "wind": wind[3:]}),
            one([1, 2, None], future_covariates={"wind": wind, "sun": sun}),
            one([1, 2, None], future_covariates=[list(row) for row in zip(wind, sun, strict=True)]),
        )
    ]
    assert told[0]["type"] == "univariate_time_series" and len(told[0]["mean_forecast"]) == 2
    assert told[1:] == told[:1] * 3


def test_a_session_takes_rows_and_goes_on_like_the_whole_series(served: Served) -> None:
    ids = uuid4().hex, uuid4().hex
    asked = {"future_covariates": AHEAD, "session_id": ids[0]}
    whole = content(served, request(WEATHER_SUM, given(ROWS, **asked, position=0), seed=3))
    content(served, request(WEATHER_SUM, given(ROWS[:1], session_id=ids[1], future_covariates=AHEAD)))
    asked |= {"session_id": ids[1]}
    assert content(served, request(WEATHER_SUM, given(ROWS[1:], **asked, position=1), seed=3)) == whole
    assert content(served, request(WEATHER_SUM, given([], **asked, position=3), seed=3)) == whole
    assert [served.position(one) for one in ids] == [3, 3]


def test_a_session_takes_the_rows_of_a_single_variable(served: Served) -> None:
    session = uuid4().hex
    told = content(served, request(PLAIN_SUM, given([[1], [2]], session_id=session)))
    assert told["type"] == "multivariate_time_series" and [len(step) for step in told["mean_forecast"]] == [1, 1]
    assert served.position(session) == 2


def test_several_variables_are_not_for_one_session(served: Served) -> None:
    session = uuid4().hex
    refused = served.post(PATH, request(PLAIN_SUM, given(ROWS, session_id=session)))
    error = refused.json()["error"]
    assert refused.status_code == 422 and error["param"] == "inputs.0.session_id"
    assert "send each variable as an input of its own, with a session of its own" in error["message"]
    assert served.client.get(f"/v1/sessions/{session}").status_code == 404


@pytest.mark.parametrize(
    ("model", "asked", "parameter", "words"),
    [
        (PLAIN_SUM, given([1, 2]), "series", "expected a row of values for every step"),
        (PLAIN_SUM, given([[1], 2]), "series", "expected a row of values for every step"),
        (PLAIN_SUM, given([[1, 2], [1]]), "series.1", "expected rows of one length, here 2, got 1"),
        (PLAIN_SUM, given([[], []]), "series.0", "expected rows of one length, here 1, got 0"),
        (PLAIN_SUM, given([]), "series", "at least 1"),
        (PLAIN_SUM, given([[1, 1e39]]), "series.0", "float32"),
        (PLAIN_SUM, given([[1, 2]], future_covariates=AHEAD), "future_covariates.0", "expected a row of 0 values"),
        (WEATHER_SUM, given([[1, 2]]), "series.0", "a row of 3 values (the series' own, wind, sun), got 2"),
        (WEATHER_SUM, given(ROWS), "future_covariates", "wind, sun for the 2 steps of the horizon, got none"),
        (WEATHER_SUM, given(ROWS, future_covariates=AHEAD[:1]), "future_covariates", "expected 2 steps"),
        (WEATHER_SUM, given(ROWS, future_covariates=[[1], [2]]), "future_covariates.0", "2 values (wind, sun), got 1"),
        (WEATHER_SUM, given(ROWS, future_covariates={"wind": [1, 2]}), "future_covariates", "got wind"),
    ],
)
def test_rows_that_do_not_fit_are_named(
    served: Served, model: str, asked: dict[str, Any], parameter: str, words: str
) -> None:
    refused = served.post(PATH, request(model, asked))
    error = refused.json()["error"]
    assert refused.status_code == 422, refused.text
    assert error["param"] == f"inputs.0.{parameter}" and words in error["message"]


def test_variables_count_as_series(served: Served) -> None:
    refused = served.post(PATH, request(PLAIN_SUM, given([[1] * 5]), given([[1] * 4])))
    assert refused.status_code == 413 and "UNROLL_MAX_INPUTS" in refused.json()["error"]["message"]
