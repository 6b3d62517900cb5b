from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contract.calendar import calendar_features
from service.contract.frequency import Frequency
from service.contract.manifest import ForecastTask
from service.errors import InputMismatch, RequestTooLarge
from service.models.repository import Repository
from service.tasks.series_inputs import Placement, covariate_columns, forecast_task, place, step_inputs
from tests.known_models import NEXT_TOKEN
from tests.service.conftest import CALENDAR_SUM
from tests.service.running import floats

HOURLY, MONTHLY = Frequency.parse("1h"), Frequency.parse("M")
FIRST = np.datetime64("2024-07-01T00:00:00", "s")
MAX_GAP = 48


def times(*texts: str) -> list[np.datetime64]:
    return [np.datetime64(text, "s") for text in texts]


def hourly(*hours: int) -> list[np.datetime64]:
    return [FIRST + np.timedelta64(hour, "h") for hour in hours]


def placed(frequency: Frequency, position: int, first: np.datetime64 | None, timestamps: Any) -> Placement:
    return place(frequency, position, first, len(timestamps), timestamps, MAX_GAP)


@pytest.fixture
def task(known: Repository) -> ForecastTask:
    return forecast_task(known.get(CALENDAR_SUM))


# Placement


def test_values_without_timestamps_follow_each_other() -> None:
    for first in (None, FIRST):
        placement = place(HOURLY, 5, first, 3, None, MAX_GAP)
        assert (placement.steps, placement.index.tolist(), placement.first_timestamp) == (3, [0, 1, 2], first)


def test_values_at_the_next_steps_follow_each_other() -> None:
    placement = placed(HOURLY, 5, FIRST, hourly(5, 6, 7))
    assert (placement.steps, placement.index.tolist()) == (3, [0, 1, 2])


def test_gaps_before_and_between_become_missing_steps() -> None:
    placement = placed(HOURLY, 5, FIRST, hourly(7, 8, 11))
    assert (placement.steps, placement.index.tolist()) == (7, [2, 3, 6])
    spread = placement.spread(floats(1, 2, 3))
    np.testing.assert_array_equal(spread, floats(np.nan, np.nan, 1, 2, np.nan, np.nan, 3))


def test_the_first_timestamp_ever_told_is_that_of_the_first_value() -> None:
    placement = placed(HOURLY, 0, None, hourly(3, 4, 6))
    assert (placement.steps, placement.index.tolist(), placement.first_timestamp) == (4, [0, 1, 3], hourly(3)[0])


def test_a_first_timestamp_that_comes_late_lies_at_the_next_step() -> None:
    placement = placed(HOURLY, 5, None, hourly(3, 5))
    assert (placement.steps, placement.index.tolist(), placement.first_timestamp) == (3, [0, 2], hourly(-2)[0])


@pytest.mark.parametrize("told", ["2024-03-31", "2024-05-31", "2023-03-31"])
def test_a_series_of_month_ends_may_tell_its_first_timestamp_late(told: str) -> None:
    placement = placed(MONTHLY, 1, None, times(told))
    assert (placement.steps, placement.index.tolist()) == (1, [0])
    assert placement.first_timestamp is not None
    assert MONTHLY.timestamps(placement.first_timestamp, 1, 1).tolist() == [times(told)[0].item()]


def test_months_are_placed_on_the_calendar() -> None:
    placement = placed(MONTHLY, 1, times("2024-01-31")[0], times("2024-02-29", "2024-04-30"))
    assert (placement.steps, placement.index.tolist()) == (3, [0, 2])


@pytest.mark.parametrize(
    "timestamps",
    [hourly(4), hourly(0), hourly(-9), hourly(5, 5), hourly(6, 5), hourly(5, 6, 6, 7), hourly(5, 8, 7)],
)
def test_what_was_observed_cannot_be_changed(timestamps: list[np.datetime64]) -> None:
    with pytest.raises(InputMismatch, match=r"expected them to increase, from 2024-07-01T05:00:00Z on") as refused:
        placed(HOURLY, 5, FIRST, timestamps)
    assert refused.value.parameter == "timestamps"


@pytest.mark.parametrize(
    ("frequency", "timestamps"),
    [
        (HOURLY, times("2024-07-01T05:30:00")),
        (HOURLY, times("2024-07-01T05:00:00", "2024-07-01T06:00:01")),
        (MONTHLY, times("2024-12-02")),
    ],
)
def test_a_timestamp_between_two_steps_is_refused(frequency: Frequency, timestamps: list[np.datetime64]) -> None:
    with pytest.raises(InputMismatch, match="expected a whole number of steps"):
        placed(frequency, 5, FIRST, timestamps)


