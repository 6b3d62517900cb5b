"""One command goes from labelled sequences to a published classifier, and `export` publishes it again."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from tokenizers import Tokenizer  # noqa: E402

from service.contract.manifest import load_manifest  # noqa: E402
from training.__main__ import main  # noqa: E402
from training.export import ExportedClassifier  # noqa: E402

FLAGS = "--hidden-size 12 --embedding-size 6 --batch-size 8 --threads 1 --license CC0-1.0 --learning-rate 0.02"
ENDINGS = {"Polish": "ski", "Czech": "ova", "Greek": "is"}


def run_command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["training", *arguments])
    return main(list(arguments))


@pytest.fixture
def names(tmp_path: Path) -> Path:
    """Forty names of each of three kinds, told apart by their endings."""
    rng, folder = np.random.default_rng(0), tmp_path / "names"
    folder.mkdir()
    for label, ending in ENDINGS.items():
        lines = ["".join(rng.choice(list("abcdklmn"), rng.integers(3, 7))).title() + ending for _ in range(40)]
        (folder / f"{label}.txt").write_text("\n".join(lines), encoding="utf-8")
    return folder


def test_labelled_names_become_a_published_classifier(
    names: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, models = tmp_path / "run", tmp_path / "models"
    places = ["--data", str(names), "--run-folder", str(run), "--models", str(models), "--name", "kinds"]
    more = ["--cell", "RNN", "--lowercase", "--epochs", "15", "--bptt-length", "0", "--compare-seeds", "2"]
    assert run_command(monkeypatch, "classifier", *places, *more, *FLAGS.split()) == 0

    manifest = load_manifest(models / "kinds" / "1")
    assert (manifest.id, manifest.task, manifest.cell, manifest.minimum_batch) == ("kinds/1", "classify", "RNN", 2)
    task = manifest.classify
    assert task is not None and (task.classes, task.labelled) == (("Czech", "Greek", "Polish"), "sequence")
    assert str(tmp_path) not in manifest.model_dump_json() and "--data names" in manifest.training.command
    assert manifest.training.metrics["accuracy"] > 0.9
    baselines = manifest.training.baselines
    assert baselines["majority_class"]["accuracy"] < 0.5
    assert {f"{cell}_mean_of_2_seeds" for cell in ("RNN", "LSTM", "GRU")} < baselines.keys()
    assert "accuracy_deviation" in baselines["GRU_mean_of_2_seeds"]

    tokenizer = Tokenizer.from_file(str(models / "kinds" / "1" / "tokenizer.json"))
    graphs = ExportedClassifier(models / "kinds" / "1")
    for text in ("Mandalski", "mandalski"):
        found, _ = graphs.observe(graphs.initial(), np.array([tokenizer.encode(text).ids]))
        assert task.classes[found[0, -1].argmax()] == "Polish"

    card = (models / "kinds" / "1" / "README.md").read_text(encoding="utf-8")
    for words in ("# kinds", "macro-F1", "character ngram regression", "As it arrives", "| Polish |", "±"):
        assert words in card
    assert (models / "kinds" / "1" / "confusion.png").exists() and (models / "kinds" / "1" / "arrival.png").exists()

    assert run_command(monkeypatch, "export", str(run), "--models", str(models)) == 0
    assert load_manifest(models / "kinds" / "2").weights == manifest.weights

    capsys.readouterr()
    assert main(["evaluate", str(models / "kinds" / "1"), "--data", str(names)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert all(part in shown for part in ("kinds/1", "majority class", "macro-F1", "0.3333"))
    trained = int(card.split(" were trained on")[0].split()[-1])
    assert f"note: kinds/1 was trained on {trained} of these 120 sequences" in shown
    (names / "Welsh.txt").write_text("Llewellyn", encoding="utf-8")
    assert main(["evaluate", str(models / "kinds" / "1"), "--data", str(names)]) == 1
    assert "expected only classes of the model, got Welsh" in " ".join(capsys.readouterr().err.split())


def test_labels_of_characters_become_a_published_labeller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, lines = np.random.default_rng(0), []
    for _ in range(150):
        text = "".join(rng.choice(list("ab()"), 12, p=[0.3, 0.3, 0.2, 0.2]))
        labels, inside = [], False
        for character in text:
            inside = character == "(" or (inside and character != ")")
            labels.append("inside" if inside else "outside")
        lines.append(json.dumps({"text": text, "labels": labels}))
    (tmp_path / "brackets.jsonl").write_text("\n".join(lines))
    places = ["--data", str(tmp_path / "brackets.jsonl"), "--run-folder", str(tmp_path / "run")]
    more = ["--models", str(tmp_path / "models"), "--epochs", "12", "--bptt-length", "5", "--cell", "GRU"]
    assert run_command(monkeypatch, "classifier", *places, *more, *FLAGS.split()) == 0

    manifest = load_manifest(tmp_path / "models" / "brackets" / "1")
    assert manifest.classify is not None and manifest.classify.labelled == "step"
    assert manifest.training.metrics["accuracy"] > 0.95 > manifest.training.baselines["majority_class"]["accuracy"]
    tokenizer = Tokenizer.from_file(str(tmp_path / "models" / "brackets" / "1" / "tokenizer.json"))
    graphs = ExportedClassifier(tmp_path / "models" / "brackets" / "1")
    found, _ = graphs.observe(graphs.initial(), np.array([tokenizer.encode("a(b)a").ids]))
    assert [manifest.classify.classes[index] for index in found[0].argmax(-1)] == [
        *("outside", "inside", "inside", "outside", "outside")
    ]


def test_windows_that_overlap_are_refused(
    names: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    places = ["--data", str(names), "--run-folder", str(tmp_path / "run"), "--models", str(tmp_path)]
    assert run_command(monkeypatch, "classifier", *places, "--bptt-length", "8", "--bptt-stride", "4") == 1
    assert "bptt-stride: expected 0 for labelled sequences, got 4" in " ".join(capsys.readouterr().err.split())
