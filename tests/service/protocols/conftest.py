"""One server for all protocol tests that need no settings of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.protocols.serving import Served, serve, write_models


@pytest.fixture(scope="session")
def protocol_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("protocols") / "models")


@pytest.fixture(scope="session")
def served(protocol_models: Path) -> Iterator[Served]:
    with serve(protocol_models, max_steps=2000, max_horizon=100, max_samples=50, max_request_bytes=200_000) as running:
        yield running
