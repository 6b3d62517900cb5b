"""The graphs of a segment forecaster: `initial`, `observe`, `prefill`, `generate` and `forecast`, in a series' units.

Shapes: B batch, T time, W context length, P prediction length, S state width, Q quantiles, C calendar columns. The row
is the window of the last W values, the newest last, and what the stream remembers of how well it was foretold: every
graph reads the window anew, so nothing in a forecast is older than the last value.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from service.contract.calendar import calendar_width
from service.contract.manifest import GraphName
from training.export.builder import GraphBuilder, Value, Weights
from training.export.exported import Exported, save_export, state_layout
from training.export.prediction import NAN, PredictionGraph
from training.export.quantile_head import QuantileHeadGraph
from training.export.runner import LEVELS
from training.export.segment_decoder import SegmentMembers
from training.export.segment_window import Scaled, scaled, windows_over
from training.networks.segment_ensemble import AnySegmentForecaster, segment_members_of


def export_segment_forecaster(network: AnySegmentForecaster, folder: Path, unit: str | None = None) -> Exported:
    """Write the graphs and weights.bin into `folder`; `prefill` where no conformal factors need predictions.

    Args:
        folder: created where it does not exist.
        unit: of the target, for the description of inputs and outputs.
    """
    weights = Weights()
    graphs = _SegmentGraphs(network, weights, unit)
    built: dict[GraphName, GraphBuilder] = {
        "initial": graphs.initial(),
        "observe": graphs.observe(),
        "generate": graphs.generate(),
        "forecast": graphs.forecast(),
    }
    if not network.settings.conformal:  # its factors are made of predictions, which filling a row does without
        built["prefill"] = graphs.prefill()
    levels = ",".join(map(str, network.settings.quantiles))
    return save_export(folder, built, weights, graphs.layout, "GRU", {LEVELS: levels})


class _SegmentGraphs:
    def __init__(self, network: AnySegmentForecaster, weights: Weights, unit: str | None) -> None:
        self._settings = network.settings
        self._weights = weights
        self._unit = unit
        self._head = QuantileHeadGraph(self._settings.quantiles)
        self._members = SegmentMembers(segment_members_of(network), self._head)
        self._prediction = PredictionGraph(
            self._settings.quantiles, self._head, self._settings.anomaly, self._settings.conformal
        )
        self._length = self._settings.context_length
        self.layout = state_layout([("window", (self._length,)), *self._prediction.fields])

    def initial(self) -> GraphBuilder:
        """A window of nothing, and the memory of no surprise."""
        g = GraphBuilder("initial", self._weights)
        row = np.concatenate([np.full(self._length, np.nan, np.float32), self._prediction.initial()])
        g.node("Identity", g.constant(row[None]), output="state")
        g.output("state", (1, self.layout.width))
        return g

    def observe(self) -> GraphBuilder:
        """Predict each value of the target from the window before it, say where it fell, and take it in."""
        g = GraphBuilder("observe", self._weights)
        window, memory = self._open(g)
        target = g.input("target", ("B", "T"), unit=self._unit)
        calendar = self._calendar(g, "T")
        history = g.node("Concat", window, target, axis=1)  # (B, W + T)
        every = self._scaled(g, windows_over(g, history, target, self._length))  # of B · T windows
        x = self._members.next_step(g, every, None if calendar is None else self._by_window(g, calendar))
        shape = g.node("Concat", g.node("Shape", target), g.integers(-1), axis=0)
        x, origin, scale = (g.node("Reshape", part, shape) for part in (x, every.origin, every.scale))
        unseen = g.node("Reshape", every.unseen, shape)
        values = g.node("Unsqueeze", target, g.integers(2))  # (B, T, 1)
        z = g.node("Div", g.node("Sub", values, origin), scale)
        unknown = g.node("Or", g.node("IsNaN", values), unseen)
        judged = self._prediction.judge(g, x, z, unknown, memory)
        in_units = g.node("Add", origin, g.node("Mul", scale, judged.quantiles))
        g.node("Where", unseen, NAN, in_units, output="quantiles")
        g.output("quantiles", ("B", "T", len(self._settings.quantiles)), unit=self._unit)
        for name, value in (("pit", judged.pit), ("anomaly_score", judged.score)):
            g.node("Squeeze", value, g.integers(2), output=name)
            g.output(name, ("B", "T"))
        self._close(g, g.slice(history, -self._length, 2**31, axis=1), judged.memory)
        return g

    def generate(self) -> GraphBuilder:
        """Draw each value from the distribution of the next step and take it in, one complete step after another."""
        g = GraphBuilder("generate", self._weights)
        window, memory = self._open(g)
        uniforms = g.node("Unsqueeze", g.input("uniforms", ("B", "T")), g.integers(2))
        calendar = self._calendar(g, "T")
        coefficients, offset = self._head.draws(g, uniforms)
        given = [coefficients, offset] if calendar is None else [coefficients, offset, calendar]
        *after, samples = g.scan(self._generating_step(g), [window, *memory], given)
        g.node("Squeeze", samples, g.integers(2), output="samples")
        g.output("samples", ("B", "T"), unit=self._unit)
        self._close(g, after[0], after[1:])
        return g

    def forecast(self) -> GraphBuilder:
        """Quantiles of all steps of the horizon at once; the row stays as it is."""
        g = GraphBuilder("forecast", self._weights)
        window, memory = self._open(g)
        ahead, levels = self._settings.prediction_length, len(self._settings.quantiles)
        own = self._scaled(g, window)
        x = self._members.all_steps(g, own, self._calendar(g, ahead))  # (B, P, 2 Q)
        origin, scale, unseen = (g.node("Unsqueeze", p, g.integers(1)) for p in (own.origin, own.scale, own.unseen))
        in_units = g.node("Add", origin, g.node("Mul", scale, self._prediction.foretell(g, x, memory)))
        g.node("Where", unseen, NAN, in_units, output="quantiles")
        g.output("quantiles", ("B", ahead, levels), unit=self._unit)
        return g

    def prefill(self) -> GraphBuilder:
        """Take values in without predicting them: the window moves on, what is remembered of surprises stays."""
        g = GraphBuilder("prefill", self._weights)
        window, memory = self._open(g)
        target = g.input("target", ("B", "T"), unit=self._unit)
        self._calendar(g, "T")  # as `observe` takes it; the window holds none
        history = g.node("Concat", window, target, axis=1)
        self._close(g, g.slice(history, -self._length, 2**31, axis=1), memory)
        return g

    def _generating_step(self, g: GraphBuilder) -> GraphBuilder:
        step = g.body("step")
        window = step.input("window", ("B", self._length))
        memory = [step.input(name, ("B", *shape)) for name, shape in self._prediction.fields]
        coefficients = step.input("coefficients", ("B", 2 * len(self._settings.quantiles)))
        offset = step.input("offset", ("B", 1))
        names = self._settings.calendar
        calendar = step.input("calendar", ("B", calendar_width(names))) if names else None
        own = self._scaled(step, window)
        x = self._members.next_step(step, own, calendar)
        z = self._prediction.draw(step, x, coefficients, offset, memory)
        value = step.node("Add", own.origin, step.node("Mul", own.scale, z))
        value = step.node("Where", own.unseen, NAN, value)
        taken = step.node("Div", step.node("Sub", value, own.origin), own.scale)
        after = self._prediction.take_in(step, x, taken, memory)
        rest = step.slice(window, 1, 2**31, axis=1)
        step.output(step.node("Concat", rest, value, axis=1), ("B", self._length))
        for part, size in zip(after, self._prediction.sizes, strict=True):
            step.output(part, ("B", size))
        step.output(step.node("Identity", value), ("B", 1))
        return step

    def _scaled(self, g: GraphBuilder, window: Value) -> Scaled:
        return scaled(g, window, self._length, self._settings.centring)

    def _open(self, g: GraphBuilder) -> tuple[Value, list[Value]]:
        """Window (B, W) and memory of the rows."""
        state = g.input("state", ("B", self.layout.width))
        window, *memory = g.split(state, [self._length, *self._prediction.sizes])
        return window, memory

    def _close(self, g: GraphBuilder, window: Value, memory: list[Value]) -> None:
        g.node("Concat", window, *memory, axis=1, output="next_state")
        g.output("next_state", ("B", self.layout.width))

    def _calendar(self, g: GraphBuilder, steps: int | str) -> Value | None:
        names = self._settings.calendar
        return g.input("calendar", ("B", steps, calendar_width(names))) if names else None  # type: ignore[arg-type]

    def _by_window(self, g: GraphBuilder, calendar: Value) -> Value:
        """The calendar (B, T, C) of each window's next step, (B · T, C)."""
        return g.node("Reshape", calendar, g.integers(-1, calendar_width(self._settings.calendar)))
