"""Two processes with half the columns each come to what one process with all of them comes to."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from training import distributed  # noqa: E402
from training.bptt import Window  # noqa: E402
from training.checkpoint import load_checkpoint  # noqa: E402
from training.errors import TrainingError  # noqa: E402

FLAGS = "--hidden-size 16 --embedding-size 8 --dropout 0 --epochs 2 --batch-size 6 --bptt-length 16 --threads 1"


def train(launcher: list[str], data: Path, run: Path, *more: str) -> None:
    command = [*launcher, "-m", "training", "text", "--data", str(data), "--run-folder", str(run), "--no-publish"]
    environment = os.environ | {"PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, *FLAGS.split(), *more], check=True, capture_output=True, timeout=120, env=environment)


def test_two_processes_learn_what_one_learns_and_leave_one_checkpoint_of_all_columns(tmp_path: Path) -> None:
    data = tmp_path / "rhyme.txt"
    data.write_text("one two, buckle my shoe\nthree four, knock at the door\n" * 60, encoding="utf-8")
    two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    train([sys.executable], data, tmp_path / "one")
    train(two, data, tmp_path / "two")
    alone, together = (load_checkpoint(tmp_path / run) for run in ("one", "two"))
    assert alone["state"]["step"] == together["state"]["step"] > 20
    assert [part.shape for part in together["carried"]] == [(1, 6, 16), (1, 6, 16)]
    assert len(together["random"]) == 2
    for name, weights in alone["network"].items():
        torch.testing.assert_close(together["network"][name], weights, rtol=1e-3, atol=1e-4)
    losses = [[epoch["train_loss"] for epoch in content["state"]["history"]] for content in (alone, together)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert (tmp_path / "two" / "result.json").exists()


def test_two_processes_weigh_gradients_by_what_they_scored(tmp_path: Path) -> None:
    data = tmp_path / "load.csv"
    random = torch.Generator().manual_seed(0)
    values = [100 + 10 * math.sin(hour / 4) + float(torch.rand(1, generator=random)) for hour in range(300)]
    rows = [f"a,{hour},{'' if 40 < hour < 120 else value}" for hour, value in enumerate(values)]  # a long gap
    data.write_text("unique_id,ds,y\n" + "\n".join(rows) + "\n", encoding="utf-8")
    two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for launcher, run in (([sys.executable], "one"), (two, "two")):
        command = [*launcher, "-m", "training", "forecaster", "--data", str(data), "--run-folder", str(tmp_path / run)]
        environment = os.environ | {"PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"}
        flags = (
            "--frequency h --hidden-size 8 --lags 1,2,24 --horizon 12 --epochs 6 --bptt-length 24 --batch-size 4"
            " --cover 0 --paths 2 --warmup-steps 2 --threads 1 --no-publish"
        )
        subprocess.run([*command, *flags.split()], check=True, capture_output=True, timeout=120, env=environment)
    alone, together = (load_checkpoint(tmp_path / run) for run in ("one", "two"))
    for name, weights in alone["network"].items():
        torch.testing.assert_close(together["network"][name], weights, rtol=1e-4, atol=1e-5)
    losses = [[epoch["train_loss"] for epoch in content["state"]["history"]] for content in (alone, together)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_one_process_takes_all_columns_and_changes_no_gradient() -> None:
    window = Window(torch.arange(6).view(3, 2), torch.arange(6).view(3, 2), torch.tensor([True, False, True]))
    assert all(torch.equal(own, part) for own, part in zip(distributed.own_columns(window), window, strict=True))
    assert distributed.average(torch.nn.Linear(1, 1), 0.5, 6, [1.5, 2.0]) == (0.5, [1.5, 2.0])
    assert distributed.gathered("item") == ["item"] and distributed.from_first(2.5) == 2.5


def test_columns_that_do_not_divide_among_the_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    window = Window(torch.zeros(3, 1), torch.zeros(3, 1), torch.zeros(3, dtype=torch.bool))
    with pytest.raises(TrainingError, match="expected a multiple of the 2 processes, got 3"):
        distributed.own_columns(window)


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert distributed.local_device("auto") == distributed.local_device("cpu") == torch.device("cpu")
    with pytest.raises(TrainingError, match="use --device auto"):
        distributed.local_device("cuda")
    with pytest.raises(TrainingError, match="expected auto, cpu or cuda, got 'tpu'"):
        distributed.local_device("tpu")
