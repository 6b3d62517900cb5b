"""From logits to a token, beside the graph: penalties, bias, filters, and one draw.

Shapes: V vocabulary. The order is that of the Transformers library (Wolf et al. 2020): penalties and bias on the
logits, temperature, then the filters `top_k`, `top_p`, `min_p`, `typical_p`, each over what the one before has left.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.tasks.requests import GenerateRequest

Logits = NDArray[np.float32]
Weights = NDArray[np.float64]
"""(V,): how likely each token is to be drawn, 0 where it cannot be; they need not add up to 1."""

LEAST_TOP_P = 1e-9
"""What 0 stands for: a nucleus of the likeliest token alone."""
_LEAST_TEMPERATURE = 1e-6
NEVER = -np.inf


def weights(
    logits: Logits, request: GenerateRequest, history: Sequence[int], allowed: NDArray[np.bool_] | None = None
) -> Weights:
    """How likely each token (V,) is to be drawn.

    Args:
        history: tokens before, the last of which the penalties count.
        allowed: (V,), which tokens may come at all; None for all.
    """
    scores = logits.astype(np.float64)
    if request.penalises:
        penalise(scores, request, history)
    for token, bias in request.logit_bias:
        scores[token] += bias
    if allowed is not None:
        scores[~allowed] = NEVER
    scores /= max(request.temperature, _LEAST_TEMPERATURE)
    if 0 < request.top_k < len(scores):
        scores[scores < np.partition(scores, -request.top_k)[-request.top_k]] = NEVER
    found = probabilities(scores)
    if request.top_p < 1:
        found = _renewed(nucleus(found, max(request.top_p, LEAST_TOP_P)))
    if request.min_p > 0:
        found = np.where(found < request.min_p * found.max(), 0.0, found)
    if request.typical_p < 1:
        found = typical(_renewed(found), request.typical_p)
    return found


def draw(found: Weights, uniform: float) -> int:
    """The first token at which the running sum of weights exceeds the share `uniform`, inside (0, 1), of their total.

    One of weight 0 is never drawn.
    """
    sums = np.cumsum(found)
    return int(np.searchsorted(sums, uniform * sums[-1], side="right"))


def penalise(scores: NDArray[np.float64], request: GenerateRequest, history: Sequence[int]) -> None:
    """Lower, in place, the scores (V,) of tokens that came before.

    Repetition (Keskar et al. 2019, "CTRL", section 4.1): divided where positive, multiplied where negative.
    Frequency and presence (OpenAI's API): less by so much for each time it came, and once if it came at all.
    """
    if len(history) == 0:
        return
    counts = np.bincount(history[-request.penalty_window :], minlength=len(scores))
    seen = counts.nonzero()[0]
    chosen, penalty = scores[seen], request.repetition_penalty
    chosen = np.where(chosen > 0, chosen / penalty, chosen * penalty)
    scores[seen] = chosen - counts[seen] * request.frequency_penalty - request.presence_penalty


def probabilities(scores: NDArray[np.float64]) -> Weights:
    """The softmax of scores (V,)."""
    return _renewed(np.exp(scores - scores.max()))


def nucleus(found: Weights, top_p: float) -> Weights:
    """The likeliest tokens whose mass reaches top_p, and those as likely as the last of them (Holtzman et al. 2020)."""
    ranked = -np.sort(-found)
    before = np.cumsum(ranked) - ranked
    return np.where(found < ranked[before < top_p][-1], 0.0, found)


def typical(found: Weights, mass: float) -> Weights:
    """The tokens whose information is nearest the distribution's entropy, up to a mass (Meister et al. 2023)."""
    information = -np.log(found, where=found > 0, out=np.zeros_like(found))
    entropy = float(np.sum(found * information))
    distance = np.where(found > 0, np.abs(information - entropy), np.inf)
    order = np.argsort(distance, kind="stable")
    before = np.cumsum(found[order]) - found[order]
    kept = order[before < mass]
    return np.where(distance > distance[kept[-1]], 0.0, found)


def log_probabilities(logits: Logits) -> NDArray[np.float64]:
    """The logarithms of the softmax of logits (…, V)."""
    scores = logits.astype(np.float64)
    scores -= scores.max(axis=-1, keepdims=True)
    return np.asarray(scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True)))


def largest(values: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """The places of the `count` largest values along the last axis, the largest first, equal ones in their order."""
    count = min(count, values.shape[-1])
    if count == 0:
        return np.empty((*values.shape[:-1], 0), np.intp)
    # Sorting only those: all of a large vocabulary would take many times as long.
    few = np.sort(np.argpartition(-values, count - 1, axis=-1)[..., :count], axis=-1)
    order = np.argsort(-np.take_along_axis(values, few, axis=-1), axis=-1, kind="stable")
    return np.asarray(np.take_along_axis(few, order, axis=-1))


def _renewed(found: Weights) -> Weights:
    shares: Weights = found / found.sum()
    return shares
