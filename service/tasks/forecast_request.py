"""What is asked of a forecast: how far, which numbers to tell of each step, and what of all of them together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from service.errors import InputMismatch
from service.tasks.limits import TaskLimits, check_count

Aggregate = Literal["sum", "mean", "min", "max"]
AGGREGATES: tuple[Aggregate, ...] = get_args(Aggregate)

PATHS = 200
"""Sample paths behind a forecast when the client does not ask for paths themselves."""
MOST_LEVELS = 99
"""Quantiles, and intervals, that may be told of each step."""
_OUTERMOST = 1e-12
"""No bound of an interval is nearer to 0 or 1, so that it is a quantile level."""


@dataclass(frozen=True)
class ForecastRequest:
    """What to tell of the next `horizon` values.

    Args:
        quantiles: their levels, between 0 and 1; the model's own if None.
        levels: of central intervals: 0.8 asks for the values between which 80 % lie.
        samples: how many sample paths to return; none if None.
        aggregate: of each path as a whole, whose distributions are to be told.
        seed: of what is drawn; the session's if None.
    """

    horizon: int
    quantiles: Sequence[float] | None = None
    levels: Sequence[float] = ()
    samples: int | None = None
    aggregate: Sequence[Aggregate] = ()
    seed: int | None = None

    @property
    def paths(self) -> int:
        """Sample paths behind what is told, where there are any."""
        return PATHS if self.samples is None else self.samples

    @property
    def needs_paths(self) -> bool:
        """Whether something is asked for that only sample paths tell."""
        return self.samples is not None or bool(self.aggregate)

    def check(self, limits: TaskLimits, forecasts: int = 1) -> None:
        """Raises InputMismatch or RequestTooLarge where it, asked of so many series, asks for what cannot be."""
        check_count(
            "horizon",
            self.horizon,
            limits.max_horizon,
            unit="steps",
            remedy="ask for less, or raise UNROLL_MAX_HORIZON",
        )
        if self.samples is not None:
            check_count("samples", self.samples, limits.max_samples)
            check_together([(self.horizon, self.samples)] * forecasts, limits)
        check_count("quantiles", len(self.quantiles or ()), MOST_LEVELS, least=0, unit="levels")
        check_count("levels", len(self.levels), MOST_LEVELS, least=0, unit="levels")
        for level in self.quantiles or ():
            if not 0 < level < 1:
                raise InputMismatch(f"quantiles: expected levels between 0 and 1, got {level:g}", parameter="quantiles")
        for level in self.levels:
            if not 0 < level < 1:
                raise InputMismatch(
                    f"levels: expected shares between 0 and 1, 0.8 for 80 %, got {level:g}", parameter="levels"
                )
        for name in self.aggregate:
            if name not in AGGREGATES:
                raise InputMismatch(
                    f"aggregate: expected some of {', '.join(AGGREGATES)}, got {name[:60]!r}", parameter="aggregate"
                )


def check_together(asked: Iterable[tuple[int, int | None]], limits: TaskLimits) -> None:
    """Refuse forecasts of so many steps and samples each whose paths would be too many values for one answer.

    What is too much for a single forecast is told by its own `check`.

    Raises:
        RequestTooLarge
    """
    most = limits.max_samples * limits.max_horizon
    values = sum(min(samples or 0, limits.max_samples) * min(horizon, limits.max_horizon) for horizon, samples in asked)
    check_count("samples", values, most, least=0, unit="values in all")


def bounds_of(level: float) -> tuple[float, float]:
    """The quantile levels between which a central interval lies, as they are written: .1 and .9 for .8."""
    lower = max(round((1 - level) / 2, 12), _OUTERMOST)
    return lower, min(round((1 + level) / 2, 12), 1 - _OUTERMOST)
