"""Every error of ours is a status of gRPC, with what a client may act on beside it."""

from __future__ import annotations

import pytest
from grpc import StatusCode

from service.errors import (
    InputMismatch,
    ModelNotFound,
    Overloaded,
    PositionConflict,
    RequestTooLarge,
    SessionExists,
    SessionExpired,
    ShuttingDown,
    StepFailed,
    UnrollError,
)
from service.protocols.http_errors import PathNotFound
from service.protocols.inference_v2.grpc_errors import code_of, trailing_metadata
from tests.service.protocols.test_errors import ERRORS

CODES = {
    InputMismatch: StatusCode.INVALID_ARGUMENT,
    ModelNotFound: StatusCode.NOT_FOUND,
    Overloaded: StatusCode.UNAVAILABLE,
    PathNotFound: StatusCode.UNIMPLEMENTED,
    PositionConflict: StatusCode.ABORTED,
    RequestTooLarge: StatusCode.RESOURCE_EXHAUSTED,
    SessionExists: StatusCode.ALREADY_EXISTS,
    SessionExpired: StatusCode.FAILED_PRECONDITION,
    ShuttingDown: StatusCode.UNAVAILABLE,
    StepFailed: StatusCode.INTERNAL,
}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_every_error_has_a_status_and_metadata_that_can_be_sent(error: UnrollError) -> None:
    assert code_of(error) not in (StatusCode.OK, StatusCode.UNKNOWN) or type(error) is UnrollError
    told = dict(trailing_metadata(error, "the-request"))
    assert told["unroll-code"] == error.code and told["x-request-id"] == "the-request"
    assert all(name == name.lower() and value.isascii() for name, value in told.items())


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_the_status_says_what_it_says_everywhere(error: UnrollError) -> None:
    if type(error) in CODES:
        assert code_of(error) is CODES[type(error)]


def test_a_conflict_tells_both_positions() -> None:
    told = dict(trailing_metadata(PositionConflict("elsewhere", position=7, durable_position=5), "r"))
    assert (told["unroll-position"], told["unroll-durable-position"]) == ("7", "5")


def test_an_overload_tells_when_to_come_back() -> None:
    assert dict(trailing_metadata(Overloaded("full", retry_after_s=2.5), "r"))["grpc-retry-pushback-ms"] == "2500"
    assert dict(trailing_metadata(ShuttingDown(), "r"))["grpc-retry-pushback-ms"] == "1000"
    assert "grpc-retry-pushback-ms" not in dict(trailing_metadata(StepFailed("no"), "r"))
