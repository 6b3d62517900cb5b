"""The model that most tests of the engine run."""

from __future__ import annotations

import pytest

from service.models.model import Model
from service.models.repository import Repository
from tests.known_models import RUNNING_SUM


@pytest.fixture
def model(known: Repository) -> Model:
    return known.get(RUNNING_SUM)