def test_a_misaligned_timestamp_is_refused_among_the_first_ever_told() -> None:
    with pytest.raises(InputMismatch, match="expected a whole number of steps"):
        placed(HOURLY, 0, None, times("2024-07-01T05:30:00", "2024-07-01T06:00:00"))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_every_value_needs_its_timestamp(count: int) -> None:
    with pytest.raises(InputMismatch, match=f"expected one for each of the 2 values, got {count}"):
        place(HOURLY, 0, FIRST, 2, hourly(*range(count)), MAX_GAP)


def test_a_gap_is_filled_up_to_its_bound() -> None:
    assert placed(HOURLY, 0, FIRST, hourly(MAX_GAP)).steps == MAX_GAP + 1
    with pytest.raises(RequestTooLarge, match=f"a gap of at most {MAX_GAP} steps, got {MAX_GAP + 1} before"):
        placed(HOURLY, 0, FIRST, hourly(MAX_GAP + 1))
    with pytest.raises(RequestTooLarge):
        placed(HOURLY, 0, FIRST, hourly(0, MAX_GAP + 2))


@given(
    st.sampled_from([HOURLY, MONTHLY, Frequency.parse("15min"), Frequency.parse("1W")]),
    st.integers(0, 50),
    st.lists(st.integers(0, MAX_GAP), min_size=1, max_size=20),
)
def test_every_value_lands_on_the_step_of_its_timestamp(frequency: Frequency, position: int, gaps: list[int]) -> None:
    index = np.cumsum(np.array(gaps) + 1) - 1
    timestamps = [frequency.timestamps(FIRST, position + int(step), 1)[0] for step in index]
    placement = placed(frequency, position, FIRST, timestamps)
    assert placement.index.tolist() == index.tolist() and placement.steps == index[-1] + 1


# Inputs


def test_the_calendar_belongs_to_the_steps_after_the_position(task: ForecastTask) -> None:
    covariates = {"wind": floats(1, 2), "sun": floats(3, 4)}
    inputs = step_inputs(task, 5, 2, FIRST, covariates)
    expected = calendar_features(np.array(hourly(5, 6)), task.calendar)[np.newaxis]
    assert inputs["calendar"].tobytes() == expected.tobytes() and inputs["calendar"].shape == (1, 2, 2)
    assert inputs["covariates"].tolist() == [[[1, 3], [2, 4]]]


def test_a_calendar_needs_a_timestamp(task: ForecastTask) -> None:
    with pytest.raises(InputMismatch, match="the model looks at the calendar") as refused:
        step_inputs(task, 0, 1, None, {"wind": floats(1), "sun": floats(2)})
    assert refused.value.parameter == "first_timestamp"


def test_a_model_without_calendar_and_covariates_takes_neither(known: Repository) -> None:
    assert step_inputs(forecast_task(known.get("running-sum")), 0, 3, None, None) == {}


def test_covariates_are_taken_by_name_in_the_models_order(task: ForecastTask) -> None:
    columns = covariate_columns(task, 2, {"sun": floats(1, 2), "wind": floats(3, 4)})
    assert columns.tolist() == [[3, 1], [4, 2]] and columns.dtype == np.float32


@pytest.mark.parametrize(
    ("given_", "came"),
    [
        (None, "none"),
        ({}, "none"),
        ({"wind": floats(1)}, "wind"),
        ({"wind": floats(1), "sun": floats(1), "rain": floats(1)}, "rain, sun, wind"),
        ({"wind": floats(1), "snow": floats(1)}, "snow, wind"),
    ],
)
def test_missing_and_unknown_covariates_are_refused_by_name(
    task: ForecastTask, given_: dict[str, Any] | None, came: str
) -> None:
    with pytest.raises(InputMismatch, match=f"future_covariates: expected wind, sun for 1 steps, got {came}$"):
        covariate_columns(task, 1, given_)


def test_covariates_of_another_length_are_refused_by_name(task: ForecastTask) -> None:
    with pytest.raises(InputMismatch, match=r"future_covariates.sun: expected 2 values, got 3"):
        covariate_columns(task, 2, {"wind": floats(1, 2), "sun": floats(1, 2, 3)})


def test_covariates_a_model_does_not_take_are_refused(known: Repository) -> None:
    with pytest.raises(InputMismatch, match="future_covariates: expected none for 1 steps, got wind"):
        covariate_columns(forecast_task(known.get("running-sum")), 1, {"wind": floats(1)})


def test_a_text_model_forecasts_no_series(known: Repository) -> None:
    with pytest.raises(InputMismatch, match="next-token generates text: use a forecast model"):
        forecast_task(known.get(NEXT_TOKEN))
