"""What is done with a forecaster once it is fitted: its spread is set, and it is measured through its own graphs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from service.contract.frequency import Frequency, format_timestamp
from training.ancestral_decoder import PreparedAncestral
from training.direct_decoder import PreparedDirect
from training.errors import TrainingError
from training.evaluation.backtest import backtest, rolling_origins
from training.evaluation.forecast_evaluation import Evaluation, SampleForecast, evaluate_forecaster, metric_season
from training.evaluation.metrics import coverage, coverage_one_step
from training.export import ExportedForecaster
from training.export.any_forecaster import export_any
from training.forecaster_settings import EvaluationSettings, seasons_of
from training.networks.decoders import AnyDecoder
from training.spread import find_spread, typical_raw, with_spread
from training.waiting import waiting

SPREAD_PATHS = 100

Prepared = PreparedAncestral | PreparedDirect


def parse_frequency(text: str) -> Frequency:
    """The frequency a flag names."""
    try:
        return Frequency.parse(text)
    except ValueError as error:
        raise TrainingError(str(error)) from error


@contextmanager
def exported(network: AnyDecoder) -> Iterator[ExportedForecaster]:
    """The network as the graphs it will be served as, for the time of the block."""
    with tempfile.TemporaryDirectory() as folder:
        export_any(network, Path(folder))
        yield ExportedForecaster(Path(folder))


def set_spread(
    network: AnyDecoder, prepared: Prepared, settings: EvaluationSettings, seed: int
) -> tuple[float, float, AnyDecoder]:
    """The factor on all gaps between quantiles that covers validation as wanted, what it covers, and the network."""
    if isinstance(prepared, PreparedDirect):
        coverage_of = _covering_at_once(prepared, settings)
    else:
        coverage_of = _covering_by_paths(prepared, settings, seed)
    typical = typical_raw(network, lambda: prepared.foretold(network))
    with waiting("setting the spread") as advanced:
        factor, covered = find_spread(network, typical, coverage_of, settings.cover, advanced)
    return factor, covered, with_spread(network, factor, typical)


def _covering_by_paths(
    prepared: PreparedAncestral, settings: EvaluationSettings, seed: int
) -> Callable[[AnyDecoder], float]:
    """Coverage on the mean of one step ahead and free-running forecasts, which no single factor sets right together."""
    split = prepared.split
    origins = rolling_origins(split.validation, split.test, settings.horizon, settings.stride or settings.horizon)

    def coverage_of(candidate: AnyDecoder) -> float:
        with exported(candidate) as model:
            found = backtest(model, prepared.aligned, origins, settings.horizon, SPREAD_PATHS, seed)
        # Both are used: the one for forecasts, the other for anomaly scores.
        return (coverage(found.forecasts, 0.1, 0.9) + coverage_one_step(found.pit, 0.1, 0.9)) / 2

    return coverage_of


def _covering_at_once(prepared: PreparedDirect, settings: EvaluationSettings) -> Callable[[AnyDecoder], float]:
    """Coverage of the network's own quantiles, over all steps of the horizon."""

    def coverage_of(candidate: AnyDecoder) -> float:
        fell = prepared.fell(candidate)[:, : settings.horizon]
        return coverage_one_step(fell, 0.1, 0.9)

    return coverage_of


def measure(
    network: AnyDecoder, prepared: Prepared, settings: EvaluationSettings, seed: int, first: int, end: int
) -> Evaluation:
    """The network over [first, end) of the aligned axis, through exported graphs, beside the baselines."""
    frequency = prepared.series.frequency
    with exported(network) as model, waiting("forecasting") as advanced:
        return evaluate_forecaster(
            model,
            prepared.aligned,
            first,
            end,
            horizon=settings.horizon,
            stride=settings.stride or settings.horizon,
            paths=settings.paths,
            seed=seed,
            seasons=seasons_of(settings, frequency),
            metric_season=metric_season(frequency),
            advanced=advanced,
        )


def described(prepared: Prepared, found: Evaluation) -> dict[str, Any]:
    """The evaluation as plain values, its sample forecasts with the names and times of the series."""
    return found.to_dict() | {"samples": [_with_name_and_time(prepared, sample) for sample in found.samples]}


def _with_name_and_time(prepared: Prepared, sample: SampleForecast) -> dict[str, Any]:
    series = prepared.series
    origin = sample.origin - (series.length - int(series.ends[sample.series]))  # on the axis of the file
    begin = origin - len(sample.history)
    first = None if series.first is None else format_timestamp(series.frequency.timestamps(series.first, begin, 1)[0])
    return {
        "id": series.ids[sample.series],
        "first": first,
        "history": sample.history,
        "actual": sample.actual,
        "quantiles": sample.quantiles,
    }
