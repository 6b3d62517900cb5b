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
from service.protocols.inference_v2.parameters import read_parameters, read_static
from service.protocols.inference_v2.plan import Plan
from service.protocols.inference_v2.sequences import Sequence, Target, read_timestamp, require_timestamp, told
from service.protocols.inference_v2.signature import FORECAST_MEAN, FORECAST_QUANTILES, Arrays
from service.sessions.session import Session
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
    target = Target(request.model, request.version, asked, asked.first_timestamp, asked.static_covariates)
    if not asked.sequence_id:
        require("predict")
        plan = Plan(target.find_model(context), asked, request, context.limits)
        _check_seed(plan)
        at_most(plan.rows, context.settings.max_inputs, "inputs", "max_inputs", "rows")
        return plan.answer(await _rows(context, plan), {})
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
    return "horizon" in request.parameters or any(output.name.startswith("forecast_") for output in request.outputs)


async def _rows(context: Context, plan: Plan) -> Arrays:
    """The outputs (B, …) of a request without a sequence."""
    asked, model = plan.asked, plan.model
    first, static = read_timestamp(asked.first_timestamp), read_static(asked.static_covariates)
    if model.manifest.forecast is None:
        plan.refuse(first_timestamp=first, static_covariates=static)
        context.metrics.on_tokens(model.manifest.name, "prompt", plan.arrays["tokens"].size)
        return await stateless.score_tokens(context.service, model, plan.arrays["tokens"], context.limits)
    future = None
    if plan.horizon:
        future = stateless.Future(plan.horizon, plan.future, 0 if asked.seed is None else asked.seed)
    require_timestamp(model, first)
    outputs, ahead = await stateless.observe_series(
        *(context.service, model, plan.arrays), start=first, static=static, future=future, limits=context.limits
    )
    if ahead is None:
        return outputs
    return outputs | {FORECAST_MEAN: ahead.mean, FORECAST_QUANTILES: ahead.quantiles}


async def _observe(context: Context, session: Session, plan: Plan, target: Target) -> tuple[Arrays, Parameters]:
    """The outputs (1, …) of a forecaster's sequence, and what the answer says of it."""
    seen = await forecasting.observe(
        session,
        plan.arrays["target"][0],
        covariates=_by_name(plan, plan.arrays.get("covariates")),
        expected=target.expected,
        limits=context.limits,
    )
    outputs = {"quantiles": seen.quantiles[np.newaxis], "pit": seen.pit[np.newaxis]}
    parameters = _told(plan, seen)
    if plan.horizon:
        outputs |= await _ahead(context, session, plan)
    return outputs, parameters


async def _ahead(context: Context, session: Session, plan: Plan) -> Arrays:
    """What comes after the values just taken in; NaN while nothing but missing ones came."""
    future = _by_name(plan, plan.future)
    seed = plan.asked.seed
    try:
        ahead = await forecasting.forecast(
            session, horizon=plan.horizon, covariates=future, seed=seed, limits=context.limits
        )
    except InputMismatch:  # whatever else could not fit has been checked
        return plan.nothing_ahead()
    quantiles = np.stack(list(ahead.quantiles.values()), axis=1)  # (P, Q)
    return {FORECAST_MEAN: ahead.mean[np.newaxis], FORECAST_QUANTILES: quantiles[np.newaxis]}


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


def _told(plan: Plan, seen: forecasting.Observed | writing.ObservedText | classifying.Classified) -> Parameters:
    return told(*(plan.asked, seen.position, seen.durable_position), repeated=seen.repeated, restored=seen.restored)


def _by_name(plan: Plan, covariates: NDArray[Any] | None) -> Covariates | None:
    """Covariates (1, T, K) of one row by the names the task knows them by."""
    if covariates is None:
        return None
    return dict(zip(forecast_task(plan.model).future_covariates, covariates[0].T, strict=True))
