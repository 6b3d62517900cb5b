"""Settings of the forecaster command, one record per group of flags, and the defaults that follow from the data.

Lists are written with commas, as on a command line.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from service.contract.calendar import CALENDAR_FEATURES
from service.contract.frequency import Frequency
from training.data.series import Layout, SeriesFormat
from training.errors import TrainingError
from training.fit_settings import FitSettings
from training.networks.recurrence import Cell

LONGEST_HORIZON = 24  # of those that no user named: sampled paths take time, step by step


def _setting(default: Any, says: str) -> Any:
    return field(default=default, metadata={"help": says})


@dataclass(frozen=True)
class FileSettings:
    """Where the series are in a file."""

    id_column: str = _setting("unique_id", "column that names the series")
    time_column: str = _setting("ds", "column of timestamps, or of step numbers")
    target_column: str = _setting("y", "column of values")
    layout: Layout = _setting("auto", "long: a row per series and time; wide: a column per series; rows: a row")
    date_format: str | None = _setting(None, "of the time column, as strptime has it; ISO 8601 otherwise")
    series: str = _setting("", "ids to use; all otherwise")

    def form(self, covariates: tuple[str, ...], static: tuple[str, ...]) -> SeriesFormat:
        """The same for the reader, with the columns to read beside the values."""
        return SeriesFormat(
            id_column=self.id_column,
            time_column=self.time_column,
            target_column=self.target_column,
            layout=self.layout,
            date_format=self.date_format,
            covariates=covariates,
            static=static,
            series=names(self.series),
        )


@dataclass(frozen=True)
class SeriesSettings(FileSettings):
    """The series of a run: what accompanies their values, and which of their time is held out."""

    covariates: str = _setting("", "columns that are known in advance")
    static: str = _setting("", "columns that do not change within a series")
    unit: str | None = _setting(None, "of the values")
    validation_length: str | None = _setting(None, "before the test, such as 672 or 4W; a tenth otherwise")
    test_length: str | None = _setting(None, "at the end, such as 2184 or 13W; a tenth otherwise")

    def columns(self) -> SeriesFormat:
        """The same for the reader."""
        return self.form(names(self.covariates), names(self.static))


@dataclass(frozen=True)
class NetworkSettings:
    """Size and inputs of the network."""

    cell: Cell = _setting("LSTM", "recurrent cell")
    hidden_size: int = field(default=48, metadata={"help": "values the recurrence remembers, per layer", "min": 1})
    layers: int = field(default=1, metadata={"help": "recurrent layers", "min": 1})
    dropout: float = _setting(0.0, "between layers")
    lags: str = _setting("", "earlier values it sees, such as 1,2,24,168; by the frequency otherwise")
    calendar: str | None = _setting(None, f"of {', '.join(CALENDAR_FEATURES)}; by frequency and data otherwise")
    quantiles: str = _setting("0.02,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,0.98", "levels it learns")
    decay: float = _setting(0.98, "what an observation's weight in the running scale falls by at each step")
    log_scale: bool = _setting(False, "whether it sees the logarithm of the running scale, not only values over it")
    residual: bool = _setting(False, "whether layers from the second on add their input to their output")
    learned_state: bool = _setting(False, "whether the state that a series begins with is learned, not zeros")
    conformal: float = _setting(0.0, "rate at which a stream's intervals adapt to its own misses; 0: not at all")

    def __post_init__(self) -> None:
        if not 0 < self.decay <= 1:
            raise TrainingError(f"decay: expected above 0, at most 1, got {self.decay}")
        if not 0 <= self.conformal < 1:
            raise TrainingError(f"conformal: expected a rate from 0 to below 1, such as 0.02, got {self.conformal}")
        levels = self.levels
        if len(levels) < 3 or list(levels) != sorted({*levels}) or not 0 < levels[0] < levels[-1] < 1:
            raise TrainingError(
                f"quantiles: expected three or more increasing levels inside (0, 1), got {self.quantiles}"
            )

    @property
    def levels(self) -> tuple[float, ...]:
        """The quantile levels as numbers."""
        return _numbers(self.quantiles, float, "quantiles")


DecoderChoice = Literal["ancestral", "direct", "auto"]


@dataclass(frozen=True)
class DecoderSettings:
    """How a model looks several steps ahead, and how many networks it is made of."""

    decoder: DecoderChoice = _setting(
        "ancestral", "fed its own samples, or direct: all steps at once; auto: both, and the better on validation"
    )
    members: int = field(
        default=1, metadata={"help": "networks from different seeds, whose quantiles one model averages", "min": 1}
    )


def _fit_default(name: str, default: Any) -> Any:
    return field(default=default, metadata=FitSettings.__dataclass_fields__[name].metadata)


@dataclass(frozen=True)
class ForecasterFitSettings(FitSettings):
    """The settings of a fit, with defaults for the few thousand to few million values that series have."""

    epochs: int = _fit_default("epochs", 160)
    bptt_length: int = _fit_default("bptt_length", 96)
    learning_rate: float = _fit_default("learning_rate", 3e-3)
    weight_decay: float = _fit_default("weight_decay", 0.1)
    warmup_steps: int = _fit_default("warmup_steps", 50)
    patience: int | None = _fit_default("patience", 40)


@dataclass(frozen=True)
class EvaluationSettings:
    """How forecasts are measured."""

    horizon: int = _setting(0, "steps per forecast; 0: a season of the frequency, 24 at most")
    stride: int = _setting(0, "steps between forecast origins; 0: the horizon")
    paths: int = _setting(200, "sampled futures per forecast")
    seasons: str = _setting("", "of the seasonal naive baselines, such as 24,168; by the frequency otherwise")
    cover: float = _setting(0.8, "share of validation that 80 % intervals are to cover; 0: as trained")

    def __post_init__(self) -> None:
        for name, least in (("horizon", 0), ("stride", 0), ("paths", 2)):
            if getattr(self, name) < least:
                raise TrainingError(f"{name}: expected at least {least}, got {getattr(self, name)}")
        if not 0 <= self.cover < 1:
            raise TrainingError(f"cover: expected 0, or a share below 1, got {self.cover}")

    def settled(self, frequency: Frequency) -> EvaluationSettings:
        """The same with the horizon that follows from the frequency, where none is named."""
        return replace(self, horizon=self.horizon or min(frequency.seasonality, LONGEST_HORIZON))


def names(text: str) -> tuple[str, ...]:
    """The parts of a list with commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def seasons_of(settings: EvaluationSettings, frequency: Frequency) -> tuple[int, ...]:
    """Seasons of the seasonal naive baselines; the week comes in addition to the day."""
    if settings.seasons:
        return _positive(settings.seasons, "seasons")
    season = frequency.seasonality
    weekly = frequency.unit in ("h", "min", "s")
    return (season, 7 * season) if weekly and season > 1 else (season,)


