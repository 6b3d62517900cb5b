"""A card holds what a reader needs, and its plots are small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from training.evaluation.plots import Fan
from training.report import Card, ForecastSection, LossCurve, TextSection, metrics_table, write_card

CARD = Card(
    name="pjm-load",
    description="Hourly load.",
    license="MIT",
    command="python -m training forecaster --data load.csv",
    commit="abc",
    data_name="load.csv",
    data_sha256="f" * 64,
    seed=3,
    settings={"network": {"cell": "LSTM", "lags": [1, 24]}, "odd": "a|b"},
    metrics={"mase": 0.8669, "coverage_80": 0.8},
    baselines={"seasonal_naive_24": {"mase": 1.1375}},
    loss=LossCurve([0.5, 0.02, 0.01], [0.4, 0.03, 0.04], 1, "quantile loss"),
    notes=["A note."],
)


def fan(dated: bool) -> Fan:
    quantiles = np.sort(np.random.default_rng(0).normal(size=(24, 9)))
    times = np.datetime64("2024-07-01T00:00:00") + np.arange(72) * np.timedelta64(3600, "s")
    levels = tuple(np.arange(1, 10) / 10)
    return Fan("a", list(range(48)), [np.nan, *range(23)], quantiles, levels, times if dated else None)


def test_card_of_a_forecaster_is_whole_and_small(tmp_path: Path) -> None:
    section = ForecastSection("On the end.", [fan(True), fan(False)], {0.1: 0.12, 0.9: 0.88}, [1.0] * 20, "MW")
    files = write_card(tmp_path, CARD, section)
    assert {file.name for file in files} == {file.name for file in tmp_path.iterdir()}
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| pjm-load | 0.8669 | 0.8 |" in text
    for part in (CARD.description, CARD.command, CARD.commit, CARD.data_sha256, "A note."):
        assert part in text
    assert "| seasonal naive 24 | 1.137 | – |" in text or "| seasonal naive 24 | 1.138 | – |" in text
    assert "| network.lags | 1, 24 |" in text
    for file in files:
        assert file.name == "README.md" or f"({file.name})" in text
        assert file.stat().st_size < 80_000


def test_same_numbers_give_the_same_files(tmp_path: Path) -> None:
    section = ForecastSection("On the end.", [fan(True)], {0.5: 0.5}, [1.0] * 20)
    once, twice = tmp_path / "once", tmp_path / "twice"
    for folder in (once, twice):
        folder.mkdir()
        write_card(folder, CARD, section)
    assert all(file.read_bytes() == (twice / file.name).read_bytes() for file in once.iterdir())


def test_card_of_a_text_generator_fences_its_samples(tmp_path: Path) -> None:
    write_card(tmp_path, CARD, TextSection("On the end.", {"temperature 0.8": "so\n```\nit goes"}))
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "### temperature 0.8\n\n````text\nso\n```\nit goes\n````\n" in text


def test_table_has_a_dash_where_a_model_lacks_a_metric() -> None:
    table = metrics_table({"one": {"mase": 1.0}, "two": {"other_thing": 2.0}})
    assert table.splitlines() == [
        "|  | MASE | other thing |",
        "| --- | ---: | ---: |",
        "| one | 1 | – |",
        "| two | – | 2 |",
    ]
