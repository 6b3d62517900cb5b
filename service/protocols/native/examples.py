"""Worked examples for the OpenAPI page; they run as they are against the bundled models."""

from __future__ import annotations

from typing import Any

MODEL: dict[str, Any] = {
    "id": "pjm-load",
    "object": "model",
    "created": 1795000000,
    "owned_by": "unroll",
    "version": 1,
    "versions": [1],
    "ready": True,
    "task": "forecast",
    "description": "Hourly load of four PJM zones and their total",
    "license": "Apache-2.0",
    "cell": "LSTM",
    "state_bytes": 2752,
    "forecast": {"frequency": "1h", "quantiles": [0.1, 0.5, 0.9], "unit": "MW"},
    "metrics": {"mase": 0.61},
}
MODELS = {"object": "list", "data": [MODEL], "rejected": [{"id": "old", "version": "2", "reason": "weights.bin: …"}]}
RELOADED = {"loaded": ["pjm-load/2"], "removed": [], "rejected": []}

OPEN = {"model": "pjm-load", "id": "meter-17", "first_timestamp": "2024-07-01T00:00:00Z"}
SESSION = {
    "id": "meter-17",
    "object": "session",
    "model": "pjm-load",
    "version": 1,
    "task": "forecast",
    "position": 0,
    "durable_position": 0,
    "seed": 42,
    "created": 1795000000.0,
    "expires": 1795086400.0,
    "time_to_live_s": 86400.0,
    "state_bytes": 2752,
    "durability": "sync",
    "restored": False,
    "anomaly_threshold": 0.99,
    "first_timestamp": "2024-07-01T00:00:00Z",
    "next_timestamp": "2024-07-01T00:00:00Z",
}
SESSIONS = {"object": "list", "data": [SESSION], "next": None}

OBSERVE = {"values": [31250.0, 30110.0, None, 28790.5], "position": 0}
OBSERVED = {
    "start": 0,
    "position": 4,
    "durable_position": 4,
    "quantiles": {
        "levels": [0.1, 0.5, 0.9],
        "values": [
            None,
            [29100.0, 30300.0, 31500.0],
            [28300.0, 29400.0, 30500.0],
            [27600.0, 28800.0, 30000.0],
        ],
    },
    "expected": [None, 30300.0, 29400.0, 28800.0],
    "interval": {"level": 0.8, "lower": [None, 29100.0, 28300.0, 27600.0], "upper": [None, 31500.0, 30500.0, 30000.0]},
    "pit": [None, 0.44, None, 0.49],
    "anomaly_score": [None, 0.12, None, 0.02],
    "anomaly": [False, False, False, False],
}

OBSERVE_SESSIONS = {"sessions": [{"session_id": "meter-17", **OBSERVE}]}
OBSERVED_SESSIONS = {"data": [{"session_id": "meter-17", **OBSERVED}]}
FORECAST = {"horizon": 24, "quantiles": [0.1, 0.5, 0.9], "levels": [0.95], "aggregate": ["sum"]}
FORECAST_ANSWER: dict[str, Any] = {
    "position": 4,
    "method": "sample_paths",
    "mean": [28300.0, 28450.0],
    "median": [28300.0, 28400.0],
    "quantiles": {"levels": [0.1, 0.5, 0.9], "values": [[27100.0, 28300.0, 29500.0], [26900.0, 28400.0, 30100.0]]},
    "intervals": [{"level": 0.95, "lower": [26400.0, 26000.0], "upper": [30300.0, 31000.0]}],
    "timestamps": ["2024-07-01T04:00:00Z", "…"],
    "aggregates": {
        "sum": {
            "mean": 812400.0,
            "median": 811900.0,
            "quantiles": {"levels": [0.1, 0.5, 0.9], "values": [771000.0, 811900.0, 856000.0]},
            "intervals": [{"level": 0.95, "lower": 748000.0, "upper": 881000.0}],
        }
    },
}
FORECAST_SESSIONS = {"sessions": [{"session_id": "meter-17", **FORECAST}]}
FORECASTS = {"data": [{"session_id": "meter-17", **FORECAST_ANSWER}]}
GENERATE = {"max_tokens": 64, "temperature": 0.8, "seed": 7, "stream": False}
GENERATED = {
    "text": "What light is this",
    "tokens": [35, 46, 39],
    "position": 82,
    "durable_position": 82,
    "finish_reason": "length",
}
CHECKPOINT = {"name": "act-2", "position": 82}
CHECKPOINTS = {"object": "list", "data": [CHECKPOINT], "turn_ends": [0, 40, 82]}
SCORE = {"model": "shakespeare", "text": "To be, or not to be: that is the question."}
SCORED = {
    "model": "shakespeare/1",
    "tokens": 42,
    "characters": 42,
    "bytes": 42,
    "log_probability": -58.3,
    "bits_per_byte": 2.0,
    "bits_per_character": 2.0,
    "perplexity": 4.0,
}