def lags_of(settings: NetworkSettings, frequency: Frequency, typical: int) -> tuple[int, ...]:
    """The lags named, or the last steps and those around one and several seasons, as far as the data reaches.

    Args:
        typical: steps of a series' training part, half of the series having more.
    """
    if settings.lags:
        return tuple(sorted(_positive(settings.lags, "lags")))
    season = frequency.seasonality
    longest = 7 if frequency.unit in ("h", "min", "s") else 4
    whole = {season * multiple for multiple in range(1, longest + 1)}
    around = {season * multiple + shift for multiple in (1, 2, longest) for shift in (-1, 1)}
    return tuple(sorted(lag for lag in {1, 2, 3, 4} | whole | around if 1 <= lag <= max(typical // 3, 1)))


def calendar_of(settings: NetworkSettings, frequency: Frequency, dated: bool, days: float) -> tuple[str, ...]:
    """The features named, or those cycles that are longer than a step and seen at least twice in training.

    Args:
        dated: whether the data has timestamps at all.
        days: length of the training part.
    """
    if settings.calendar is not None:
        chosen = names(settings.calendar)
        for name in chosen:
            if name not in CALENDAR_FEATURES:
                raise TrainingError(f"calendar: expected some of {', '.join(CALENDAR_FEATURES)}, got {name!r}")
        return chosen
    cycles = {"minute_of_hour": 1 / 24, "hour_of_day": 1.0, "day_of_week": 7.0, "day_of_year": 365.25}
    step = _days_per_step(frequency)
    return tuple(name for name, cycle in cycles.items() if dated and step < cycle <= days / 2)


def _days_per_step(frequency: Frequency) -> float:
    units = {"s": 1 / 86400, "min": 1 / 1440, "h": 1 / 24, "D": 1.0, "W": 7.0, "M": 30.4, "Q": 91.3, "Y": 365.25}
    return frequency.count * units[frequency.unit]


def training_days(frequency: Frequency, steps: int) -> float:
    """Days that so many steps take."""
    return _days_per_step(frequency) * steps


def _positive(text: str, name: str) -> tuple[int, ...]:
    numbers = _numbers(text, int, name)
    if not numbers or min(numbers) < 1 or len(set(numbers)) < len(numbers):
        raise TrainingError(f"{name}: expected different whole numbers from 1 on, got {text!r}")
    return numbers


def _numbers(text: str, kind: Any, name: str) -> tuple[Any, ...]:
    try:
        return tuple(kind(part) for part in names(text))
    except ValueError as error:
        raise TrainingError(f"{name}: expected numbers with commas between them, got {text!r}") from error
