"""Files in every layout become one table; what does not fit is named with its line."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

pytest.importorskip("torch")

from training.data.series import SeriesFormat
from training.data.series_file import ID, TARGET, TIME, read_table
from training.errors import TrainingError

LONG = """unique_id,ds,y
a,2024-01-01 00:00:00,1.5
a,2024-01-01 01:00:00,
b,2024-01-01T01:00:00Z,NA
b,2024-01-01 02:00,2
"""


def write(folder: Path, text: str, name: str = "file.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_long_layout_keeps_rows_and_reads_missing_values(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, LONG), SeriesFormat())
    assert table.frame[ID].to_list() == ["a", "a", "b", "b"]
    assert table.frame[TARGET].to_list() == [1.5, None, None, 2.0]
    assert (table.frame[TIME] - table.frame[TIME][0]).to_list() == [0, 3600, 3600, 7200]
    assert not table.counts_steps


def test_names_of_columns_can_be_chosen(tmp_path: Path) -> None:
    path = write(tmp_path, "meter,when,load\nx,2024-01-01,1\n")
    table = read_table(path, SeriesFormat(id_column="meter", time_column="when", target_column="load"))
    assert table.frame.select(ID, TARGET).rows() == [("x", 1.0)]


def test_wide_layout_has_a_series_per_column(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "date,HUFL,OT\n2024-01-01,1,2\n2024-01-02,3,4\n"), SeriesFormat())
    assert table.frame.select(ID, TARGET).rows() == [("HUFL", 1.0), ("HUFL", 3.0), ("OT", 2.0), ("OT", 4.0)]


def test_wide_layout_takes_the_named_series_alone(tmp_path: Path) -> None:
    path = write(tmp_path, "date,wind,pm\n2024-01-01,NW,2\n")
    assert read_table(path, SeriesFormat(series=("pm",))).frame[TARGET].to_list() == [2.0]


def test_rows_of_values_are_numbered_from_the_first_on(tmp_path: Path) -> None:
    path = write(tmp_path, '"V1","V2","V3","V4"\n"H1","1","2",""\n"H2","3","","5"\n')
    table = read_table(path, SeriesFormat(layout="rows"))
    assert table.counts_steps
    found = sorted(table.frame.select(ID, TIME, TARGET).rows(), key=lambda row: row[:2])
    assert found == [("H1", 0, 1.0), ("H1", 1, 2.0), ("H1", 2, None), ("H2", 0, 3.0), ("H2", 1, None), ("H2", 2, 5.0)]
    with pytest.raises(TrainingError, match="price: expected the long layout, a file of rows has no place for it"):
        read_table(path, SeriesFormat(layout="rows", covariates=("price",)))


def test_file_of_one_series_takes_the_name_of_the_file(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "ds,y\n2024-01-01,1\n", "sales.csv"), SeriesFormat())
    assert table.frame[ID].to_list() == ["sales"]


def test_parquet_says_the_same_as_csv(tmp_path: Path) -> None:
    csv = write(tmp_path, "unique_id,ds,y\na,2024-01-01 00:00:00,1.5\na,2024-01-01 01:00:00,\n")
    pl.read_csv(csv, try_parse_dates=True).write_parquet(tmp_path / "file.parquet")
    columns = [ID, TIME, TARGET]
    from_csv = read_table(csv, SeriesFormat()).frame.select(columns)
    assert read_table(tmp_path / "file.parquet", SeriesFormat()).frame.select(columns).rows() == from_csv.rows()


def test_parquet_time_with_a_zone_is_turned_to_utc(tmp_path: Path) -> None:
    frame = pl.DataFrame({"unique_id": ["a"], "ds": ["2024-07-01T02:00:00"], "y": [1.0]})
    zoned = frame.with_columns(pl.col("ds").str.to_datetime().dt.replace_time_zone("Europe/Berlin"))
    zoned.write_parquet(tmp_path / "zoned.parquet")
    assert read_table(tmp_path / "zoned.parquet", SeriesFormat()).frame[TIME][0] == 1719792000  # midnight in UTC


def test_whole_numbers_count_steps(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "unique_id,ds,y\na,7,1\na,8,2\n"), SeriesFormat())
    assert table.counts_steps
    assert table.frame[TIME].to_list() == [7, 8]


def test_date_format_reads_other_spellings(tmp_path: Path) -> None:
    path = write(tmp_path, "date,co2\n19580329,316.1\n")
    table = read_table(path, SeriesFormat(date_format="%Y%m%d"))
    assert not table.counts_steps
    assert table.frame[TIME].to_list() == [-371174400]


def test_months_are_dates(tmp_path: Path) -> None:
    assert read_table(write(tmp_path, "Month,y\n1970-02,1\n"), SeriesFormat()).frame[TIME].to_list() == [31 * 86400]


def test_covariates_and_static_columns_come_along(tmp_path: Path) -> None:
    path = write(tmp_path, "unique_id,ds,y,price,kind\na,1,1,2.5,big\na,2,,3.5,big\n")
    frame = read_table(path, SeriesFormat(covariates=("price",), static=("kind",))).frame
    assert frame.select("price", "kind").rows() == [(2.5, "big"), (3.5, "big")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("unique_id,ds,y\na,2024-01-01,1\na,2024-01-02,much\n", "line 3: y: expected a number, got 'much'"),
        ("unique_id,ds,y\na,2024-01-01,inf\n", "line 2: y: expected a number"),
        ("unique_id,ds,y\na,2024-01-01,1\na,01/02/2024,2\n", "line 3: time: expected ISO 8601.*got '01/02/2024'"),
        ("unique_id,ds,y\na,,1\n", "line 2: time: expected one, got nothing"),
        ("unique_id,time,y\na,2024-01-01,1\n", "expected a column 'ds', got the columns unique_id, time, y"),
        ("y\n1\n", "expected a date column and one column per series"),
        ("", "expected a CSV file with a header"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        read_table(write(tmp_path, text), SeriesFormat())


def test_file_that_is_not_parquet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="expected a Parquet file"):
        read_table(write(tmp_path, "nothing", "file.parquet"), SeriesFormat())


def test_date_format_that_does_not_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="expected the format %d.%m.%Y, got '2024-01-01'"):
        read_table(write(tmp_path, "ds,y\n2024-01-01,1\n"), SeriesFormat(date_format="%d.%m.%Y"))


def test_columns_of_other_names_are_not_taken_for_a_wide_file_in_silence(tmp_path: Path) -> None:
    path = write(tmp_path, "meter,when,load\nx,2024-01-01,1\n")
    with pytest.raises(TrainingError, match="'meter', was read as time: name yours with --id-column, --time-column"):
        read_table(path, SeriesFormat())
