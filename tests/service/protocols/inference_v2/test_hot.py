"""The short way of inference answers as the application does, and leaves to it whatever is not plain."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import httpx
import numpy as np
import pytest

from service.protocols.inference_v2.hot import HotInfer
from tests.service.protocols.inference_v2.asking import MODEL, TEXT, tensor
from tests.service.protocols.serving import COVARIATE_SUM, Served

LENGTH = "Inference-Header-Content-Length"
PLAIN = {"Accept-Encoding": "identity"}

_numbers = count(50_000)
_Request = tuple[bytes, dict[str, str]]


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each request that looked like inference took the short way."""
    seen: list[bool] = []
    begin = HotInfer.begin

    def watched(route: HotInfer, *request: Any) -> bool:
        seen.append(begin(route, *request))
        return seen[-1]

    monkeypatch.setattr(HotInfer, "begin", watched)
    return seen


def in_json(number: int | str, *inputs: dict[str, Any], outputs: Any = None, **parameters: Any) -> _Request:
    body: dict[str, Any] = {"inputs": list(inputs), "parameters": {"sequence_id": number} | parameters}
    return json.dumps(body if outputs is None else body | {"outputs": outputs}).encode(), dict(PLAIN)


def in_binary(number: int, *arrays: tuple[str, Any], **parameters: Any) -> _Request:
    inputs, raw = [], b""
    for name, values in arrays:
        data = np.array(values, "<f4")
        size = {"binary_data_size": data.nbytes}
        inputs.append({"name": name, "shape": data.shape, "datatype": "FP32", "parameters": size})
        raw += data.tobytes()
    head = json.dumps({"id": "b", "inputs": inputs, "parameters": {"sequence_id": number} | parameters}).encode()
    return head + raw, PLAIN | {LENGTH: str(len(head))}


def post(served: Served, model: str, request: _Request, *, short: bool = True) -> httpx.Response:
    """Send a request; a query, which means nothing, has the application answer."""
    body, headers = request
    return served.client.post(f"/v2/models/{model}/infer" + ("" if short else "?"), content=body, headers=headers)


def pair(served: Served, model: str, *inputs: dict[str, Any]) -> Iterator[int]:
    """Two sequences that have begun alike, by their numbers, which are equally long."""
    for _ in range(2):
        number = next(_numbers)
        body = {"inputs": list(inputs), "parameters": {"sequence_id": number, "sequence_start": True}}
        assert served.post(f"/v2/models/{model}/infer", body).status_code == 200
        yield number


def plain_requests(number: int) -> list[_Request]:
    step = tensor("target", [[0.25]])
    flat = {"name": "target", "shape": [1, 1], "datatype": "FP32", "data": [1.5]}
    three = {"name": "target", "shape": [1, 3], "datatype": "FP32", "data": [1, None, 0.1]}
    return [
        in_json(number, flat),
        in_json(number, three),
        in_json(number, flat, sequence_start=False, sequence_end=False),
        in_json(number, three, outputs=[{"name": "pit"}, {"name": "quantiles"}]),
        in_json(number, three, outputs=[{"name": "pit"}, {"name": "quantiles", "parameters": {"binary_data": True}}]),
        in_json(number, flat, binary_data_output=True),
        in_json(number, flat, position=13),
        in_json(number, flat, idempotency_key="k"),
        in_binary(number, ("target", [[1, np.nan, 3]])),
        in_binary(number, ("target", [[7]]), binary_data_output=True),
        in_json(number, step | {"data": [1e36]}),
    ]


def test_the_short_way_and_the_long_give_the_same_bytes(served: Served, taken: list[bool]) -> None:
    first, second = pair(served, MODEL, tensor("target", [[1]]))
    for short, long in zip(plain_requests(first), plain_requests(second), strict=True):
        taken.clear()
        quick = post(served, MODEL, short)
        assert taken == [True], short
        slow = post(served, MODEL, long, short=False)
        assert quick.status_code == slow.status_code == 200, quick.text
        assert quick.content.replace(b"%d" % first, b"%d" % second) == slow.content
        for name in ("content-type", LENGTH, "content-length"):
            assert quick.headers.get(name) == slow.headers.get(name)


def test_covariates_take_the_short_way_too(served: Served, taken: list[bool]) -> None:
    begin = tensor("target", [[1]]), tensor("covariates", [[[2]]])
    numbers = list(pair(served, COVARIATE_SUM, *begin))
    taken.clear()
    answers = [
        post(served, COVARIATE_SUM, in_binary(number, ("target", [[1, 2]]), ("covariates", [[[3], [4]]])), short=short)
        for number, short in zip(numbers, (True, False), strict=True)
    ]
    assert taken == [True]
    assert answers[0].content.replace(b"%d" % numbers[0], b"%d" % numbers[1]) == answers[1].content


def test_a_repeated_request_is_answered_again(served: Served) -> None:
    number = next(pair(served, MODEL, tensor("target", [[1]])))
    request = in_json(number, {"name": "target", "shape": [1, 1], "datatype": "FP32", "data": [5]}, position=1)
    first, again = (post(served, MODEL, request).json() for _ in range(2))
    assert again["outputs"] == first["outputs"] and again["parameters"]["repeated"]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"parameters": {"sequence_start": True}}, 200),
        ({"parameters": {"sequence_end": True}}, 200),
        ({"parameters": {"horizon": 2}}, 200),
        ({"inputs": [tensor("target", [[1.0]])]}, 200),  # nested
        ({"parameters": {"position": 7}}, 409),
        ({"parameters": {"sequence_id": "unknown"}}, 400),
        ({"parameters": {"priority": 1}}, 200),
        ({"parameters": {"colour": 1}}, 400),
        ({"outputs": [{"name": "nothing"}]}, 400),
        ({"inputs": []}, 400),
        ({"inputs": [{"name": "target", "shape": [1, 2], "datatype": "FP32", "data": [1]}]}, 400),
        ({"inputs": [{"name": "target", "shape": [1, 1], "datatype": "FP32", "data": [1e37]}]}, 400),
        ({"inputs": [{"name": "target", "shape": [2, 1], "datatype": "FP32", "data": [1, 2]}]}, 400),
        ({"inputs": [{"name": "target", "shape": [1, 1], "datatype": "INT64", "data": [1]}]}, 400),
    ],
)
def test_what_is_not_plain_is_left_to_the_application(
    served: Served, taken: list[bool], change: dict[str, Any], status: int
) -> None:
    number = next(pair(served, MODEL, tensor("target", [[1]])))
    taken.clear()
    flat = {"name": "target", "shape": [1, 1], "datatype": "FP32", "data": [1]}
    body: dict[str, Any] = {"inputs": [flat]} | change
    body["parameters"] = {"sequence_id": number} | change.get("parameters", {})
    answer = post(served, MODEL, (json.dumps(body).encode(), dict(PLAIN)))
    assert taken == [False] and answer.status_code == status, answer.text


def test_a_text_model_is_left_to_the_application(served: Served, taken: list[bool]) -> None:
    number = next(pair(served, TEXT, tensor("tokens", [[1]], "INT64")))
    taken.clear()
    answer = post(served, TEXT, in_json(number, tensor("tokens", [[2]], "INT64")))
    assert taken == [False] and answer.json()["parameters"]["position"] == 2
