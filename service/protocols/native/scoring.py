"""The route that scores text."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from service.access.caller import own, require
from service.errors import InputMismatch
from service.protocols.answering import json_answer, json_rows, until_gone
from service.protocols.context import Context, context_of
from service.protocols.model_names import find_model
from service.protocols.native import messages
from service.protocols.reading import decode, read_body
from service.tasks.scoring import Score, score, score_after


async def score_text(request: Request) -> Response:
    """Score a text: its log-probability, perplexity, and bits per byte.

    With `session_id`, as it would follow what the session has taken in; the session does not move. With `per_token`,
    each token's log-probability is told as well.
    """
    context = context_of(request)
    body = decode(messages.ScoreBody, await read_body(request, context.settings.max_request_bytes))
    model, found = await until_gone(request, _score(context, body))
    return json_answer(
        messages.Score(
            model=model,
            tokens=len(found.log_probabilities),
            characters=found.characters,
            bytes=found.bytes,
            log_probability=found.total,
            bits_per_byte=found.bits_per(found.bytes),
            bits_per_character=found.bits_per(found.characters),
            perplexity=found.perplexity,
            log_probabilities=await json_rows(found.log_probabilities) if body.per_token else None,
        )
    )


async def _score(context: Context, body: messages.ScoreBody) -> tuple[str, Score]:
    if (body.model is None) == (body.session_id is None):
        raise InputMismatch("model: expected either model or session_id", parameter="model")
    if (body.text is None) == (body.tokens is None):
        raise InputMismatch("text: expected either text or tokens", parameter="text")
    if body.session_id is not None:
        session = await context.service.store.get(own(body.session_id))
        found = await score_after(session, text=body.text, tokens=body.tokens, limits=context.limits)
        model = session.model
    else:
        require("predict")
        model = find_model(context.service.repository, body.model or "")
        found = await score(context.service, model, text=body.text, tokens=body.tokens, limits=context.limits)
    context.metrics.on_tokens(model.manifest.name, "prompt", len(found.log_probabilities))
    return model.manifest.id, found
