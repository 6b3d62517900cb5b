"""Generated text: a prompt in, its continuation out, in a sequence or without one, whole or piece by piece.

The fields are those of Triton's generate extension and of the Open Inference Protocol's; what is not served is refused
by name.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from typing import Annotated, Any

import msgspec

from service.access.caller import require
from service.errors import InputMismatch
from service.models.model import Model
from service.protocols.answering import as_generator
from service.protocols.context import Context
from service.protocols.inference_v2.parameters import SequenceParameters, check_sequence
from service.protocols.inference_v2.sequences import Sequence, Target, told
from service.protocols.inference_v2.wire import with_key
from service.protocols.mismatches import mismatch
from service.protocols.reading import decode
from service.tasks import text as writing
from service.tasks.limits import check_count
from service.tasks.text import MAX_STOPS, MAX_TEMPERATURE, TextPiece, Tokens

DEFAULT_TOKENS = 20
"""As in the Open Inference Protocol."""


class GenerateParameters(SequenceParameters, kw_only=True):
    """How to continue, and in which sequence.

    Args:
        stop: texts that end the generation.
        stream: whether pieces are sent as they come; what the path says anyway.
    """

    max_tokens: Annotated[int, msgspec.Meta(ge=0)] = DEFAULT_TOKENS
    temperature: Annotated[float, msgspec.Meta(ge=0, le=MAX_TEMPERATURE)] = 1.0
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    stop: str | Annotated[list[str], msgspec.Meta(max_length=MAX_STOPS)] = ""
    stream: bool | None = None


class ContinueBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A text to continue. Parameters may also stand beside `text_input`, as Triton has it."""

    text_input: str
    id: str = ""
    parameters: GenerateParameters = msgspec.field(default_factory=GenerateParameters)


def read_body(body: bytes, key: str | None) -> ContinueBody:
    """The request that a body holds, with the idempotency key of the header.

    Raises:
        BadRequest, InputMismatch: not readable, or not such a request.
    """
    given = decode(dict[str, Any], body)
    beside = {name: given.pop(name) for name in list(given) if name not in ContinueBody.__struct_fields__}
    _check_names(beside)
    inner = given.get("parameters")
    if inner is None or isinstance(inner, dict):
        _check_names(inner or {}, "parameters")
        given["parameters"] = with_key(_joined(inner or {}, beside), key)
    try:
        asked = msgspec.convert(given, ContinueBody)
    except msgspec.ValidationError as error:
        raise mismatch(error, given, "body", ContinueBody) from None
    check_sequence(asked.parameters)
    return asked


def _check_names(names: Iterable[str], place: str = "body") -> None:
    """Refuse what is no parameter. All are told and no near one: what other interfaces take besides means another."""
    known = ", ".join(GenerateParameters.__struct_fields__)
    if place == "body":
        known = f"{', '.join(ContinueBody.__struct_fields__)} and, beside them, {known}"
    for name in names:
        if name not in GenerateParameters.__struct_fields__:
            raise InputMismatch(f"{place}.{name[:60]}: unknown parameter; known are {known}", parameter=name[:60])


def _joined(inner: dict[str, Any], beside: dict[str, Any]) -> dict[str, Any]:
    """All parameters, wherever they stood."""
    for name, value in beside.items():
        if inner.get(name, value) != value:
            raise InputMismatch(f"parameters.{name}: given twice, with two values", parameter=name[:60])
    return inner | beside


async def generate(
    context: Context, name: str, version: str, asked: ContinueBody
) -> AsyncGenerator[dict[str, Any], None]:
    """The pieces of the continuation as answers, the last of which tells why it ended.

    Raises:
        UnrollError: whatever the request cannot be answered for.
    """
    parameters = asked.parameters
    target = Target(name, version, parameters)
    require("sessions" if parameters.sequence_id else "predict")
    sequence = await Sequence.find(context, target) if parameters.sequence_id else None
    model = target.find_model(context) if sequence is None else sequence.model
    prompt = await _prompt(context, model, asked.text_input)
    check_count("max_tokens", parameters.max_tokens, context.limits.max_tokens, least=0)
    if sequence is None:
        # Without a sequence there is no seed but the request's; without either, every answer is to be another.
        seed = secrets.randbits(63) if parameters.seed is None else parameters.seed
        pieces = writing.complete(context.service, model, prompt, _request(parameters, seed), limits=context.limits)
        async with aclosing(_counted(context, model, prompt, pieces)) as counted:
            async for piece in counted:
                yield _answer(model, asked, piece)
        return
    async with sequence.session() as session:
        request = _request(parameters, parameters.seed)
        prefixes = context.service.prefixes
        pieces = writing.generate(
            *(session, request), prompt=prompt, prefixes=prefixes, expected=target.expected, limits=context.limits
        )
        async with aclosing(_counted(context, model, prompt, pieces)) as counted:
            async for piece in counted:
                yield _answer(model, asked, piece)


async def whole(pieces: AsyncGenerator[dict[str, Any], None]) -> dict[str, Any]:
    """All pieces as one answer."""
    texts = []
    answer: dict[str, Any] = {}
    async with aclosing(pieces):
        async for answer in pieces:
            texts.append(answer["text_output"])
    return answer | {"text_output": "".join(texts)}


async def _prompt(context: Context, model: Model, text: str) -> Tokens:
    try:
        return await writing.read_tokens(model, text, None, context.limits)
    except InputMismatch as error:
        if error.parameter == "text":
            raise InputMismatch(f"text_input: {error.message.removeprefix('text: ')}", parameter="text_input") from None
        raise


def _request(parameters: GenerateParameters, seed: int | None) -> writing.GenerateRequest:
    stop = parameters.stop
    return writing.GenerateRequest(
        max_tokens=parameters.max_tokens,
        temperature=parameters.temperature,
        top_p=parameters.top_p,
        stop=((stop,) if stop else ()) if isinstance(stop, str) else tuple(stop),
        seed=seed,
    )


async def _counted(
    context: Context, model: Model, prompt: Tokens, pieces: AsyncIterator[TextPiece]
) -> AsyncGenerator[TextPiece, None]:
    """The same pieces, counted as they come; what is answered again is not."""
    count, name, first = context.metrics.on_tokens, model.manifest.name, True
    async with aclosing(as_generator(pieces)) as closing:
        async for piece in closing:
            if not piece.repeated:
                if first:
                    count(name, "prompt", len(prompt))
                count(name, "completion", len(piece.tokens))
            first = False
            yield piece


def _answer(model: Model, asked: ContinueBody, piece: TextPiece) -> dict[str, Any]:
    manifest, parameters = model.manifest, asked.parameters
    answer: dict[str, Any] = {"id": asked.id} if asked.id else {}
    answer |= {"model_name": manifest.name, "model_version": str(manifest.version), "text_output": piece.text}
    if piece.finish_reason is not None:
        answer["finish_reason"] = piece.finish_reason
    if piece.position is not None and piece.durable_position is not None:
        answer |= told(
            *(parameters, piece.position, piece.durable_position), repeated=piece.repeated, restored=piece.restored
        )
    return answer
