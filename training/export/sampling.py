"""Drawing a token from logits as graph nodes: nucleus, inverse cumulative distribution, log-probability.

Shapes: B batch, V vocabulary. Every row gets the same bits whatever the others ask for.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from training.export.builder import GraphBuilder, Value

# Ranking all of a large vocabulary costs more than the network; the likeliest tokens are usually enough.
FEW = 512
_BEYOND = 2.0  # larger than any probability


def log_probability(g: GraphBuilder, logits: Value, tokens: Value) -> Value:
    """Natural logarithm of the probability of tokens (…, …, 1) under logits (…, …, V)."""
    return g.node("GatherElements", g.node("LogSoftmax", logits, axis=-1), tokens, axis=2)


def inverse_cdf(g: GraphBuilder, weights: Value, share: Value) -> Value:
    """First token (1, B, 1) at which the running sum of weights (1, B, V) exceeds the share (B, 1) of their total."""
    sums = g.node("CumSum", weights, g.constant(2, np.int64))
    total = g.slice(sums, -1, 2**31, axis=2)
    beyond = g.node("Greater", sums, g.node("Mul", total, share))
    return g.node("ArgMax", g.node("Cast", beyond, to=TensorProto.FLOAT), axis=2, keepdims=1)


def nucleus(g: GraphBuilder, wanted: Value, probabilities: Value, top_p: Value, vocabulary_size: int) -> Value:
    """Where `wanted`: the likeliest tokens whose mass reaches top_p, the others 0 (Holtzman et al., 2020).

    Tokens as likely as the last one kept are kept with it. Rows with a top_p of 1 stay as they are.

    Args:
        wanted: whether any row has a top_p below 1; all is skipped where not.
        probabilities: (1, B, V).
        top_p: (B, 1), above 0.
    """
    cut, all_of_them = g.body("nucleus"), g.body("all")
    least = _least_kept(cut, probabilities, top_p, vocabulary_size)
    least = cut.node("Where", cut.node("Less", top_p, 1.0), least, 0.0)
    kept = cut.node("Where", cut.node("Less", probabilities, least), 0.0, probabilities)
    cut.output(kept, (1, "B", vocabulary_size))
    all_of_them.output(all_of_them.node("Identity", probabilities), (1, "B", vocabulary_size))
    return g.conditional(wanted, cut, all_of_them)


def _least_kept(g: GraphBuilder, probabilities: Value, top_p: Value, vocabulary_size: int) -> Value:
    """Probability (1, B, 1) of the least likely token of the nucleus; anything for rows with a top_p of 1."""
    if vocabulary_size <= FEW:
        return _least_among(g, probabilities, top_p, vocabulary_size)[0]
    few, reached = _least_among(g, probabilities, top_p, FEW)
    # A row that wants all its tokens counts as reached; the sums of the few are those of all, bit for bit.
    missing = g.node("Sub", g.node("Where", g.node("Less", top_p, 1.0), top_p, 0.0), reached)
    enough = g.node("LessOrEqual", g.node("ReduceMax", missing, keepdims=0), 0.0)
    use_few, rank_all = g.body("few"), g.body("ranked")
    use_few.output(use_few.node("Identity", few), (1, "B", 1))
    rank_all.output(_least_among(rank_all, probabilities, top_p, vocabulary_size)[0], (1, "B", 1))
    return g.conditional(enough, use_few, rank_all)


def _least_among(g: GraphBuilder, probabilities: Value, top_p: Value, count: int) -> tuple[Value, Value]:
    """The least kept of the `count` likeliest tokens, and the mass of all but the last of these, both (1, B, 1)."""
    ranked, _ = g.nodes("TopK", probabilities, g.integers(count), outputs=2, axis=-1)
    before = g.node("CumSum", ranked, g.constant(2, np.int64), exclusive=1)
    inside = g.node("Where", g.node("Less", before, top_p), ranked, _BEYOND)
    return g.node("ReduceMin", inside, g.integers(2), keepdims=1), g.slice(before, -1, 2**31, axis=2)
