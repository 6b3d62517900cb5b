"""ONNX graphs whose answers are arithmetic, following the calling conventions of published models.

Running sum (forecast). The row is [sum, offset, pending]; predicting one step consumes the pending value:
    sum ← sum + pending (a missing value leaves it; NaN until the first observation)
    centre = sum + offset + Σ calendar + Σ covariates (NaN counts 0)
    the predictive distribution is uniform over centre ± 2, so the quantiles .25, .5, .75 are centre −1, 0, +1,
    pit(y) = (y − centre + 2)/4 and the sample at u is centre + 4u − 2. A run with FAILING_VALUE as a target fails.
    One that is scored tells the anomaly score |y − centre|/8, at most 1. A direct forecast of h steps ahead has the
    quantiles centre − h, centre and centre + h, of the centre that would be next, with the calendar of that step.
Next token (text). The row is [tokens consumed, pending]; the logits after a token are its row of a table (V, V).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

WEIGHTS_FILE = "weights.bin"

Shape = Sequence[int | str]
FAILING_VALUE = 1e30
_SMALLEST_PIT = 2.0**-24


def floats(name: str, *shape: int | str) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def tokens(name: str, *shape: int | str) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.INT64, list(shape))


def constant(name: str, value: float | Sequence[int] | NDArray[np.generic]) -> TensorProto:
    """A tensor held in the graph: a float32 scalar, int64 numbers, or the array given."""
    array = np.asarray(value, np.float32) if isinstance(value, float) else np.asarray(value)
    return numpy_helper.from_array(array, name)


def node(operator: str, inputs: str, outputs: str, **attributes: Any) -> NodeProto:
    """One node; names separated by blanks."""
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


def external(name: str, shape: Sequence[int], offset: int = 0, file: str = WEIGHTS_FILE) -> TensorProto:
    """A float32 tensor whose values lie in the weights file."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", file), ("offset", offset), ("length", 4 * int(np.prod(shape)))):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def model_of(
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    constants: Sequence[TensorProto] = (),
) -> ModelProto:
    graph = helper.make_graph(list(nodes), "known", list(inputs), list(outputs), list(constants))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def running_sum_initial(static: int, *, may_miss: bool = False) -> ModelProto:
    """→ row [NaN, offset, NaN]; the offset is the sum of the static covariates, NaN with a missing one unless it may.

    One that may be missing counts 0 then.
    """
    if not static:
        row = constant("row", np.array([[np.nan, 0, np.nan]], np.float32))
        return model_of([node("Identity", "row", "state")], [], [floats("state", 1, 3)], [row])
    nodes = [
        node("IsNaN", "static", "missing"),
        node("Where", "missing stand_in static", "known"),
        node("ReduceSum", "known axis", "offset", keepdims=1),  # (B, 1)
        node("Mul", "offset nan", "nothing"),
        node("Concat", "nothing offset nothing", "state", axis=1),
    ]
    constants = [constant("axis", [1]), constant("nan", float("nan"))]
    constants.append(constant("stand_in", 0.0 if may_miss else float("nan")))
    return model_of(nodes, [floats("static", "B", static)], [floats("state", "B", 3)], constants)


