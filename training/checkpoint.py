"""Checkpoints: everything a killed fit needs to go on as if it had not been, in one file.

The file holds tensors and plain values alone and is read without unpickling code. It is replaced by one
rename, so that a kill at any moment leaves the last whole checkpoint.
"""

from __future__ import annotations

import os
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from training.errors import TrainingError

CHECKPOINT_FILE = "checkpoint.pt"


def save_checkpoint(folder: Path, content: dict[str, Any]) -> None:
    """Replace the run folder's checkpoint, durably."""
    staged = folder / f".{CHECKPOINT_FILE}.new"
    with staged.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(staged, folder / CHECKPOINT_FILE)


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """Read the run folder's checkpoint onto the CPU.

    Raises:
        TrainingError: there is none, or it is not one of ours.
    """
    path = folder / CHECKPOINT_FILE
    if not path.is_file():
        raise TrainingError(
            f"{folder.name}: expected a run folder with {CHECKPOINT_FILE}; train without --resume first"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError) as error:
        raise TrainingError(f"{folder.name}/{CHECKPOINT_FILE}: cannot be read: {error}") from error
    if not isinstance(content, dict) or "network" not in content:
        raise TrainingError(f"{folder.name}/{CHECKPOINT_FILE}: expected a checkpoint of this program")
    return content


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Where torch's generators stand: what dropout will draw next."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    """Let torch's generators go on from where they stood."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
