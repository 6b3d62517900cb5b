"""gRPC calls whose messages are changed bytes, one by one and several on a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc import aio

from service.protocols.inference_v2 import inference_pb2 as messages
from tests.fuzz import seeds
from tests.fuzz.findings import Findings
from tests.fuzz.http import PATIENCE_S
from tests.fuzz.mutation import Mutator
from tests.fuzz.server import FuzzedServer
from tests.service.protocols.inference_v2.grpc_clients import SERVICE

_OUR_FAULT = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS, grpc.StatusCode.ABORTED)
_CLIENTS_OWN = "Internal error from Core"
"""What the client itself says where it still sends on a stream that the server has ended."""
_OUR_WORDS = ("internal error", "unexpected")


class Rpc:
    """Calls over one channel."""

    def __init__(self, server: FuzzedServer, mutator: Mutator, findings: Findings) -> None:
        self._channel = aio.insecure_channel(server.grpc_address)
        self._mutator = mutator
        self._findings = findings

    async def attack(self) -> None:
        """Make one call and judge its status."""
        name, content = self._mutator.choose(seeds.GRPC_CALLS)
        try:
            async with asyncio.timeout(PATIENCE_S):
                if self._mutator.chance(0.2):
                    await self._stream()
                else:
                    await self._call(name, self._changed(content))
        except TimeoutError:
            self._findings.add("grpc", f"no answer within {PATIENCE_S:g} s", content)

    async def close(self) -> None:
        await self._channel.close()

    def _changed(self, content: bytes) -> bytes:
        return self._mutator.changed(content, [other for _, other in seeds.GRPC_CALLS])

    async def _call(self, name: str, content: bytes) -> None:
        call: Any = self._channel.unary_unary(SERVICE + name)
        try:
            await call(content)
            self._findings.note("grpc", "OK")
        except aio.AioRpcError as error:
            self._judge("grpc", error, content)

    async def _stream(self) -> None:
        contents = [content for name, content in seeds.GRPC_CALLS if name == "ModelInfer"]
        sent = [self._changed(self._mutator.choose(contents)) for _ in range(4)]

        async def requests() -> AsyncIterator[bytes]:
            for one in sent:
                yield one

        call: Any = self._channel.stream_stream(SERVICE + "ModelStreamInfer")
        try:
            async for answer in call(requests()):
                told = messages.ModelStreamInferResponse.FromString(answer).error_message
                self._findings.note("grpc stream", "error" if told else "answer")
                if any(word in told for word in _OUR_WORDS):
                    self._findings.add("grpc stream", told, b"".join(sent))
        except aio.AioRpcError as error:
            self._judge("grpc stream", error, b"".join(sent))

    def _judge(self, door: str, error: aio.AioRpcError, sent: bytes) -> None:
        self._findings.note(door, error.code().name)
        if error.code() in _OUR_FAULT and error.details() != _CLIENTS_OWN:
            self._findings.add(door, f"{error.code().name}: {error.details()}", sent)
