"""`diagnose` measures the network of a run, finished or not, and of a published model, for every task."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from training.__main__ import main

TINY = "--epochs 2 --hidden-size 8 --batch-size 4 --bptt-length 8 --threads 1 --license CC0-1.0".split()


def train(folder: Path, monkeypatch: pytest.MonkeyPatch, task: str, data: Path, *more: str) -> tuple[Path, Path]:
    """The run folder and the published version of a tiny model."""
    run, models = folder / "run", folder / "models"
    arguments = [task, "--data", str(data), "--run-folder", str(run), "--models", str(models), "--name", "tiny"]
    monkeypatch.setattr(sys, "argv", ["training", *arguments])
    assert main([*arguments, *TINY, *more]) == 0
    return run, models / "tiny" / "1"


def diagnosed(capsys: pytest.CaptureFixture[str], folder: Path, data: Path, figure: Path) -> str:
    capsys.readouterr()
    flags = ["--figure", str(figure), "--sequences", "4", "--steps", "16", "--threads", "1"]
    assert main(["diagnose", str(folder), "--data", str(data), *flags]) == 0
    assert figure.stat().st_size > 5_000
    return " ".join(capsys.readouterr().out.split())


def test_text_generators_as_runs_and_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "rhyme.txt"
    data.write_text("one two\nthree four\n\n" * 60, encoding="utf-8")
    run, published = train(tmp_path, monkeypatch, "text", data, "--embedding-size", "4", "--cell", "GRU")
    of_run = diagnosed(capsys, run, data, tmp_path / "run.png")
    of_published = diagnosed(capsys, published, data, tmp_path / "published.png")
    assert "updates of training" in of_run and "windows, at the weights as they are" in of_published
    for said in (of_run, of_published):
        assert "Gradients" in said and "note:" not in said and "8 (training)" in said
    # The same weights on the same data: the same reach, whichever folder they are in.
    assert of_run[: of_run.index("Gradient norm")] == of_published[: of_published.index("Gradient norm")]


def test_forecasters_and_data_that_are_not_those_of_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, random = tmp_path / "series.csv", np.random.default_rng(0)
    rows = [f"{step},{np.sin(step / 4) + random.normal() / 9:.3f}\n" for step in range(300)]
    data.write_text("ds,y\n" + "".join(rows), encoding="utf-8")
    flags = ["--frequency", "1h", "--horizon", "4", "--paths", "4", "--cell", "LSTM", "--layers", "2"]
    run, published = train(tmp_path, monkeypatch, "forecaster", data, *flags)
    assert "layer 1 cell" in diagnosed(capsys, run, data, tmp_path / "run.png")
    data.write_text("ds,y\n" + "".join(rows[:290]), encoding="utf-8")
    assert "series.csv is not, byte for byte, what tiny/1" in diagnosed(capsys, published, data, tmp_path / "x.png")


def test_classifiers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "words"
    data.mkdir()
    for label in ("ab", "cd"):
        words = [label * (1 + number % 5) + label[number % 2] * (number // 5) for number in range(40)]
        (data / f"{label}.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    run, published = train(tmp_path, monkeypatch, "classifier", data, "--embedding-size", "4", "--cell", "RNN")
    for folder in (run, published):
        assert "Gradients" in diagnosed(capsys, folder, data, tmp_path / "figure.png")


def test_a_published_classifier_is_diagnosed_on_some_of_its_classes_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "words"
    data.mkdir()
    for label in ("ab", "cd", "ef"):
        (data / f"{label}.txt").write_text("".join(f"{label * (1 + n % 4)}{n}\n" for n in range(40)), encoding="utf-8")
    run, published = train(tmp_path, monkeypatch, "classifier", data, "--embedding-size", "4", "--cell", "RNN")
    (data / "ab.txt").unlink()
    assert "is not, byte for byte" in diagnosed(capsys, published, data, tmp_path / "figure.png")
    assert main(["diagnose", str(run), "--data", str(data)]) == 1
    assert "run: expected the data of training" in " ".join(capsys.readouterr().err.split())
    (data / "gh.txt").write_text("gh\nghgh\n", encoding="utf-8")
    assert main(["diagnose", str(published), "--data", str(data)]) == 1
    assert "data words: expected only classes of the model, got gh" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["nowhere"], "expected a run folder with run.json or a published version"),
        (["models/shakespeare/1", "--steps", "-1"], "steps: expected at least 0, got -1"),
        (["models/shakespeare/1", "--sequences", "0"], "sequences: expected at least 1, got 0"),
    ],
)
def test_mistakes_are_messages(capsys: pytest.CaptureFixture[str], flags: list[str], said: str) -> None:
    assert main(["diagnose", *flags, "--data", "rhyme.txt"]) == 1
    assert said in " ".join(capsys.readouterr().err.split())
