"""Settings of the evaluate command: which stretches of a file are forecast, and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.errors import TrainingError
from training.evaluation.statistical_baselines import CONTEXT


def _setting(default: Any, says: str, **limits: int) -> Any:
    return field(default=default, metadata={"help": says, **limits})


@dataclass(frozen=True)
class BacktestSettings:
    """Where forecasts begin, how far they reach, and what makes them."""

    test_length: str | None = _setting(None, "at the end, such as 672 or 4W; a tenth otherwise")
    windows: int | None = _setting(None, "forecasts per series, the last at the end; instead of --test-length", min=1)
    stride: int = _setting(0, "steps between forecast origins; 0: the horizon", min=0)
    horizon: int | None = _setting(None, "steps per forecast; the model's own otherwise", min=1)
    frequency: str | None = _setting(None, "time between two values, where no model says it: 1h, 15min, D …")
    seasons: str = _setting("", "of the seasonal baselines, such as 24,168; by the frequency otherwise")
    paths: int = _setting(200, "sampled futures per forecast, of models that do not tell all steps at once", min=2)
    sampled: bool = _setting(False, "sample futures even from models that tell all steps at once")
    seed: int = _setting(0, "of the sampled futures, and of networks trained anew")
    refit: bool = _setting(False, "train or fit anew before each window, on all that came before it")
    context_length: int = _setting(
        CONTEXT, "most values that AutoETS, AutoARIMA and AutoTheta are fitted to; 0: all", min=0
    )
    jobs: int = _setting(1, "processes to share the work", min=1)
    output: Path | None = _setting(None, "folder for a report: table, plots, and every forecast as Parquet")

    def __post_init__(self) -> None:
        if self.windows is not None and self.test_length is not None:
            raise TrainingError("--windows and --test-length: expected one of them; either says where the test begins")
