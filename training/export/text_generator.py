"""The graphs of a text generator: `initial`, `observe`, `generate` and `predict`, over token ids.

Shapes: B batch, T time, S state width, V vocabulary, E embedding, H hidden. The last value of a state row is the
pending token, as a float; float32 counts exactly to 2²⁴, beyond any vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from torch import Tensor

from service.contract.manifest import GraphName
from training.export.builder import GraphBuilder, Value, Weights
from training.export.exported import Exported, save_export, state_layout
from training.export.recurrence import (
    close_states,
    open_states,
    recurrent_fields,
    recurrent_layers,
    recurrent_sizes,
)
from training.export.sampling import inverse_cdf, log_probability, nucleus
from training.networks.text_generator import TextGenerator

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
LEAST_TEMPERATURE = 1e-6
LEAST_TOP_P = 1e-6  # the likeliest token always stays
NEVER = -1e9
# The largest share of the total that stays below it in float32 whatever the total: keeps a draw inside the classes.
LARGEST_SHARE = 1 - 2.0**-23


def export_text_generator(
    network: TextGenerator, folder: Path, *, start_token: int, unknown_token: int | None
) -> Exported:
    """Write initial.onnx, observe.onnx, generate.onnx, predict.onnx and weights.bin of a network into `folder`.

    Args:
        folder: created where it does not exist.
        start_token: the pending input of a session that has seen nothing.
        unknown_token: may be observed, is never generated.
    """
    weights = Weights()
    graphs = _TextGraphs(network, weights, start_token, unknown_token)
    built: dict[GraphName, GraphBuilder] = {
        "initial": graphs.initial(),
        "observe": graphs.observe(),
        "generate": graphs.generate(),
        "predict": graphs.predict(),
    }
    metadata = {} if unknown_token is None else {"unknown_token": str(unknown_token)}
    return save_export(folder, built, weights, graphs.layout, network.recurrence.cell, metadata)


@dataclass(frozen=True)
class _Row:
    """The parts of state rows: recurrent states (1, B, H) each, and the pending token (B, 1) as a float."""

    recurrent: list[Value]
    pending: Value


@dataclass(frozen=True)
class _Read:
    """Tokens (B, T) taken in: with the pending one before them (1 + T, B), the recurrence's outputs (T, B, H)."""

    tokens: Value
    by_time: Value
    outputs: Value
    recurrent: list[Value]

    def after(self, g: GraphBuilder) -> _Row:
        """The row after them."""
        return _Row(self.recurrent, g.node("Cast", g.slice(self.tokens, -1, 2**31, axis=1), to=FLOAT))


