"""The name under which a model is published, settled before anything is trained."""

from __future__ import annotations

import re
from pathlib import Path

from service.contract.manifest import MODEL_NAME
from training.errors import TrainingError


def model_name(named: str | None, data: Path) -> str:
    """The name as given, or one made of the data's file name.

    Raises:
        TrainingError: a model cannot be published under it.
    """
    if named is None:
        return re.sub(r"[^a-z0-9.]+", "-", data.stem.lower())[:64].strip("-.") or "model"
    if not MODEL_NAME.fullmatch(named):
        raise TrainingError(
            f"name: expected lower-case letters, digits, '.', '_' and '-', at most 64 of them, got {named!r}"
        )
    return named
