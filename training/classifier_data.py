"""From labelled sequences to what a classifier is fitted to: three parts, a tokenizer and examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, normalizers

from service.contract.manifest import ClassifyTask
from training import distributed
from training.data.labelled import Labelled, LabelledSet, split_stratified
from training.data.labelled_streams import Example, LabelledStreams, Scored, examples_of
from training.data.tokenizers import TOKENIZER_FILE, TokenizerKind, build_tokenizer, save_tokenizer, unknown_token
from training.errors import TrainingError
from training.fit import FitSettings


@dataclass(frozen=True)
class ClassifierDataSettings:
    """How labelled texts become training, validation and test, and these become tokens."""

    tokenizer: TokenizerKind = field(default="char", metadata={"help": "what a token is"})
    vocabulary_size: int = field(default=4096, metadata={"help": "tokens of a bpe tokenizer"})
    lowercase: bool = field(default=False, metadata={"help": "read capitals as small letters"})
    held_out: float = field(default=0.1, metadata={"help": "share of each class held out as test"})
    validation: float = field(default=0.1, metadata={"help": "share of the rest that chooses the epoch"})
    prefix_share: float = field(
        default=0.0,
        metadata={"help": "share of the steps before the last that learn the label of the whole sequence as well"},
    )
    unknown_share: float = field(
        default=0.01, metadata={"help": "share of training characters replaced by the unknown one"}
    )


@dataclass(frozen=True)
class Part:
    """Training, validation or test."""

    sequences: tuple[Labelled, ...]
    examples: list[Example]

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class numbers of all scored steps: (N,) of N sequences where each has one label."""
        scored = [example.targets[~np.isnan(example.targets)] for example in self.examples]
        return np.concatenate(scored).astype(np.int64)

    @property
    def texts(self) -> list[str]:
        return [sequence.text for sequence in self.sequences]


@dataclass(frozen=True)
class Prepared:
    """Everything that the data give a classifier. Validation and test score as the service answers: at the end."""

    classes: tuple[str, ...]
    per_step: bool
    tokenizer: Tokenizer
    training: Part
    validation: Part
    test: Part


def prepare(
    data: LabelledSet,
    settings: ClassifierDataSettings,
    seed: int,
    run: Path,
    *,
    resume: bool,
    classes: tuple[str, ...] | None = None,
) -> Prepared:
    """Split the data, and turn it into tokens; the tokenizer sees the training part alone and is made once a run.

    Args:
        classes: of a network there is already, in its order, those of the data among them; those of the data otherwise.
    """
    classes = classes or data.classes
    training, validation, test = split_of(data, settings, seed)
    if distributed.rank() == 0 and not (resume and (run / TOKENIZER_FILE).exists()):
        save_tokenizer(tokenizer_for(training, settings), run)
    distributed.wait()
    tokenizer = Tokenizer.from_file(str(run / TOKENIZER_FILE))

    def part(sequences: Sequence[Labelled], scored: Scored) -> Part:
        examples = examples_of(sequences, classes, tokenizer, settings.tokenizer, scored)
        return Part(tuple(sequences), examples)

    return Prepared(
        classes,
        data.per_step,
        tokenizer,
        part(training, "every" if settings.prefix_share else "last"),
        part(validation, "last"),
        part(test, "last"),
    )


def split_of(data: LabelledSet, settings: ClassifierDataSettings, seed: int) -> tuple[tuple[Labelled, ...], ...]:
    """Training, validation and test, the same for the same data, settings and seed."""
    rest, test = split_stratified(data.sequences, settings.held_out, seed)
    return *split_stratified(rest, settings.validation, seed + 1), test


def require_known(task: ClassifyTask, data: LabelledSet) -> None:
    """Nothing where the data have labels of the model's kind, all of classes that it knows; some may not occur.

    Raises:
        TrainingError: otherwise.
    """
    strangers = [label for label in data.classes if label not in task.classes]
    if strangers:
        more = ", …" if len(strangers) > 5 else ""
        raise TrainingError(
            f"data {data.name}: expected only classes of the model, got {', '.join(strangers[:5])}{more}"
        )
    if data.per_step != (task.labelled == "step"):
        wanted = "character" if task.labelled == "step" else "sequence"
        raise TrainingError(f"data {data.name}: expected a label for every {wanted}, as the model was trained")


def tokenizer_for(sequences: Sequence[Labelled], settings: ClassifierDataSettings) -> Tokenizer:
    """A tokenizer for these sequences; one that reads capitals as small letters says so in its file."""
    text = "\n".join(sequence.text for sequence in sequences)
    if not settings.lowercase:
        return build_tokenizer(settings.tokenizer, text, settings.vocabulary_size)
    lowercase = normalizers.Lowercase()
    tokenizer = build_tokenizer(settings.tokenizer, lowercase.normalize_str(text), settings.vocabulary_size)
    tokenizer.normalizer = lowercase
    return tokenizer


def streams_of(prepared: Prepared, data: ClassifierDataSettings, settings: FitSettings) -> LabelledStreams:
    """The training part as windows.

    Raises:
        TrainingError: windows are to overlap, which those of whole sequences do not; or a share that is none.
    """
    if settings.bptt_stride not in (0, settings.bptt_length):
        raise TrainingError(f"bptt-stride: expected 0 for labelled sequences, got {settings.bptt_stride}")
    for name in ("prefix_share", "unknown_share"):
        if not 0 <= (share := getattr(data, name)) <= 1:
            raise TrainingError(f"{name.replace('_', '-')}: expected a share from 0 to 1, got {share}")
    return LabelledStreams(
        *(prepared.training.examples, settings.batch_size, settings.bptt_length, settings.seed),
        unknown_token=unknown_token(prepared.tokenizer),
        unknown_share=data.unknown_share,
        prefix_share=1.0 if prepared.per_step else data.prefix_share,
    )
