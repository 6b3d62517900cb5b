"""What the members of a segment forecaster make of a window, as nodes: x of one step ahead, or of all.

The encoder is ONNX's GRU over the segments; the step into each segment ahead is the same GRU's arithmetic written
out, because all segments share one hidden state. Members share the window's scale, and x is their mean
(`training.export.members` says why that averages quantiles).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from training.export.builder import GraphBuilder, Value
from training.export.members import mean_of, prefix_of
from training.export.quantile_head import QuantileHeadGraph
from training.export.recurrence import recurrent_weights
from training.export.segment_window import Scaled
from training.networks.causal_features import Array
from training.networks.quantile_head import centre_of
from training.networks.segment_forecaster import ABSENT, SegmentForecaster


class SegmentMembers:
    """Nodes from a window on its own scale to the mean x of all members."""

    def __init__(self, members: Sequence[SegmentForecaster], head: QuantileHeadGraph) -> None:
        self._members = [_Member(member, prefix_of(index)) for index, member in enumerate(members)]
        self._head = head
        self._settings = members[0].settings

    def next_step(self, g: GraphBuilder, window: Scaled, calendar: Value | None) -> Value:
        """x (N, 2 Q) of the step after windows (N, W); calendar (N, C) of that step."""
        return self._x(g, window, calendar, 1)

    def all_steps(self, g: GraphBuilder, window: Scaled, calendar: Value | None) -> Value:
        """x (N, P, 2 Q) of the steps after windows (N, W); calendar (N, P, C) of those steps."""
        return self._x(g, window, calendar, self._settings.prediction_length)

    def _x(self, g: GraphBuilder, window: Scaled, calendar: Value | None, steps: int) -> Value:
        known = [self._head.squareplus(g, member.raw(g, window, calendar, steps)) for member in self._members]
        return mean_of(g, known)


@dataclass(frozen=True)
class _Member:
    network: SegmentForecaster
    prefix: str

    def raw(self, g: GraphBuilder, window: Scaled, calendar: Value | None, steps: int) -> Value:
        """Raw outputs of the head: (N, Q) of the next step alone, or (N, P, Q)."""
        ahead = self._decode(g, self._encode(g, window), calendar, steps)
        settings = self.network.settings
        raw = self._per_step(g, "head", self.network.head, ahead, len(settings.quantiles), steps)
        if self.network.mixture is None:
            return raw
        logits = self._per_step(g, "mixture", self.network.mixture, ahead, settings.seasons + 1, steps)
        centre = np.arange(len(settings.quantiles)) == centre_of(settings.quantiles)
        return g.node("Add", raw, g.node("Mul", self._mixed(g, window, logits, steps), g.constant(centre)))

    def _encode(self, g: GraphBuilder, window: Scaled) -> Value:
        """Hidden state (N, D) after the last segment."""
        width = self.network.settings.segment_length
        count = self.network.settings.context_length // width
        parts = [g.node("Reshape", part, g.integers(0, count, width)) for part in (window.z, window.observed)]
        segments = g.node("Transpose", g.node("Concat", *parts, axis=-1), perm=[1, 0, 2])  # (S, N, 2 w)
        embedded = g.node("Relu", self._linear(g, "embed", self.network.embed, segments))
        weights = recurrent_weights(g, self.network.rnn, "GRU", prefix=self.prefix)
        size = self.network.settings.hidden_size
        _, last = g.nodes("GRU", embedded, *weights, outputs=2, unused=[0], hidden_size=size, linear_before_reset=1)
        return g.node("Squeeze", last, g.integers(0))

    def _decode(self, g: GraphBuilder, hidden: Value, calendar: Value | None, steps: int) -> Value:
        """The recurrence one step on, (N, D) into the first segment ahead, or (N, J, D) into each of them."""
        size = self.network.settings.hidden_size
        carried = g.node("MatMul", hidden, self._matrix(g, "carried", self._weight("weight_hh_l0")))
        carried = g.node("Add", carried, g.constant(_array(self._weight("bias_hh_l0"))))
        inputs = self._inputs(g, calendar, steps)
        if steps > 1:
            hidden, carried = (g.node("Unsqueeze", part, g.integers(1)) for part in (hidden, carried))
        reset_of, update_of, new_of = g.split(carried, [size] * 3)
        reset_in, update_in, new_in = g.split(inputs, [size] * 3)
        update = g.node("Sigmoid", g.node("Add", update_in, update_of))
        reset = g.node("Sigmoid", g.node("Add", reset_in, reset_of))
        new = g.node("Tanh", g.node("Add", new_in, g.node("Mul", reset, new_of)))
        return g.node("Add", new, g.node("Mul", update, g.node("Sub", hidden, new)))

    def _inputs(self, g: GraphBuilder, calendar: Value | None, steps: int) -> Value:
        """What the gates are given: (1 or J, 3 D) by the place of the segment, (N, …) with the calendar."""
        weight = self._weight("weight_ih_l0")
        place = self.network.place[: 1 if steps == 1 else None]
        told = _array(nn.functional.linear(place, weight, self._weight("bias_ih_l0")))
        if self.network.calendar is None:
            return g.constant(told)
        assert calendar is not None
        if steps > 1:
            firsts = np.arange(0, steps, self.network.settings.segment_length)
            calendar = g.node("Gather", calendar, g.integers(*firsts.tolist()), axis=1)  # (N, J, C)
        into = self._matrix(g, "calendar", weight @ self.network.calendar.weight)
        return g.node("Add", g.node("MatMul", calendar, into), g.constant(told))

    def _per_step(self, g: GraphBuilder, name: str, linear: nn.Linear, ahead: Value, each: int, steps: int) -> Value:
        """A linear function of segments ahead whose outputs are `each` numbers per step: (N, each) or (N, P, each)."""
        if steps > 1:
            return g.node("Reshape", self._linear(g, name, linear, ahead), g.integers(0, steps, each))
        matrix = self._matrix(g, f"{name}.next", linear.weight[:each])
        return g.node("Add", g.node("MatMul", ahead, matrix), g.constant(_array(linear.bias[:each])))

    def _mixed(self, g: GraphBuilder, window: Scaled, logits: Value, steps: int) -> Value:
        """The mean of earlier seasons' values that the logits ask for: (N, 1) or (N, P, 1)."""
        places = np.array(self.network.settings.season_places()[:steps])
        at = g.constant(places[0] if steps == 1 else places, np.int64)
        values, observed = (g.node("Gather", part, at, axis=1) for part in (window.z, window.observed))
        seasons = self.network.settings.seasons
        asked, nothing = g.split(logits, [seasons, 1])
        present = g.node("Where", g.node("Greater", observed, 0.0), asked, ABSENT)
        weights, _ = g.split(g.node("Softmax", g.node("Concat", present, nothing, axis=-1), axis=-1), [seasons, 1])
        return g.node("MatMul", g.node("Mul", weights, values), g.constant(np.ones((seasons, 1))))

    def _linear(self, g: GraphBuilder, name: str, linear: nn.Linear, inputs: Value) -> Value:
        product = g.node("MatMul", inputs, self._matrix(g, name, linear.weight))
        return g.node("Add", product, g.constant(_array(linear.bias)))

    def _matrix(self, g: GraphBuilder, name: str, weight: Tensor) -> Value:
        return g.weight(f"{self.prefix}{name}.matrix", _array(weight).T)

    def _weight(self, name: str) -> Tensor:
        return self.network.rnn.get_parameter(name)


def _array(tensor: Tensor) -> Array:
    return tensor.detach().cpu().float().numpy()
