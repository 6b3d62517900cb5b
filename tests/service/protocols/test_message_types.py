"""What a message may hold at some place in it."""

from __future__ import annotations

from typing import Any

import pytest

from service.protocols.inference_v2.wire import InferBody
from service.protocols.message_types import names_in, struct_at, words_for
from service.protocols.native.forecast_messages import ForecastBody
from service.protocols.native.messages import OpenSessionBody
from service.protocols.native.stream_messages import ForecastFrame, Frame


@pytest.mark.parametrize(
    ("kind", "value", "steps", "name"),
    [
        (ForecastBody, {}, [], "ForecastBody"),
        (InferBody, {"inputs": [{}, {}]}, ["inputs", "1"], "InputTensor"),
        (OpenSessionBody | list[OpenSessionBody], [{}], ["0"], "OpenSessionBody"),
        (OpenSessionBody | list[OpenSessionBody], {}, [], "OpenSessionBody"),
        (Frame, {"type": "forecast"}, [], "ForecastFrame"),
        (Frame, {"type": "unknown"}, [], None),
        (ForecastBody, {"future_covariates": {"a": []}}, ["future_covariates"], None),
    ],
)
def test_the_struct_at_a_place_is_found(kind: Any, value: Any, steps: list[str], name: str | None) -> None:
    found = struct_at(kind, value, steps)
    assert (found.__name__ if found else None) == name


def test_names_and_what_stands_under_them_are_told_in_words() -> None:
    assert names_in(ForecastFrame)[0] == "type" and "horizon" in names_in(ForecastFrame)
    assert words_for(ForecastBody, "horizon") == "a whole number"
    assert words_for(OpenSessionBody, "durability") == "one of sync, async, none"
    assert words_for(OpenSessionBody, "snapshot") == "base64"
    assert words_for(InferBody, "inputs") == "a list" and words_for(InferBody, "nothing") == "a value"
