"""A comparison of cells trains each with every seed, tells means and deviations, and goes on where it stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from training import compare_cells as module  # noqa: E402
from training.classifier_data import ClassifierDataSettings, Prepared, prepare  # noqa: E402
from training.compare_cells import Task, compare_cells, fit_classifier, measured  # noqa: E402
from training.data.labelled import Labelled, LabelledSet  # noqa: E402
from training.fit import FitSettings  # noqa: E402
from training.networks.classifier import ClassifierSettings  # noqa: E402

DATA = ClassifierDataSettings(held_out=0.25)
NETWORK = ClassifierSettings(hidden_size=6, embedding_size=4)
FIT = FitSettings(epochs=1, batch_size=8, threads=1, bptt_length=0)


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    words = tuple(Labelled(f"{letter}{number:03}", (letter,)) for letter in "xy" for number in range(40))
    return prepare(LabelledSet("words", "0" * 64, words, False, 0), DATA, 0, tmp_path, resume=False)


def test_every_cell_is_trained_with_every_seed_and_resumed(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task(prepared, DATA, torch.device("cpu"))
    rows = compare_cells(task, NETWORK, FIT, 2, tmp_path, resume=False)
    assert rows is not None and list(rows) == [f"{cell}_mean_of_2_seeds" for cell in ("RNN", "LSTM", "GRU")]
    gru = rows["GRU_mean_of_2_seeds"]
    assert {"accuracy", "accuracy_deviation", "macro_f1", "nats", "parameters"} <= gru.keys()
    assert "parameters_deviation" not in gru

    def never(*_: object, **__: object) -> None:
        raise AssertionError("what is done is not done again")

    monkeypatch.setattr(module, "fit_classifier", never)
    assert compare_cells(task, NETWORK, FIT, 2, tmp_path, resume=True) == rows


def test_no_seeds_are_no_comparison(prepared: Prepared, tmp_path: Path) -> None:
    assert compare_cells(Task(prepared, DATA, torch.device("cpu")), NETWORK, FIT, 0, tmp_path, resume=False) == {}


def test_the_same_seed_gives_the_same_network(prepared: Prepared, tmp_path: Path) -> None:
    task = Task(prepared, DATA, torch.device("cpu"))
    found = [
        measured(fit_classifier(task, NETWORK, FIT, tmp_path / str(turn), resume=False)[0], prepared) for turn in (1, 2)
    ]
    assert found[0] == found[1]
