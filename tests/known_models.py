"""Model folders whose answers are known arithmetic (see known_graphs.py), and ways to break them.

With them the engine, the sessions and the protocols are tested without training, in milliseconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tokenizers
from onnx import ModelProto, TensorProto, ValueInfoProto
from tokenizers import Regex, decoders, models, pre_tokenizers

from service.contract.calendar import calendar_width
from service.contract.manifest import (
    MANIFEST_FILE,
    ClassifyTask,
    DataFingerprint,
    FileReference,
    ForecastTask,
    GraphName,
    GraphReference,
    Manifest,
    StateField,
    StateLayout,
    StaticCovariate,
    Tensor,
    TextTask,
    Training,
    save_manifest,
    sha256_of,
)
from service.models.tokenizer import byte_alphabet
from tests import known_classifiers as classifiers
from tests import known_graphs as graphs

RUNNING_SUM = "running-sum"
NEXT_TOKEN = "next-token"
TOKEN_COUNTS = "token-counts"
CLASSES = ("first", "second", "third")
QUANTILES = (0.25, 0.5, 0.75)
PREDICTION_LENGTH = 24
ALPHABET = "\nabcdefghijklmnopqrstuvwxyz"
NEXT_PROBABILITY = 0.9
"""Probability of the token that follows in the vocabulary; the others share the rest alike."""


def running_sum(
    models_folder: Path,
    *,
    name: str = RUNNING_SUM,
    version: int = 1,
    frequency: str | None = "1h",
    calendar: Sequence[str] = (),
    future_covariates: Sequence[str] = (),
    static_covariates: Sequence[StaticCovariate] = (),
    minimum_batch: int = 1,
    scored: bool = False,
    anomaly_threshold: float | None = None,
    path_correlation: float | None = None,
    prefills: bool = False,
) -> Path:
    """Write a forecaster whose centre is the sum of all observed so far; returns the version's folder.

    One that is scored tells its own anomaly score; one with a `path_correlation` forecasts PREDICTION_LENGTH steps
    directly. One that prefills takes in a history without predicting it.
    """
    folder = _version_folder(models_folder, name, version)
    np.array([-1, 0, 1], np.float32).tofile(folder / graphs.WEIGHTS_FILE)
    widths = calendar_width(calendar), len(future_covariates)
    built: dict[GraphName, ModelProto] = {
        "initial": graphs.running_sum_initial(len(static_covariates), may_miss=frequency is None),
        "observe": graphs.running_sum_observe(*widths, scored=scored),
        "generate": graphs.running_sum_generate(*widths),
    }
    if path_correlation is not None:
        built["forecast"] = graphs.running_sum_forecast(PREDICTION_LENGTH, widths[0])
    if prefills:
        built["prefill"] = graphs.running_sum_prefill(widths[0])
    references = _save_graphs(folder, built)
    task = ForecastTask(
        frequency=frequency,
        quantiles=QUANTILES,
        calendar=tuple(calendar),
        future_covariates=tuple(future_covariates),
        static_covariates=tuple(static_covariates),
        lags=(1,),
        seasonality=24,
        context_length=1,
        prediction_length=PREDICTION_LENGTH,
        path_correlation=path_correlation,
        anomaly_threshold=anomaly_threshold,
        unit="MW",
    )
    state = _layout("sum", "static", "history")
    return _publish(folder, name, version, references, state, minimum_batch=minimum_batch, forecast=task)


def next_token(
    models_folder: Path,
    *,
    name: str = NEXT_TOKEN,
    version: int = 1,
    kind: Literal["char", "byte"] = "char",
    alphabet: str = ALPHABET,
    minimum_batch: int = 1,
    predicts: bool = True,
    merges: Sequence[tuple[str, str]] = (),
) -> Path:
    """Write a text generator that goes through its vocabulary in order; returns the version's folder.

    `char`: <unk> is token 0 and is never generated, then come the characters of `alphabet`, the first of which is the
    start token. `byte`: each byte is its own token, the start token is 0. Without `predicts`, it has no such graph.
    With `merges` of ASCII bytes, further tokens follow the bytes.
    """
    folder = _version_folder(models_folder, name, version)
    tokenizer = _char_tokenizer(alphabet) if kind == "char" else _byte_tokenizer(merges)
    tokenizer.save(str(folder / "tokenizer.json"))
    size, first = tokenizer.get_vocab_size(), 1 if kind == "char" else 0
    _table(size, first).tofile(folder / graphs.WEIGHTS_FILE)
    references = _save_graphs(
        folder,
        {
            "initial": graphs.next_token_initial(first),
            "observe": graphs.next_token_observe(size),
            "generate": graphs.next_token_generate(size),
            **({"predict": graphs.next_token_predict(size)} if predicts else {}),
        },
    )
    task = TextTask(
        tokenizer=reference(folder, "tokenizer.json"),
        tokenizer_kind=kind,
        vocabulary_size=size,
        start_token=first,
        unknown_token=0 if kind == "char" else None,
    )
    state = _layout("hidden", "pending")
    return _publish(folder, name, version, references, state, minimum_batch=minimum_batch, text=task)


def token_counts(models_folder: Path, *, name: str = TOKEN_COUNTS, version: int = 1, minimum_batch: int = 1) -> Path:
    """Write a classifier of tokens by their number modulo 3, <unk> being token 0, a line end 1, "a" 2 and so on."""
    folder = _version_folder(models_folder, name, version)
    tokenizer = _char_tokenizer(ALPHABET)
    tokenizer.save(str(folder / "tokenizer.json"))
    np.array([1], np.float32).tofile(folder / graphs.WEIGHTS_FILE)
    count = len(CLASSES)
    built: dict[GraphName, ModelProto] = {
        "initial": classifiers.token_counts_initial(count),
        "observe": classifiers.token_counts_observe(count),
    }
    task = ClassifyTask(
        tokenizer=reference(folder, "tokenizer.json"),
        tokenizer_kind="char",
        vocabulary_size=tokenizer.get_vocab_size(),
        unknown_token=0,
        classes=CLASSES,
        labelled="step",
    )
    references = _save_graphs(folder, built)
    return _publish(folder, name, version, references, _layout(*CLASSES), minimum_batch=minimum_batch, classify=task)


def change_manifest(folder: Path, *path: str | int, to: Any) -> None:
    """Set one value in a manifest, whatever that breaks: `change_manifest(folder, "state", "width", to=4)`."""
    file = folder / MANIFEST_FILE
    document = json.loads(file.read_text("utf-8"))
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    file.write_text(json.dumps(document), "utf-8")


def replace_graph(folder: Path, name: GraphName, model: ModelProto) -> None:
    """Put another graph in the place of one and hash it anew; the manifest goes on describing the old one."""
    file = f"{name}.onnx"
    (folder / file).write_bytes(model.SerializeToString())
    change_manifest(folder, "graphs", name, "sha256", to=sha256_of(folder / file))


def reference(folder: Path, file: str) -> FileReference:
    return FileReference(file=file, sha256=sha256_of(folder / file))


def _version_folder(models_folder: Path, name: str, version: int) -> Path:
    folder = models_folder / name / str(version)
    folder.mkdir(parents=True)
    return folder


def _layout(*fields: str) -> StateLayout:
    """A row of one value per field."""
    described = tuple(StateField(name=name, offset=index, shape=(1,)) for index, name in enumerate(fields))
    return StateLayout(width=len(fields), fields=described)


def _save_graphs(folder: Path, built: Mapping[GraphName, ModelProto]) -> dict[GraphName, GraphReference]:
    references: dict[GraphName, GraphReference] = {}
    for name, model in built.items():
        file = f"{name}.onnx"
        (folder / file).write_bytes(model.SerializeToString())
        references[name] = GraphReference(
            file=file,
            sha256=sha256_of(folder / file),
            inputs=tuple(map(_described, model.graph.input)),
            outputs=tuple(map(_described, model.graph.output)),
        )
    return references


def _described(value: ValueInfoProto) -> Tensor:
    kind = value.type.tensor_type
    shape = [dimension.dim_param or dimension.dim_value for dimension in kind.shape.dim]
    dtype = "int64" if kind.elem_type == TensorProto.INT64 else "float32"
    return Tensor.model_validate({"name": value.name, "dtype": dtype, "shape": shape})


def _publish(
    folder: Path,
    name: str,
    version: int,
    references: dict[GraphName, GraphReference],
    state: StateLayout,
    *,
    minimum_batch: int,
    forecast: ForecastTask | None = None,
    text: TextTask | None = None,
    classify: ClassifyTask | None = None,
) -> Path:
    manifest = Manifest(
        schema_version=1,
        name=name,
        version=version,
        task="classify" if classify else "text" if text else "forecast",
        description="A model whose answers are known arithmetic.",
        license="Apache-2.0",
        created="2026-01-01T00:00:00Z",
        cell="RNN",
        minimum_batch=minimum_batch,
        graphs=references,
        weights=reference(folder, graphs.WEIGHTS_FILE),
        state=state,
        forecast=forecast,
        text=text,
        classify=classify,
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
    save_manifest(manifest, folder)
    return folder


def _table(size: int, first: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Logits (V, V): after each token its successor has NEXT_PROBABILITY; tokens before `first` never come."""
    others = size - first - 1
    table = np.zeros((size, size), np.float32)
    successor = first + (np.arange(size) + 1 - first) % (size - first)
    table[np.arange(size), successor] = np.log(NEXT_PROBABILITY / (1 - NEXT_PROBABILITY) * others)
    table[:, :first] = -1e9
    return table


def _char_tokenizer(alphabet: str) -> tokenizers.Tokenizer:
    vocabulary = {"<unk>": 0} | {character: index + 1 for index, character in enumerate(alphabet)}
    tokenizer = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def _byte_tokenizer(merges: Sequence[tuple[str, str]]) -> tokenizers.Tokenizer:
    vocabulary = byte_alphabet() | {left + right: 256 + index for index, (left, right) in enumerate(merges)}
    tokenizer = tokenizers.Tokenizer(models.BPE(vocabulary, list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
