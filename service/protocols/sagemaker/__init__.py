"""SageMaker's container contract: `/ping`, and `/invocations` with DeepAR's requests and SageMaker's sessions."""

from __future__ import annotations

from service.protocols.documentation import Route
from service.protocols.sagemaker.errors import render
from service.protocols.sagemaker.invocations import invoke, ping
from service.protocols.sagemaker.messages import InvocationBody
from service.protocols.sagemaker.models import TARGET_MODEL
from service.protocols.sagemaker.sessions import SESSION_ID

__all__ = ["PREFIX", "ROUTES", "render"]

PREFIX = "/invocations"

_EXAMPLE = {
    "model": "pjm-load",
    "instances": [{"start": "2024-07-01 00:00:00", "target": [31250.0, 30110.0, "NaN", 28790.5, 28520.0, 29010.0]}],
    "configuration": {"num_samples": 50, "output_types": ["mean", "quantiles"], "quantiles": ["0.1", "0.9"]},
}
_ANSWER = {
    "predictions": [
        {"mean": [29800.0, 31100.0], "quantiles": {"0.1": [28700.0, 29600.0], "0.9": [30900.0, 32500.0]}},
    ]
}
_HEADERS = {
    TARGET_MODEL: ("header", "the model to forecast with"),
    SESSION_ID: ("header", "the session that the instance goes on with; NEW_SESSION opens one"),
    "idempotency-key": ("header", "in a session: the same request sent again is not carried out again"),
}

ROUTES = (
    Route("GET", "/ping", ping, {"status": "ready"}, "open"),
    Route(
        "POST",
        PREFIX,
        invoke,
        _ANSWER,
        "predict or sessions",
        body=InvocationBody,
        example=_EXAMPLE,
        parameters=_HEADERS,
    ),
)
