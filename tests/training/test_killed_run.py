"""A run killed at any moment and resumed ends with the very bits of a run that nobody disturbed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from training.checkpoint import load_checkpoint  # noqa: E402

DEADLINE_S = 120


def command(data: Path, run: Path, *more: str) -> list[str]:
    flags = "--hidden-size 24 --embedding-size 8 --dropout 0.2 --epochs 3 --batch-size 4 --bptt-length 16 --threads 1"
    return [
        *(sys.executable, "-m", "training", "text", "--data", str(data), "--run-folder", str(run), "--no-publish"),
        *(*flags.split(), "--checkpoint-seconds", "0", *more),
    ]


def steps(run: Path) -> int:
    return int(load_checkpoint(run)["state"]["step"]) if (run / "checkpoint.pt").exists() else 0


def finish(data: Path, run: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(data, run, *more), capture_output=True, text=True, timeout=DEADLINE_S)


def kill_at(data: Path, run: Path, step: int) -> None:
    process = subprocess.Popen(command(data, run), stderr=subprocess.DEVNULL)
    give_up = time.monotonic() + DEADLINE_S
    while steps(run) < step:
        assert process.poll() is None and time.monotonic() < give_up, "the run ended before it could be killed"
        time.sleep(0.002)
    process.kill()
    process.wait(DEADLINE_S)


def weights(run: Path) -> dict[str, Any]:
    content = load_checkpoint(run)
    network: dict[str, Any] = content["network"]
    return network | {f"best.{name}": value for name, value in content["state"]["best_weights"].items()}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    path = tmp_path / "rhyme.txt"
    path.write_text("one two, buckle my shoe\nthree four, knock at the door\n" * 50, encoding="utf-8")
    return path


def test_a_killed_run_continues_to_the_same_bits_and_is_neither_overwritten_nor_changed(
    data: Path, tmp_path: Path
) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert finish(data, whole).returncode == 0
    kill_at(data, run, step=50)
    assert not (run / "result.json").exists()

    changed = finish(data, run, "--resume", "--seed", "5")
    assert changed.returncode == 1 and "resume: seed: expected 0" in " ".join(changed.stderr.split())
    again = finish(data, run)
    assert again.returncode == 1 and "use --resume or another one" in " ".join(again.stderr.split())

    assert finish(data, run, "--resume").returncode == 0
    expected, resumed = weights(whole), weights(run)
    assert resumed.keys() == expected.keys()
    assert all(torch.equal(resumed[name], expected[name]) for name in expected)
    assert (run / "result.json").read_text() == (whole / "result.json").read_text()
