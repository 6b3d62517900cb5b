"""The examples of AWS's documentation: DeepAR's inference formats, and stateful sessions of a model container.

The documentation leaves features out with an ellipsis; here they are filled up to the length that it asks for.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.service.protocols.sagemaker.deepar_model import DEEPAR, HORIZON
from tests.service.protocols.serving import Served

CONFIGURATION = {"num_samples": 50, "output_types": ["mean", "quantiles", "samples"], "quantiles": ["0.5", "0.9"]}
NEW_SESSION_ID = re.compile(
    r"(?=.{1,256}$)[a-zA-Z0-9](-*[a-zA-Z0-9])*;\sExpires=(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})Z"
)
"""What SageMaker's API says of a new session's header."""


def instance(start: str, target: list[Any], cat: list[int], *feature: float) -> dict[str, Any]:
    features = [*feature, *[0.0] * HORIZON * 2][: len(target) + HORIZON]
    return {"start": start, "target": target, "cat": cat, "dynamic_feat": [features]}


INSTANCES = [
    instance("2009-11-01 00:00:00", [4.0, 10.0, "NaN", 100.0, 113.0], [0, 1], 1.0, 1.1, 2.1, 0.5, 3.1, 4.1, 1.2, 5.0),
    instance("2012-01-30", [1.0], [2, 1], 2.0, 3.1, 4.5, 1.5, 1.8, 3.2, 0.1, 3.0),
    instance("1999-01-30", [2.0, 1.0], [1, 3], 1.0, 0.1, -2.5, 0.3, 2.0, -1.2, -0.1, -3.0),
]
LINES = [
    instance("2009-11-01 00:00:00", [4.3, "NaN", 5.1], [0, 1], 1.1, 1.2, 0.5),
    instance("2012-01-30 00:00:00", [1.0, -5.0], [2, 3], 1.1, 2.05),
    instance("1999-01-30 00:00:00", [2.0, 1.0], [1, 4], 1.3, 0.4),
]


def invoke(served: Served, body: Any, **headers: str) -> httpx.Response:
    return served.post("/invocations", body, **headers)


def test_the_request_is_answered_in_the_documented_form(deepar: Served) -> None:
    answer = invoke(deepar, {"instances": INSTANCES, "configuration": CONFIGURATION})
    assert answer.status_code == 200, answer.text
    assert answer.json().keys() == {"predictions"}
    assert len(answer.json()["predictions"]) == len(INSTANCES)
    for prediction in answer.json()["predictions"]:
        assert prediction.keys() == {"mean", "quantiles", "samples"}
        assert prediction["quantiles"].keys() == {"0.5", "0.9"}
        assert [len(path) for path in prediction["samples"]] == [HORIZON] * 50
        assert [len(values) for values in (prediction["mean"], *prediction["quantiles"].values())] == [HORIZON] * 3


def test_the_samples_are_those_behind_the_other_outputs(deepar: Served) -> None:
    (prediction,) = invoke(deepar, {"instances": INSTANCES[:1], "configuration": CONFIGURATION}).json()["predictions"]
    first = [path[0] for path in prediction["samples"]]
    assert prediction["mean"][0] == pytest.approx(sum(first) / len(first))
    assert prediction["quantiles"]["0.5"][0] == pytest.approx(sum(sorted(first)[24:26]) / 2)


def test_lines_are_answered_line_by_line_with_the_documented_default(deepar: Served) -> None:
    text = "\n".join(map(json.dumps, LINES)) + "\n"
    headers = {"content-type": "application/jsonlines"}
    answer = deepar.client.post("/invocations", content=text, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/jsonlines"
    predictions = [json.loads(line) for line in answer.text.splitlines()]
    assert len(predictions) == len(LINES)
    for prediction in predictions:
        assert prediction.keys() == {"mean", "quantiles"}
        assert prediction["quantiles"].keys() == {f"0.{tenth}" for tenth in range(1, 10)}


def test_a_session_is_created_used_and_closed(deepar: Served) -> None:
    """The three requests of AWS's "sticky session routing", as SageMaker hands them to a container."""
    opened = invoke(
        deepar,
        {"requestType": "NEW_SESSION", "cat": [0, 1]},
        **{"X-Amzn-SageMaker-Session-Id": "NEW_SESSION"},
    )
    assert opened.status_code == 200, opened.text
    told = opened.headers["x-amzn-sagemaker-new-session-id"]
    found = NEW_SESSION_ID.fullmatch(told)
    assert found is not None, told
    assert datetime.fromisoformat(found[2]).replace(tzinfo=UTC) > datetime.now(UTC)
    assert opened.headers["x-amzn-sagemaker-session-id"] == told  # as DJL's containers name it
    session = {"X-Amzn-SageMaker-Session-Id": told.split(";")[0].strip()}

    used = invoke(deepar, {"instances": [_without_cat(INSTANCES[0])]}, **session)
    assert used.status_code == 200, used.text
    assert used.json()["position"] == 5 and 0 <= used.json()["durable_position"] <= 5
    assert "x-amzn-sagemaker-new-session-id" not in used.headers

    closed = invoke(deepar, {"requestType": "CLOSE"}, **session)
    assert closed.status_code == 200
    assert closed.headers["x-amzn-sagemaker-closed-session-id"] == session["X-Amzn-SageMaker-Session-Id"]
    assert invoke(deepar, {"instances": [_without_cat(INSTANCES[0])]}, **session).status_code == 404


def _without_cat(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name != "cat"}


def test_the_ping_is_answered(deepar: Served) -> None:
    assert deepar.client.get("/ping").status_code == 200


def test_a_target_model_is_named_by_its_header(deepar: Served) -> None:
    body = {"instances": INSTANCES}
    assert invoke(deepar, body, **{"X-Amzn-SageMaker-Target-Model": DEEPAR}).status_code == 200
    missing = invoke(deepar, body, **{"X-Amzn-SageMaker-Target-Model": "other"})
    assert missing.status_code == 404 and missing.json()["error"]["code"] == "model_not_found"