def running_sum_observe(calendar: int = 0, covariates: int = 0, *, scored: bool = False) -> ModelProto:
    nodes, inputs, constants = _steps("target", [node("Identity", "x", "stored")], calendar, covariates)
    nodes += [
        node("Unsqueeze", "centres axis2", "centres3"),  # (B, T, 1)
        node("Add", "centres3 spread", "quantiles"),  # (B, T, Q)
        node("Sub", "target centres", "error"),
        node("Add", "error two", "from_left"),
        node("Div", "from_left four", "probability"),
        node("Clip", "probability lowest highest", "clipped"),
        # Clip does not promise to keep a NaN.
        node("IsNaN", "probability", "unknown"),
        node("Where", "unknown probability clipped", "inside"),
        # Index 1 of a single element: onnxruntime refuses it and the run fails.
        node("Equal", "target failing", "hits"),
        node("Cast", "hits", "hits64", to=TensorProto.INT64),
        node("ReduceMax", "hits64", "hit", keepdims=0),
        node("Gather", "nought hit", "still_nought"),
        node("Add", "inside still_nought", "pit"),
    ]
    constants += [
        external("spread", [3]),
        constant("lowest", _SMALLEST_PIT),
        constant("highest", 1 - _SMALLEST_PIT),
        constant("failing", FAILING_VALUE),
        constant("nought", np.zeros(1, np.float32)),
    ]
    outputs = [floats("quantiles", "B", "T", 3), floats("pit", "B", "T"), floats("next_state", "B", 3)]
    if scored:
        nodes += [
            node("Abs", "error", "distance"),
            node("Div", "distance eight", "score"),
            node("Clip", "score nought1 one", "bounded"),
            node("Where", "unknown score bounded", "anomaly_score"),
        ]
        constants += [constant("eight", 8.0), constant("nought1", 0.0), constant("one", 1.0)]
        outputs.insert(2, floats("anomaly_score", "B", "T"))
    return model_of(nodes, inputs, outputs, constants)


def running_sum_prefill(calendar: int = 0) -> ModelProto:
    """→ the row that observing leaves, and nothing else."""
    nodes, inputs, constants = _steps("target", [node("Identity", "x", "stored")], calendar, 0)
    return model_of(nodes, inputs, [floats("next_state", "B", 3)], constants)


def running_sum_generate(calendar: int = 0, covariates: int = 0) -> ModelProto:
    sample = [node("Mul", "x four", "width"), node("Sub", "width two", "shift"), node("Add", "centre shift", "stored")]
    nodes, inputs, constants = _steps("uniforms", sample, calendar, covariates)
    nodes.append(node("Identity", "values", "samples"))
    return model_of(nodes, inputs, [floats("samples", "B", "T"), floats("next_state", "B", 3)], constants)


def running_sum_forecast(length: int, calendar: int = 0) -> ModelProto:
    """→ quantiles (B, P, 3) of the P = `length` next steps."""
    nodes, inputs, centres = (
        [
            node("Split", "state", "sum offset pending", axis=1, num_outputs=3),  # (B, 1) each
            node("IsNaN", "sum", "nothing_yet"),
            node("IsNaN", "pending", "missing"),
            node("Add", "sum pending", "both"),
            node("Where", "nothing_yet pending both", "grown"),
            node("Where", "missing sum grown", "next_sum"),
            node("Add", "next_sum offset", "centre"),
        ],
        [floats("state", "B", 3)],
        "centre",
    )
    if calendar:
        inputs.append(floats("calendar", "B", length, calendar))
        nodes += [
            node("ReduceSum", "calendar axis2", "calendar_sum", keepdims=0),  # (B, P)
            node("Add", "centre calendar_sum", "centres"),
        ]
        centres = "centres"
    nodes += [
        node("Unsqueeze", f"{centres} axis2", "centres3"),  # (B, P or 1, 1)
        node("Add", "centres3 spreads", "quantiles"),  # (B, P, 3)
    ]
    spreads = np.outer(np.arange(1, length + 1), [-1, 0, 1]).astype(np.float32)
    constants = [constant("axis2", [2]), constant("spreads", spreads)]
    return model_of(nodes, inputs, [floats("quantiles", "B", length, 3)], constants)


