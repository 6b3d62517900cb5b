"""KServe's open time-series schema: `POST /v1/timeseries/forecast`; `session_id` continues a session."""

from __future__ import annotations

from service.protocols.documentation import Route
from service.protocols.kserve_timeseries.errors import render
from service.protocols.kserve_timeseries.forecast import create_forecast
from service.protocols.kserve_timeseries.messages import SeriesForecastBody

__all__ = ["PREFIX", "ROUTES", "render"]

PREFIX = "/v1/timeseries"

_EXAMPLE = {
    "model": "pjm-load",
    "inputs": [
        {
            "type": "univariate_time_series",
            "name": "total",
            "series": [31250.0, 30110.0, None, 28790.5, 28520.0, 29010.0],
            "frequency": "1h",
            "start_timestamp": "2024-07-01T00:00:00Z",
        }
    ],
    "options": {"horizon": 24, "quantiles": [0.1, 0.5, 0.9], "aggregate": ["sum"]},
}
_ANSWER = {
    "id": "forecast-5f0c",
    "created_at": 1795000000,
    "status": "completed",
    "error": None,
    "model": "pjm-load",
    "outputs": [
        {
            "type": "time_series_forecast",
            "id": "forecast-5f0c-0",
            "status": "completed",
            "content": [
                {
                    "type": "univariate_time_series",
                    "name": "total",
                    "mean_forecast": [29800.0, 31100.0],
                    "frequency": "1h",
                    "start_timestamp": "2024-07-01T06:00:00Z",
                    "quantiles": {"0.1": [28700.0, 29600.0], "0.5": [29800.0, 31200.0], "0.9": [30900.0, 32500.0]},
                    "aggregates": {
                        "sum": {
                            "mean": 812400.0,
                            "quantiles": {"0.1": 771000.0, "0.5": 811900.0, "0.9": 856000.0},
                            "intervals": [],
                        }
                    },
                }
            ],
            "error": None,
        }
    ],
    "usage": {"prompt_tokens": 6, "completion_tokens": 24, "total_tokens": 30},
}
_KEY = {"idempotency-key": ("header", "with session_id: the same request sent again is not carried out again")}

ROUTES = (
    Route(
        "POST",
        PREFIX + "/forecast",
        create_forecast,
        _ANSWER,
        "predict or sessions",
        body=SeriesForecastBody,
        example=_EXAMPLE,
        parameters=_KEY,
    ),
)
