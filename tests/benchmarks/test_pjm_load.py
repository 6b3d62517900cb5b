"""The recorded command of a model is run again with other paths and another seed, and seeds come to a mean."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from benchmarks.over_seeds import mean_and_spread
from benchmarks.pjm_load import newest, with_options

RECORDED = (
    "python -m training forecaster --data load.csv --frequency 1h --name pjm-load --models=models --seed 0"
    " --description 'A day ahead.'"
)


def test_options_are_replaced_and_the_name_is_left_to_the_caller() -> None:
    found = with_options(RECORDED, {"--data": Path("there") / "load.csv", "--models": "mine", "--seed": 2})
    kept = ["python", "-m", "training", "forecaster", "--frequency", "1h", "--description", "A day ahead."]
    assert found == [*kept, "--data", "there/load.csv", "--models", "mine", "--seed", "2"]


def test_the_newest_version_is_the_highest_number(tmp_path: Path) -> None:
    for name in ("2", "10", ".staging-1"):
        (tmp_path / name).mkdir()
    assert newest(tmp_path).name == "10"


def test_mean_and_spread_are_of_the_metrics_that_all_have() -> None:
    found = mean_and_spread([{"mase": 1.0, "nd": 3.0}, {"mase": 2.0}, {"mase": 3.0, "nd": 3.0}])
    assert found == {"mase": "2 ± 1"}
    assert mean_and_spread([{"mase": 0.87531}]) == {"mase": "0.8753"}
