"""The forecaster of the serving benchmarks as ONNX graphs: two LSTM layers of 128, 8 inputs, 24 outputs.

Its weights are random: what is measured does not depend on them. The service gets it as a published model follows the
contract (value and seven covariates in; 23 quantiles and a pit out), the peers get the same weights as one function
`step(x, state) → (y, next_state)`. Unlike trained models it keeps no pending input, so that both compute the same.

Shapes: B batch, T time, H hidden, S state width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.models import COVARIATES, QUANTILES, STATE_WIDTH
from service.contract.manifest import StateLayout
from training.export.builder import GraphBuilder, Value, Weights
from training.export.exported import state_layout

HIDDEN, LAYERS = 128, 2
LEVELS = tuple(round((index + 1) / 24, 4) for index in range(QUANTILES))
INPUTS, OUTPUTS = 1 + len(COVARIATES), len(LEVELS) + 1

LAYOUT: StateLayout = state_layout([("hidden", (LAYERS, HIDDEN)), ("cell", (LAYERS, HIDDEN))])
assert LAYOUT.width == STATE_WIDTH


class LstmGraphs:
    """Builds the graphs; all of them share one weights file."""

    def __init__(self) -> None:
        self.weights = Weights()
        self._random = np.random.default_rng(0)
        sizes = {"matrix": (HIDDEN, OUTPUTS), "bias": (OUTPUTS,)}
        for layer, width in enumerate((INPUTS, HIDDEN)):
            sizes[f"{layer}.W"] = (1, 4 * HIDDEN, width)
            sizes[f"{layer}.R"] = (1, 4 * HIDDEN, HIDDEN)
            sizes[f"{layer}.B"] = (1, 8 * HIDDEN)
        self._values = {
            name: self._random.normal(scale=0.08, size=size).astype(np.float32) for name, size in sizes.items()
        }

    def initial(self) -> GraphBuilder:
        """Zeros."""
        g = GraphBuilder("initial", self.weights)
        g.node("Identity", g.constant(np.zeros((1, LAYOUT.width))), output="state")
        g.output("state", (1, LAYOUT.width))
        return g

    def observe(self) -> GraphBuilder:
        """What the service runs: a value and its covariates in, quantiles and a pit out."""
        g = GraphBuilder("observe", self.weights)
        states = self._open(g)
        target = g.node("Unsqueeze", g.input("target", ("B", "T")), g.integers(2))
        x = g.node("Concat", target, g.input("covariates", ("B", "T", len(COVARIATES))), axis=2)
        y, states = self._network(g, x, states)
        quantiles, pit = g.split(y, [len(LEVELS), 1])
        g.node("Identity", quantiles, output="quantiles")
        g.output("quantiles", ("B", "T", len(LEVELS)))
        g.node("Sigmoid", g.node("Squeeze", pit, g.integers(2)), output="pit")
        g.output("pit", ("B", "T"))
        self._close(g, states)
        return g

    def generate(self) -> GraphBuilder:
        """Values drawn between the outer quantiles of what the last hidden state predicts, each fed back."""
        g = GraphBuilder("generate", self.weights)
        states = self._open(g)
        share = g.node("Unsqueeze", g.input("uniforms", ("B", "T")), g.integers(2))
        covariates = g.input("covariates", ("B", "T", len(COVARIATES)))
        *states, samples = g.scan(self._drawing_step(g), states, [share, covariates], output_axis=2)
        g.node("Squeeze", samples, g.integers(0, 3), output="samples")  # of (1, B, T, 1)
        g.output("samples", ("B", "T"))
        self._close(g, states)
        return g

    def step(self) -> GraphBuilder:
        """What the peers run: x (B, T, 8) and a state row in, y (B, T, 24) and the next row out."""
        g = GraphBuilder("step", self.weights)
        states = self._open(g)
        y, states = self._network(g, g.input("x", ("B", "T", INPUTS)), states)
        g.node("Identity", y, output="y")
        g.output("y", ("B", "T", OUTPUTS))
        self._close(g, states)
        return g

    def _drawing_step(self, g: GraphBuilder) -> GraphBuilder:
        step = g.body("step")
        states = [step.input("recurrent", (1, "B", HIDDEN)) for _ in range(2 * LAYERS)]
        share = step.input("share", ("B", 1))
        covariates = step.input("covariates", ("B", len(COVARIATES)))
        predicted = self._dense(step, states[LAYERS - 1])  # (1, B, outputs)
        low, high = step.slice(predicted, 0, 1, 2), step.slice(predicted, OUTPUTS - 2, OUTPUTS - 1, 2)
        sample = step.node("Add", low, step.node("Mul", step.node("Sub", high, low), share))  # (1, B, 1)
        x = step.node("Concat", sample, step.node("Unsqueeze", covariates, step.integers(0)), axis=2)
        _, states = self._layers(step, x, states)
        for state in states:
            step.output(state, (1, "B", HIDDEN))
        step.output(sample, (1, "B", 1))
        return step

    def _network(self, g: GraphBuilder, x: Value, states: Sequence[Value]) -> tuple[Value, list[Value]]:
        by_time = g.node("Transpose", x, perm=[1, 0, 2])  # (T, B, inputs)
        hidden, states = self._layers(g, by_time, states)
        return self._dense(g, g.node("Transpose", hidden, perm=[1, 0, 2])), states

    def _layers(self, g: GraphBuilder, x: Value, states: Sequence[Value]) -> tuple[Value, list[Value]]:
        """The last layer's outputs (T, B, H) and the states after them, each (1, B, H)."""
        hidden, memory = list(states[:LAYERS]), list(states[LAYERS:])
        for layer in range(LAYERS):
            weights = [g.weight(f"{layer}.{part}", self._values[f"{layer}.{part}"]) for part in "WRB"]
            every, hidden[layer], memory[layer] = g.nodes(
                "LSTM", x, *weights, "", hidden[layer], memory[layer], outputs=3, hidden_size=HIDDEN
            )
            x = g.node("Squeeze", every, g.integers(1))
        return x, hidden + memory

    def _dense(self, g: GraphBuilder, hidden: Value) -> Value:
        product = g.node("MatMul", hidden, g.weight("matrix", self._values["matrix"]))
        return g.node("Add", product, g.weight("bias", self._values["bias"]))

    def _open(self, g: GraphBuilder) -> list[Value]:
        parts = g.split(g.input("state", ("B", LAYOUT.width)), [HIDDEN] * (2 * LAYERS))
        return [g.node("Unsqueeze", part, g.integers(0)) for part in parts]

    def _close(self, g: GraphBuilder, states: Sequence[Value]) -> None:
        parts = [g.node("Squeeze", state, g.integers(0)) for state in states]
        g.node("Concat", *parts, axis=1, output="next_state")
        g.output("next_state", ("B", LAYOUT.width))
