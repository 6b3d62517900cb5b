"""What the graphs of each task take and give: the calling conventions that tasks and engine rely on.

forecast    initial([static])                                     → state
            observe(state, target, [calendar], [covariates])      → quantiles, pit, [anomaly_score], next_state
            generate(state, uniforms, [calendar], [covariates])   → samples, next_state
            forecast(state, [calendar])                           → quantiles
            prefill(state, target, [calendar])                    → next_state
text        initial()                                             → state
            observe(state, tokens)                                → log_probabilities, next_state
            generate(state, uniforms, temperature, top_p)         → tokens, log_probabilities, next_state
            predict(state, tokens)                                → logits, next_state
classify    initial()                                             → state
            observe(state, tokens)                                → probabilities, next_state

A forecaster may do without `forecast`, which tells the quantiles (B, P, Q) of the next P = `prediction_length` steps
at once, in the series' own units, NaN while nothing was observed; its calendar is that of those steps, (B, P, C).
And without `prefill`, which takes values in as `observe` does and predicts none of them: all that `generate` and
`forecast` make of the row after it has the same bits, though what only scores observations may differ in it.
An `observe` may do without `anomaly_score`, which then is 2·|pit − ½|; either way it lies in [0, 1], NaN where a value
is missing or nothing was predicted.

A text model may do without `predict`; the controls that need it are then refused. Its logits (B, T, V) are those of
each token's place, so that the last of the tokens has no part in them: whoever draws one outside the graph gives any,
and writes the one that was drawn into the row's field `pending`.
"""

from __future__ import annotations

from typing import NamedTuple

from service.contract.calendar import calendar_width
from service.contract.manifest import Dimension, GraphName, Manifest, ManifestError, Tensor

Signature = dict[str, tuple[str, tuple[Dimension, ...]]]
"""Name → dtype and shape."""


class Convention(NamedTuple):
    """Inputs and outputs of one graph."""

    inputs: Signature
    outputs: Signature


def conventions(manifest: Manifest) -> dict[GraphName, Convention]:
    """What each graph of this model has to take and give."""
    match manifest.task:
        case "forecast":
            return _forecast(manifest)
        case "text":
            return _text(manifest)
        case "classify":
            return _classify(manifest)


def check_conventions(manifest: Manifest) -> None:
    """Check that the manifest describes graphs the service knows how to call.

    Raises:
        ManifestError: a tensor is missing, unknown, or of another dtype or shape.
    """
    for name, convention in conventions(manifest).items():
        graph = manifest.graphs[name]
        _compare(f"graph {name!r} inputs", convention.inputs, graph.inputs)
        _compare(f"graph {name!r} outputs", convention.outputs, graph.outputs)


def _compare(where: str, expected: Signature, described: tuple[Tensor, ...]) -> None:
    found: Signature = {tensor.name: (tensor.dtype, tensor.shape) for tensor in described}
    if len(found) != len(described):
        raise ManifestError(f"{where}: expected each name once, got {[tensor.name for tensor in described]}")
    if found.keys() != expected.keys():
        raise ManifestError(f"{where}: expected {sorted(expected)}, the manifest names {sorted(found)}")
    for name, signature in expected.items():
        if found[name] != signature:
            raise ManifestError(f"{where}: {name}: expected {signature}, the manifest says {found[name]}")


def _forecast(manifest: Manifest) -> dict[GraphName, Convention]:
    task = manifest.forecast
    assert task is not None
    width, levels = manifest.state.width, len(task.quantiles)
    state: Signature = {"state": ("float32", ("B", width))}
    next_state: Signature = {"next_state": ("float32", ("B", width))}
    step: Signature = {}
    if task.calendar:
        step["calendar"] = ("float32", ("B", "T", calendar_width(task.calendar)))
    if task.future_covariates:
        step["covariates"] = ("float32", ("B", "T", len(task.future_covariates)))
    static: Signature = {}
    if task.static_covariates:
        static["static"] = ("float32", ("B", len(task.static_covariates)))
    predicted: Signature = {"quantiles": ("float32", ("B", "T", levels)), "pit": ("float32", ("B", "T"))}
    if any(tensor.name == "anomaly_score" for tensor in manifest.graphs["observe"].outputs):
        predicted["anomaly_score"] = ("float32", ("B", "T"))
    graphs: dict[GraphName, Convention] = {
        "initial": Convention(static, {"state": ("float32", ("B" if static else 1, width))}),
        "observe": Convention({**state, "target": ("float32", ("B", "T")), **step}, {**predicted, **next_state}),
        "generate": Convention(
            {**state, "uniforms": ("float32", ("B", "T")), **step},
            {"samples": ("float32", ("B", "T")), **next_state},
        ),
    }
    if "forecast" in manifest.graphs:
        length = task.prediction_length
        calendar: Signature = {}
        if task.calendar:
            calendar["calendar"] = ("float32", ("B", length, calendar_width(task.calendar)))
        graphs["forecast"] = Convention({**state, **calendar}, {"quantiles": ("float32", ("B", length, levels))})
    if "prefill" in manifest.graphs:
        graphs["prefill"] = Convention({**state, "target": ("float32", ("B", "T")), **step}, next_state)
    return graphs


def pending_offset(manifest: Manifest) -> int:
    """Where in a text model's row the pending token lies, as a float.

    Raises:
        ManifestError: the row has no such field.
    """
    for field in manifest.state.fields:
        if field.name == "pending" and field.size == 1:
            return field.offset
    raise ManifestError("state.fields: expected one of size 1 named 'pending', as the graph 'predict' needs it")


def _text(manifest: Manifest) -> dict[GraphName, Convention]:
    assert manifest.text is not None
    width, vocabulary = manifest.state.width, manifest.text.vocabulary_size
    state: Signature = {"state": ("float32", ("B", width))}
    next_state: Signature = {"next_state": ("float32", ("B", width))}
    tokens: Signature = {"tokens": ("int64", ("B", "T"))}
    log_probabilities: Signature = {"log_probabilities": ("float32", ("B", "T"))}
    controls: Signature = {
        "uniforms": ("float32", ("B", "T")),
        "temperature": ("float32", ("B",)),
        "top_p": ("float32", ("B",)),
    }
    graphs: dict[GraphName, Convention] = {
        "initial": Convention({}, {"state": ("float32", (1, width))}),
        "observe": Convention({**state, **tokens}, {**log_probabilities, **next_state}),
        "generate": Convention({**state, **controls}, {**tokens, **log_probabilities, **next_state}),
    }
    if "predict" in manifest.graphs:
        pending_offset(manifest)
        logits: Signature = {"logits": ("float32", ("B", "T", vocabulary))}
        graphs["predict"] = Convention({**state, **tokens}, {**logits, **next_state})
    return graphs


def _classify(manifest: Manifest) -> dict[GraphName, Convention]:
    task = manifest.classify
    assert task is not None
    width, classes = manifest.state.width, len(task.classes)
    return {
        "initial": Convention({}, {"state": ("float32", (1, width))}),
        "observe": Convention(
            {"state": ("float32", ("B", width)), "tokens": ("int64", ("B", "T"))},
            {"probabilities": ("float32", ("B", "T", classes)), "next_state": ("float32", ("B", width))},
        ),
    }
