"""Requests of inference as tests write them, and what comes back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from tests import known_models
from tests.service.protocols.serving import Served

MODEL = known_models.RUNNING_SUM
TEXT = known_models.NEXT_TOKEN


def tensor(name: str, values: Any, datatype: str = "FP32") -> dict[str, Any]:
    """An input of the values' own shape."""
    return {"name": name, "shape": list(np.shape(values)), "datatype": datatype, "data": values}


def ask(
    served: Served,
    *inputs: dict[str, Any],
    model: str = MODEL,
    outputs: Sequence[str] = (),
    headers: dict[str, str] | None = None,
    **parameters: Any,
) -> httpx.Response:
    """Ask for inference with these parameters."""
    body: dict[str, Any] = {"inputs": list(inputs), "parameters": parameters}
    if outputs:
        body["outputs"] = [{"name": name} for name in outputs]
    return served.post(f"/v2/models/{model}/infer", body, **(headers or {}))


def step(served: Served, sequence_id: int | str, *values: float | None, **more: Any) -> Any:
    """Send values of a sequence to the running sum, and return the answer's JSON."""
    answer = ask(served, tensor("target", [list(values)]), sequence_id=sequence_id, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(answer: httpx.Response, status: int = 400) -> str:
    """The message of a refusal, which has the protocol's shape."""
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    return str(answer.json()["error"])


def output(answer: Any, name: str) -> NDArray[Any]:
    """One output of an answer's JSON, in its shape, NaN for null."""
    found = next(one for one in answer["outputs"] if one["name"] == name)
    return np.array(found["data"], np.float64).reshape(found["shape"])


def centres(answer: Any) -> list[Any]:
    """The middle quantile of every step of the first row: the sum before it, None where nothing was predicted."""
    middle = output(answer, "quantiles")[0, :, 1]
    return [None if np.isnan(value) else float(value) for value in middle]
