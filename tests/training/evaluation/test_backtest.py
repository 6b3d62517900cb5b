"""A backtest feeds a model what came before each origin, once, and asks for paths from copies of its rows."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from training.data.alignment import AlignedSeries
from training.evaluation.backtest import Rows, answers_directly, backtest, rolling_origins

NAN = np.float32(np.nan)


class RunningSum:
    """A model whose row is (values seen, their sum), and whose every sample is the sum and a little of the uniform."""

    def __init__(self) -> None:
        self.observed: list[Rows] = []

    def initial(self, static: Rows | None = None, batch: int = 1) -> Rows:
        count = batch if static is None else len(static)
        return np.zeros((count, 2), np.float32)

    def observe(
        self, rows: Rows, target: Rows, calendar: Rows | None = None, covariates: Rows | None = None
    ) -> tuple[Rows, Rows, Rows]:
        self.observed.append(target)
        after = rows + np.stack([np.full(len(target), target.shape[1], np.float32), np.nansum(target, axis=1)], -1)
        return np.zeros((*target.shape, 3), np.float32), np.where(np.isnan(target), NAN, np.float32(0.25)), after

    def generate(
        self, rows: Rows, uniforms: Rows, calendar: Rows | None = None, covariates: Rows | None = None
    ) -> tuple[Rows, Rows]:
        known = np.float32(0) if calendar is None else 1000 * calendar[..., 0]
        return rows[:, 1:] + uniforms + known, rows


class TellsAhead(RunningSum):
    """Tells three steps at once as well: the sum, ten times the step's calendar, and the level in hundredths."""

    prediction_length: int | None = 3
    levels = (0.25, 0.5, 0.75)

    def forecast(self, rows: Rows, calendar: Rows | None = None) -> Rows:
        assert self.prediction_length is not None
        known = np.zeros((len(rows), self.prediction_length, 1)) if calendar is None else 10 * calendar[..., :1]
        return np.asarray(rows[:, None, 1:] + known + 100 * np.array(self.levels), np.float32)


def test_origins_leave_room_for_a_whole_horizon() -> None:
    assert rolling_origins(10, 20, 4, 3).tolist() == [10, 13, 16]


def test_each_origin_knows_all_before_it_and_nothing_after() -> None:
    target = np.arange(20, dtype=np.float32)[None]
    found = backtest(RunningSum(), AlignedSeries(target, np.array([0])), np.array([5, 10]), 4, 50)
    sums = found.forecasts.at(0.5)[0, :, 0]
    assert np.floor(sums).tolist() == [target[0, :5].sum(), target[0, :10].sum()]
    np.testing.assert_array_equal(found.forecasts.actual[0], [[5, 6, 7, 8], [10, 11, 12, 13]])


def test_nothing_is_observed_twice_and_nothing_left_out() -> None:
    target = np.arange(20, dtype=np.float32)[None]
    model = RunningSum()
    backtest(model, AlignedSeries(target, np.array([0])), np.array([5, 10]), 4, 2)
    np.testing.assert_array_equal(np.concatenate(model.observed, axis=1), target[:, :14])


def test_series_start_with_their_first_value() -> None:
    target = np.array([[1, 2, 3, 4, 5, 6], [NAN, NAN, 30, 40, 50, 60]], np.float32)
    model = RunningSum()
    found = backtest(model, AlignedSeries(target, np.array([0, 2])), np.array([4]), 2, 9)
    assert np.floor(found.forecasts.at(0.5)[:, 0, 0]).tolist() == [10, 70]
    assert not any(np.isnan(part).any() for part in model.observed)


def test_pit_is_kept_from_the_first_origin_on() -> None:
    target = np.array([[1, 2, 3, NAN, 5, 6, 7]], np.float32)
    found = backtest(RunningSum(), AlignedSeries(target, np.array([0])), np.array([2, 4]), 2, 2)
    np.testing.assert_array_equal(found.pit, [[0.25, NAN, 0.25, 0.25]])


def test_calendar_of_the_horizon_goes_with_its_steps() -> None:
    target = np.zeros((1, 10), np.float32)
    calendar = np.arange(10, dtype=np.float32)[None, :, None]
    found = backtest(RunningSum(), AlignedSeries(target, np.array([0]), calendar), np.array([6]), 3, 5)
    assert np.floor(found.forecasts.at(0.5)[0, 0]).tolist() == [6000, 7000, 8000]


def test_series_have_the_same_paths_alone_and_among_others() -> None:
    target = np.arange(30, dtype=np.float32).reshape(3, 10)
    whole = backtest(RunningSum(), AlignedSeries(target, np.zeros(3, np.int64)), np.array([5]), 3, 4, seed=7)
    again = backtest(RunningSum(), AlignedSeries(target[:1], np.zeros(1, np.int64)), np.array([5]), 3, 4, seed=7)
    other = backtest(RunningSum(), AlignedSeries(target[:1], np.zeros(1, np.int64)), np.array([5]), 3, 4, seed=8)
    np.testing.assert_array_equal(whole.forecasts.quantiles[:1], again.forecasts.quantiles)
    assert not np.array_equal(again.forecasts.quantiles, other.forecasts.quantiles)


def test_progress_ends_with_everything_done() -> None:
    shares: list[float] = []
    target = np.zeros((1, 10), np.float32)
    backtest(RunningSum(), AlignedSeries(target, np.array([0])), np.array([4, 6]), 2, 2, advanced=shares.append)
    assert shares == [0.5, 1.0]


def test_a_model_that_tells_the_horizon_at_once_is_not_sampled() -> None:
    target = np.arange(20, dtype=np.float32)[None]
    found = backtest(TellsAhead(), AlignedSeries(target, np.array([0])), np.array([5, 10]), 3, 2)
    assert found.forecasts.at(0.5)[0].tolist() == [[60.0] * 3, [95.0] * 3]
    assert found.forecasts.at(0.4)[0, 0, 0] == 10 + 40  # between the levels it tells


def test_calendar_goes_on_to_the_end_of_what_is_told_though_less_is_asked() -> None:
    calendar = np.arange(13, dtype=np.float32)[None, :, None]
    series = AlignedSeries(np.zeros((1, 10), np.float32), np.array([0]), calendar)
    found = backtest(TellsAhead(), series, np.array([8]), 2, 2)
    assert found.forecasts.at(0.5)[0, 0].tolist() == [80 + 50, 90 + 50]


def test_longer_horizons_and_those_who_ask_get_sampled_paths() -> None:
    series = AlignedSeries(np.arange(20, dtype=np.float32)[None], np.array([0]))
    model = TellsAhead()
    assert answers_directly(model, 3) and not answers_directly(model, 4) and not answers_directly(RunningSum(), 3)
    for horizon, sampled in ((4, False), (3, True)):
        found = backtest(model, series, np.array([5]), horizon, 9, sampled=sampled)
        assert np.floor(found.forecasts.at(0.5)[0, 0]).tolist() == [10] * horizon
    model.prediction_length = None
    assert not answers_directly(model, 1)


def test_a_part_of_the_series_has_the_paths_it_has_among_all() -> None:
    series = AlignedSeries(np.arange(30, dtype=np.float32).reshape(3, 10), np.zeros(3, np.int64))
    part = AlignedSeries(series.target[1:], series.begins[1:])
    whole = backtest(RunningSum(), series, np.array([5]), 3, 4)
    alone = backtest(RunningSum(), part, np.array([5]), 3, 4, first_number=1)
    np.testing.assert_array_equal(whole.forecasts.quantiles[1:], alone.forecasts.quantiles)
