"""One of several series: what becomes of it, and how its errors are told."""

from __future__ import annotations

import pytest

from service.errors import InputMismatch, ModelNotFound, PositionConflict, UnrollError
from service.protocols.http_errors import InternalError
from service.protocols.series import outcome, placed

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("error", "message", "parameter"),
    [
        (InputMismatch("series: too short", parameter="series"), "inputs.3: series: too short", "inputs.3.series"),
        (InputMismatch("no reason", parameter=None), "inputs.3: no reason", None),
        (InputMismatch("horizon: too far", parameter="horizon"), "inputs.3: horizon: too far", "horizon"),
        (ModelNotFound("model: unknown", parameter="model"), "model: unknown", "model"),
        (PositionConflict("elsewhere", position=2, durable_position=0), "inputs.3: elsewhere", "inputs.3.position"),
    ],
)
def test_an_error_names_its_input_unless_it_is_of_the_whole_request(
    error: UnrollError, message: str, parameter: str | None
) -> None:
    told = placed(error, "inputs.3")
    assert told is error and (told.message, told.parameter) == (message, parameter)


async def test_an_answer_is_handed_on_and_an_error_becomes_one() -> None:
    async def answered() -> int:
        return 7

    async def refused() -> int:
        raise InputMismatch("values: none", parameter="values")

    assert await outcome(answered(), "inputs.0") == 7
    error = await outcome(refused(), "inputs.1")
    assert isinstance(error, InputMismatch) and error.parameter == "inputs.1.values"


async def test_the_unexpected_tells_no_details() -> None:
    async def broken() -> int:
        raise KeyError("a secret")

    error = await outcome(broken(), "inputs.0")
    assert isinstance(error, InternalError) and "secret" not in error.message
