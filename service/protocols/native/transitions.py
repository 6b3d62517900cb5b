"""From native messages to tasks and back: what HTTP routes and the WebSocket loop have in common."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from service.errors import InputMismatch
from service.protocols import arrays
from service.protocols.answering import as_generator, json_rows
from service.protocols.context import Context
from service.protocols.native import frames, messages
from service.protocols.session_use import expected
from service.protocols.text_controls import given_controls, rows_of, token_text, with_controls
from service.sessions.session import Session
from service.sessions.transition import Expected
from service.tasks import classify as classifying
from service.tasks import forecast as forecasting
from service.tasks import text as writing
from service.tasks.series_inputs import Values, forecast_task


async def observe(
    context: Context, session: Session, body: messages.ObserveBody, key: str | None
) -> messages.Observed | messages.ObservedText | messages.Classified:
    """Take observations or text into the session."""
    when = expected(body.position, key)
    if session.model.manifest.classify is not None:
        return await _classify(context, session, body, when)
    if session.model.manifest.forecast is None:
        return await _observe_text(context, session, body, when)
    _refuse(session, text=body.text, tokens=body.tokens)
    if not body.values:
        came = "nothing" if body.values is None else "an empty list"
        raise InputMismatch(f"values: expected a list of at least one number or null, got {came}", parameter="values")
    seen = await forecasting.observe(
        session,
        arrays.float_array(body.values, "values"),
        timestamps=None if body.timestamps is None else arrays.timestamps(body.timestamps, "timestamps"),
        covariates=arrays.float_arrays(body.future_covariates, "future_covariates"),
        expected=when,
        limits=context.limits,
    )
    return messages.Observed(
        start=seen.start,
        position=seen.position,
        durable_position=seen.durable_position,
        quantiles=messages.Quantiles(levels(session), await json_rows(seen.quantiles, arrays.rows_or_null)),
        expected=await json_rows(seen.expected),
        interval=messages.Interval(
            seen.interval.level, await json_rows(seen.interval.lower), await json_rows(seen.interval.upper)
        ),
        pit=await json_rows(seen.pit),
        anomaly_score=await json_rows(seen.anomaly_score),
        anomaly=None if seen.anomaly is None else await json_rows(seen.anomaly),
        filled=seen.filled,
        repeated=seen.repeated,
        restored=seen.restored,
    )


def levels(session: Session) -> list[float]:
    """The quantile levels of a forecaster's own answers."""
    assert session.model.manifest.forecast is not None
    return list(session.model.manifest.forecast.quantiles)


async def _observe_text(
    context: Context, session: Session, body: messages.ObserveBody, when: Expected
) -> messages.ObservedText:
    _refuse(session, values=body.values, timestamps=body.timestamps, future_covariates=body.future_covariates)
    if (body.text is None) == (body.tokens is None):
        came = "neither" if body.text is None else "both"
        raise InputMismatch(f"text: expected either text or tokens, got {came}", parameter="text")
    seen = await writing.observe_text(session, text=body.text, tokens=body.tokens, expected=when, limits=context.limits)
    if not seen.repeated:
        context.metrics.on_tokens(session.model.manifest.name, "prompt", seen.tokens)
    return messages.ObservedText(
        start=seen.start,
        position=seen.position,
        durable_position=seen.durable_position,
        tokens=seen.tokens,
        log_probabilities=await json_rows(seen.log_probabilities),
        repeated=seen.repeated,
        restored=seen.restored,
    )


async def _classify(
    context: Context, session: Session, body: messages.ObserveBody, when: Expected
) -> messages.Classified:
    _refuse(session, values=body.values, timestamps=body.timestamps, future_covariates=body.future_covariates)
    seen = await classifying.observe(session, text=body.text, tokens=body.tokens, expected=when, limits=context.limits)
    if not seen.repeated:
        context.metrics.on_tokens(session.model.manifest.name, "prompt", len(seen.probabilities))
    classes = classifying.classify_task(session.model).classes
    return messages.Classified(
        start=seen.start,
        position=seen.position,
        durable_position=seen.durable_position,
        labels=[classes[index] for index in seen.probabilities.argmax(-1)],
        probabilities=messages.Probabilities(list(classes), await json_rows(seen.probabilities)),
        unknown=seen.unknown,
        repeated=seen.repeated,
        restored=seen.restored,
    )


async def observe_frame(context: Context, session: Session, frame: bytes) -> bytes:
    """Take the steps of a binary frame into the session; the answer's frame."""
    asked = frames.read_observe(frame)
    values, covariates = _columns(session, asked.steps)
    seen = await forecasting.observe(
        session, values, covariates=covariates, expected=Expected(asked.position), limits=context.limits
    )
    scores = seen.anomaly_score if asked.wants_scores else None
    return frames.write_packed(
        frames.packed(seen.quantiles, seen.pit, scores),
        position=seen.position,
        durable_position=seen.durable_position,
        number=asked.number,
        scored=asked.wants_scores,
        anomaly=seen.anomaly is not None and bool(seen.anomaly.any()),
        repeated=seen.repeated,
        restored=seen.restored,
    )


