"""The models that benchmarks serve, made where they are missing.

    repository/lstm-128/1        the forecaster, as the service takes it
    repository/lstm-128-text/1   the text generator: characters, two LSTM layers of 128
    step.onnx                    the forecaster as the peers take it, (x, state) → (y, next_state)

The folder is named after the sources that make it, so that a change there makes new models.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from benchmarks.workplace import MODELS, ROOT

FORECASTER = "lstm-128"
TEXT_GENERATOR = "lstm-128-text"
COVARIATES = tuple(f"x{index}" for index in range(1, 8))
QUANTILES = 23
STATE_WIDTH = 512
_PEERS_GRAPH = "step.onnx"
_SOURCES = ("lstm_graphs.py", "make_models.py")


def repository() -> Path:
    """The model repository for `python -m service --models`."""
    return _made() / "repository"


def peers_graph() -> Path:
    """The forecaster's step as one ONNX file."""
    return _made() / _PEERS_GRAPH


def _made() -> Path:
    sources = b"".join((ROOT / "benchmarks" / name).read_bytes() for name in _SOURCES)
    folder = MODELS / hashlib.sha256(sources).hexdigest()[:12]
    if not folder.exists():
        from benchmarks.make_models import make_models  # imports torch

        make_models(folder, FORECASTER, TEXT_GENERATOR, _PEERS_GRAPH)
    return folder
