"""The three graphs of a forecaster: `initial`, `observe` and `generate`, in the series' own units.

Shapes: B batch, T time, S state width, Q quantiles, C calendar columns, K covariates, D static columns, M longest
lag. In the state row the last of the history is the pending input.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from service.contract.calendar import calendar_width
from service.contract.manifest import GraphName, StateLayout
from training.export import causal_features as features_of
from training.export.builder import GraphBuilder, Value, Weights
from training.export.exported import Exported, save_export, state_layout
from training.export.members import Members
from training.export.prediction import NAN, PredictionGraph
from training.export.quantile_head import QuantileHeadGraph
from training.export.recurrence import close_states, open_states
from training.networks.ensemble import AnyForecaster, members_of
from training.networks.forecaster import ForecasterSettings


def export_forecaster(network: AnyForecaster, folder: Path, unit: str | None = None) -> Exported:
    """Write initial.onnx, observe.onnx, generate.onnx and weights.bin of a trained network into `folder`.

    Args:
        folder: created where it does not exist.
        unit: of the target, for the description of inputs and outputs.
    """
    weights = Weights()
    graphs = _ForecasterGraphs(network, weights, unit)
    built: dict[GraphName, GraphBuilder] = {
        "initial": graphs.initial(),
        "observe": graphs.observe(),
        "generate": graphs.generate(),
    }
    return save_export(folder, built, weights, graphs.layout, network.settings.cell, {})


def forecaster_state(settings: ForecasterSettings, members: Members, prediction: PredictionGraph) -> StateLayout:
    """How the state of a forecaster lies in a row."""
    fields = [
        *members.fields(),
        ("statistics", (features_of.STATISTICS,)),
        ("history", (settings.max_lag,)),
        *prediction.fields,
    ]
    return state_layout(fields + ([("static", (settings.static_width,))] if settings.static else []))


@dataclass(frozen=True)
class _Row:
    """The parts of state rows (B, S): recurrent states (1, B, H) each, and the rest (B, ·)."""

    recurrent: list[Value]
    statistics: Value
    history: Value
    memory: list[Value]
    """What the stream remembers of how well it was foretold, as a `PredictionGraph` has it."""
    static: list[Value]
    """Encoded static covariates (B, D), if there are any."""


class _ForecasterGraphs:
    def __init__(self, network: AnyForecaster, weights: Weights, unit: str | None) -> None:
        self._settings: ForecasterSettings = network.settings
        self._weights = weights
        self._unit = unit
        self._head = QuantileHeadGraph(self._settings.quantiles)
        self._members = Members(members_of(network), self._head)
        self._prediction = PredictionGraph(
            self._settings.quantiles, self._head, self._settings.anomaly, self._settings.conformal
        )
        self.layout = forecaster_state(self._settings, self._members, self._prediction)

    def initial(self) -> GraphBuilder:
        """Recurrent states, a history of nothing, the memory of no surprise, and the static covariates encoded."""
        g = GraphBuilder("initial", self._weights)
        empty = np.zeros((1, self.layout.width - self._settings.static_width), np.float32)
        empty[:, : sum(self._members.sizes)] = self._members.initial()
        history = next(field for field in self.layout.fields if field.name == "history")
        empty[:, history.offset : history.offset + history.size] = np.nan
        empty[:, history.offset + history.size :] = self._prediction.initial()
        if not self._settings.static:
            g.node("Identity", g.constant(empty), output="state")
            g.output("state", (1, self.layout.width))
            return g
        static = g.input("static", ("B", len(self._settings.static)))
        batch = g.node("Shape", static, start=0, end=1)
        shape = g.node("Concat", batch, g.integers(empty.shape[1]), axis=0)
        encoded = features_of.static_features(g, static, self._settings)
        g.node("Concat", g.node("Expand", g.constant(empty), shape), encoded, axis=1, output="state")
        g.output("state", ("B", self.layout.width))
        return g

    def observe(self) -> GraphBuilder:
        """Predict each value of the target, say where it fell, and take it in."""
        g, settings = GraphBuilder("observe", self._weights), self._settings
        row = self._open(g)
        target = g.input("target", ("B", "T"), unit=self._unit)
        known = self._known(g, row)
        values = g.node("Unsqueeze", target, g.integers(2))  # (B, T, 1)
        after, statistics = features_of.advance_over(g, row.statistics, values, settings.decay)
        scale = features_of.open_scale(g, statistics)
        sigma = features_of.sigma(g, scale)
        history = g.node("Concat", row.history, target, axis=1)  # (B, M + T)
        lags = self._lags_over(g, history, target)
        features = self._features(g, lags, scale, sigma, known)
        by_time = g.node("Transpose", features, perm=[1, 0, 2])  # (T, B, F)
        x, recurrent = self._members.x(g, by_time, row.recurrent, one_step=False)
        memory = self._judge(g, g.node("Transpose", x, perm=[1, 0, 2]), values, scale, sigma, row.memory)
        last = g.slice(history, -settings.max_lag, 2**31, axis=1)
        self._close(g, _Row(recurrent, after, last, memory, row.static))
        return g

    def generate(self) -> GraphBuilder:
        """Draw each value from its predictive distribution and take it in, one complete step after another."""
        g = GraphBuilder("generate", self._weights)
        row = self._open(g)
        uniforms = g.node("Unsqueeze", g.input("uniforms", ("B", "T")), g.integers(2))
        known = self._known(g, row)
        coefficients, offset = self._head.draws(g, uniforms)
        step = self._generating_step(g, row)
        states = [*row.recurrent, row.statistics, row.history, *row.memory]
        *after, samples = g.scan(step, states, [coefficients, offset, *known])
        g.node("Squeeze", samples, g.integers(2), output="samples")
        g.output("samples", ("B", "T"), unit=self._unit)
        layers = len(row.recurrent)
        statistics, history, *memory = after[layers:]
        self._close(g, _Row(after[:layers], statistics, history, memory, row.static))
        return g

    def _generating_step(self, g: GraphBuilder, row: _Row) -> GraphBuilder:
        step, settings = g.body("step"), self._settings
        hidden = settings.hidden_size
        recurrent = [step.input("recurrent", (1, "B", hidden)) for _ in row.recurrent]
        statistics = step.input("statistics", ("B", features_of.STATISTICS))
        history = step.input("history", ("B", settings.max_lag))
        memory = [step.input(name, ("B", *shape)) for name, shape in self._prediction.fields]
        coefficients = step.input("coefficients", ("B", 2 * len(settings.quantiles)))
        offset = step.input("offset", ("B", 1))
        known = [step.input("known", ("B", settings.known_width))] if settings.known_width else []
        scale = features_of.open_scale(step, statistics)
        sigma = features_of.sigma(step, scale)
        positions = step.integers(*(settings.max_lag - lag for lag in settings.lags))
        lags = step.node("Gather", history, positions, axis=1)  # (B, lags)
        features = self._features(step, lags, scale, sigma, known)
        by_time = step.node("Unsqueeze", features, step.integers(0))  # (1, B, F)
        x, recurrent = self._members.x(step, by_time, recurrent, one_step=True)
        x = step.node("Squeeze", x, step.integers(0))  # (B, 2 Q)
        z = self._prediction.draw(step, x, coefficients, offset, memory)
        value = step.node("Add", scale.mean, step.node("Mul", sigma, z))
        value = step.node("Where", scale.unseen, NAN, value)
        memory = self._prediction.take_in(step, x, _normalised(step, value, scale, sigma), memory)
        after = features_of.advance(step, statistics, scale, value, settings.decay)
        rest = step.slice(history, 1, 2**31, axis=1)
        for state in recurrent:
            step.output(state, (1, "B", hidden))
        step.output(after, ("B", features_of.STATISTICS))
        step.output(step.node("Concat", rest, value, axis=1), ("B", settings.max_lag))
        for part, size in zip(memory, self._prediction.sizes, strict=True):
            step.output(part, ("B", size))
        step.output(step.node("Identity", value), ("B", 1))
        return step

    def _open(self, g: GraphBuilder) -> _Row:
        settings = self._settings
        state = g.input("state", ("B", self.layout.width))
        layers, remembered = len(self._members.sizes), self._prediction.sizes
        sizes = [*self._members.sizes, features_of.STATISTICS, settings.max_lag, *remembered]
        sizes += [settings.static_width] if settings.static else []
        parts = g.split(state, sizes)
        statistics, history, *rest = parts[layers:]
        memory, static = rest[: len(remembered)], rest[len(remembered) :]
        return _Row(open_states(g, parts[:layers]), statistics, history, memory, static)

    def _close(self, g: GraphBuilder, row: _Row) -> None:
        parts = [*close_states(g, row.recurrent), row.statistics, row.history, *row.memory, *row.static]
        g.node("Concat", *parts, axis=1, output="next_state")
        g.output("next_state", ("B", self.layout.width))

    def _known(self, g: GraphBuilder, row: _Row) -> list[Value]:
        """What is known of each step beforehand, (B, T, C + K + D); nothing where the settings name nothing."""
        settings, known = self._settings, []
        if settings.calendar:
            known.append(g.input("calendar", ("B", "T", calendar_width(settings.calendar))))
        if settings.covariates:
            given = g.input("covariates", ("B", "T", len(settings.covariates)))
            known.append(features_of.covariate_features(g, given, settings))
        if row.static:
            known.append(self._static_over_time(g, row.static[0], "target" if g.name == "observe" else "uniforms"))
        return [g.node("Concat", *known, axis=-1)] if len(known) > 1 else known

    def _static_over_time(self, g: GraphBuilder, static: Value, timed: Value) -> Value:
        """Static columns (B, D) repeated for each step, (B, T, D)."""
        times = g.node("Shape", timed, start=1, end=2)
        shape = g.node("Concat", g.integers(1), times, g.integers(1), axis=0)
        return g.node("Expand", g.node("Unsqueeze", static, g.integers(1)), shape)

    def _lags_over(self, g: GraphBuilder, history: Value, target: Value) -> Value:
        """The lagged values (B, T, lags) of each step of target (B, T), of a history (B, M + T) that ends with it."""
        length = g.node("Squeeze", g.node("Shape", target, start=1, end=2))
        steps = g.node("Range", g.constant(0, np.int64), length, g.constant(1, np.int64))
        first = g.integers(*(self._settings.max_lag - lag for lag in self._settings.lags))
        return g.node("Gather", history, g.node("Add", g.node("Unsqueeze", steps, g.integers(1)), first), axis=1)

    def _features(
        self, g: GraphBuilder, lags: Value, scale: features_of.Scale, sigma: Value, known: list[Value]
    ) -> Value:
        parts = [*features_of.lag_features(g, lags, scale, sigma), features_of.age_feature(g, scale)]
        if self._settings.log_scale is not None:
            parts.append(features_of.log_scale_feature(g, sigma, self._settings.log_scale))
        return g.node("Concat", *parts, *known, axis=-1)

    def _judge(
        self, g: GraphBuilder, x: Value, values: Value, scale: features_of.Scale, sigma: Value, memory: list[Value]
    ) -> list[Value]:
        """The memory after values (B, T, 1) of which x (B, T, 2 Q) told.

        Makes the outputs `quantiles` (B, T, Q), `pit` and `anomaly_score` (B, T), NaN where nothing can be said.
        """
        unknown = g.node("Or", g.node("IsNaN", values), scale.unseen)
        judged = self._prediction.judge(g, x, _normalised(g, values, scale, sigma), unknown, memory)
        in_units = g.node("Add", scale.mean, g.node("Mul", sigma, judged.quantiles))
        g.node("Where", scale.unseen, NAN, in_units, output="quantiles")
        g.output("quantiles", ("B", "T", len(self._settings.quantiles)), unit=self._unit)
        for name, value in (("pit", judged.pit), ("anomaly_score", judged.score)):
            g.node("Squeeze", value, g.integers(2), output=name)
            g.output(name, ("B", "T"))
        return judged.memory


def _normalised(g: GraphBuilder, values: Value, scale: features_of.Scale, sigma: Value) -> Value:
    return g.node("Div", g.node("Sub", values, scale.mean), sigma)