async def generate_values(
    context: Context, session: Session, body: messages.GenerateBody, key: str | None
) -> messages.GeneratedValues:
    """Draw the next values of a forecaster's session, and move it as if they had been observed."""
    if session.model.manifest.classify is not None:
        name = session.model.manifest.name
        raise InputMismatch(f"model {name} classifies sequences: use a text or forecast model", parameter="model")
    forecast_task(session.model)
    if body.steps is None:
        raise InputMismatch("steps: expected how many values to draw, a whole number, got nothing", parameter="steps")
    _refuse(
        session,
        max_tokens=body.max_tokens,
        temperature=body.temperature,
        top_p=body.top_p,
        stop=body.stop,
        stream=body.stream or None,
        **dict(given_controls(body)),
    )
    drawn = await forecasting.generate(
        session,
        body.steps,
        covariates=arrays.float_arrays(body.future_covariates, "future_covariates"),
        seed=body.seed,
        expected=expected(body.position, key),
        limits=context.limits,
    )
    return messages.GeneratedValues(
        start=drawn.start,
        position=drawn.position,
        durable_position=drawn.durable_position,
        values=drawn.values,
        repeated=drawn.repeated,
        restored=drawn.restored,
    )


async def generate_text(
    context: Context, session: Session, body: messages.GenerateBody, key: str | None
) -> AsyncGenerator[messages.GeneratedText, None]:
    """Generate text; the session moves with every piece that is delivered."""
    _refuse(session, steps=body.steps, future_covariates=body.future_covariates)
    request = writing.GenerateRequest(
        max_tokens=messages.DEFAULT_TOKENS if body.max_tokens is None else body.max_tokens,
        temperature=1.0 if body.temperature is None else body.temperature,
        top_p=1.0 if body.top_p is None else body.top_p,
        stop=stops(body.stop),
        seed=body.seed,
    )
    pieces = writing.generate(
        *(session, with_controls(request, body)), expected=expected(body.position, key), limits=context.limits
    )
    async for piece in as_generator(pieces):
        if not piece.repeated:
            context.metrics.on_tokens(session.model.manifest.name, "completion", len(piece.tokens))
        yield messages.GeneratedText(
            text=piece.text,
            tokens=piece.tokens,
            position=session.position if piece.position is None else piece.position,
            durable_position=session.durable_position if piece.durable_position is None else piece.durable_position,
            finish_reason=piece.finish_reason,
            logprobs=None if piece.alternatives is None else _log_probabilities(session, piece.alternatives),
            repeated=piece.repeated,
            restored=piece.restored,
        )


def _log_probabilities(session: Session, alternatives: writing.Alternatives) -> list[messages.TokenLogProbability]:
    tokenizer = session.model.tokenizer
    assert tokenizer is not None
    return [
        messages.TokenLogProbability(
            *(token, token_text(tokenizer, token), value),
            top=[messages.LogProbability(other, token_text(tokenizer, other), likely) for other, likely in top],
        )
        for token, value, top in rows_of(alternatives)
    ]


async def whole_text(pieces: AsyncGenerator[messages.GeneratedText, None]) -> messages.GeneratedText:
    """All pieces as one answer."""
    collected = [piece async for piece in pieces]
    last = collected[-1]
    return messages.GeneratedText(
        text="".join(piece.text for piece in collected),
        tokens=[token for piece in collected for token in piece.tokens],
        position=last.position,
        durable_position=last.durable_position,
        finish_reason=last.finish_reason,
        logprobs=None if last.logprobs is None else [told for piece in collected for told in piece.logprobs or ()],
        repeated=any(piece.repeated for piece in collected),
        restored=any(piece.restored for piece in collected),
    )


def stops(stop: str | list[str] | None) -> tuple[str, ...]:
    """Texts that end a generation."""
    return (stop,) if isinstance(stop, str) else tuple(stop or ())


def is_text(session: Session) -> bool:
    """Whether the session's model reads and writes text."""
    return session.model.manifest.text is not None


def _refuse(session: Session, **given: object) -> None:
    """Check that a message names nothing that only models of the other task take."""
    for name, value in given.items():
        if value is not None:
            manifest = session.model.manifest
            raise InputMismatch(
                f"{name}: model {manifest.id} of task {manifest.task!r} takes no {name}", parameter=name
            )


def _columns(session: Session, steps: Values) -> tuple[Values, dict[str, Values] | None]:
    """Values (T,) and covariates by name, from the columns of a frame (T, 1 + K).

    Raises:
        InputMismatch: not a forecaster, or another number of columns than it takes.
    """
    task = session.model.manifest.forecast
    if task is None:
        raise InputMismatch("frame: binary frames carry a forecaster's values: send text as JSON text frames")
    names = task.future_covariates
    if steps.shape[1] != 1 + len(names):
        wanted = ", ".join(["value", *names])
        raise InputMismatch(f"frame: expected {1 + len(names)} numbers per step ({wanted}), got {steps.shape[1]}")
    return steps[:, 0], {name: steps[:, 1 + index] for index, name in enumerate(names)} or None
