"""Fixtures for every test: model repositories whose answers are known arithmetic."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import known_models

# For tests that import onnxruntime themselves; see service/models/__init__.py.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


@pytest.fixture
def running_sum_models(tmp_path: Path) -> Path:
    """A model repository with the running sum, version 1."""
    known_models.running_sum(tmp_path / "models")
    return tmp_path / "models"


@pytest.fixture
def next_token_models(tmp_path: Path) -> Path:
    """A model repository with the next-token generator, version 1."""
    known_models.next_token(tmp_path / "models")
    return tmp_path / "models"


@pytest.fixture
def known_models_folder(running_sum_models: Path, next_token_models: Path) -> Path:
    """A model repository with both."""
    return running_sum_models
