"""Made streams of many shapes: seasons, counts, machines' loads, spikes, drifts, levels, intermittent demand.

They stand for what streams of telemetry, traffic and business look like, at no scale and frequency in particular; the
real series beside them are hourly for the most part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Values = NDArray[np.float64]

PERIODS = (7, 12, 24, 24, 48, 60, 96, 144, 168, 288, 288, 288, 336)


@dataclass(frozen=True)
class Stream:
    """Values (T,), and the steps of their season where they have one."""

    values: Values
    season: int | None = None


def any_shape(random: Generator, length: int) -> Stream:
    """A stream of a shape drawn at random; some rounded, some cut off above and below."""
    stream = SHAPES[random.integers(len(SHAPES))](random, length)
    values = stream.values
    if random.random() < 0.2:
        values = np.round(values)
    if random.random() < 0.15:
        values = np.clip(values, *np.quantile(values, [0.02, 0.98]))
    return Stream(values, stream.season)


def seasonal(random: Generator, length: int) -> Stream:
    """A period that comes again and again, in autocorrelated noise."""
    wave, period = periodic(random, length)
    noise = lingering(noise_of(random, length), 0.95 * random.random())
    return Stream(
        30 * random.random() + wave * (1 + 2 * random.random()) + noise * 0.1 * (1 + 5 * random.random()), period
    )


def two_seasons(random: Generator, length: int) -> Stream:
    """A short period on a long one."""
    first, period = periodic(random, length)
    second, _ = periodic(random, length)
    return Stream(100 + 10 * first + 5 * second + lingering(noise_of(random, length), 0.7), period)


def counts(random: Generator, length: int) -> Stream:
    """Events per step, more scattered than chance alone would have it, now and then in bursts."""
    wave, period = periodic(random, length)
    wander = lingering(random.normal(size=length) * 0.05, 0.98) * random.random()
    rate = np.exp(random.normal() * 1.2 + 2 + wave * random.random() * 0.8 + wander)
    shape = np.exp(random.normal() * 0.7 + 1)
    values = random.negative_binomial(shape, shape / (shape + rate)).astype(float)
    if random.random() < 0.5:
        for step in np.flatnonzero(random.random(length) < 0.002):
            values[step : step + random.integers(1, 6)] *= 1 + random.pareto(2.5)
    return Stream(np.floor(values), period)


def machine_load(random: Generator, length: int) -> Stream:
    """A level with noise, and a job that runs every so often, nearly on time."""
    level = 50 * random.random() + 0.1
    values = level + noise_of(random, length) * level * 0.03 * (1 + 3 * random.random())
    if random.random() < 0.7:
        every = int(random.choice([12, 24, 36, 60, 100, 144, 288]))
        at = np.arange(0, length - 4, every)
        at = np.minimum(at + random.integers(0, 3, len(at)), length - 1)
        values[at] += level * (0.2 + random.random()) * (0.8 + 0.4 * random.random(len(at)))
    return Stream(np.maximum(values, 0))


def spikes(random: Generator, length: int) -> Stream:
    """Next to nothing, and now and then something, in any unit."""
    values = random.random(length) * 0.05 * random.random() + 0.02
    at = random.random(length) < 10 ** (-1 - 2 * random.random())
    values[at] += random.gamma(2.0, 1, at.sum())
    return Stream(values * 10 ** (6 * random.random()))


def noisy(random: Generator, length: int) -> Stream:
    """A level, and noise of some distribution."""
    return Stream(5 * random.normal() + noise_of(random, length))


def reverting(random: Generator, length: int) -> Stream:
    """Noise that lingers."""
    return Stream(20 + lingering(noise_of(random, length) * 0.3, 0.5 + 0.49 * random.random()))


def wandering(random: Generator, length: int) -> Stream:
    """A random walk, measured with an error."""
    steps = np.cumsum(noise_of(random, length)) * 0.1 * random.random()
    return Stream(50 + steps + noise_of(random, length) * 0.05)


def switching(random: Generator, length: int) -> Stream:
    """On for a part of each period, and off for the rest."""
    period = int(random.choice([48, 96, 144, 288]))
    on = np.tile(np.arange(period) < period * random.random(), length // period + 1)[:length]
    return Stream(20 + 60 * on + noise_of(random, length) * random.choice([0, 1, 3]), period)


def intermittent(random: Generator, length: int) -> Stream:
    """Nothing at most steps, a few at the others."""
    some = random.random(length) < 0.02 + 0.3 * random.random()
    return Stream(np.where(some, random.poisson(1 + 5 * random.random(), length), 0).astype(float))


def levels(random: Generator, length: int) -> Stream:
    """A level that holds for a while and then is another one."""
    values, step = np.zeros(length), 0
    while step < length:
        until = step + int(random.exponential(400)) + 20
        values[step:until] = random.normal() * 5 + 30
        step = until
    return Stream(values + noise_of(random, length) * 0.3)


Shape = Callable[[Generator, int], Stream]
SHAPES: tuple[Shape, ...] = (
    seasonal,
    two_seasons,
    *(counts,) * 3,
    *(machine_load,) * 2,
    spikes,
    noisy,
    reverting,
    wandering,
    switching,
    intermittent,
    levels,
)
"""Drawn with equal probability; counts and machines' loads come more often."""


def noise_of(random: Generator, length: int) -> Values:
    """Noise of a distribution drawn at random: normal, heavy-tailed or lopsided."""
    match random.integers(5):
        case 0:
            return random.normal(size=length)
        case 1:
            return random.standard_t(3, length) * 0.6
        case 2:
            return random.gamma(1.0, 1, length) - 1
        case 3:
            return random.laplace(size=length) * 0.7
    return np.exp(random.normal(size=length) * 0.8) - 1.3


def lingering(noise: Values, share: float) -> Values:
    """Each value keeps a share of the one before."""
    values, before = np.empty_like(noise), 0.0
    for step, shock in enumerate(noise.tolist()):
        before = share * before + shock
        values[step] = before
    return values


def periodic(random: Generator, length: int) -> tuple[Values, int]:
    """A profile of some period over and over, half the time with a week in it; and the period."""
    period = int(random.choice(PERIODS))
    values = np.tile(_profile(random, period), length // period + 9)
    if random.random() < 0.5:
        days = np.repeat(random.choice([1, 1, 1, 1, 0.4, 0.3, 1.2], 7), period)
        values = values * np.resize(days, len(values))
    begin = random.integers(period)
    return values[begin : begin + length], period


def _profile(random: Generator, period: int) -> Values:
    """One period, of standard deviation 1."""
    phase = np.arange(period) / period
    values: Values
    match random.integers(4):
        case 0:
            waves = range(1, 1 + random.integers(1, 5))
            values = np.sum(
                [random.normal() / n * np.sin(2 * np.pi * (n * phase + random.random())) for n in waves], axis=0
            )
        case 1:
            begin = random.random() * 0.6
            values = np.where((phase > begin) & (phase < begin + 0.1 + 0.3 * random.random()), 2.0, 0.0)
        case 2:
            humps = [
                (random.random() * 3, random.random(), 0.02 + 0.1 * random.random())
                for _ in range(random.integers(1, 4))
            ]
            values = np.sum([size * np.exp(-0.5 * ((phase - at) / width) ** 2) for size, at, width in humps], axis=0)
        case _:
            corners = random.normal(size=8)
            values = np.interp(phase, np.linspace(0, 1, 9), np.append(corners, corners[0]))
    return np.asarray(values / (np.std(values) + 1e-9))
