"""A checkpoint is whole or absent, and holds no code."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from training.checkpoint import (  # noqa: E402
    CHECKPOINT_FILE,
    load_checkpoint,
    random_state,
    restore_random_state,
    save_checkpoint,
)
from training.errors import TrainingError  # noqa: E402

CPU = torch.device("cpu")


class RunsCode:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("broken-into",)


def test_what_was_saved_last_is_loaded_and_nothing_else_is_left(tmp_path: Path) -> None:
    for step in (1, 2):
        save_checkpoint(tmp_path, {"network": {"w": torch.ones(2)}, "step": step})
    assert load_checkpoint(tmp_path)["step"] == 2
    assert os.listdir(tmp_path) == [CHECKPOINT_FILE]


def test_a_save_that_fails_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path, {"network": {}, "step": 1})

    def full_disk(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(tmp_path, {"network": {}, "step": 2})
    assert load_checkpoint(tmp_path)["step"] == 1


def test_a_file_that_would_run_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"network": RunsCode()}, tmp_path / CHECKPOINT_FILE)
    with pytest.raises(TrainingError, match="cannot be read"):
        load_checkpoint(tmp_path)
    assert not (tmp_path / "broken-into").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half a file"])
def test_a_broken_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / CHECKPOINT_FILE).write_bytes(content)
    with pytest.raises(TrainingError, match="cannot be read"):
        load_checkpoint(tmp_path)


def test_a_missing_file_and_a_file_of_another_program_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="train without --resume first"):
        load_checkpoint(tmp_path)
    torch.save([1, 2], tmp_path / CHECKPOINT_FILE)
    with pytest.raises(TrainingError, match="expected a checkpoint of this program"):
        load_checkpoint(tmp_path)


def test_generators_go_on_from_where_they_stood() -> None:
    before = random_state(CPU)
    drawn = torch.rand(3)
    restore_random_state(before, CPU)
    assert torch.equal(torch.rand(3), drawn)
