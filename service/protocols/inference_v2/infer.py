"""Inference: one request answered, in a sequence or without one, whatever transport it came by."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.access.caller import require
from service.errors import InputMismatch
from service.protocols.bounds import at_most
from service.protocols.context import Context
from service.protocols.inference_v2.core import InferAnswer, InferRequest, Parameters
from service.protocols.inference_v2.observations import has_anomaly, with_observations
from service.protocols.inference_v2.parameters import read_parameters, read_static
from service.protocols.inference_v2.plan import Plan
from service.protocols.inference_v2.sequences import Sequence, Target, read_timestamp, require_timestamp, told
from service.protocols.inference_v2.signature import ANOMALY_SCORE, FORECAST, Arrays
from service.sessions.session import Session
from service.sessions.threshold import threshold_of
from service.tasks import classify as classifying
from service.tasks import forecast as forecasting
from service.tasks import rows as stateless
from service.tasks import text as writing
from service.tasks.series_inputs import Covariates, forecast_task


async def infer(context: Context, request: InferRequest) -> InferAnswer:
    """Answer a request: in its sequence's session, or, without a sequence, every row from the initial state.

    Raises:
        UnrollError: whatever the request cannot be answered for; no sequence has moved then, but for one that looks
            ahead and found no room for that after its values were taken in.
    """
    asked = read_parameters(request.parameters)
    target = Target(
        *(request.model, request.version, asked),
        *(asked.first_timestamp, asked.static_covariates, asked.anomaly_threshold),
        frequency=asked.frequency,
    )
    if not asked.sequence_id:
        require("predict")
        plan = Plan(target.find_model(context), asked, request, context.limits)
        _check_seed(plan)
        at_most(plan.rows, context.settings.max_inputs, "inputs", "max_inputs", "rows")
        return plan.answer(*await _rows(context, plan))
    found = await Sequence.find(context, target)
    plan = Plan(found.model, asked, request, context.limits)
    _check_seed(plan)
    if plan.rows != 1:
        raise InputMismatch(f"inputs: expected a batch of 1 in a sequence, got {plan.rows}", parameter="inputs")
    observe = {"forecast": _observe, "text": _observe_text, "classify": _classify}[plan.model.manifest.task]
    async with found.session() as session:
        return plan.answer(*await observe(context, session, plan, target))


def _check_seed(plan: Plan) -> None:
    """Refuse a seed of which nothing is drawn, as it would seem to have changed the sequence's.

    Raises:
        InputMismatch: there is one.
    """
    asked = plan.asked
    if asked.seed is not None and not plan.horizon and not (asked.sequence_id and asked.sequence_start):
        raise InputMismatch(
            "parameters.seed: expected where a sequence starts, or with a forecast: nothing is drawn for this request",
            parameter="seed",
        )


def looks_ahead(request: InferRequest) -> bool:
    """Whether a request asks for a forecast, which takes far longer than its few steps."""
    return "horizon" in request.parameters or any(output.name.startswith(FORECAST) for output in request.outputs)


async def _rows(context: Context, plan: Plan) -> tuple[Arrays, Parameters]:
    """The outputs (B, …) of a request without a sequence, and what the answer says of it."""
    asked, model = plan.asked, plan.model
    first, static = read_timestamp(asked.first_timestamp), read_static(asked.static_covariates)
    if model.manifest.forecast is None:
        plan.refuse(
            first_timestamp=first,
            static_covariates=static,
            frequency=asked.frequency,
            anomaly_threshold=asked.anomaly_threshold,
        )
        context.metrics.on_tokens(model.manifest.name, "prompt", plan.arrays["tokens"].size)
        return await stateless.score_tokens(context.service, model, plan.arrays["tokens"], context.limits), {}
    future = None if plan.ahead is None else stateless.Future(plan.ahead, plan.future)
    require_timestamp(model, first)
    threshold = asked.anomaly_threshold or forecast_task(model).anomaly_threshold
    plan.require_threshold(threshold)
    outputs, ahead = await stateless.observe_series(
        *(context.service, model, plan.arrays),
        start=first,
        frequency=asked.frequency,
        static=static,
        future=future,
        observed=plan.observes,
        limits=context.limits,
    )
    if plan.observes:
        outputs = with_observations(forecast_task(model), outputs, threshold)
    return (outputs, {}) if future is None else (outputs | plan.tensors_ahead(ahead), plan.method)


async def _observe(context: Context, session: Session, plan: Plan, target: Target) -> tuple[Arrays, Parameters]:
    """The outputs (1, …) of a forecaster's sequence, and what the answer says of it."""
    threshold = threshold_of(session)
    plan.require_threshold(threshold)
    seen = await forecasting.observe(
        session,
        plan.arrays["target"][0],
        covariates=_by_name(plan, plan.arrays.get("covariates")),
        expected=target.expected,
        limits=context.limits,
    )
    told = {"quantiles": seen.quantiles, "pit": seen.pit, ANOMALY_SCORE: seen.anomaly_score}
    batch = {name: array[np.newaxis] for name, array in told.items()}
    outputs = with_observations(forecast_task(plan.model), batch, threshold)
    parameters = _told(plan, seen, anomaly=has_anomaly(outputs))
    if plan.ahead is not None:
        outputs |= plan.tensors_ahead([await _ahead(context, session, plan, plan.ahead)])
        parameters |= plan.method
    return outputs, parameters


async def _ahead(
    context: Context, session: Session, plan: Plan, asked: forecasting.ForecastRequest
) -> forecasting.Forecast | None:
    """What comes after the values just taken in; None while nothing but missing ones came."""
    future = _by_name(plan, plan.future)
    try:
        return await forecasting.forecast(session, asked, covariates=future, limits=context.limits)
    except InputMismatch:  # whatever else could not fit has been checked
        return None


async def _observe_text(context: Context, session: Session, plan: Plan, target: Target) -> tuple[Arrays, Parameters]:
    """The outputs (1, T) of a text model's sequence, and what the answer says of it."""
    tokens = plan.arrays["tokens"][0].tolist()
    seen = await writing.observe_text(session, tokens=tokens, expected=target.expected, limits=context.limits)
    if not seen.repeated:
        context.metrics.on_tokens(plan.model.manifest.name, "prompt", seen.tokens)
    outputs = {"log_probabilities": seen.log_probabilities[np.newaxis]}
    return outputs, _told(plan, seen)


async def _classify(context: Context, session: Session, plan: Plan, target: Target) -> tuple[Arrays, Parameters]:
    """The outputs (1, T, C) of a classifier's sequence, and what the answer says of it."""
    tokens = plan.arrays["tokens"][0].tolist()
    seen = await classifying.observe(session, tokens=tokens, expected=target.expected, limits=context.limits)
    if not seen.repeated:
        context.metrics.on_tokens(plan.model.manifest.name, "prompt", len(tokens))
    return {"probabilities": seen.probabilities[np.newaxis]}, _told(plan, seen)


def _told(
    plan: Plan, seen: forecasting.Observed | writing.ObservedText | classifying.Classified, *, anomaly: bool = False
) -> Parameters:
    place = plan.asked, seen.position, seen.durable_position
    return told(*place, repeated=seen.repeated, restored=seen.restored, anomaly=anomaly)


def _by_name(plan: Plan, covariates: NDArray[Any] | None) -> Covariates | None:
    """Covariates (1, T, K) of one row by the names the task knows them by."""
    if covariates is None:
        return None
    return dict(zip(forecast_task(plan.model).future_covariates, covariates[0].T, strict=True))
