"""Everything that decides how a segment forecaster is fitted, in one frozen record."""

from __future__ import annotations

from dataclasses import dataclass

from training.errors import TrainingError
from training.segment_windows import Augmentation


@dataclass(frozen=True)
class SegmentFitSettings:
    """Settings of one fit, which ends after `steps` updates, or earlier by time or patience.

    Args:
        averaging: what the weights of earlier updates count less by at each update.
        validate_every: updates between two validations; a "round".
        patience: rounds without improvement after which the fit stops.
        squared_share: weight of the squared error of each distribution's mean beside the quantile loss, for those who
            are judged by squared errors.
    """

    steps: int = 2000
    batch_size: int = 256
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    warmup_steps: int = 50
    clip_norm: float = 1.0
    averaging: float = 0.99
    validate_every: int = 100
    patience: int | None = None
    max_seconds: float | None = None
    augmentation: Augmentation = Augmentation()
    squared_share: float = 0.0
    seed: int = 0
    threads: int | None = None
    checkpoint_seconds: float = 60.0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "validate_every"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name.replace('_', '-')}: expected at least 1, got {getattr(self, name)}")
        if not 0 <= self.averaging < 1:
            raise TrainingError(f"averaging: expected at least 0, below 1, got {self.averaging}")
