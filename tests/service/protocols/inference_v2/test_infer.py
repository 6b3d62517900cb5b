"""Inference without a sequence, and looking ahead with and without one."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.service.protocols.inference_v2.asking import MODEL, TEXT, ask, centres, output, refused, step, tensor
from tests.service.protocols.serving import CALENDAR_SUM, COVARIATE_SUM, STATIC_SUM, Served, serve

BUNDLED = Path(__file__).parents[4] / "models"

_numbers = count(5000)


def test_every_row_starts_from_the_initial_state(served: Served) -> None:
    for _ in range(2):
        answer = ask(served, tensor("target", [[1, 2, 3], [10, 20, 30]]))
        assert answer.status_code == 200 and "parameters" not in answer.json()
        middles = output(answer.json(), "quantiles")[:, :, 1]
        assert np.array_equal(middles, [[np.nan, 1, 3], [np.nan, 10, 30]], equal_nan=True)
        assert output(answer.json(), "pit").shape == (2, 3)


def test_more_rows_than_one_run_takes_are_answered_in_their_order(served: Served) -> None:
    answer = ask(served, tensor("target", [[row, 1] for row in range(150)]))
    assert output(answer.json(), "quantiles")[:, 1, 1].tolist() == list(range(150))


def test_a_row_is_what_a_sequence_gives(served: Served) -> None:
    alone = ask(served, tensor("target", [[1, None, 3]])).json()
    number = next(_numbers)
    assert step(served, number, 1, None, 3, sequence_start=True)["outputs"] == alone["outputs"]


def test_only_the_outputs_asked_for_are_given_in_their_order(served: Served) -> None:
    answer = ask(served, tensor("target", [[1]]), outputs=["pit", "quantiles"]).json()
    assert [one["name"] for one in answer["outputs"]] == ["pit", "quantiles"]
    answer = ask(served, tensor("target", [[1]]), outputs=["pit"]).json()
    assert [one["name"] for one in answer["outputs"]] == ["pit"]


def test_a_seed_of_which_nothing_is_drawn_is_refused(served: Served) -> None:
    target = tensor("target", [[1]])
    assert ask(served, target, sequence_id=987, sequence_start=True, seed=1).status_code == 200
    assert "nothing is drawn" in refused(ask(served, target, sequence_id=987, seed=2))
    assert "nothing is drawn" in refused(ask(served, target, seed=2))
    assert ask(served, target, sequence_id=987, seed=2, horizon=2).status_code == 200
    assert ask(served, target, seed=2, horizon=2).status_code == 200


def test_series_of_a_calendar_model_begin_at_a_timestamp(served: Served) -> None:
    session = served.open(CALENDAR_SUM, first_timestamp="2024-07-01T06:00:00Z")
    expected = [row[1] for row in served.observe(session, values=[1, 2, 3])["quantiles"]["values"][1:]]
    series = tensor("target", [[1, 2, 3], [1, 2, 3]])
    answer = ask(served, series, model=CALENDAR_SUM, first_timestamp="2024-07-01T08:00:00+02:00")
    assert output(answer.json(), "quantiles")[:, 1:, 1].tolist() == [expected] * 2
    assert "looks at the calendar" in refused(ask(served, series, model=CALENDAR_SUM))


def test_static_covariates_count_for_every_row(served: Served) -> None:
    answer = ask(served, tensor("target", [[1, 2], [3, 4]]), model=STATIC_SUM, static_covariates='{"level": 100}')
    assert output(answer.json(), "quantiles")[:, 1, 1].tolist() == [101, 103]


def test_tokens_of_many_texts_are_scored(served: Served) -> None:
    # Each token but the first of a row follows its predecessor in the vocabulary, or does not.
    answer = ask(served, tensor("tokens", [[1, 2, 3], [1, 2, 9]], "INT64"), model=TEXT).json()
    scores = output(answer, "log_probabilities")
    assert scores[0, 1:].round(4).tolist() == [np.log(0.9).round(4)] * 2
    assert scores[1, 1] == scores[0, 1] and scores[1, 2] < -3


@pytest.mark.parametrize(
    ("model", "inputs", "parameters", "message"),
    [
        (TEXT, [tensor("tokens", [[1, 99]], "INT64")], {}, "expected token ids from 0 to 27, other than 0, got 99"),
        (
            TEXT,
            [tensor("tokens", [[1]], "INT64")],
            {"horizon": 2},
            "parameters.horizon: model next-token/1 writes text",
        ),
        (TEXT, [tensor("tokens", [[1]], "INT64")], {"static_covariates": "{}"}, "takes no static_covariates"),
        (TEXT, [tensor("tokens", [[1]], "INT64")], {"first_timestamp": "2024-07-01"}, "takes no first_timestamp"),
        (MODEL, [tensor("target", [[1]])], {"position": 1}, "parameters.position: expected a sequence_id with it"),
        (MODEL, [tensor("target", [[1]])], {"sequence_end": True}, "sequence_end: expected a sequence_id with it"),
        (MODEL, [tensor("target", [[1]])], {"idempotency_key": "k"}, "expected a sequence_id with it"),
        (MODEL, [tensor("target", [[1]])], {"time": 5}, "parameters.time: unknown parameter"),
        (MODEL, [tensor("target", [[1]])], {"first_timestamp": "noon"}, "expected ISO 8601"),
        (MODEL, [tensor("target", [[1]], "INT64")], {}, "input 'target': expected datatype FP32, got INT64"),
        (
            *(COVARIATE_SUM, [tensor("target", [[1], [2]]), tensor("covariates", [[[1]]])]),
            *({}, "expected batch and length of 'target', [2, 1], got [1, 1]"),
        ),
        (
            *(MODEL, [tensor("target", [[1]]), tensor("future_covariates", [[[1]]])]),
            *({}, "model running-sum/1 takes target"),
        ),
    ],
)
def test_what_does_not_fit_the_model_is_told(
    served: Served, model: str, inputs: list[dict[str, Any]], parameters: dict[str, Any], message: str
) -> None:
    assert message in refused(ask(served, *inputs, model=model, **parameters))


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ([{"name": "mean"}], "output 'mean': expected quantiles, pit, forecast_mean, forecast_quantiles"),
        ([{"name": "pit"}, {"name": "pit"}], "output 'pit': expected each output once"),
        ([{"name": "pit", "parameters": {"classification": 3}}], "classification: expected nothing but binary_data"),
        ([{"name": "pit", "parameters": {"binary_data": 1}}], "binary_data: expected nothing but binary_data, true or"),
    ],
)
def test_outputs_that_are_not_there_are_told(served: Served, outputs: list[dict[str, Any]], message: str) -> None:
    body = {"inputs": [tensor("target", [[1]])], "outputs": outputs}
    assert message in refused(served.post(f"/v2/models/{MODEL}/infer", body))


def test_too_much_is_refused_before_any_work(served: Served) -> None:
    assert "UNROLL_MAX_INPUTS" in refused(ask(served, tensor("target", [[1]] * 257)), 413)
    assert "expected at most 2000" in refused(ask(served, tensor("target", [[1] * 201] * 10)), 413)
    assert "expected at most 100" in refused(ask(served, tensor("target", [[1]]), horizon=101), 413)
    assert "UNROLL_MAX_REQUEST_BYTES" in refused(ask(served, tensor("target", [[1.5] * 60_000])), 413)


def test_a_horizon_looks_ahead_of_every_row(served: Served) -> None:
    answer = ask(served, tensor("target", [[1, 2], [10, 20]]), horizon=3).json()
    names = [one["name"] for one in answer["outputs"]]
    assert names == ["quantiles", "pit", "forecast_mean", "forecast_quantiles"]
    mean, quantiles = output(answer, "forecast_mean"), output(answer, "forecast_quantiles")
    assert mean.shape == (2, 3) and quantiles.shape == (2, 3, 3)
    assert (np.diff(quantiles, axis=2) >= 0).all()
    assert np.abs(mean[:, 0] - [3, 30]).max() < 0.3
    assert output(ask(served, tensor("target", [[1, 2]]), horizon=3).json(), "forecast_mean").tolist() == [
        mean.tolist()[0]
    ]
    other = ask(served, tensor("target", [[1, 2]]), horizon=3, seed=1).json()
    assert output(other, "forecast_mean").tolist() != [mean.tolist()[0]]


def test_a_forecast_asked_for_by_name_alone_is_as_long_as_the_model_was_made_for(served: Served) -> None:
    answer = ask(served, tensor("target", [[1]]), outputs=["forecast_mean"]).json()
    assert [one["shape"] for one in answer["outputs"]] == [[1, 24]]
    answer = ask(served, tensor("target", [[1]]), outputs=["pit"], horizon=5).json()
    assert [one["name"] for one in answer["outputs"]] == ["pit"]


def test_a_sequence_looks_ahead_and_stays_where_it_is(served: Served) -> None:
    number = next(_numbers)
    answer = step(served, number, 1, 2, sequence_start=True, seed=5, horizon=3)
    native = served.post(f"/v1/sessions/{MODEL}:{number}/forecast", {"horizon": 3}).json()
    assert answer["parameters"]["position"] == native["position"] == 2
    assert output(answer, "forecast_mean").tolist() == [native["mean"]]
    assert output(answer, "forecast_quantiles").tolist() == [native["quantiles"]["values"]]
    assert centres(step(served, number, 1)) == [3]


def test_covariates_of_the_time_ahead_come_beside(served: Served) -> None:
    known = tensor("target", [[1, 2]]), tensor("covariates", [[[10], [20]]])
    begin: dict[str, Any] = {"sequence_id": next(_numbers), "sequence_start": True}
    for more in ({}, begin):
        asked: dict[str, Any] = {"model": COVARIATE_SUM, "horizon": 2, "seed": 3} | more
        answer = ask(served, *known, tensor("future_covariates", [[[100], [0]]]), **asked)
        mean = output(answer.json(), "forecast_mean")[0]
        assert abs(mean[0] - 103) < 0.5 and abs(mean[1] - 106) < 1
        assert "expected 2 steps, as many as are to be forecast, got 0" in refused(ask(served, *known, **asked))
        short = ask(served, *known, tensor("future_covariates", [[[100]]]), **asked)
        assert "expected 2 steps, as many as are to be forecast, got 1" in refused(short)
    unasked = ask(served, *known, tensor("future_covariates", [[[100], [0]]]), model=COVARIATE_SUM)
    assert "expected 0 steps" in refused(unasked)
    rows = ask(served, *known, tensor("future_covariates", [[[1]], [[2]]]), model=COVARIATE_SUM, horizon=1)
    assert "expected batch and length of 'target'" in refused(rows)


@pytest.mark.skipif(not (BUNDLED / "pjm-load").exists(), reason="the bundled models are not there")
def test_nothing_is_said_of_what_comes_after_missing_values_alone() -> None:
    with serve(BUNDLED) as served:
        start: dict[str, Any] = {"model": "pjm-load", "first_timestamp": "2024-07-01T06:00:00Z", "horizon": 2}
        nothing = tensor("target", [[None, None]])
        begin: dict[str, Any] = {"sequence_id": 1, "sequence_start": True}
        for more in ({}, begin):
            answer = ask(served, nothing, **start, **more)
            assert answer.status_code == 200, answer.text
            assert np.isnan(output(answer.json(), "forecast_mean")).all()
            assert np.isnan(output(answer.json(), "forecast_quantiles")).all()
        both = output(ask(served, tensor("target", [[None, None], [30000, 31000]]), **start).json(), "forecast_mean")
        assert np.isnan(both[0]).all() and (both[1] > 20000).all()
