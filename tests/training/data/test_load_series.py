"""Rows find their place on the time axis: gaps become NaN, repeats and odd times are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from service.contract.frequency import Frequency
from training.data.load_series import load_series
from training.data.series import SeriesFormat, SeriesSet
from training.errors import TrainingError

HOURLY = Frequency.parse("1h")


def load(folder: Path, text: str, frequency: str = "1h", form: SeriesFormat | None = None) -> SeriesSet:
    path = folder / "file.csv"
    path.write_text(text, encoding="utf-8")
    return load_series(path, Frequency.parse(frequency), form)


def test_gaps_and_different_spans_become_missing_values(tmp_path: Path) -> None:
    rows = "a,2024-01-01 00:00,1\na,2024-01-01 03:00,4\nb,2024-01-01 01:00,2\n"
    series = load(tmp_path, "unique_id,ds,y\n" + rows)
    nan = np.nan
    np.testing.assert_array_equal(series.target, [[1, nan, nan, 4], [nan, 2, nan, nan]])
    assert series.first == np.datetime64("2024-01-01T00:00:00")
    assert series.begins.tolist() == [0, 1]
    assert series.ends.tolist() == [4, 2]


def test_rows_may_come_in_any_order(tmp_path: Path) -> None:
    series = load(tmp_path, "unique_id,ds,y\na,2024-01-01 01:00,2\na,2024-01-01 00:00,1\n")
    assert series.target.tolist() == [[1, 2]]


def test_months_follow_the_calendar(tmp_path: Path) -> None:
    series = load(tmp_path, "Month,y\n2024-01,1\n2024-02,2\n2024-04,4\n", "MS")
    np.testing.assert_array_equal(series.target, [[1, 2, np.nan, 4]])


def test_step_numbers_need_no_dates(tmp_path: Path) -> None:
    series = load(tmp_path, "unique_id,ds,y\na,10,1\na,12,3\n")
    np.testing.assert_array_equal(series.target, [[1, np.nan, 3]])
    assert series.first is None
    assert series.timestamps is None
    with pytest.raises(TrainingError, match="expected timestamps"):
        series.calendar(("hour_of_day",))


def test_axis_ends_with_the_last_observed_value(tmp_path: Path) -> None:
    form = SeriesFormat(covariates=("price",))
    series = load(tmp_path, "unique_id,ds,y,price\na,1,5,1\na,2,,2\n", form=form)
    assert series.target.tolist() == [[5]]
    assert series.covariates is not None
    assert series.covariates.tolist() == [[[1]]]


def test_chosen_series_come_in_their_order(tmp_path: Path) -> None:
    series = load(tmp_path, "unique_id,ds,y\na,1,1\nb,1,2\nc,1,3\n", form=SeriesFormat(series=("c", "a")))
    assert series.ids == ("c", "a")
    assert series.target.tolist() == [[3], [1]]


def test_static_covariates_are_numbers_or_categories(tmp_path: Path) -> None:
    text = "unique_id,ds,y,size,kind\na,1,1,2.5,shop\nb,1,1,,mill\nc,1,1,4,\n"
    series = load(tmp_path, text, form=SeriesFormat(static=("size", "kind")))
    size, kind = series.static_covariates
    assert (size.categories, kind.categories) == (None, ("mill", "shop"))
    np.testing.assert_array_equal(series.static, [[2.5, 1], [np.nan, 0], [4, -1]])


def test_calendar_has_a_row_per_step(tmp_path: Path) -> None:
    series = load(tmp_path, "unique_id,ds,y\na,2024-01-01 00:00,1\na,2024-01-01 06:00,4\n")
    calendar = series.calendar(("hour_of_day",))
    assert calendar is not None
    np.testing.assert_allclose(calendar[[0, 6]], [[0, 1], [1, 0]], atol=1e-6)
    assert series.calendar(()) is None


@pytest.mark.parametrize(
    ("rows", "frequency", "message"),
    [
        ("a,2024-01-01 00:00,1\na,2024-01-01 00:30,2\n", "1h", "line 3: .*whole number of steps of 1h.*--frequency"),
        ("a,2024-01-01,1\nb,2024-01-01,1\na,2024-01-01,2\n", "D", "line 4: .*second one of series 'a'"),
        ("a,2024-01-01,1\nb,2024-01-01,\n", "D", "series 'b': expected values, got none"),
        ("a,1,1\na,90000000,1\n", "D", "--date-format"),
        ("a,1970-01-01,1\na,2024-01-01,1\n", "1s", "--frequency 1s"),
        ("a,2024-01-01,1e39\n", "D", "larger unit"),
        ("", "D", "expected rows"),
        (",2024-01-01,1\n", "D", "line 2: id"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, rows: str, frequency: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        load(tmp_path, "unique_id,ds,y\n" + rows, frequency)


def test_static_covariate_that_changes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="static kind: expected one value per series, got several for 'a'"):
        load(tmp_path, "unique_id,ds,y,kind\na,1,1,x\na,2,1,z\n", form=SeriesFormat(static=("kind",)))


def test_unknown_series_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="series 'z': expected one of a, b"):
        load(tmp_path, "unique_id,ds,y\na,1,1\nb,1,2\n", form=SeriesFormat(series=("z",)))


def test_missing_file_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"data none\.csv: expected a CSV or Parquet file: No such file"):
        load_series(tmp_path / "none.csv", HOURLY)
