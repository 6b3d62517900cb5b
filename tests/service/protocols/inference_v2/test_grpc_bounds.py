"""gRPC clients that ask too much at once, or never read what they are answered."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from grpc import aio

from service.protocols.inference_v2 import inference_pb2 as messages
from tests.known_models import RUNNING_SUM
from tests.service.protocols.hot.raw import eventually
from tests.service.protocols.inference_v2.grpc_clients import PATIENCE_S, SERVICE
from tests.service.protocols.serving import Served, serve

pytestmark = pytest.mark.anyio


def long_request(steps: int, *, start: bool) -> bytes:
    """A request of one sequence, whose requests wait for each other, with a long answer."""
    given = messages.ModelInferRequest.InferInputTensor(name="target", datatype="FP32", shape=[1, steps])
    given.contents.fp32_contents.extend([0.5] * steps)
    request = messages.ModelInferRequest(model_name=RUNNING_SUM, inputs=[given])
    request.parameters["sequence_id"].int64_param = 7
    request.parameters["sequence_start"].bool_param = start
    return request.SerializeToString()


async def test_a_stream_whose_answers_are_never_read_is_ended(protocol_models: Path) -> None:
    with serve(protocol_models, grpc_port=0, request_timeout_s=0.5) as hurried:
        before = unread(hurried)

        async def requests() -> AsyncIterator[bytes]:
            for number in range(2000):
                yield long_request(10_000, start=number == 0)

        # Where it measures the way between, a client takes in megabytes before anybody reads.
        options = [("grpc.http2.bdp_probe", 0)]
        async with aio.insecure_channel(hurried.grpc_address, options) as channel:
            call: Any = channel.stream_stream(SERVICE + "ModelStreamInfer")(cast(Any, requests()))
            assert len(await call.read()) > 10_000
            await asyncio.to_thread(eventually, lambda: unread(hurried) == before + 1)
            await asyncio.to_thread(eventually, lambda: not hurried.context.traffic.active)
            with suppress(aio.AioRpcError):
                while await call.read() is not aio.EOF:
                    pass
            # A busy machine cuts the status off with the rest, and a client then knows of an ended stream alone.
            assert await call.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.INTERNAL)
        assert hurried.client.get("/v2/health/ready").status_code == 200


def unread(served: Served) -> float:
    return served.context.metrics.registry.get_sample_value("unroll_slow_clients_total", {"what": "unread"}) or 0.0


async def test_more_calls_at_once_than_may_be_open_are_refused(protocol_models: Path) -> None:
    with serve(protocol_models, grpc_port=0, max_connections=3) as small:
        async with aio.insecure_channel(small.grpc_address) as channel:
            release = threading.Event()

            async def silent() -> AsyncIterator[bytes]:
                while not release.is_set():
                    await asyncio.sleep(0.01)
                return
                yield b""

            method: Any = channel.stream_stream(SERVICE + "ModelStreamInfer")
            calls = [method(silent()) for _ in range(3)]
            await asyncio.sleep(0.3)
            is_live: Any = channel.unary_unary(SERVICE + "ServerLive")
            with pytest.raises(aio.AioRpcError) as refused:
                await is_live(b"")
            assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            release.set()
            for call in calls:
                assert await call.read() is aio.EOF
            async with asyncio.timeout(PATIENCE_S):
                while True:  # a call counts a moment longer than its client sees it
                    with suppress(aio.AioRpcError):
                        await is_live(b"")
                        break
