"""Labelled sequences from files: a class for each sequence, or one for each of its characters.

- a folder of `.txt` files: each line is a sequence, its class is the file's name without the ending;
- `.csv` or `.tsv` with a head line: the columns `text` and `label`;
- `.jsonl`: a line of `{"text": …, "label": …}` for each sequence, or `{"text": …, "labels": […]}` with one label for
  each character.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from training.errors import TrainingError

_SEPARATORS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class Labelled:
    """One sequence: `labels` holds one for the whole, or as many as there are characters."""

    text: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class LabelledSet:
    """Labelled sequences of one source, each pair of text and labels once, with the SHA-256 of what was read."""

    name: str
    sha256: str
    sequences: tuple[Labelled, ...]
    per_step: bool
    repeats: int
    """Lines left out because the same text with the same labels had come before."""
    empty: tuple[str, ...] = ()
    """Classes of which there is a file, and nothing in it."""

    @property
    def classes(self) -> tuple[str, ...]:
        """All labels there are, in the order of the alphabet."""
        return tuple(sorted({label for sequence in self.sequences for label in sequence.labels}))

    @property
    def note(self) -> str | None:
        """What whoever gave the data may not have meant, in a line."""
        verb = "holds" if len(self.empty) == 1 else "hold"
        return f"note: {', '.join(self.empty)} {verb} nothing" if self.empty else None


def load_labelled(path: Path) -> LabelledSet:
    """Read labelled sequences from a folder or a file.

    Raises:
        TrainingError: not there, not readable, without two classes, or labels that do not fit their texts.
    """
    files = sorted(path.glob("*.txt")) if path.is_dir() else [path]
    read, empty, digest = list[Labelled](), list[str](), hashlib.sha256()
    for file in files:
        try:
            raw = file.read_bytes()
            content = raw.decode("utf-8-sig")
        except OSError as error:
            raise TrainingError(f"data {path.name}: expected a file or a folder: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise TrainingError(
                f"data {file.name}: expected UTF-8, got byte {error.object[error.start]:#04x}"
            ) from error
        digest.update(raw)
        found = _reader_of(path, file)(file, content)
        read += found
        empty += [] if found else [file.stem]
    return replace(_checked(path.name, digest.hexdigest(), read), empty=tuple(empty))


def _reader_of(path: Path, file: Path) -> Callable[[Path, str], list[Labelled]]:
    if path.is_dir():
        return _lines_of_a_class
    if file.suffix in _SEPARATORS:
        return _table
    if file.suffix == ".jsonl":
        return _json_lines
    raise TrainingError(f"data {path.name}: expected a folder of .txt files, or a .csv, .tsv or .jsonl file")


def _lines_of_a_class(file: Path, content: str) -> list[Labelled]:
    return [Labelled(line.strip(), (file.stem,)) for line in content.splitlines() if line.strip()]


def _table(file: Path, content: str) -> list[Labelled]:
    rows = csv.DictReader(io.StringIO(content), delimiter=_SEPARATORS[file.suffix])
    if not {"text", "label"} <= set(rows.fieldnames or ()):
        raise TrainingError(f"data {file.name}: expected the columns text and label, got {rows.fieldnames}")
    return [Labelled(row["text"], (row["label"],)) for row in rows if row["text"] and row["label"]]


def _json_lines(file: Path, content: str) -> list[Labelled]:
    found = []
    for number, line in enumerate(filter(str.strip, content.splitlines()), start=1):
        try:
            entry = json.loads(line)
            text, labels = entry["text"], entry["labels"] if "labels" in entry else [entry["label"]]
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingError(
                f"data {file.name}: line {number}: expected an object with text and label or labels"
            ) from error
        if not isinstance(text, str) or not all(isinstance(label, str) for label in labels):
            raise TrainingError(f"data {file.name}: line {number}: expected a text, and texts for labels")
        if "labels" in entry and len(labels) != len(text):
            raise TrainingError(
                f"data {file.name}: line {number}: expected a label for each of {len(text)} characters, "
                f"got {len(labels)}"
            )
        found += [Labelled(text, tuple(labels))] if text else []
    return found


def _checked(name: str, sha256: str, read: Sequence[Labelled]) -> LabelledSet:
    sequences = tuple(dict.fromkeys(read))
    # A text of one character has one label either way.
    kinds = {len(sequence.labels) > 1 for sequence in sequences if len(sequence.text) > 1}
    if len(kinds) > 1:
        raise TrainingError(f"data {name}: expected a label for every sequence or for every character, got both")
    found = LabelledSet(name, sha256, sequences, True in kinds, len(read) - len(sequences))
    if len(found.classes) < 2:
        raise TrainingError(f"data {name}: expected at least two classes, got {', '.join(found.classes) or 'none'}")
    return found


def split_stratified(
    sequences: Sequence[Labelled], share: float, seed: int
) -> tuple[tuple[Labelled, ...], tuple[Labelled, ...]]:
    """The sequences without a share of each class, and that share, drawn from the seed; both in the order given.

    A text that bears several labels goes as a whole to one side, drawn within its rarest class: what is held out is
    no text that was seen in training. Where every character has a label, the share is of all sequences.

    Raises:
        TrainingError: not a share, or one side would be empty.
    """
    if not 0 < share < 1:
        raise TrainingError(f"held-out: expected a share between 0 and 1, got {share}")
    counts = Counter(sequence.labels for sequence in sequences)
    strata: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for text, labels in _by_text(sequences).items():
        rarest = min(labels, key=lambda label: (counts[label], label))
        strata[rarest if len(rarest) == 1 else ()].append(text)
    random, held = np.random.default_rng(seed), set[str]()
    for _, texts in sorted(strata.items()):
        held |= {texts[index] for index in random.permutation(len(texts))[: round(share * len(texts))]}
    kept = tuple(sequence for sequence in sequences if sequence.text not in held)
    out = tuple(sequence for sequence in sequences if sequence.text in held)
    if not kept or not out:
        raise TrainingError(f"held-out: expected sequences on both sides of {share:g}, got {len(kept)} and {len(out)}")
    return kept, out


def _by_text(sequences: Sequence[Labelled]) -> dict[str, list[tuple[str, ...]]]:
    grouped: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for sequence in sequences:
        grouped[sequence.text].append(sequence.labels)
    return grouped