class _TextGraphs:
    def __init__(self, network: TextGenerator, weights: Weights, start_token: int, unknown_token: int | None) -> None:
        self._network = network
        self._weights = weights
        self._start_token = start_token
        self._unknown_token = unknown_token
        self.layout = state_layout([*recurrent_fields(network.recurrence), ("pending", (1,))])

    def initial(self) -> GraphBuilder:
        """Zeros, and the start token pending."""
        g = GraphBuilder("initial", self._weights)
        empty = np.zeros((1, self.layout.width), np.float32)
        empty[0, -1] = self._start_token
        g.node("Identity", g.constant(empty), output="state")
        g.output("state", (1, self.layout.width))
        return g

    def observe(self) -> GraphBuilder:
        """How likely each token was, given those before it; and the state with all of them taken in."""
        g = GraphBuilder("observe", self._weights)
        read = self._read(g)
        following = g.node("Unsqueeze", g.slice(read.by_time, 1, 2**31, axis=0), g.integers(2))  # (T, B, 1)
        chosen = g.node("Squeeze", log_probability(g, self._logits(g, read.outputs), following), g.integers(2))
        g.node("Transpose", chosen, perm=[1, 0], output="log_probabilities")
        g.output("log_probabilities", ("B", "T"))
        self._close(g, read.after(g))
        return g

    def predict(self) -> GraphBuilder:
        """As `observe`, but with the logits of all tokens in place of each, for whoever draws outside the graph.

        The last token has no part in them: whoever wants to know what may follow gives any, and puts the one that is
        chosen into the row as its pending token.
        """
        g = GraphBuilder("predict", self._weights)
        read = self._read(g)
        g.node("Transpose", self._logits(g, read.outputs), perm=[1, 0, 2], output="logits")
        g.output("logits", ("B", "T", self._network.vocabulary_size))
        self._close(g, read.after(g))
        return g

    def _read(self, g: GraphBuilder) -> _Read:
        """Take in the pending token and all given ones but the last, which will be pending."""
        row = self._open(g)
        tokens = g.input("tokens", ("B", "T"), "int64")
        every = g.node("Concat", g.node("Cast", row.pending, to=INT64), tokens, axis=1)
        by_time = g.node("Transpose", every, perm=[1, 0])
        inputs = self._embed(g, g.slice(by_time, 0, -1, axis=0))
        outputs, recurrent = recurrent_layers(g, self._network.recurrence, inputs, row.recurrent, one_step=False)
        return _Read(tokens, by_time, outputs, recurrent)

    def generate(self) -> GraphBuilder:
        """Draw each token and take it in, one complete step after another."""
        g = GraphBuilder("generate", self._weights)
        row = self._open(g)
        share = g.node("Min", g.input("uniforms", ("B", "T")), LARGEST_SHARE)
        share = g.node("Unsqueeze", share, g.integers(2))  # (B, T, 1)
        temperature = g.node("Max", g.input("temperature", ("B",)), LEAST_TEMPERATURE)
        sharpness = g.node("Unsqueeze", g.node("Div", 1.0, temperature), g.integers(1))  # (B, 1)
        top_p = g.node("Max", g.input("top_p", ("B",)), LEAST_TOP_P)
        top_p = g.node("Unsqueeze", top_p, g.integers(1))  # (B, 1)
        cut = g.node("Less", g.node("ReduceMin", top_p, keepdims=0), 1.0)  # whether any row asks for it
        pending = g.node("Transpose", g.node("Cast", row.pending, to=INT64), perm=[1, 0])  # (1, B)
        step = self._generating_step(g, row, sharpness, top_p, cut)
        *after, tokens, log_probabilities = g.scan(step, [*row.recurrent, pending], [share], output_axis=2)
        g.node("Squeeze", tokens, g.integers(0, 3), output="tokens")  # of (1, B, T, 1)
        g.output("tokens", ("B", "T"), "int64")
        g.node("Squeeze", log_probabilities, g.integers(0, 3), output="log_probabilities")
        g.output("log_probabilities", ("B", "T"))
        last = g.node("Transpose", g.node("Cast", after[-1], to=FLOAT), perm=[1, 0])  # (B, 1)
        self._close(g, _Row(after[:-1], last))
        return g

    def _generating_step(self, g: GraphBuilder, row: _Row, sharpness: Value, top_p: Value, cut: Value) -> GraphBuilder:
        step, hidden = g.body("step"), self._network.recurrence.hidden_size
        recurrent = [step.input("recurrent", (1, "B", hidden)) for _ in row.recurrent]
        pending = step.input("pending", (1, "B"), "int64")
        share = step.input("share", ("B", 1))
        embedded = self._embed(step, pending)  # (1, B, E)
        outputs, recurrent = recurrent_layers(step, self._network.recurrence, embedded, recurrent, one_step=True)
        logits = self._logits(step, outputs)  # (1, B, V)
        probabilities = step.node("Softmax", step.node("Mul", self._allowed(step, logits), sharpness), axis=-1)
        kept = nucleus(step, cut, probabilities, top_p, self._network.vocabulary_size)
        token = inverse_cdf(step, kept, share)  # (1, B, 1)
        chosen = log_probability(step, logits, token)
        for state in recurrent:
            step.output(state, (1, "B", hidden))
        step.output(step.node("Squeeze", token, step.integers(2)), (1, "B"), "int64")
        step.output(token, (1, "B", 1), "int64")
        step.output(chosen, (1, "B", 1))
        return step

    def _open(self, g: GraphBuilder) -> _Row:
        state = g.input("state", ("B", self.layout.width))
        *recurrent, pending = g.split(state, [*recurrent_sizes(self._network.recurrence), 1])
        return _Row(open_states(g, recurrent), pending)

    def _close(self, g: GraphBuilder, row: _Row) -> None:
        g.node("Concat", *close_states(g, row.recurrent), row.pending, axis=1, output="next_state")
        g.output("next_state", ("B", self.layout.width))

    def _embed(self, g: GraphBuilder, tokens: Value) -> Value:
        return g.node("Gather", g.weight("embedding", _values(self._network.embedding.weight)), tokens, axis=0)

    def _logits(self, g: GraphBuilder, outputs: Value) -> Value:
        """(…, V) of recurrent outputs (…, H), by the same nodes in both graphs: a fused Gemm adds in another order."""
        network = self._network
        if network.projection is not None:
            outputs = g.node("MatMul", outputs, g.weight("projection", _values(network.projection.weight).T))
        if network.output.weight is network.embedding.weight:
            # One copy in the file: onnxruntime transposes the constant once, when it loads the graph.
            embedding = g.weight("embedding", _values(network.embedding.weight))
            matrix = g.outermost.node("Transpose", embedding, perm=[1, 0])
        else:
            matrix = g.weight("output.matrix", _values(network.output.weight).T)
        return g.node("Add", g.node("MatMul", outputs, matrix), g.weight("output.bias", _values(network.output.bias)))

    def _allowed(self, g: GraphBuilder, logits: Value) -> Value:
        """Logits from which the unknown token cannot be drawn."""
        if self._unknown_token is None:
            return logits
        mask = np.zeros(self._network.vocabulary_size, np.float32)
        mask[self._unknown_token] = NEVER
        return g.node("Add", logits, g.weight("output.mask", mask))


def _values(parameter: Tensor) -> NDArray[np.float32]:
    return np.asarray(parameter.detach().cpu().float().numpy(), np.float32)
