"""KServe's time-series schema over HTTP."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from tests import known_models
from tests.service.protocols.serving import CALENDAR_SUM, COVARIATE_SUM, STATIC_SUM, Served

PATH = "/v1/timeseries/forecast"


def body(*inputs: dict[str, Any], model: str = known_models.RUNNING_SUM, **options: Any) -> dict[str, Any]:
    univariate = [{"type": "univariate_time_series", "name": f"s{n}", **one} for n, one in enumerate(inputs)]
    return {"model": model, "inputs": univariate, "options": {"horizon": 3, **options}}


def forecast(served: Served, request: dict[str, Any], **headers: str) -> Any:
    answer = served.post(PATH, request, **headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_series_is_forecast(served: Served) -> None:
    series = {"series": [1, 2, None], "frequency": "H", "start_timestamp": "2024-07-01T00:00:00Z"}
    answer = forecast(served, body(series, model=CALENDAR_SUM, quantiles=[0.1, 0.9]))
    assert answer["status"] == "completed" and answer["error"] is None and answer["model"] == CALENDAR_SUM
    (output,) = answer["outputs"]
    assert output["type"] == "time_series_forecast" and output["status"] == "completed"
    (content,) = output["content"]
    assert content["name"] == "s0" and content["frequency"] == "H" and content["type"] == "univariate_time_series"
    assert content["start_timestamp"] == "2024-07-01T03:00:00Z"
    assert len(content["mean_forecast"]) == 3 and content["quantiles"].keys() == {"0.1", "0.9"}


def test_several_series_are_forecast_each_as_if_alone(served: Served) -> None:
    series = [{"series": [float(number)]} for number in range(10)]
    together = forecast(served, body(*series, seed=1))
    for number, output in enumerate(together["outputs"]):
        alone = forecast(served, body({"series": [float(number)], "name": f"s{number}"}, seed=1))
        assert output["content"] == alone["outputs"][0]["content"]


def test_without_quantiles_the_mean_alone_is_told(served: Served) -> None:
    (output,) = forecast(served, body({"series": [1]}))["outputs"]
    assert output["content"][0].keys() == {"type", "name", "mean_forecast", "frequency", "start_timestamp"}


def test_usage_counts_the_values_taken_in_and_forecast(served: Served) -> None:
    answer = forecast(served, body({"series": [1, 2, None]}, {"series": [1]}, {"series": [1], "frequency": "D"}))
    assert answer["status"] == "partial"
    assert answer["usage"] == {"prompt_tokens": 4, "completion_tokens": 6, "total_tokens": 10}


@pytest.mark.parametrize("spelling", ["1h", "H", "h", "HOUR", "hour"])
def test_frequencies_are_read_in_every_spelling(served: Served, spelling: str) -> None:
    answer = forecast(served, body({"series": [1], "frequency": spelling}))
    assert answer["outputs"][0]["content"][0]["frequency"] == spelling


def test_covariates_cover_series_and_horizon(served: Served) -> None:
    given = {"series": [1, 2], "future_covariates": {"temperature": [1, 2, 3, 4, 5]}}
    assert forecast(served, body(given, model=COVARIATE_SUM))["status"] == "completed"
    short = {"series": [1, 2], "future_covariates": {"temperature": [1, 2, 3]}}
    refused = served.post(PATH, body(short, model=COVARIATE_SUM))
    assert refused.status_code == 422 and "expected 5 values, got 3" in refused.json()["error"]["message"]


def test_a_session_takes_what_is_new_and_goes_on(served: Served) -> None:
    session = uuid4().hex
    first = forecast(served, body({"series": [1, 2], "session_id": session, "position": 0}))
    assert first["outputs"][0]["session_id"] == session and first["outputs"][0]["position"] == 2
    assert 0 <= first["outputs"][0]["durable_position"] <= 2
    again = forecast(served, body({"series": [1, 2], "session_id": session, "position": 0}))
    assert again["outputs"][0]["content"] == first["outputs"][0]["content"]
    more = forecast(served, body({"series": [3], "session_id": session, "position": 2}))
    assert more["outputs"][0]["position"] == 3
    nothing_new = forecast(served, body({"series": [], "session_id": session}))
    assert nothing_new["outputs"][0]["content"] == more["outputs"][0]["content"]
    conflict = served.post(PATH, body({"series": [9], "session_id": session, "position": 1}))
    assert conflict.status_code == 409 and conflict.json()["error"]["type"] == "conflict_error"


def test_an_idempotency_key_makes_sessions_safe_to_repeat(served: Served) -> None:
    ids = [uuid4().hex, uuid4().hex]
    request = body(*({"series": [1, 2], "session_id": one} for one in ids))
    first, again = (forecast(served, request, **{"idempotency-key": "k"}) for _ in range(2))
    assert [output["content"] for output in first["outputs"]] == [output["content"] for output in again["outputs"]]
    assert [served.position(one) for one in ids] == [2, 2]


def test_a_session_fills_gaps_by_its_timestamps(served: Served) -> None:
    session = uuid4().hex
    day = {"session_id": session, "series": [1, 2], "start_timestamp": "2024-07-01T00:00:00Z"}
    forecast(served, body(day, model=CALENDAR_SUM))
    later = {"session_id": session, "series": [3], "start_timestamp": "2024-07-01T05:00:00Z"}
    answer = forecast(served, body(later, model=CALENDAR_SUM))
    assert answer["outputs"][0]["position"] == 6
    assert answer["outputs"][0]["content"][0]["start_timestamp"] == "2024-07-01T06:00:00Z"


def test_static_covariates_belong_to_the_opening(served: Served) -> None:
    session = uuid4().hex
    given = {"series": [1], "session_id": session, "static_covariates": {"level": 2}}
    forecast(served, body(given, model=STATIC_SUM))
    refused = served.post(PATH, body(given | {"series": [2]}, model=STATIC_SUM))
    assert refused.status_code == 422 and "only when the session is opened" in refused.json()["error"]["message"]


def test_where_one_series_fails_the_others_are_answered(served: Served) -> None:
    session = served.open()
    served.observe(session, values=[1])
    answer = forecast(served, body({"series": [1]}, {"series": [1], "session_id": session, "position": 5}))
    assert answer["status"] == "partial"
    good, bad = answer["outputs"]
    assert good["status"] == "completed" and good["error"] is None
    assert bad["status"] == "error" and bad["content"] == [] and bad["error"]["code"] == "position_conflict"
    assert bad["error"]["message"].startswith("inputs.1: ")


def test_one_that_cannot_be_read_stops_no_other(served: Served) -> None:
    answer = forecast(served, body({"series": [1]}, {"series": [1], "frequency": "D"}, {"series": [[1]]}))
    assert [output["status"] for output in answer["outputs"]] == ["completed", "error", "error"]
    assert [output["error"]["param"] for output in answer["outputs"][1:]] == ["inputs.1.frequency", "inputs.2.type"]


def test_a_forecast_that_is_refused_leaves_its_session_where_it_stands(served: Served) -> None:
    session = served.open(COVARIATE_SUM)
    for given in ([1, 2, 3], [1, 2, 3, 4, 5]):  # for one value and a horizon of three
        one = {"series": [7], "session_id": session, "future_covariates": {"temperature": given}}
        refused = served.post(PATH, body(one, model=COVARIATE_SUM))
        assert refused.status_code == 422 and "expected 4 values" in refused.json()["error"]["message"]
    beyond = {"series": [7], "session_id": session, "future_covariates": {"temperature": [1] * 102}}
    assert served.post(PATH, body(beyond, model=COVARIATE_SUM, horizon=101)).status_code == 413
    assert served.position(session) == 0


def test_a_refused_request_leaves_no_session_behind(served: Served) -> None:
    session = uuid4().hex
    answer = served.post(PATH, body({"series": [1], "session_id": session, "position": 4}))
    assert answer.status_code == 409
    assert served.client.get(f"/v1/sessions/{session}").status_code == 404


@pytest.mark.parametrize(
    ("request_body", "status", "parameter", "words"),
    [
        (body({"series": [1]}, model="nobody"), 404, "model", "expected one of"),
        (body({"series": [1]}, model=known_models.NEXT_TOKEN), 422, "model", "use a forecast model"),
        (body(), 422, "inputs", "expected"),
        (body({"series": []}), 422, "inputs.0.series", "at least 1"),
        (body({"series": [1, "x"]}), 422, "inputs.0.series.1", 'got "x"'),
        (body({"series": [1, 1e39]}), 422, "inputs.0.series.1", "float32"),
        (body({"series": [[1, 2]]}), 422, "inputs.0.type", "expected multivariate_time_series with rows"),
        (
            body({"series": [1], "type": "poem"}),
            422,
            "inputs.0.type",
            "expected univariate_time_series or multivariate",
        ),
        (body({"series": [1], "frequency": "D"}), 422, "inputs.0.frequency", "forecasts at 1h, got 'D'"),
        (body({"series": [1], "frequency": "often"}), 422, "inputs.0.frequency", "expected a count and a unit"),
        (body({"series": [1], "start_timestamp": "soon"}), 422, "inputs.0.start_timestamp", "ISO 8601"),
        (body({"series": [1], "position": 0}), 422, "inputs.0.position", "only together with session_id"),
        (body({"series": [1], "sessionId": "a"}), 422, "inputs.0.sessionId", "did you mean session_id?"),
        (body({"series": [1]}, quantile=[0.5]), 422, "options.quantile", "did you mean quantiles?"),
        (body({"series": [1]}) | {"Metadata": {}}, 422, "Metadata", "did you mean metadata?"),
        (body({"series": [1]}, horizon=0), 422, "options.horizon", "at least 1"),
        (body({"series": [1]}, horizon=101), 413, "horizon", "100"),
        (body({"series": [1]}, quantiles=[0]), 422, "options.quantiles.0", "above 0"),
        (body({"series": [1]}, model=CALENDAR_SUM), 422, "inputs.0.start_timestamp", "looks at the calendar"),
        (body({"series": [1] * 2001}), 413, "inputs.0.series", "2000"),
        (body({"series": [1], "session_id": "a"}, {"series": [1], "session_id": "a"}), 422, "inputs", "'a' 2 times"),
        (body(*[{"series": [1]}] * 257), 413, "inputs", "UNROLL_MAX_INPUTS"),
    ],
)
def test_what_cannot_be_forecast_is_named(
    served: Served, request_body: Any, status: int, parameter: str, words: str
) -> None:
    answer = served.post(PATH, request_body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error.keys() == {"code", "message", "param", "type"}
    assert error["param"] == parameter and words in error["message"]


def test_quantiles_are_told_under_the_levels_that_were_asked_for(served: Served) -> None:
    levels = [0.1234567, 0.1234568, 0.9999999]
    (output,) = forecast(served, body({"series": [1]}, quantiles=levels))["outputs"]
    assert [float(level) for level in output["content"][0]["quantiles"]] == levels


def test_a_position_counts_where_nothing_is_new(served: Served) -> None:
    session = served.open()
    served.observe(session, values=[1, 2])
    forecast(served, body({"series": [], "session_id": session, "position": 2}))
    for elsewhere in (0, 1, 3):
        answer = served.post(PATH, body({"series": [], "session_id": session, "position": elsewhere}))
        assert answer.status_code == 409 and "but it is at 2" in answer.json()["error"]["message"]


def test_an_id_that_cannot_be_is_named_as_this_schema_names_it(served: Served) -> None:
    error = served.post(PATH, body({"series": [1], "session_id": "a b"})).json()["error"]
    assert error["param"] == "inputs.0.session_id" and error["message"].startswith("inputs.0: session_id: expected")


def test_a_message_repeats_no_more_than_the_beginning_of_a_long_text(served: Served) -> None:
    for wrong in ({"type": "x" * 9000}, {"start_timestamp": "x" * 9000}, {"frequency": "x" * 9000}):
        assert len(served.post(PATH, body({"series": [1]} | wrong)).json()["error"]["message"]) < 300
    assert len(served.post(PATH, body({"series": [1]}, model="x" * 9000)).json()["error"]["message"]) < 400


@pytest.mark.parametrize("name", [b"\xff", b"\\ud800"])
@pytest.mark.parametrize("place", [b'{"model"', b'{"type"', b'{"horizon"'])
def test_a_name_of_a_field_that_is_no_text_is_refused(served: Served, name: bytes, place: bytes) -> None:
    whole = json.dumps(body({"series": [1], "name": "s"}) | {"model": known_models.RUNNING_SUM}).encode()
    content = whole.replace(place, b'{"' + name + b'": 1, ' + place[1:])
    answer = served.client.post(PATH, content=content)
    assert content != whole and answer.status_code == 400 and "expected" in answer.json()["error"]["message"], (
        answer.text
    )


def test_the_samples_of_all_series_have_one_bound_together(served: Served) -> None:
    answer = served.post(PATH, body({"series": [1]}, {"series": [2]}, horizon=2048, samples=1000))
    assert answer.status_code == 413 and "values in all" in answer.json()["error"]["message"]
