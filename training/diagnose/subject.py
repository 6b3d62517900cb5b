"""What is diagnosed: the network of a run folder or of a published model, its loss, and training windows of any length.

Both folders say how their data became windows; the data themselves are given again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from tokenizers import Tokenizer
from torch import Tensor, nn

from service.contract.manifest import MANIFEST_FILE, ClassifyTask, ManifestError, load_manifest
from training.bptt import Loss, Window
from training.checkpoint import load_checkpoint
from training.classifier_data import ClassifierDataSettings, prepare, require_known, streams_of
from training.data.alignment import align_ends, split_time
from training.data.forecast_inputs import features_of
from training.data.labelled import load_labelled
from training.data.load_series import load_series
from training.data.series_streams import SeriesStreams
from training.data.text import TextStreams, load_text, split_held_out
from training.data.tokenizers import TOKENIZER_FILE, encode
from training.diagnose.published_weights import fill
from training.errors import TrainingError
from training.evaluation.text_metrics import next_token_loss
from training.fit import FitSettings
from training.forecaster_files import settings_of
from training.forecaster_recipe import parse_frequency
from training.forecaster_settings import SeriesSettings
from training.networks.classifier import Classifier, ClassifierSettings, classification_loss
from training.networks.forecaster import Forecaster
from training.networks.quantile_head import quantile_loss
from training.networks.text_generator import TextGenerator, TextGeneratorSettings
from training.run_record import RECORD_FILE, load_record

Settings = dict[str, Any]


class Streams(Protocol):
    """Windows of contiguous streams, as `training.fit` takes them."""

    batch_size: int
    windows_per_epoch: int

    def window(self, epoch: int, index: int) -> Window: ...


@dataclass(frozen=True)
class Subject:
    """One network and what it learned from."""

    name: str
    network: nn.Module
    loss: Loss
    fit: FitSettings
    streams: Callable[[int, int], Streams]
    """(columns, steps per window) -> windows over the training part."""
    run: Path | None = None
    """The run folder, where there is one: its TensorBoard events tell how training went."""
    same_data: bool = True
    """Whether the data are those that it was trained on, byte for byte."""


@dataclass(frozen=True)
class _Source:
    """A folder, and what it says about itself."""

    folder: Path
    name: str
    task: str
    settings: Settings
    sha256: str
    run: bool
    classify: ClassifyTask | None = None
    """What a published classifier tells apart; a run folder holds no classes, they are those of its data."""

    def give_weights(self, network: nn.Module) -> nn.Module:
        if not self.run:
            fill(network, self.folder)
            return network.eval()
        checkpoint = load_checkpoint(self.folder)
        try:
            network.load_state_dict(checkpoint["state"]["best_weights"] or checkpoint["network"])
        except RuntimeError as error:  # as many classes or series as there are in the data
            raise TrainingError(
                f"{self.name}: expected the data of training, got some that make another network"
            ) from error
        return network.eval()


def load_subject(folder: Path, data: Path) -> Subject:
    """The network of a run folder or of a published version, with windows over its training data.

    Raises:
        TrainingError: the folder is neither, or the data cannot be read as it was trained on.
    """
    source = _source(folder)
    makers = {"text": _text, "forecast": _forecaster, "classify": _classifier}
    if source.task not in makers:
        raise TrainingError(f"{source.name}: expected a model for {', '.join(makers)}, got one for {source.task}")
    return makers[source.task](source, data)


def _source(folder: Path) -> _Source:
    if (folder / RECORD_FILE).is_file():
        record = load_record(folder)
        return _Source(folder, folder.name, record.task, record.settings, record.data_sha256, True)
    if (folder / MANIFEST_FILE).is_file():
        try:
            manifest = load_manifest(folder)
        except ManifestError as error:
            raise TrainingError(f"model {folder.name}: {error}") from error
        training = manifest.training
        return _Source(
            folder, manifest.id, manifest.task, training.settings, training.data.sha256, False, manifest.classify
        )
    raise TrainingError(
        f"{folder}: expected a run folder with {RECORD_FILE} or a published version such as models/shakespeare/1"
    )


def _text(source: _Source, data: Path) -> Subject:
    settings, text = source.settings["data"], load_text(data)
    separator = settings["separator"].replace("\\n", "\n") if settings["separator"] else None
    training_text, _ = split_held_out(text.files, settings["held_out"], separator)
    tokenizer = Tokenizer.from_file(str(source.folder / TOKENIZER_FILE))
    tokens = encode(tokenizer, settings["tokenizer"], training_text)
    network = TextGenerator(tokenizer.get_vocab_size(), TextGeneratorSettings(**source.settings["network"]))
    fit = _fit_settings(source)

    def streams(batch: int, length: int) -> Streams:
        return TextStreams(tokens, batch, length, seed=fit.seed)

    return _subject(source, network, next_token_loss, streams, text.sha256)


def _forecaster(source: _Source, data: Path) -> Subject:
    if "network" not in source.settings:
        raise TrainingError(
            f"{source.name}: expected a forecaster whose recurrence takes value after value; a direct one reads its"
            " window in a few segments, and has no long way back in time to measure"
        )
    if "corpus" in source.settings:
        raise TrainingError(f"{source.name}: expected a forecaster of one file's series, got the general model")
    given = source.settings["data"]
    settings = SeriesSettings(**_known(SeriesSettings, given))
    series = load_series(data, parse_frequency(given["frequency"]), settings.columns())
    horizon = source.settings["evaluation"]["horizon"]
    split = split_time(series, settings.validation_length, settings.test_length, horizon)
    made_of = settings_of(source.settings["network"])
    aligned = align_ends(series, made_of.calendar)
    features = features_of(aligned, made_of)
    fit = _fit_settings(source)

    def streams(batch: int, length: int) -> Streams:
        return SeriesStreams(
            *(features.features, features.target_z, aligned.begins, split.validation, batch, length), seed=fit.seed
        )

    def loss(quantiles: Tensor, target: Tensor) -> Tensor:
        return quantile_loss(quantiles, target, made_of.quantiles)

    return _subject(source, Forecaster(made_of), loss, streams, series.sha256)


def _classifier(source: _Source, data: Path) -> Subject:
    settings, labelled = ClassifierDataSettings(**source.settings["data"]), load_labelled(data)
    fit = _fit_settings(source)
    classes = labelled.classes
    if source.classify is not None:
        require_known(source.classify, labelled)
        classes = source.classify.classes
    prepared = prepare(labelled, settings, fit.seed, source.folder, resume=True, classes=classes)
    made_of = ClassifierSettings(**source.settings["network"])

    def streams(batch: int, length: int) -> Streams:
        return streams_of(prepared, settings, replace(fit, batch_size=batch, bptt_length=length, bptt_stride=0))

    network = Classifier(prepared.tokenizer.get_vocab_size(), len(classes), made_of)
    return _subject(source, network, classification_loss, streams, labelled.sha256)


def _subject(
    source: _Source, network: nn.Module, loss: Loss, streams: Callable[[int, int], Streams], sha256: str
) -> Subject:
    return Subject(
        name=source.name,
        network=source.give_weights(network),
        loss=loss,
        fit=_fit_settings(source),
        streams=streams,
        run=source.folder if source.run else None,
        same_data=sha256 == source.sha256,
    )


def _fit_settings(source: _Source) -> FitSettings:
    return FitSettings(**_known(FitSettings, source.settings["fit"]))


def _known(kind: Any, values: Settings) -> Settings:
    names = {field.name for field in dataclasses.fields(kind)}
    return {name: value for name, value in values.items() if name in names}
