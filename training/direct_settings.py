"""Settings of the direct decoder as flags, and what follows from the data where they say nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from service.contract.frequency import Frequency
from training.errors import TrainingError
from training.fit_settings import FitSettings
from training.networks.segment_forecaster import Centring, SegmentSettings
from training.segment_fit_settings import SegmentFitSettings
from training.segment_windows import Augmentation

SEASONS_OF_CONTEXT = 14
LONGEST_SEGMENT = 48
LEAST_SEGMENTS = 4  # of a context that nobody named


def _setting(default: Any, says: str, least: int | None = None) -> Any:
    return field(default=default, metadata={"help": says} | ({} if least is None else {"min": least}))


@dataclass(frozen=True)
class DirectSettings:
    """Size, inputs and fit of the segment forecaster, which answers the whole horizon at once."""

    context: int = _setting(0, "direct: past values it reads; 0: 14 seasons, or what the data allow", 0)
    segment: int = _setting(0, "direct: values per segment; 0: a season, or a share of the horizon", 0)
    season: int | None = _setting(
        None, "direct: steps between the past values it mixes; 0: none; by frequency otherwise"
    )
    centring: Centring = _setting("last", "direct: what a window is measured from")
    direct_hidden_size: int = _setting(128, "direct: values its recurrence remembers", 1)
    direct_dropout: float = _setting(0.1, "direct: of segments and of what the head sees")
    direct_steps: int = _setting(2000, "direct: updates of its fit", 1)
    direct_batch_size: int = _setting(256, "direct: windows per update", 1)
    direct_learning_rate: float = _setting(3e-3, "direct: highest learning rate")
    averaging: float = _setting(0.99, "direct: what earlier weights count less by, in the mean that is kept")
    size_share: float = _setting(
        8.0, "direct: weight of errors relative to values, beside those relative to naive errors"
    )
    cold_start: float = _setting(0.15, "direct: share of windows cut to their last values, as of new series")
    gaps: float = _setting(0.1, "direct: share of windows with a stretch left out")
    mixed: float = _setting(0.4, "direct: share of windows that are the mean of two")
    squared_share: float = _setting(0.0, "direct: weight of the mean's squared error beside the quantile loss")

    def __post_init__(self) -> None:
        for name in ("cold_start", "gaps", "mixed"):
            if not 0 <= getattr(self, name) <= 1:
                raise TrainingError(f"{name.replace('_', '-')}: expected a share, 0 to 1, got {getattr(self, name)}")
        for name in ("size_share", "squared_share"):
            if getattr(self, name) < 0:
                raise TrainingError(f"{name.replace('_', '-')}: expected 0 or more, got {getattr(self, name)}")
        if not 0 <= self.direct_dropout < 1:
            raise TrainingError(f"direct-dropout: expected at least 0, below 1, got {self.direct_dropout}")

    def fit(self, settings: FitSettings) -> SegmentFitSettings:
        """The settings of a fit; those that hold for every fit come from the general ones."""
        return SegmentFitSettings(
            steps=self.direct_steps,
            batch_size=self.direct_batch_size,
            learning_rate=self.direct_learning_rate,
            averaging=self.averaging,
            patience=settings.patience,
            max_seconds=settings.max_seconds,
            augmentation=Augmentation(self.cold_start, self.gaps, self.mixed),
            squared_share=self.squared_share,
            seed=settings.seed,
            threads=settings.threads,
            checkpoint_seconds=settings.checkpoint_seconds,
        )


def segments_of(
    settings: DirectSettings,
    frequency: Frequency,
    horizon: int,
    typical: int,
    quantiles: tuple[float, ...],
    calendar: tuple[str, ...],
    conformal: float = 0.0,
) -> SegmentSettings:
    """The network's settings: those named, the others by the horizon, the frequency and how long series are.

    The prediction length is the horizon, in whole segments.

    Args:
        typical: steps of a series' training part, half of the series having more.

    Raises:
        TrainingError: a context or season that the data cannot fill.
    """
    usual = min(frequency.seasonality, LONGEST_SEGMENT) if frequency.seasonality > 1 else 12
    segment = settings.segment or -(-horizon // -(-horizon // usual))
    prediction = -(-horizon // segment) * segment
    context = settings.context or _context(frequency.seasonality, segment, typical, prediction)
    if context % segment:
        raise TrainingError(f"context: expected whole segments of {segment} steps, got {context}")
    if context >= typical:
        raise TrainingError(
            f"context: expected less than the {typical} steps that series have to train on, got {context}"
        )
    season = frequency.seasonality if settings.season is None else settings.season
    if settings.season is None and (season > context or season < 2):
        season = 0
    if season > context:
        raise TrainingError(f"season: expected at most the {context} steps of context, got {season}")
    return SegmentSettings(
        context_length=context,
        prediction_length=prediction,
        segment_length=segment,
        hidden_size=settings.direct_hidden_size,
        dropout=settings.direct_dropout,
        quantiles=quantiles,
        season=season,
        centring=settings.centring,
        calendar=calendar,
        conformal=conformal,
    )


def _context(season: int, segment: int, typical: int, prediction: int) -> int:
    """Whole segments: as many as hold 14 seasons, or as leave half of a typical series to train on."""
    wanted = max(SEASONS_OF_CONTEXT * season, LEAST_SEGMENTS * segment, 2 * prediction)
    return max(min(wanted, (typical - prediction) // 2) // segment, 1) * segment
