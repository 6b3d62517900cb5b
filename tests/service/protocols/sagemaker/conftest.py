"""A server whose only forecaster takes what DeepAR's documented requests hold."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import known_models
from tests.service.protocols.sagemaker.deepar_model import write_deepar
from tests.service.protocols.serving import Served, serve


@pytest.fixture(scope="package")
def deepar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = write_deepar(tmp_path_factory.mktemp("deepar"))
    known_models.next_token(folder)
    with serve(folder, max_inputs=8, max_samples=200) as served:
        yield served
