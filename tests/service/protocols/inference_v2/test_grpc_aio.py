"""Triton's asyncio client against a server process of its own: many sequences, deadlines, and clients that give up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import tritonclient.grpc.aio as triton
from tritonclient.utils import InferenceServerException

from benchmarks.server import ServerProcess, running_server
from tests import known_models
from tests.known_models import RUNNING_SUM
from tests.service.protocols.inference_v2.grpc_clients import centres, parameters, values

pytestmark = pytest.mark.anyio
SEQUENCES = 50
STEPS = 10
LONG = 200_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("aio")
    known_models.running_sum(folder)
    bounds = ("--max-steps", str(LONG), "--max-request-bytes", str(8 * LONG))
    with running_server(folder, "--grpc-port", "0", *bounds) as running:
        yield running


@pytest.fixture
async def client(server: ServerProcess) -> AsyncIterator[triton.InferenceServerClient]:
    async with triton.InferenceServerClient(server.grpc_address) as opened:
        yield opened


def expected(number: int) -> list[float]:
    """The sums before each of a sequence's values, which are all the same number."""
    return [-1, *(float(number * step) for step in range(1, STEPS))]


async def test_it_tells_of_itself_and_its_models(client: triton.InferenceServerClient) -> None:
    assert await client.is_server_live() and await client.is_server_ready() and await client.is_model_ready(RUNNING_SUM)
    assert "sequence" in (await client.get_server_metadata()).extensions
    assert [each.name for each in (await client.get_model_metadata(RUNNING_SUM)).outputs] == ["quantiles", "pit"]
    assert (await client.get_model_config(RUNNING_SUM)).config.name == RUNNING_SUM
    assert (await client.get_inference_statistics(RUNNING_SUM)).model_stats[0].version == "1"
    assert [each.state for each in (await client.get_model_repository_index()).models] == ["READY"]


async def test_sequences_at_once_each_get_their_own_answers(client: triton.InferenceServerClient) -> None:
    async def sequence(number: int) -> list[float]:
        seen: list[float] = []
        for step in range(STEPS):
            more = {"sequence_start": step == 0, "sequence_end": step == STEPS - 1}
            seen += centres(await client.infer(RUNNING_SUM, values(number), sequence_id=number, **more))
        return seen

    numbers = range(1, SEQUENCES + 1)
    assert await asyncio.gather(*map(sequence, numbers)) == [expected(number) for number in numbers]


async def test_sequences_on_one_stream_each_get_their_own_answers(client: triton.InferenceServerClient) -> None:
    async def requests() -> AsyncIterator[dict[str, Any]]:
        for step in range(STEPS):
            for number in range(1, SEQUENCES + 1):
                yield {
                    "model_name": RUNNING_SUM,
                    "inputs": values(number),
                    "request_id": str(number),
                    "sequence_id": f"stream-{number}",
                    "sequence_start": step == 0,
                    "sequence_end": step == STEPS - 1,
                }

    seen: dict[int, list[float]] = {number: [] for number in range(1, SEQUENCES + 1)}
    async for result, error in client.stream_infer(requests()):
        assert error is None
        seen[int(result.get_response().id)] += centres(result)
    assert seen == {number: expected(number) for number in seen}


async def test_an_error_on_a_stream_is_one_answer_of_it(client: triton.InferenceServerClient) -> None:
    async def requests() -> AsyncIterator[dict[str, Any]]:
        for model in ("nothing", RUNNING_SUM):
            yield {"model_name": model, "inputs": values(1)}

    answers = [(result, error) async for result, error in client.stream_infer(requests())]
    assert sorted((result is None, error is None) for result, error in answers) == [(False, True), (True, False)]


async def test_a_request_past_its_deadline_does_nothing(client: triton.InferenceServerClient) -> None:
    await client.infer(RUNNING_SUM, values(1), sequence_id=901, sequence_start=True)
    with pytest.raises(InferenceServerException) as error:
        await client.infer(RUNNING_SUM, values(*[1.0] * LONG), sequence_id=901, client_timeout=0.05)
    assert error.value.status() == "StatusCode.DEADLINE_EXCEEDED"
    answer = await client.infer(RUNNING_SUM, values(1), sequence_id=901)
    assert centres(answer) == [1] and parameters(answer)["position"] == 2


async def test_a_request_that_is_given_up_does_nothing(client: triton.InferenceServerClient) -> None:
    await client.infer(RUNNING_SUM, values(1), sequence_id=902, sequence_start=True)
    running = asyncio.ensure_future(client.infer(RUNNING_SUM, values(*[1.0] * LONG), sequence_id=902))
    await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert centres(await client.infer(RUNNING_SUM, values(1), sequence_id=902)) == [1]


async def test_a_stream_that_is_given_up_ends(server: ServerProcess, client: triton.InferenceServerClient) -> None:
    endless = asyncio.Event()

    async def requests() -> AsyncIterator[dict[str, Any]]:
        for step in range(3):
            yield {"model_name": RUNNING_SUM, "inputs": values(1), "sequence_id": 903, "sequence_start": step == 0}
        await endless.wait()

    answers = client.stream_infer(requests())
    async for result, error in answers:
        assert error is None
        if parameters(result)["position"] == 3:
            break
    answers.cancel()
    async with httpx.AsyncClient(base_url=server.url) as http:
        assert (await http.get(f"/v1/sessions/{RUNNING_SUM}:903")).json()["position"] == 3
