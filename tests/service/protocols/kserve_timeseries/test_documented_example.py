"""The examples of KServe's documentation, as they stand there.

From "TimeSeries LLM Forecast API" (kserve.github.io/website, reference/time_series): a daily and an hourly series in
one request, with fields of the client's own in every place.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import known_models
from tests.service.protocols.serving import Served, serve

REQUEST: dict[str, Any] = {
    "model": "timesfm",
    "inputs": [
        {
            "type": "univariate_time_series",
            "name": "stock_price",
            "series": [120, 122, 125, 127, 130, 133, 135],
            "frequency": "D",
            "start_timestamp": "2025-06-05T13:10:00Z",
        },
        {
            "type": "univariate_time_series",
            "name": "humidity",
            "series": [33, 34, 35, 36, 37],
            "frequency": "H",
            "start_timestamp": "2025-06-05T13:10:00Z",
        },
    ],
    "options": {"horizon": 4, "quantiles": [0.1, 0.5, 0.9], "other_options": "value"},
    "metadata": {"request_id": "user_defined_request_id", "other_data": "value"},
    "other_properties": "value",
}
STARTS = {"stock_price": "2025-06-12T13:10:00Z", "humidity": "2025-06-05T18:10:00Z"}
"""Where the documented answer's horizons begin."""
TOP = {"id", "created_at", "status", "error", "model", "outputs", "usage"}
CONTENT = {"type", "name", "mean_forecast", "frequency", "start_timestamp", "quantiles"}


@pytest.fixture(scope="module", params=["1D", "1h"])
def timesfm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("timesfm")
    known_models.running_sum(folder, name="timesfm", frequency=request.param)
    with serve(folder) as served:
        yield served


def post(served: Served, body: Any) -> Any:
    answer = httpx.post(f"{served.url}/v1/timeseries/forecast", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_series_that_the_model_fits_is_answered_as_documented(timesfm: Served) -> None:
    answer = post(timesfm, REQUEST)
    assert answer.keys() >= TOP and answer["model"] == "timesfm" and answer["error"] is None
    assert answer["status"] == "partial"  # one model has one frequency, and the example has two
    assert answer["metadata"] == REQUEST["metadata"]
    (good,) = (output for output in answer["outputs"] if output["status"] == "completed")
    (bad,) = (output for output in answer["outputs"] if output["status"] == "error")
    assert bad["error"].keys() == {"code", "message", "param", "type"} and bad["error"]["param"].endswith(".frequency")
    assert good["type"] == "time_series_forecast" and good["id"] != bad["id"]
    (content,) = good["content"]
    assert content.keys() == CONTENT and content["type"] == "univariate_time_series"
    assert content["start_timestamp"] == STARTS[content["name"]]
    assert content["quantiles"].keys() == {"0.1", "0.5", "0.9"}
    assert [len(values) for values in (content["mean_forecast"], *content["quantiles"].values())] == [4] * 4


def test_a_request_of_the_required_fields_alone_is_answered(timesfm: Served) -> None:
    """Without quantiles "only mean forecast will be returned"."""
    model = timesfm.client.get("/v1/models/timesfm").json()
    (given,) = (one for one in REQUEST["inputs"] if one["frequency"].upper() in model["forecast"]["frequency"].upper())
    required = {name: given[name] for name in ("type", "name", "series", "frequency")}
    answer = post(timesfm, {"model": "timesfm", "inputs": [required], "options": {"horizon": 4}})
    assert answer["status"] == "completed"
    (content,) = answer["outputs"][0]["content"]
    assert "quantiles" not in content and len(content["mean_forecast"]) == 4


@pytest.mark.parametrize(
    "spelling", [("SECOND", "S"), ("MINUTE", "T"), ("HOUR", "H"), ("DAY", "D"), ("WEEK", "W"), ("MONTH", "M")]
)
def test_every_documented_frequency_is_read(timesfm: Served, spelling: tuple[str, str]) -> None:
    for text in spelling:
        body = REQUEST | {"inputs": [REQUEST["inputs"][0] | {"frequency": text}]}
        answer = httpx.post(f"{timesfm.url}/v1/timeseries/forecast", json=body).json()
        assert answer["error"] is None or "forecasts at" in answer["error"]["message"]


def test_quarters_and_years_are_read(timesfm: Served) -> None:
    test_every_documented_frequency_is_read(timesfm, ("QUARTER", "Q"))
    test_every_documented_frequency_is_read(timesfm, ("YEAR", "Y"))
