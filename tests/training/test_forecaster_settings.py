"""Defaults follow from the frequency and the data; what is named is taken as it is."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from service.contract.frequency import Frequency
from training.errors import TrainingError
from training.forecaster_settings import (
    EvaluationSettings,
    ForecasterFitSettings,
    NetworkSettings,
    calendar_of,
    lags_of,
    seasons_of,
    training_days,
)

HOURLY, DAILY, MONTHLY = (Frequency.parse(text) for text in ("1h", "D", "MS"))


def test_lags_lie_around_one_day_and_one_week_of_hours() -> None:
    expected = (1, 2, 3, 4, 23, 24, 25, 47, 48, 49, 72, 96, 120, 144, 167, 168, 169)
    assert lags_of(NetworkSettings(), HOURLY, 5000) == expected


def test_lags_reach_no_further_than_the_data() -> None:
    assert lags_of(NetworkSettings(), MONTHLY, 45) == (1, 2, 3, 4, 11, 12, 13)
    assert lags_of(NetworkSettings(), DAILY, 2) == (1,)


def test_named_lags_are_taken_in_order() -> None:
    assert lags_of(NetworkSettings(lags="24, 1,2"), HOURLY, 10) == (1, 2, 24)


def test_calendar_has_cycles_longer_than_a_step_and_seen_twice() -> None:
    days = training_days(HOURLY, 24 * 300)
    assert calendar_of(NetworkSettings(), HOURLY, True, days) == ("hour_of_day", "day_of_week")
    assert calendar_of(NetworkSettings(), DAILY, True, 800) == ("day_of_week", "day_of_year")
    assert calendar_of(NetworkSettings(), MONTHLY, True, 800) == ("day_of_year",)


def test_numbered_steps_have_no_calendar_unless_named() -> None:
    assert calendar_of(NetworkSettings(), HOURLY, False, 300) == ()
    assert calendar_of(NetworkSettings(calendar=""), HOURLY, True, 300) == ()
    with pytest.raises(TrainingError, match="calendar: expected some of"):
        calendar_of(NetworkSettings(calendar="moon"), HOURLY, True, 300)


def test_seasons_of_hours_are_a_day_and_a_week() -> None:
    assert seasons_of(EvaluationSettings(), HOURLY) == (24, 168)
    assert seasons_of(EvaluationSettings(), MONTHLY) == (12,)
    assert seasons_of(EvaluationSettings(seasons="7,365"), DAILY) == (7, 365)


def test_horizon_is_a_season_unless_named() -> None:
    found = [EvaluationSettings().settled(Frequency.parse(text)).horizon for text in ("1h", "15min", "D", "MS", "Y")]
    assert found == [24, 24, 7, 12, 1]
    assert EvaluationSettings(horizon=5).settled(HOURLY).horizon == 5


def test_fit_settings_keep_their_help() -> None:
    field = ForecasterFitSettings.__dataclass_fields__["epochs"]
    assert (field.default, field.metadata["help"]) == (160, "passes over the training data")
