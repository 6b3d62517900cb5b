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
    bounds = {"max_steps": 2000, "max_horizon": 100, "max_samples": 50, "max_request_bytes": 200_000}
    with serve(protocol_models, grpc_port=0, **bounds) as running:
        yield running
