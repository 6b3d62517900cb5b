from __future__ import annotations

from pathlib import Path

import pytest

from tests import known_models
from tests.service.protocols.hot.noting import Noted


@pytest.fixture(scope="session")
def one_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository that a server has loaded at once."""
    folder = tmp_path_factory.mktemp("hot") / "models"
    known_models.running_sum(folder)
    return folder


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> Noted:
    return Noted(monkeypatch)