def _steps(
    x: str, store: Sequence[NodeProto], calendar: int, covariates: int
) -> tuple[list[NodeProto], list[ValueInfoProto], list[TensorProto]]:
    """Nodes giving centres (B, T), values (B, T) and next_state; `store` makes what is stored of `x` and `centre`."""
    nodes = [
        node("Split", "state", "sum1 offset pending1", axis=1, num_outputs=3),
        node("Squeeze", "sum1 axis1", "sum"),  # (B,)
        node("Squeeze", "pending1 axis1", "pending"),
        node("Shape", x, "shape"),
        node("Expand", "offset shape", "offsets"),  # (B, T)
    ]
    inputs, extra = [floats("state", "B", 3), floats(x, "B", "T")], "offsets"
    for name, width in (("calendar", calendar), ("covariates", covariates)):
        if width:
            inputs.append(floats(name, "B", "T", width))
            nodes += [
                node("IsNaN", name, f"{name}_missing"),
                node("Where", f"{name}_missing zero {name}", f"{name}_known"),
                node("ReduceSum", f"{name}_known axis2", f"{name}_sum", keepdims=0),  # (B, T)
                node("Add", f"{extra} {name}_sum", f"with_{name}"),
            ]
            extra = f"with_{name}"
    nodes += [
        helper.make_node(
            "Scan",
            ["sum", "pending", extra, x],
            ["last_sum", "last_pending", "centres", "values"],
            body=_step(store),
            num_scan_inputs=2,
            scan_input_axes=[1, 1],
            scan_output_axes=[1, 1],
        ),
        node("Unsqueeze", "last_sum axis1", "last_sum1"),
        node("Unsqueeze", "last_pending axis1", "last_pending1"),
        node("Concat", "last_sum1 offset last_pending1", "next_state", axis=1),
    ]
    constants = [constant("zero", 0.0), constant("two", 2.0), constant("four", 4.0)]
    return nodes, inputs, [*constants, constant("axis1", [1]), constant("axis2", [2])]


def _step(store: Sequence[NodeProto]) -> GraphProto:
    nodes = [
        node("IsNaN", "sum", "nothing_yet"),
        node("IsNaN", "pending", "missing"),
        node("Add", "sum pending", "both"),
        node("Where", "nothing_yet pending both", "grown"),
        node("Where", "missing sum grown", "next_sum"),
        node("Add", "next_sum extra", "centre"),
        *store,
        node("Identity", "centre", "centre_out"),
        node("Identity", "stored", "stored_out"),
    ]
    inputs = [floats(name, "B") for name in ("sum", "pending", "extra", "x")]
    outputs = [floats(name, "B") for name in ("next_sum", "stored", "centre_out", "stored_out")]
    return helper.make_graph(nodes, "step", inputs, outputs)


def next_token_initial(start_token: int) -> ModelProto:
    row = constant("row", np.array([[0, start_token]], np.float32))
    return model_of([node("Identity", "row", "state")], [], [floats("state", 1, 2)], [row])


def next_token_observe(vocabulary_size: int) -> ModelProto:
    nodes = [
        *_read_tokens(),
        node("LogSoftmax", "logits", "logs", axis=-1),
        node("Unsqueeze", "tokens axis2", "tokens3"),
        node("GatherElements", "logs tokens3", "chosen", axis=2),
        node("Squeeze", "chosen axis2", "log_probabilities"),
    ]
    constants = [*_reading_constants(vocabulary_size), constant("axis2", [2])]
    outputs = [floats("log_probabilities", "B", "T"), floats("next_state", "B", 2)]
    return model_of(nodes, [floats("state", "B", 2), tokens("tokens", "B", "T")], outputs, constants)


def next_token_predict(vocabulary_size: int) -> ModelProto:
    outputs = [floats("logits", "B", "T", vocabulary_size), floats("next_state", "B", 2)]
    inputs = [floats("state", "B", 2), tokens("tokens", "B", "T")]
    return model_of(_read_tokens(), inputs, outputs, _reading_constants(vocabulary_size))


def _read_tokens() -> list[NodeProto]:
    """Nodes giving the logits (B, T, V) at each token's place, and the row with all tokens taken in."""
    return [
        *_consumed("tokens"),
        node("Cast", "pending1", "pending_token", to=TensorProto.INT64),  # (B, 1)
        node("Concat", "pending_token tokens", "all", axis=1),  # (B, 1 + T)
        node("Slice", "all first before_last axis1", "given"),  # (B, T): what each token follows
        node("Gather", "table given", "logits", axis=0),  # (B, T, V)
        node("Slice", "all before_last end axis1", "last"),
        node("Cast", "last", "last1", to=TensorProto.FLOAT),
        node("Concat", "consumed last1", "next_state", axis=1),
    ]


def _reading_constants(vocabulary_size: int) -> list[TensorProto]:
    numbers = (("first", 0), ("before_last", -1), ("end", 2**62), ("axis1", 1))
    return [external("table", [vocabulary_size, vocabulary_size]), *(constant(name, [n]) for name, n in numbers)]


