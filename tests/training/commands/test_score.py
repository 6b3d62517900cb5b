"""`python -m training score`: a table with a row for each value, and a figure of each series."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

pytest.importorskip("torch")

from tests.training.scoring.scored_models import publish_scored
from training.__main__ import main

MODELS = Path(__file__).parents[3] / "models"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish_scored(tmp_path_factory.mktemp("command") / "models")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two hourly series, the first with a value that is far out at its hour 150."""
    random = np.random.default_rng(0)
    rows = ["unique_id,ds,y"]
    for name, length in (("mill/1", 200), ("dam", 60)):
        values = 10 + random.standard_normal(length)
        values[150:151] = 400
        times = np.datetime64("2024-01-01", "h") + np.arange(length)
        rows += [f"{name},{time},{value:.3f}" for time, value in zip(times, values, strict=True)]
    path = tmp_path / "water.csv"
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_every_value_has_a_row_and_every_series_a_figure(
    model: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", str(model), str(data)]) == 0
    folder = data.parent / "water-scores"
    with (folder / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["unique_id", "ds", "y", "expected", "lower", "upper", "anomaly_score", "anomaly"]
    assert len(rows) == 260 and rows[0]["expected"] == rows[0]["anomaly_score"] == "" and rows[1]["expected"]
    flagged = [(row["unique_id"], row["ds"]) for row in rows if row["anomaly"] == "true"]
    assert flagged == [("mill/1", "2024-01-07T06:00:00Z")]
    assert {path.name for path in folder.iterdir()} == {"scores.csv", "mill-1.png", "dam.png"}
    with Image.open(folder / "mill-1.png") as figure:
        assert figure.size == (810, 378)
    told = shown(capsys)
    assert "mill/1 │ 200 │ 0 │ 1 │" in told and "dam │ 60 │ 0 │ 0 │" in told
    assert "scores from 0.999 on, which at most 0.001 of a usual stream's values reach" in told
    assert "lower and upper: 90 % interval" in told


def test_a_parquet_table_elsewhere_with_a_threshold_and_columns_of_ones_own(model: Path, tmp_path: Path) -> None:
    times = np.datetime64("2024-01-01", "ms") + np.arange(50) * np.timedelta64(3_600_000, "ms")
    frame = pl.DataFrame({"meter": ["a"] * 50, "time": times, "load": np.sin(np.arange(50.0))})
    frame.write_parquet(tmp_path / "load.parquet")
    columns = ["--id-column", "meter", "--time-column", "time", "--target-column", "load"]
    more = ["--out", str(tmp_path / "out"), "--table", "parquet", "--threshold", "0.5", "--figures", "0"]
    assert main(["score", str(model), str(tmp_path / "load.parquet"), *columns, *more]) == 0
    table = pl.read_parquet(tmp_path / "out/scores.parquet")
    assert table.columns[:3] == ["meter", "time", "load"] and table["time"].to_list() == frame["time"].to_list()
    assert (table["anomaly"] == (table["anomaly_score"].fill_null(0) >= 0.5)).all()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["scores.parquet"]


def test_a_model_without_a_threshold_flags_nothing_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daily = tmp_path / "daily.csv"
    daily.write_text("ds,y\n2024-01-01,10\n2024-01-02,11\n2024-01-04,12\n", encoding="utf-8")
    model = publish_scored(tmp_path / "models", frequency="1D", flags=False)
    assert main(["score", str(model), str(daily), "--figures", "0"]) == 0
    table = pl.read_csv(tmp_path / "daily-scores" / "scores.csv")
    assert table.columns[-1] == "anomaly_score" and table["y"].to_list() == [10, 11, None, 12]
    assert "has no threshold, so that nothing is flagged: give --threshold, such as 0.999" in shown(capsys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threshold", "0"], "--threshold: expected a score above 0 and at most 1, such as 0.999, got 0"),
        (["--frequency", "1D"], "--frequency: model tiny/1 takes observations every 1h, got 1D"),
        (["--frequency", "often"], "--frequency: expected a count and a unit"),
        (["--series", "nobody"], "series 'nobody': expected one of mill/1, dam"),
    ],
)
def test_a_mistake_is_told(
    model: Path, data: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", str(model), str(data), *arguments]) == 1
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_model_of_text_is_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", str(MODELS / "shakespeare" / "1"), str(data)]) == 1
    assert "model shakespeare/1: expected a forecaster, got one for text" in capsys.readouterr().err
