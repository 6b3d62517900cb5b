"""Every error of ours has an answer in every protocol."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import Any

import pytest

from service.errors import Overloaded, PositionConflict, UnrollError
from service.protocols import http_errors, inference_v2, kserve_timeseries, native, openai, sagemaker
from service.protocols.native.errors import error_body

assert http_errors  # imported so that its errors are among the subclasses


def every_error(kind: type[UnrollError] = UnrollError) -> Iterator[UnrollError]:
    """One of each class, with whatever its constructor asks for."""
    fillings: dict[str, Any] = {
        "message": "what went wrong",
        "position": 3,
        "durable_position": 2,
        "retry_after_s": 5.0,
        "allowed": "GET",
        "parameter": "values",
        "seconds": 5.0,
    }
    wanted = inspect.signature(kind.__init__).parameters
    yield kind(**{name: fillings[name] for name in wanted if name in fillings})
    for narrower in kind.__subclasses__():
        yield from every_error(narrower)


ERRORS = list(every_error())


@pytest.mark.parametrize("protocol", [native, openai, kserve_timeseries, sagemaker], ids=lambda one: one.__name__)
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_every_error_is_rendered(protocol: Any, error: UnrollError) -> None:
    answer = protocol.render(error, "the-request")
    document = json.loads(bytes(answer.body))
    assert 400 <= answer.status_code < 600
    assert document["error"]["message"] == error.message and document["error"]["code"] == error.code
    assert (answer.headers.get("x-should-retry") == "false") == (answer.status_code == 409)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_every_error_is_rendered_as_triton_would(error: UnrollError) -> None:
    answer = inference_v2.render(error, "the-request")
    document = json.loads(bytes(answer.body))
    assert answer.status_code == {422: 400}.get(error.status, error.status)
    assert document.pop("error") == error.message
    assert document == ({"position": 3, "durable_position": 2} if isinstance(error, PositionConflict) else {})


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_every_error_can_close_a_websocket(error: UnrollError) -> None:
    assert 1000 <= error.close_code < 5000
    assert error_body(error, "r")["error"]["request_id"] == "r"


def test_there_are_as_many_codes_as_classes() -> None:
    codes = [type(error).code for error in ERRORS]
    assert len(set(codes)) == len(codes)


def test_a_conflict_tells_both_positions() -> None:
    told = error_body(PositionConflict("elsewhere", position=7, durable_position=5), "r")["error"]
    assert (told["position"], told["durable_position"], told["parameter"]) == (7, 5, "position")


def test_an_overload_tells_when_to_come_back() -> None:
    assert error_body(Overloaded("full", retry_after_s=2.5), "r")["error"]["retry_after_s"] == 2.5
