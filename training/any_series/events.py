"""What may happen to a stream: spikes, bursts, shifts, dips, values that stick, more noise, a period out of phase.

The general model meets them unlabelled while it learns, and labelled ones tune how its surprises become scores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from training.any_series.shapes import Values

BEFORE = 800
"""Steps before an event by which its size is measured."""


@dataclass(frozen=True)
class Setting:
    """What an event finds: the stream's spread, largest distance from its middle, and largest usual change."""

    spread: float
    reach: float
    change: float
    middle: float
    length: int
    """Steps of a long event."""
    season: int | None


def put_event(random: Generator, values: Values, begin: int, length: int, season: int | None = None) -> None:
    """Change values from step `begin` on, in place, by an event drawn at random; `length` steps is a long one."""
    before = values[max(begin - BEFORE, 0) : begin]
    spread = float(before.std() + 0.02 * abs(before.mean()) + 1e-3)
    change = max(float(np.quantile(np.abs(np.diff(before)), 0.99)), 0.3 * spread)
    middle = float(np.median(before))
    setting = Setting(spread, float(np.abs(before - middle).max()), change, middle, length, season)
    EVENTS[random.integers(len(EVENTS))](random, values, begin, setting)


def spike(random: Generator, values: Values, begin: int, setting: Setting) -> None:
    """A value or three far out, upwards more often."""
    size = (1.2 + 2 * random.random()) * max(setting.reach, 3 * setting.change)
    values[begin : begin + random.integers(1, 4)] += random.choice([1, 1, 1, -1]) * size


def burst(random: Generator, values: Values, begin: int, setting: Setting) -> None:
    """More and more quickly fading."""
    part = values[begin : begin + int(random.integers(4, 30))]
    fading = np.exp(-2 * np.arange(len(part)) / len(part))
    part += np.abs(part - setting.middle + setting.spread) * (1.5 + 3 * random.random()) * fading


def shift(random: Generator, values: Values, begin: int, setting: Setting) -> None:
    """Another level, for a while or for good."""
    until = begin + int(random.choice([setting.length // 2, setting.length, 3 * setting.length, len(values)]))
    size = (1 + 2 * random.random()) * max(0.7 * setting.reach, 2 * setting.spread)
    values[begin:until] += random.choice([-1, 1]) * size


def dip(random: Generator, values: Values, begin: int, setting: Setting) -> None:
    """Down to the least there was or less, for some steps."""
    below = setting.middle - 1.5 * setting.reach if random.random() < 0.5 else 0.0
    values[begin : begin + int(random.integers(2, 20))] = min(float(values.min()), below)


def stuck(random: Generator, values: Values, begin: int, setting: Setting) -> None:
    """The same value again and again."""
    values[begin : begin + max(10, min(setting.length // 2, 200))] = values[begin]


def noisier(random: Generator, values: Values, begin: int, setting: Setting) -> None:
    """Noise on top."""
    part = values[begin : begin + max(10, min(setting.length // 2, 300))]
    part += random.normal(size=len(part)) * setting.spread * 2.5


def out_of_phase(random: Generator, values: Values, begin: int, setting: Setting) -> None:
    """A period as it should have come half a period ago; without a season, nothing."""
    if setting.season is None:
        return
    earlier = max(0, begin - setting.season // 2 - int(random.integers(setting.season // 3)))
    part = values[begin : begin + setting.season]
    part[:] = values[earlier : earlier + len(part)].copy()


def crowded(random: Generator, values: Values, begin: int, setting: Setting) -> None:
    """Many spikes in a short time."""
    part = values[begin : begin + max(20, min(setting.length // 2, 300))]
    part[random.random(len(part)) < 0.3] += max(setting.reach, 3 * setting.change)


def drift(random: Generator, values: Values, begin: int, setting: Setting) -> None:
    """Slowly away, and back at once."""
    part = values[begin : begin + max(30, setting.length // 2)]
    part += np.linspace(0, 1, len(part)) * setting.spread * 5


Event = Callable[[Generator, Values, int, Setting], None]
EVENTS: tuple[Event, ...] = (
    spike,
    spike,
    burst,
    burst,
    shift,
    shift,
    dip,
    stuck,
    noisier,
    out_of_phase,
    drift,
    crowded,
)
