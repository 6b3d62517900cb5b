"""The recorded command of a model is run again with other paths and another seed, and seeds come to a mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

pytest.importorskip("torch")

from benchmarks import pjm_load
from benchmarks.over_seeds import mean_and_spread
from benchmarks.pjm_load import newest, train, with_options
from benchmarks.workplace import ROOT
from service.contract.manifest import load_manifest

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


def test_a_seed_is_trained_apart_and_taken_when_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = load_manifest(ROOT / "models" / "pjm-load" / "1")
    begun: list[Path] = []

    def publish(command: Sequence[str], folder: Path) -> None:
        begun.append(folder)
        (folder / "models" / "pjm-load" / "1").mkdir(parents=True)
        if len(begun) == 1:  # another run of the benchmark, which is the first to end
            train(manifest, Path("load.csv"), 1)

    monkeypatch.setattr(pjm_load, "FOLDER", tmp_path)
    monkeypatch.setattr(pjm_load, "_run", publish)
    found = train(manifest, Path("load.csv"), 1)
    assert found.is_dir() and found.parts[-4:] == ("seed-1", "models", "pjm-load", "1")
    assert train(manifest, Path("load.csv"), 1) == found and len(set(begun)) == 2
    assert [path.name for path in found.parents[3].iterdir()] == ["seed-1"]
