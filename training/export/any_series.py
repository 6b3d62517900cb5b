"""The three graphs of `any-series`: `initial`, `observe` and `generate`, in the series' own units.

Shapes: B batch, T time, S state width, Q quantiles, K experts, A lagged values, M history. In the state row the last of
the history is the pending input.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from onnx import TensorProto

from service.contract.manifest import GraphName, StateLayout
from training.export import expert_features as experts_of
from training.export.builder import GraphBuilder, Value, Weights
from training.export.expert_features import NAN, Stream
from training.export.exported import Exported, save_export, state_layout
from training.export.prediction import PredictionGraph
from training.export.quantile_head import QuantileHeadGraph
from training.export.recurrence import (
    close_states,
    initial_states,
    open_states,
    recurrent_fields,
    recurrent_layers,
    recurrent_sizes,
)
from training.networks.any_series import LEAST_WEIGHT, SQUASH, AnySeries
from training.networks.expert_features import EXTRAS, RECENT, TRACK, initial_recent, initial_track

SEASON = "season"
"""Name of the static covariate: steps per season, where somebody knows them."""


def export_any_series(network: AnySeries, folder: Path) -> Exported:
    """Write initial.onnx, observe.onnx, generate.onnx and weights.bin of a trained network into `folder`."""
    weights = Weights()
    graphs = _AnySeriesGraphs(network, weights)
    built: dict[GraphName, GraphBuilder] = {
        "initial": graphs.initial(),
        "observe": graphs.observe(),
        "generate": graphs.generate(),
    }
    return save_export(folder, built, weights, graphs.layout, network.settings.cell, {})


@dataclass(frozen=True)
class _Row:
    """The parts of state rows (B, S): recurrent states (1, B, H) each, and the rest (B, ·)."""

    recurrent: list[Value]
    stream: Stream
    history: Value
    memory: list[Value]
    """What the stream remembers of how well it was foretold, as a `PredictionGraph` has it."""
    season: Value


class _AnySeriesGraphs:
    def __init__(self, network: AnySeries, weights: Weights) -> None:
        self._network = network
        self._weights = weights
        self._settings = network.settings
        self._experts = network.settings.experts
        self._head = QuantileHeadGraph(self._settings.quantiles)
        self._prediction = PredictionGraph(
            self._settings.quantiles, self._head, self._settings.anomaly, self._settings.conformal
        )
        self.layout: StateLayout = state_layout(
            [
                *recurrent_fields(network.recurrence),
                ("track", (TRACK,)),
                ("experts", (2, self._experts.experts)),
                ("recent", (RECENT,)),
                ("history", (self._experts.history,)),
                *self._prediction.fields,
                (SEASON, (1,)),
            ]
        )

    def initial(self) -> GraphBuilder:
        """The row of a stream that has seen nothing, and its season."""
        g = GraphBuilder("initial", self._weights)
        empty = np.concatenate(
            [
                initial_states(self._network.recurrence),
                initial_track(),
                np.zeros(2 * self._experts.experts, np.float32),
                initial_recent(),
                np.full(self._experts.history, np.nan, np.float32),
                self._prediction.initial(),
            ]
        )
        season = g.input("static", ("B", 1))
        shape = g.node("Concat", g.node("Shape", season, start=0, end=1), g.integers(len(empty)), axis=0)
        g.node("Concat", g.node("Expand", g.constant(empty[None]), shape), season, axis=1, output="state")
        g.output("state", ("B", self.layout.width))
        return g

    def observe(self) -> GraphBuilder:
        """Predict each value of the target, say where it fell, and take it in."""
        g = GraphBuilder("observe", self._weights)
        row, target = self._open(g), g.input("target", ("B", "T"))
        values = g.node("Unsqueeze", target, g.integers(2))  # (B, T, 1)
        history = g.node("Concat", row.history, target, axis=1)  # (B, M + T)
        lagged = self._lagged(g, history, target, row.season)
        track, error, weight, recent, *outputs = g.scan(self._observing_step(g), row.stream, [lagged, values])
        features, z, beyond, centre, scale = outputs
        x, location, recurrent = self._look(
            g, g.node("Transpose", features, perm=[1, 0, 2]), row.recurrent, one_step=False
        )
        x, location = (g.node("Transpose", part, perm=[1, 0, 2]) for part in (x, location))
        unknown, left = g.node("IsNaN", z), g.node("Sub", z, location)
        judged = self._prediction.judge(g, x, left, unknown, row.memory, beyond, location)
        quantiles = g.node("Mul", scale, g.node("Add", judged.quantiles, location))
        g.node("Add", centre, quantiles, output="quantiles")  # the centre is missing where nothing was observed yet
        g.output("quantiles", ("B", "T", len(self._settings.quantiles)))
        for name, value in (("pit", judged.pit), ("anomaly_score", judged.score)):
            g.node("Squeeze", value, g.integers(2), output=name)
            g.output(name, ("B", "T"))
        last = g.slice(history, -self._experts.history, 2**31, axis=1)
        self._close(g, _Row(recurrent, Stream(track, error, weight, recent), last, judged.memory, row.season))
        return g

    def _observing_step(self, g: GraphBuilder) -> GraphBuilder:
        step, experts = g.body("step"), self._experts
        stream = self._stream_inputs(step)
        lagged = step.input("lagged", ("B", len(experts_of.all_lags(experts)) + 1))
        value = step.input("value", ("B", 1))
        seen = experts_of.foresee(step, stream, lagged, experts)
        self._stream_outputs(step, experts_of.advance(step, stream, value, seen, experts))
        step.output(seen.features, ("B", experts.feature_count))
        for part in experts_of.outcome(step, value, seen):
            step.output(part, ("B", 1))
        step.output(step.node("Where", seen.unseen, NAN, seen.centre), ("B", 1))
        step.output(seen.scale, ("B", 1))
        return step

    def generate(self) -> GraphBuilder:
        """Draw each value from its predictive distribution and take it in, one complete step after another."""
        g = GraphBuilder("generate", self._weights)
        row = self._open(g)
        given = g.input("uniforms", ("B", "T"))
        nothing = g.node("Mul", given, NAN)  # (B, T)
        # Values that are still to be drawn are missing among these; the body finds them in what it has drawn.
        lagged = self._lagged(g, g.node("Concat", row.history, nothing, axis=1), given, row.season)
        coefficients, offset = self._head.draws(g, g.node("Unsqueeze", given, g.integers(2)))
        states = [*row.stream, nothing, *row.memory, *row.recurrent]
        *after, samples = g.scan(self._generating_step(g, row, given), states, [lagged, coefficients, offset])
        track, error, weight, recent, _, *rest = after
        memory, recurrent = rest[: len(row.memory)], rest[len(row.memory) :]
        drawn = g.node("Squeeze", samples, g.integers(2), output="samples")
        g.output("samples", ("B", "T"))
        last = g.slice(g.node("Concat", row.history, drawn, axis=1), -self._experts.history, 2**31, axis=1)
        self._close(g, _Row(recurrent, Stream(track, error, weight, recent), last, memory, row.season))
        return g

    def _generating_step(self, g: GraphBuilder, row: _Row, given: Value) -> GraphBuilder:
        settings, experts = self._settings, self._experts
        fixed, seasonal = self._drawn_indices(g, row.season, given)
        step = g.body("step")
        stream = self._stream_inputs(step)
        drawn = step.input("drawn", ("B", "T"))
        memory = [step.input(name, ("B", *shape)) for name, shape in self._prediction.fields]
        recurrent = [step.input("recurrent", (1, "B", settings.hidden_size)) for _ in row.recurrent]
        lagged = step.input("lagged", ("B", len(experts_of.all_lags(experts)) + 1))
        coefficients = step.input("coefficients", ("B", 2 * len(settings.quantiles)))
        offset = step.input("offset", ("B", 1))
        parts = [step.node("Gather", drawn, fixed, axis=1), step.node("GatherElements", drawn, seasonal, axis=1)]
        found = step.node("Concat", *parts, axis=1)
        lagged = step.node("Where", step.node("IsNaN", lagged), found, lagged)
        seen = experts_of.foresee(step, stream, lagged, experts)
        by_time = step.node("Unsqueeze", seen.features, step.integers(0))  # (1, B, F)
        x, location, recurrent = self._look(step, by_time, recurrent, one_step=True)
        x, location = (step.node("Squeeze", part, step.integers(0)) for part in (x, location))
        z = step.node("Add", self._prediction.draw(step, x, coefficients, offset, memory), location)
        value = step.node("Add", seen.centre, step.node("Mul", seen.scale, z))
        value = step.node("Where", seen.unseen, NAN, value)
        again, beyond = experts_of.outcome(step, value, seen)
        left = step.node("Sub", again, location)
        memory = self._prediction.take_in(step, x, left, memory, beyond, location)
        self._stream_outputs(step, experts_of.advance(step, stream, value, seen, experts))
        step.output(step.node("Concat", step.slice(drawn, 1, 2**31, axis=1), value, axis=1), ("B", "T"))
        for part, size in zip(memory, self._prediction.sizes, strict=True):
            step.output(part, ("B", size))
        for part in recurrent:
            step.output(part, (1, "B", settings.hidden_size))
        step.output(step.node("Identity", value), ("B", 1))
        return step

    def _stream_inputs(self, step: GraphBuilder) -> Stream:
        sizes = Stream.sizes(self._experts)
        return Stream(*(step.input(name, ("B", size)) for name, size in zip(Stream._fields, sizes, strict=True)))

    def _stream_outputs(self, step: GraphBuilder, stream: Stream) -> None:
        for part, size in zip(stream, Stream.sizes(self._experts), strict=True):
            step.output(part, ("B", size))

    def _look(
        self, g: GraphBuilder, features: Value, states: list[Value], *, one_step: bool
    ) -> tuple[Value, Value, list[Value]]:
        """The head's x (T, B, 2 Q), what its quantiles are shifted by (T, B, 1), and the states after features."""
        count = self._experts.experts
        lie, trust, last, known, within = g.split(features, [count, count, 1, EXTRAS - 3, 2])
        inputs = g.node("Concat", _squash(g, lie), trust, _squash(g, last), known, _squash(g, within), axis=-1)
        outputs, after = recurrent_layers(g, self._network.recurrence, inputs, states, one_step=one_step)
        linear = self._network.head
        matrix = g.weight("head.matrix", linear.weight.detach().cpu().to(torch.float32).numpy().T)
        both = g.node("MatMul", g.node("Concat", outputs, inputs, axis=-1), matrix)
        both = g.node("Add", both, g.constant(linear.bias.detach().cpu().numpy()))
        raw, chosen = g.split(both, [len(self._settings.quantiles), self._experts.experts])
        root = g.node("Sqrt", g.node("Add", g.node("Mul", chosen, chosen), 4.0))
        positive = g.node("Mul", g.node("Add", chosen, root), 0.5)
        weights = g.node("Mul", positive, experts_of.sixth_power(g, trust))
        all_of_them = g.node("Add", experts_of.total(g, weights, self._experts), LEAST_WEIGHT)
        location = g.node("Div", experts_of.total(g, g.node("Mul", weights, lie), self._experts), all_of_them)
        return self._head.squareplus(g, raw), location, after

    def _season_lag(self, g: GraphBuilder, season: Value) -> tuple[Value, Value]:
        """The season (B, 1) in steps, 1 where there is none to use; and whether there is."""
        lag = g.node("Round", season)
        reaches = g.node("LessOrEqual", lag, float(self._experts.history))
        usable = g.node("And", g.node("GreaterOrEqual", lag, 1.0), reaches)
        return g.node("Cast", g.node("Where", usable, lag, 1.0), to=TensorProto.INT64), usable

    def _lagged(self, g: GraphBuilder, history: Value, timed: Value, season: Value) -> Value:
        """Lagged values (B, T, A) of each step of a history (B, M + T), missing ones NaN."""
        length = g.node("Squeeze", g.node("Shape", timed, start=1, end=2))
        steps = g.node("Range", g.constant(0, np.int64), length, g.constant(1, np.int64))
        first = g.integers(*(self._experts.history - lag for lag in experts_of.all_lags(self._experts)))
        fixed = g.node("Gather", history, g.node("Add", g.node("Unsqueeze", steps, g.integers(1)), first), axis=1)
        lag, usable = self._season_lag(g, season)
        at = g.node("Add", g.node("Sub", g.constant(self._experts.history, np.int64), lag), steps)  # (B, T)
        seasonal = g.node("Where", usable, g.node("GatherElements", history, at, axis=1), NAN)
        return g.node("Concat", fixed, g.node("Unsqueeze", seasonal, g.integers(2)), axis=2)

    def _drawn_indices(self, g: GraphBuilder, season: Value, given: Value) -> tuple[Value, Value]:
        """Where in the last T drawn values (B, T) each lag lies: of the fixed ones (·), and of the season (B, 1).

        The first of them, where it lies beyond: that one is drawn after the last step, so it is always missing.
        """
        length = g.node("Shape", given, start=1, end=2)
        fixed = g.node("Sub", length, g.integers(*experts_of.all_lags(self._experts)))
        lag, usable = self._season_lag(g, season)
        own = g.node("Where", usable, g.node("Sub", length, lag), g.integers(0))
        return g.node("Max", fixed, g.integers(0)), g.node("Max", own, g.integers(0))

    def _open(self, g: GraphBuilder) -> _Row:
        layers, experts = recurrent_sizes(self._network.recurrence), self._experts
        sizes = [*layers, *Stream.sizes(experts), experts.history, *self._prediction.sizes, 1]
        parts = g.split(g.input("state", ("B", self.layout.width)), sizes)
        states = open_states(g, parts[: len(layers)])
        track, error, weight, recent, history, *rest = parts[len(layers) :]
        return _Row(states, Stream(track, error, weight, recent), history, rest[:-1], rest[-1])

    def _close(self, g: GraphBuilder, row: _Row) -> None:
        parts = [*close_states(g, row.recurrent), *row.stream, row.history, *row.memory, row.season]
        g.node("Concat", *parts, axis=1, output="next_state")
        g.output("next_state", ("B", self.layout.width))


def _squash(g: GraphBuilder, values: Value) -> Value:
    return g.node("Div", values, g.node("Add", g.node("Mul", g.node("Abs", values), SQUASH), 1.0))
