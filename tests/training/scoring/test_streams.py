"""Files as streams: placed in time where the time between values is known, and as they come where it is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from service.contract.frequency import Frequency
from service.contract.manifest import ForecastTask, StaticCovariate
from training.data.series import SeriesFormat
from training.errors import TrainingError
from training.scoring.streams import read_streams

HOUR = Frequency.parse("1h")
TASK = ForecastTask(
    frequency="1h", quantiles=(0.1, 0.5, 0.9), lags=(1,), seasonality=24, context_length=1, prediction_length=24
)
COUNTS = TASK.model_copy(update={"frequency": None})
FORM = SeriesFormat()
NAN = np.nan


def file(folder: Path, text: str, name: str = "load.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


LOAD = """unique_id,ds,y
a,2024-01-01 00:00,1
a,2024-01-01 03:00,4
b,2024-01-01 02:00,
b,2024-01-01 01:00,20
a,2024-01-01 01:00,2
b,2024-01-01 03:00,40
"""


def test_series_are_placed_in_time_from_their_first_value_to_their_last(tmp_path: Path) -> None:
    a, b = read_streams(file(tmp_path, LOAD), TASK, FORM, HOUR)
    np.testing.assert_array_equal(a.values, [1, 2, NAN, 4])
    np.testing.assert_array_equal(b.values, [20, NAN, 40])
    assert b.times.astype(str).tolist() == [f"2024-01-01T0{hour}:00:00" for hour in (1, 2, 3)]


def test_without_a_frequency_rows_are_taken_as_they_come(tmp_path: Path) -> None:
    a, b = read_streams(file(tmp_path, LOAD), COUNTS, FORM, None)
    assert a.values.tolist() == [1, 4, 2] and a.times.astype(str).tolist()[1] == "2024-01-01T03:00:00"
    np.testing.assert_array_equal(b.values, [NAN, 20, 40])


def test_times_that_come_twice_are_no_mistake_where_steps_are_counted(tmp_path: Path) -> None:
    path = file(tmp_path, "timestamp,value\n2024-01-01,1\n2024-01-01,2\n2024-01-05,3\n")
    (stream,) = read_streams(path, COUNTS, FORM, None)
    assert stream.id == "value" and stream.values.tolist() == [1, 2, 3]
    with pytest.raises(TrainingError, match="one value per series and time"):
        read_streams(path, COUNTS, FORM, Frequency.parse("D"))


def test_what_the_model_takes_beside_the_values_comes_along(tmp_path: Path) -> None:
    task = TASK.model_copy(
        update={
            "calendar": ("hour_of_day",),
            "future_covariates": ("heat",),
            "static_covariates": (
                StaticCovariate(name="kind", categories=("mill", "dam")),
                StaticCovariate(name="area"),
            ),
        }
    )
    text = "unique_id,ds,y,heat,kind\na,2024-01-01 06:00,1,5,dam\na,2024-01-01 07:00,2,6,dam\n"
    (stream,) = read_streams(file(tmp_path, text), task, replace(FORM, covariates=("heat",)), HOUR)
    assert stream.covariates is not None and stream.covariates[:, 0].tolist() == [5, 6]
    assert stream.calendar is not None and stream.calendar.shape == (2, 2)
    np.testing.assert_array_equal(stream.static, [1, NAN])  # the file does not tell the area


@pytest.mark.parametrize(("frequency", "season"), [(HOUR, 24.0), (Frequency.parse("15min"), 96.0), (None, NAN)])
def test_a_model_that_counts_steps_is_told_the_season_of_a_frequency(
    tmp_path: Path, frequency: Frequency | None, season: float
) -> None:
    task = COUNTS.model_copy(update={"static_covariates": (StaticCovariate(name="season"),)})
    path = file(tmp_path, "ds,y\n2024-01-01 00:00,1\n2024-01-01 01:00,2\n")
    (stream,) = read_streams(path, task, FORM, frequency)
    np.testing.assert_array_equal(stream.static, [season])


def test_a_season_in_the_file_goes_before_that_of_the_frequency(tmp_path: Path) -> None:
    task = COUNTS.model_copy(update={"static_covariates": (StaticCovariate(name="season"),)})
    path = file(tmp_path, "unique_id,ds,y,season\na,2024-01-01 00:00,1,168\n")
    (stream,) = read_streams(path, task, FORM, HOUR)
    np.testing.assert_array_equal(stream.static, [168])


def test_a_series_without_values_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="series 'b': expected values, got none"):
        read_streams(file(tmp_path, "unique_id,ds,y\na,1,1\nb,1,\n"), COUNTS, FORM, None)