def next_token_generate(vocabulary_size: int) -> ModelProto:
    """Inverse CDF in the order of the tokens, over the likeliest whose mass reaches top_p, at the temperature."""
    nodes = [
        *_consumed("uniforms"),
        node("Squeeze", "pending1 axis1", "pending"),
        node("Cast", "pending", "token0", to=TensorProto.INT64),  # (B,)
        node("Max", "temperature coldest", "warm"),
        node("Unsqueeze", "warm axis1", "temperature1"),  # (B, 1)
        node("Unsqueeze", "top_p axis1", "top_p1"),
        helper.make_node(
            "Scan",
            ["token0", "uniforms"],
            ["last_token", "tokens", "log_probabilities"],
            body=_sampling_step(),
            num_scan_inputs=1,
            scan_input_axes=[1],
            scan_output_axes=[1, 1],
        ),
        node("Cast", "last_token", "last", to=TensorProto.FLOAT),
        node("Unsqueeze", "last axis1", "last1"),
        node("Concat", "consumed last1", "next_state", axis=1),
    ]
    constants = [
        external("table", [vocabulary_size, vocabulary_size]),
        constant("size", [vocabulary_size]),
        constant("coldest", 1e-6),
        constant("axis", np.array(1)),
        constant("axis1", [1]),
    ]
    inputs = [floats("state", "B", 2), floats("uniforms", "B", "T"), floats("temperature", "B"), floats("top_p", "B")]
    outputs = [tokens("tokens", "B", "T"), floats("log_probabilities", "B", "T"), floats("next_state", "B", 2)]
    return model_of(nodes, inputs, outputs, constants)


def _consumed(per_step: str) -> list[NodeProto]:
    """Nodes giving pending1 (B, 1), and consumed (B, 1): one more for every step."""
    return [
        node("Split", "state", "consumed0 pending1", axis=1, num_outputs=2),
        helper.make_node("Shape", [per_step], ["steps64"], start=1, end=2),
        node("Cast", "steps64", "steps", to=TensorProto.FLOAT),
        node("Add", "consumed0 steps", "consumed"),
    ]


def _sampling_step() -> GraphProto:
    nodes = [
        node("Gather", "table token", "logits", axis=0),  # (B, V)
        node("LogSoftmax", "logits", "logs", axis=-1),
        node("Div", "logits temperature1", "scaled"),
        node("Softmax", "scaled", "p", axis=-1),
        node("TopK", "p size", "sorted ranks", axis=-1),
        node("CumSum", "sorted axis", "mass", exclusive=1),
        node("Less", "mass top_p1", "kept_sorted"),
        node("Where", "kept_sorted sorted certain", "kept_values"),
        node("ReduceMin", "kept_values axis1", "least", keepdims=1),  # (B, 1)
        node("Less", "p least", "left_out"),
        node("Where", "left_out impossible p", "kept"),
        node("CumSum", "kept axis", "cumulative"),
        node("ReduceMax", "cumulative axis1", "total", keepdims=1),
        node("Unsqueeze", "u axis1", "u1"),
        node("Mul", "u1 total", "wanted"),
        node("Greater", "cumulative wanted", "reached"),
        node("GreaterOrEqual", "cumulative total", "at_end"),
        node("Or", "reached at_end", "found"),
        node("Cast", "found", "found64", to=TensorProto.INT64),
        node("ArgMax", "found64", "next_token", axis=1, keepdims=0),  # (B,)
        node("Unsqueeze", "next_token axis1", "next1"),
        node("GatherElements", "logs next1", "log1", axis=1),
        node("Squeeze", "log1 axis1", "log_probability"),
        node("Identity", "next_token", "token_out"),
    ]
    constants = [constant("certain", 1.0), constant("impossible", 0.0)]
    outputs = [tokens("next_token", "B"), tokens("token_out", "B"), floats("log_probability", "B")]
    return helper.make_graph(nodes, "sample", [tokens("token", "B"), floats("u", "B")], outputs, constants)
