"""The methods that answer one message with one: what `metadata`, `statistics`, `repository` and `infer` tell.

Their dictionaries have the names of the messages' fields, so that they become messages as they stand.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from service.errors import InputMismatch, ModelNotFound
from service.protocols.context import Context
from service.protocols.documentation import Needs
from service.protocols.inference_v2 import inference_pb2 as messages
from service.protocols.inference_v2 import metadata, repository, statistics
from service.protocols.inference_v2.grpc_tensors import read_parameters, read_request, write_answer
from service.protocols.inference_v2.infer import infer

M = TypeVar("M", bound=Message)
Method = Callable[[Context, Any], Awaitable[Message]]

_WANTS_FINAL, _FINAL = "triton_enable_empty_final_response", "triton_final_response"
"""A client asks to be told, and is told, which answer to a request is the last: here each is the only one."""


def _message(kind: type[M], content: dict[str, Any]) -> M:
    return ParseDict(content, kind())


async def server_live(context: Context, request: messages.ServerLiveRequest) -> messages.ServerLiveResponse:
    """Yes."""
    return messages.ServerLiveResponse(live=True)


async def server_ready(context: Context, request: messages.ServerReadyRequest) -> messages.ServerReadyResponse:
    """Whether inference can be asked for."""
    return messages.ServerReadyResponse(ready=metadata.is_ready(context))


async def model_ready(context: Context, request: messages.ModelReadyRequest) -> messages.ModelReadyResponse:
    """Whether inference can be asked for from one model; from one that is unknown it cannot."""
    try:
        metadata.find(context, request.name, request.version)
    except ModelNotFound:
        return messages.ModelReadyResponse(ready=False)
    return messages.ModelReadyResponse(ready=metadata.is_ready(context))


async def server_metadata(context: Context, request: messages.ServerMetadataRequest) -> messages.ServerMetadataResponse:
    """Name, version and extensions."""
    return _message(messages.ServerMetadataResponse, metadata.server_metadata())


async def model_metadata(context: Context, request: messages.ModelMetadataRequest) -> messages.ModelMetadataResponse:
    """A model's versions, inputs and outputs."""
    return _message(messages.ModelMetadataResponse, metadata.model_metadata(context, request.name, request.version))


async def model_config(context: Context, request: messages.ModelConfigRequest) -> messages.ModelConfigResponse:
    """A model's configuration as Triton would have it."""
    config = metadata.model_config(context, request.name, request.version)
    return _message(messages.ModelConfigResponse, {"config": config})


async def model_statistics(
    context: Context, request: messages.ModelStatisticsRequest
) -> messages.ModelStatisticsResponse:
    """What models have done, all of them where none is named."""
    counted = statistics.statistics(context, request.name, request.version)
    return _message(messages.ModelStatisticsResponse, counted)


async def model_infer(context: Context, request: messages.ModelInferRequest) -> messages.ModelInferResponse:
    """One inference request answered."""
    wants_final = _take_wants_final(request)
    answer = write_answer(await infer(context, read_request(request)))
    if wants_final:
        answer.parameters[_FINAL].bool_param = True
    return answer


def _take_wants_final(request: messages.ModelInferRequest) -> bool:
    """Whether the client wants to be told of the last answer to its request; Triton's own says so in every request."""
    if _WANTS_FINAL not in request.parameters:
        return False
    wanted: bool = request.parameters[_WANTS_FINAL].bool_param
    del request.parameters[_WANTS_FINAL]
    return wanted


async def repository_index(
    context: Context, request: messages.RepositoryIndexRequest
) -> messages.RepositoryIndexResponse:
    """Every model version there is, or only those that serve."""
    _check_repository(request.repository_name)
    return _message(messages.RepositoryIndexResponse, {"models": await repository.index(context, ready=request.ready)})


async def load_model(
    context: Context, request: messages.RepositoryModelLoadRequest
) -> messages.RepositoryModelLoadResponse:
    """Nothing, once the model is loaded."""
    _check_repository(request.repository_name)
    await repository.load(context, request.model_name, read_parameters(request.parameters))
    return messages.RepositoryModelLoadResponse()


async def unload_model(
    context: Context, request: messages.RepositoryModelUnloadRequest
) -> messages.RepositoryModelUnloadResponse:
    """Nothing, once new requests no longer find the model."""
    _check_repository(request.repository_name)
    await repository.unload(context, request.model_name, read_parameters(request.parameters))
    return messages.RepositoryModelUnloadResponse()


def _check_repository(name: str) -> None:
    if name:
        raise InputMismatch(
            f"repository_name: expected none, as there is one repository, got {name[:60]!r}",
            parameter="repository_name",
        )


ALWAYS: dict[str, tuple[type[Message], Method, Needs]] = {
    "ServerLive": (messages.ServerLiveRequest, server_live, "open"),
    "ServerReady": (messages.ServerReadyRequest, server_ready, "open"),
    "ModelReady": (messages.ModelReadyRequest, model_ready, "predict"),
}
"""Methods by name, with the message they take and what their callers need, that answer during a shutdown as well."""

METHODS: dict[str, tuple[type[Message], Method, Needs]] = {
    "ServerMetadata": (messages.ServerMetadataRequest, server_metadata, "predict"),
    "ModelMetadata": (messages.ModelMetadataRequest, model_metadata, "predict"),
    "ModelConfig": (messages.ModelConfigRequest, model_config, "predict"),
    "ModelStatistics": (messages.ModelStatisticsRequest, model_statistics, "predict"),
    "ModelInfer": (messages.ModelInferRequest, model_infer, "predict or sessions"),
    "RepositoryIndex": (messages.RepositoryIndexRequest, repository_index, "predict"),
    "RepositoryModelLoad": (messages.RepositoryModelLoadRequest, load_model, "admin"),
    "RepositoryModelUnload": (messages.RepositoryModelUnloadRequest, unload_model, "admin"),
}
"""The others."""
