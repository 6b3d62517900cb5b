"""The report of an evaluation in a folder: a table, plots, and every forecast in a file for further use."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from training.data.alignment import Steps
from training.data.series import SeriesSet
from training.evaluate_forecasters import Comparison
from training.evaluation.by_horizon import coverage_by_horizon, mase_by_horizon, scaled_quantile_loss_by_horizon
from training.evaluation.comparison_plots import plot_coverage_by_horizon, plot_error_by_horizon
from training.evaluation.forecast_evaluation import SampleForecast, sample_forecasts
from training.evaluation.metrics import LEVELS, Forecasts, coverage_by_level
from training.evaluation.plots import Fan, plot_fans
from training.report import metrics_table

CARD, METRICS, BY_HORIZON, FORECASTS = "README.md", "metrics.csv", "by_horizon.csv", "forecasts.parquet"
ERROR_PLOT, COVERAGE_PLOT = "error.png", "coverage.png"
FIXED_UNITS = ("s", "min", "h", "D", "W")
"""Of frequencies whose steps are equally long, so that they can be drawn on an axis of time."""


def write_evaluation(folder: Path, found: Comparison, command: str, drawn: tuple[str, ...]) -> None:
    """Write the report into a folder, which is made where it does not exist.

    Args:
        drawn: names of those whose forecasts are drawn one by one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    forecasts = {name: outcome.told.forecasts for name, outcome in found.outcomes.items()}
    steps = _by_horizon(forecasts, found)
    shown = {name: outcome.metrics for name, outcome in found.outcomes.items()}
    _metrics_frame(shown).write_csv(folder / METRICS)
    _long(steps).write_csv(folder / BY_HORIZON)
    _forecasts_frame(found).write_parquet(folder / FORECASTS)
    plot_error_by_horizon(folder / ERROR_PLOT, steps["mase"], steps["scaled_quantile_loss"])
    levels = {name: coverage_by_level(one) for name, one in forecasts.items()}
    plot_coverage_by_horizon(folder / COVERAGE_PLOT, steps["coverage_80"], levels)
    fans = {name: f"forecasts-{name.replace('/', '-')}.png" for name in drawn}
    for name, file in fans.items():
        samples = sample_forecasts(found.aligned, found.origins, forecasts[name])
        plot_fans(folder / file, [_fan(found.series, sample) for sample in samples], None)
    (folder / CARD).write_text(_text(found, command, fans), encoding="utf-8")


def _by_horizon(forecasts: Mapping[str, Forecasts], found: Comparison) -> dict[str, dict[str, NDArray[np.float64]]]:
    return {
        "mase": {name: mase_by_horizon(one, found.scales) for name, one in forecasts.items()},
        "scaled_quantile_loss": {
            name: scaled_quantile_loss_by_horizon(one, found.scales) for name, one in forecasts.items()
        },
        "coverage_80": {name: coverage_by_horizon(one) for name, one in forecasts.items()},
    }


def _metrics_frame(shown: Mapping[str, Mapping[str, float]]) -> pl.DataFrame:
    columns = list(dict.fromkeys(key for metrics in shown.values() for key in metrics))
    rows = [{"model": name} | {key: metrics.get(key) for key in columns} for name, metrics in shown.items()]
    return pl.DataFrame(rows, infer_schema_length=None)


def _long(steps: Mapping[str, Mapping[str, NDArray[np.float64]]]) -> pl.DataFrame:
    """A row per model and step ahead."""
    names = next(iter(steps.values()))
    return pl.concat(
        pl.DataFrame(
            {"model": name, "step": np.arange(1, len(names[name]) + 1)}
            | {metric: values[name] for metric, values in steps.items()}
        )
        for name in names
    )


def _forecasts_frame(found: Comparison) -> pl.DataFrame:
    """A row per model, series, origin and step ahead, with a column per quantile; as the file has ids and times."""
    series, origins, horizon = found.series, found.origins, found.horizon
    shape = (len(series.ids), len(origins), horizon)
    number, origin, ahead = (grid.ravel() for grid in np.indices(shape))
    steps = steps_of_the_file(series, number, origins[origin])
    common = {
        "unique_id": np.array(series.ids, object)[number].tolist(),
        "cutoff": _times(series, steps - 1),
        "ds": _times(series, steps + ahead),
    }
    frames = []
    for name, outcome in found.outcomes.items():
        one = outcome.told.forecasts
        values = {"y": one.actual.ravel()} | {f"q{level:g}": one.at(level).ravel() for level in one.levels}
        frames.append(pl.DataFrame({"model": name, **common, **values}))
    return pl.concat(frames)


def steps_of_the_file(series: SeriesSet, number: Steps, aligned: Steps) -> Steps:
    """Steps of the file's axis of steps of the aligned one, on which all series end together."""
    return aligned - (series.length - series.ends[number])


def _times(series: SeriesSet, steps: Steps) -> NDArray[np.generic]:
    if series.first is None:
        return steps
    low = int(steps.min())
    times = series.frequency.timestamps(series.first, low, int(steps.max()) - low + 1)
    return times.astype("datetime64[ms]")[steps - low]  # the coarsest that Parquet knows


def _fan(series: SeriesSet, sample: SampleForecast) -> Fan:
    begin = int(steps_of_the_file(series, np.array(sample.series), np.array(sample.origin))) - len(sample.history)
    count = len(sample.history) + len(sample.actual)
    dated = series.first is not None and series.frequency.unit in FIXED_UNITS
    times = series.frequency.timestamps(series.first, begin, count) if dated and series.first is not None else None
    when = f", {times[len(sample.history)]}Z" if times is not None else f", step {begin + len(sample.history)}"
    return Fan(
        title=f"{series.ids[sample.series]}{when}",
        history=sample.history,
        actual=sample.actual,
        quantiles=np.array(sample.quantiles),
        levels=LEVELS,
        times=times,
    )


def _text(found: Comparison, command: str, fans: Mapping[str, str]) -> str:
    series, windows, season = found.series, len(found.origins), found.scale_season
    stride = int(found.origins[1] - found.origins[0]) if windows > 1 else found.horizon
    rows = {name: outcome.metrics for name, outcome in found.outcomes.items()}
    how = "".join(f"- {name.replace('_', ' ')}: {outcome.told.how}.\n" for name, outcome in found.outcomes.items())
    drawn = "".join(f"\n### {name}\n\n![Forecasts of {name}]({file})\n" for name, file in fans.items())
    return (
        f"# Forecasts of {series.name}\n\n"
        f"{len(series.ids)} series, {windows} window{'s' * (windows > 1)}, {found.horizon} steps ahead, every {stride}"
        f" steps; MASE, SQL and MSIS in units of the mean absolute difference {season} step{'s' * (season > 1)} apart"
        " before the first window. MSIS is of the 95 % interval; quantile losses are means over the nine deciles.\n\n"
        f"{metrics_table(rows)}\n{how}\n"
        f"![Error by steps ahead]({ERROR_PLOT})\n\n![Coverage by steps ahead]({COVERAGE_PLOT})\n\n"
        f"## Forecasts\n\nEvenly spaced over the windows, not chosen; all of them are in `{FORECASTS}`.\n{drawn}\n"
        f"## Reproduce\n\n```sh\n{command}\n```\n\nData: `{series.name}`, SHA-256\n`{series.sha256}`.\n"
    )
