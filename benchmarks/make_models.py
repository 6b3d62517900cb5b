"""Writes the models that benchmarks serve; `benchmarks.models` calls it where they are missing.

The graphs come from the exporter's own builder, so this imports torch; nothing else in the benchmarks does.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import onnx
import torch

from benchmarks.lstm_graphs import LAYOUT, LEVELS, LstmGraphs
from benchmarks.models import COVARIATES
from service.contract.manifest import (
    DataFingerprint,
    FileReference,
    ForecastTask,
    GraphName,
    GraphReference,
    Manifest,
    StateLayout,
    TextTask,
    Training,
    save_manifest,
    sha256_of,
)
from training.data.tokenizers import build_tokenizer, save_tokenizer, start_token, unknown_token
from training.export import export_text_generator
from training.export.builder import GraphBuilder
from training.networks.text_generator import TextGenerator, TextGeneratorSettings

ALPHABET = "\n !\"'(),-.:;?" + "".join(map(chr, range(65, 91))) + "".join(map(chr, range(97, 123)))


def make_models(folder: Path, forecaster: str, text: str, peers_graph: str) -> None:
    """Write the forecaster, the text generator and the peers' graph into `folder`, all of it or nothing."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=folder.parent))
    _forecaster(staging / "repository" / forecaster / "1", forecaster, staging / peers_graph)
    _text_generator(staging / "repository" / text / "1", text)
    try:
        os.rename(staging, folder)
    except OSError:  # another run was first
        shutil.rmtree(staging)


def _forecaster(folder: Path, name: str, peers_graph: Path) -> None:
    folder.mkdir(parents=True)
    graphs = LstmGraphs()
    built: dict[GraphName, GraphBuilder] = {
        "initial": graphs.initial(),
        "observe": graphs.observe(),
        "generate": graphs.generate(),
    }
    weights = graphs.weights.save(folder)
    references = {graph: builder.save(folder, {}) for graph, builder in built.items()}
    graphs.step().save(folder, {})
    onnx.save(onnx.load(folder / "step.onnx"), peers_graph)  # the weights inside it: one file is easier to hand on
    (folder / "step.onnx").unlink()
    task = ForecastTask(
        frequency="1min",
        quantiles=LEVELS,
        future_covariates=COVARIATES,
        lags=(1,),
        seasonality=60,
        context_length=1,
        prediction_length=60,
    )
    save_manifest(_manifest(name, references, weights, LAYOUT, forecast=task), folder)


def _text_generator(folder: Path, name: str) -> None:
    tokenizer = build_tokenizer("char", ALPHABET)
    start, unknown, size = start_token(tokenizer), unknown_token(tokenizer), tokenizer.get_vocab_size()
    torch.manual_seed(0)
    settings = TextGeneratorSettings(hidden_size=128, layers=2, embedding_size=64)
    exported = export_text_generator(
        TextGenerator(size, settings).eval(), folder, start_token=start, unknown_token=unknown
    )
    save_tokenizer(tokenizer, folder)
    task = TextTask(
        tokenizer=FileReference(file="tokenizer.json", sha256=sha256_of(folder / "tokenizer.json")),
        tokenizer_kind="char",
        vocabulary_size=size,
        start_token=start,
        unknown_token=unknown,
    )
    save_manifest(_manifest(name, exported.graphs, exported.weights, exported.state, text=task), folder)


def _manifest(
    name: str,
    graphs: dict[GraphName, GraphReference],
    weights: FileReference,
    state: StateLayout,
    *,
    forecast: ForecastTask | None = None,
    text: TextTask | None = None,
) -> Manifest:
    return Manifest(
        schema_version=1,
        name=name,
        version=1,
        task="text" if text else "forecast",
        description="Two LSTM layers of 128 with random weights, for benchmarks.",
        license="Apache-2.0",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        cell="LSTM",
        minimum_batch=1,
        graphs=graphs,
        weights=weights,
        state=state,
        forecast=forecast,
        text=text,
        training=Training(
            command="none",
            commit="none",
            data=DataFingerprint(name="none", sha256="0" * 64),
            seed=0,
            settings={},
            metrics={},
            parity_max_abs_error=0.0,
        ),
    )
