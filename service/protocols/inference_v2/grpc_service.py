"""GRPCInferenceService: which handler answers which method, those that are not implemented included."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast

import grpc

from service.protocols.context import Context
from service.protocols.http_errors import PathNotFound
from service.protocols.inference_v2 import inference_pb2 as messages
from service.protocols.inference_v2.grpc_calls import Call, boundary, unary
from service.protocols.inference_v2.grpc_methods import ALWAYS, METHODS, model_infer
from service.protocols.inference_v2.grpc_stream import InferStream

_SERVICE = f"/{messages.DESCRIPTOR.package}.GRPCInferenceService/"
_STREAM = "ModelStreamInfer"


class InferenceService(grpc.GenericRpcHandler):
    """The service as gRPC asks for it, method by method."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._handlers = {_STREAM: _streaming(self._stream)}
        for methods, always in ((ALWAYS, True), (METHODS, False)):
            for name, (kind, method, needs) in methods.items():
                answer = unary(context, _SERVICE + name, kind, partial(method, context), needs=needs, always=always)
                # The types know of handlers that block alone. Without a deserialiser messages are bytes.
                self._handlers[name] = grpc.unary_unary_rpc_method_handler(cast(Any, answer))

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        path = handler_call_details.method
        if not path.startswith(_SERVICE):
            return None
        name = path.removeprefix(_SERVICE)
        return self._handlers.get(name) or _streaming(partial(self._refuse, name))

    async def _stream(self, _: object, call: Call) -> None:
        name = _SERVICE + _STREAM
        # Its requests are counted one by one, and how long they took is not how long the stream was open.
        async with boundary(self._context, f"{name} (stream)", call, "predict or sessions"):
            await InferStream(self._context, name, partial(model_infer, self._context), call).serve()

    async def _refuse(self, name: str, _: object, call: Call) -> None:
        async with boundary(self._context, "unmatched", call, "key"):
            raise PathNotFound(f"{name[:100]}: not implemented; ServerMetadata names the extensions that are")


def _streaming(handle: Callable[[object, Call], Awaitable[None]]) -> grpc.RpcMethodHandler[Any, Any]:
    return grpc.stream_stream_rpc_method_handler(cast(Any, handle))
