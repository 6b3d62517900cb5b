"""Triton's own asyncio client, `tritonclient.http.aio`, works against the service as it is."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

import numpy as np
import pytest
import tritonclient.http.aio as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from tests.service.protocols.inference_v2.asking import MODEL
from tests.service.protocols.serving import Served

pytestmark = pytest.mark.anyio

_numbers = count(40_000)


def connected(served: Served) -> Any:
    return triton.InferenceServerClient(served.url.removeprefix("http://"))


def target(*values: float, binary: bool = True) -> Any:
    array: NDArray[Any] = np.array([values], np.float32)
    return triton.InferInput("target", list(array.shape), "FP32").set_data_from_numpy(array, binary_data=binary)


async def test_what_the_server_tells(served: Served) -> None:
    async with connected(served) as client:
        assert await client.is_server_live() and await client.is_server_ready()
        assert await client.is_model_ready(MODEL)
        assert (await client.get_server_metadata())["name"] == "unroll"
        assert (await client.get_model_metadata(MODEL))["name"] == MODEL
        assert (await client.get_model_config(MODEL))["name"] == MODEL
        assert (await client.get_inference_statistics(MODEL))["model_stats"]
        assert MODEL in [one["name"] for one in await client.get_model_repository_index()]


@pytest.mark.parametrize("binary", [True, False])
async def test_many_sequences_at_once(served: Served, binary: bool) -> None:
    async with connected(served) as client:

        async def walk(number: int) -> list[float]:
            seen = []
            for step in range(5):
                result = await client.infer(
                    *(MODEL, [target(number, binary=binary)]),
                    **{"sequence_id": number, "sequence_start": step == 0, "sequence_end": step == 4},
                )
                seen.append(float(result.as_numpy("quantiles")[0, 0, 1]))
            return seen

        numbers = [next(_numbers) for _ in range(20)]
        walks = await asyncio.gather(*map(walk, numbers))
        assert [seen[1:] for seen in walks] == [[number * step for step in range(1, 5)] for number in numbers]


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_compression(served: Served, coding: str) -> None:
    async with connected(served) as client:
        long = target(*range(400))
        plain = await client.infer(MODEL, [long])
        packed = await client.infer(
            MODEL, [long], request_compression_algorithm=coding, response_compression_algorithm=coding
        )
        assert packed.as_numpy("pit").tobytes() == plain.as_numpy("pit").tobytes()


async def test_errors_arrive_as_the_clients_own(served: Served) -> None:
    async with connected(served) as client:
        with pytest.raises(InferenceServerException, match="its first request needs sequence_start"):
            await client.infer(MODEL, [target(1)], sequence_id=next(_numbers))
