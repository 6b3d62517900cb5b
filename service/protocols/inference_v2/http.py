"""The routes of V2 over HTTP; each with and without a version in its path."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from service.errors import BadRequest, InputMismatch
from service.protocols.answering import EventStream, json_answer, to_json, until_gone
from service.protocols.boundary import ours
from service.protocols.context import Context, context_of
from service.protocols.inference_v2 import generate as generating
from service.protocols.inference_v2 import metadata, repository, wire
from service.protocols.inference_v2.compression import compressed, decompressed
from service.protocols.inference_v2.core import InferRequest, Parameter
from service.protocols.inference_v2.errors import error_body
from service.protocols.inference_v2.infer import infer as answer_inference
from service.protocols.inference_v2.infer import looks_ahead
from service.protocols.inference_v2.signature import signature_of
from service.protocols.inference_v2.statistics import statistics
from service.protocols.reading import decode, read_body

HEADER_LENGTH = "Inference-Header-Content-Length"

_WORTH_CANCELLING = 64

Handler = Callable[[Request, str, str], Awaitable[Response]]


class IndexBody(msgspec.Struct, forbid_unknown_fields=True):
    """Which versions to list: all, or only those that serve."""

    ready: bool = False


class RepositoryBody(msgspec.Struct, forbid_unknown_fields=True):
    """Parameters of loading or unloading."""

    parameters: dict[str, Parameter] | None = None


async def live(request: Request) -> Response:
    """Tell that the server answers."""
    return json_answer({"live": True})


async def ready(request: Request) -> Response:
    """Tell whether the server can answer inference requests; 400 where it cannot."""
    is_ready = metadata.is_ready(context_of(request))
    return json_answer({"live": True, "ready": is_ready}, 200 if is_ready else 400)


async def server_metadata(request: Request) -> Response:
    """Name, version and extensions of the server."""
    return json_answer(metadata.server_metadata())


async def model_metadata(request: Request, model: str, version: str) -> Response:
    """Versions, inputs and outputs of a model; −1 is any extent."""
    return json_answer(metadata.model_metadata(context_of(request), model, version))


async def model_ready(request: Request, model: str, version: str) -> Response:
    """Tell that a model serves; 404 where it does not."""
    metadata.find(context_of(request), model, version)
    return json_answer({"name": model, "ready": True})


async def model_config(request: Request, model: str, version: str) -> Response:
    """A model's configuration in Triton's terms."""
    return json_answer(metadata.model_config(context_of(request), model, version))


async def model_statistics(request: Request, model: str, version: str) -> Response:
    """What a model has done since the server started."""
    return json_answer(statistics(context_of(request), model, version))


async def all_statistics(request: Request) -> Response:
    """What all models have done since the server started."""
    return json_answer(statistics(context_of(request)))


async def repository_index(request: Request) -> Response:
    """List every model version in the model repository, and why those that do not serve do not."""
    context = context_of(request)
    asked = decode(IndexBody, await _body(context, request) or b"{}")
    return json_answer(await repository.index(context, ready=asked.ready))


async def load_model(request: Request, model: str) -> Response:
    """Load a model's versions that are new or changed, and all of them if it was unloaded.

    Open sequences stay on the version they began with.
    """
    context = context_of(request)
    asked = decode(RepositoryBody, await _body(context, request) or b"{}")
    await repository.load(context, model, asked.parameters or {})
    return Response(status_code=200)


async def unload_model(request: Request, model: str) -> Response:
    """Unload a model until it is loaded again. Open sequences go on until they end."""
    context = context_of(request)
    asked = decode(RepositoryBody, await _body(context, request) or b"{}")
    await repository.unload(context, model, asked.parameters or {})
    return Response(status_code=200)


async def infer(request: Request, model: str, version: str = "") -> Response:
    """Take tensors in, and answer with the model's outputs for every step.

    With the parameter `sequence_id` in a sequence, whose state is kept; `sequence_start` begins it (anew), and
    `sequence_end` ends it. Without one, every row of the batch starts from the initial state. Further parameters:
    `position` and `idempotency_key` (or the header `Idempotency-Key`) make a request in a sequence safe to send again;
    `horizon` gives the outputs `forecast_mean` and `forecast_quantiles` beside (`forecast_median` by name), at the
    levels of `quantiles` ("0.1,0.9"), with `forecast_intervals` of the shares in `levels` ("0.8,0.95"),
    `forecast_samples` where `samples` says how many, and `forecast_aggregates` and `forecast_aggregate_means` over the
    steps of `aggregate` ("sum,max"); the answer's parameter `forecast_method` is `direct` where it was.
    `first_timestamp`, `frequency` (of models that only count steps), `static_covariates` (a JSON object as a text) and
    `seed` tell how a sequence or series begins.

    Contents may be binary (Triton's binary tensor data), and bodies compressed with gzip or deflate.
    """
    context = context_of(request)
    headers: dict[bytes, bytes] = dict(request.scope["headers"])
    coding = headers.get(b"content-encoding", b"").decode("latin-1").strip().lower()
    limit = context.settings.max_request_bytes
    body = await decompressed(await read_body(request, limit, coded=True), coding, limit)
    asked = _read(context, headers, body, model, version)
    work = answer_inference(context, asked)
    answer = await (work if _is_quick(asked) else until_gone(request, work))
    content, header_length = await wire.write_answer(answer, asked)
    return await _written(content, header_length, headers)


def _is_quick(asked: InferRequest) -> bool:
    """Whether the answer is there before a client could go away; watching for that would cost more."""
    values = sum(math.prod(tensor.shape) for tensor in asked.inputs)
    return values < _WORTH_CANCELLING and not looks_ahead(asked)


def _read(context: Context, headers: dict[bytes, bytes], body: bytes, model: str, version: str) -> InferRequest:
    header_length = _header_length(headers.get(b"inference-header-content-length"), len(body))
    if header_length == 0:
        return wire.read_raw_request(body, signature_of(metadata.find(context, model, version)), model, version)
    key = headers.get(b"idempotency-key")
    return wire.read_request(
        body, header_length, model=model, version=version, key=None if key is None else key.decode("latin-1")
    )


def _header_length(given: bytes | None, length: int) -> int | None:
    if given is None:
        return None
    if not given.isdigit() or len(given) > 18 or int(given) > length:
        raise BadRequest(
            f"{HEADER_LENGTH}: expected the bytes of JSON at the beginning of a body of {length}, got {given[:40]!r}"
        )
    return int(given)


async def _written(content: bytes, header_length: int | None, asked: dict[bytes, bytes]) -> Response:
    headers: dict[str, str] = {}
    if header_length is not None:
        headers[HEADER_LENGTH] = str(header_length)
    content, coding = await compressed(content, asked.get(b"accept-encoding", b"").decode("latin-1"))
    if coding is not None:
        headers["content-encoding"] = coding
    media_type = "application/json" if header_length is None else "application/octet-stream"
    return Response(content, headers=headers, media_type=media_type)


async def generate(request: Request, model: str, version: str) -> Response:
    """Continue a text; the answer holds all of it.

    With `sequence_id` among the parameters the text goes on from the sequence, which takes prompt and continuation
    in; `sequence_start`, `sequence_end`, `position` and `idempotency_key` are those of inference requests.
    """
    asked, pieces = await _generation(request, model, version)
    if asked.parameters.stream:
        raise InputMismatch("parameters.stream: expected false here: ask generate_stream", parameter="stream")
    return json_answer(await until_gone(request, generating.whole(pieces)))


async def generate_stream(request: Request, model: str, version: str) -> Response:
    """Continue a text; server-sent events bring it piece by piece.

    The last has a `finish_reason`. An error after the first is an event too, since the status is out by then. With
    `stream` false there is one event.
    """
    asked, pieces = await _generation(request, model, version)
    if asked.parameters.stream is False:
        return EventStream(_events(await until_gone(request, generating.whole(pieces)), pieces), pieces)
    # The first piece decides the status; after it, an error can only be an event.
    return EventStream(_events(await until_gone(request, anext(pieces)), pieces), pieces)


async def _generation(
    request: Request, model: str, version: str
) -> tuple[generating.ContinueBody, AsyncGenerator[dict[str, Any], None]]:
    context = context_of(request)
    asked = generating.read_body(await _body(context, request), request.headers.get("idempotency-key"))
    return asked, generating.generate(context, model, version, asked)


async def _events(first: dict[str, Any], rest: AsyncGenerator[dict[str, Any], None]) -> AsyncGenerator[bytes, None]:
    yield to_json(first)
    try:
        async for piece in rest:
            yield to_json(piece)
    except Exception as error:
        yield to_json(error_body(ours(error)))


async def _body(context: Context, request: Request) -> bytes:
    return await read_body(request, context.settings.max_request_bytes)
