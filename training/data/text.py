"""Text as contiguous streams of tokens: read, split at the end, encoded, cut into windows.

    text   ├────────────── training part ──────────────┤── held out ──┤
    column 0  ├── window 0 ──┼── window 1 ──┼─ … ─┤
    column 1                                      ├── window 0 ──┼── …
    …

B columns run side by side through neighbouring parts of the training text, so window i+1 continues window i
in every column and the network's state goes on between them. Each epoch wraps around to the columns' begin,
with a state that starts anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from training.bptt import Window
from training.errors import TrainingError


@dataclass(frozen=True)
class Text:
    """What was read: a name, the SHA-256 of all bytes, and the text of each file."""

    name: str
    sha256: str
    files: tuple[str, ...]


def load_text(path: Path) -> Text:
    """Read a UTF-8 file, or all .txt files of a folder in the order of their names.

    A byte order mark is left out, and line ends of Windows become plain ones, which is what clients send.

    Raises:
        TrainingError: nothing there, nothing in it, or not UTF-8.
    """
    files = sorted(path.rglob("*.txt")) if path.is_dir() else [path]
    digest, parts = hashlib.sha256(), []
    for file in files:
        try:
            raw = file.read_bytes()
            parts.append(raw.decode("utf-8-sig").replace("\r\n", "\n"))
        except OSError as error:
            raise TrainingError(
                f"data {path.name}: expected a text file or a folder of them: {error.strerror}"
            ) from error
        except UnicodeDecodeError as error:
            raise TrainingError(
                f"data {file.name}: expected UTF-8, got byte {error.object[error.start]:#04x}"
            ) from error
        digest.update(raw)
    if not any(part.strip() for part in parts):
        raise TrainingError(f"data {path.name}: expected text, got none; a folder needs files that end in .txt")
    return Text(path.name, digest.hexdigest(), tuple(parts))


def split_held_out(files: Sequence[str], share: float, separator: str | None = None) -> tuple[str, str]:
    """Training text and held-out text: the last `share` of each file, of its characters or of the documents
    between separators. Files are joined by a line end."""
    if not 0 < share < 1:
        raise TrainingError(f"held-out: expected a share between 0 and 1, got {share}")
    parts = [_split(file, share, separator) for file in files]
    held_out = "\n".join(last for _, last in parts if last)
    if not held_out:
        raise TrainingError(
            f"held-out: expected at least one whole {'character' if separator is None else 'document'} in the last "
            f"{share:g} of a file, got none; give more text, a larger share or another separator"
        )
    return "\n".join(first for first, _ in parts), held_out


def _split(text: str, share: float, separator: str | None) -> tuple[str, str]:
    if separator is None:
        cut = int(len(text) * (1 - share))
        return text[:cut], text[cut:]
    documents = text.split(separator)
    count = int(len(documents) * (1 - share))
    if not 0 < count < len(documents):
        return text, ""
    return separator.join(documents[:count]) + separator, separator.join(documents[count:])


class TextStreams:
    """Windows over the training tokens, in B contiguous columns.

    The columns take whole windows. The few tokens left over are passed by at the begin and at the end, another
    share of them in every epoch, drawn from the seed, so that windows also begin elsewhere.
    """

    def __init__(self, tokens: np.ndarray, batch_size: int, length: int, stride: int = 0, seed: int = 0) -> None:
        self.tokens = torch.from_numpy(np.ascontiguousarray(tokens, dtype=np.int64))
        predictions = len(tokens) - 1
        self.length = length or predictions // batch_size
        self.stride = stride or self.length
        self.windows_per_epoch = (predictions // batch_size - self.length) // self.stride + 1 if self.length else 0
        if self.windows_per_epoch < 1:
            raise TrainingError(
                f"bptt-length {length} × batch-size {batch_size}: expected at least as many training tokens and one,"
                f" got {len(tokens)}; lower one of the two"
            )
        self.column = self.length + (self.windows_per_epoch - 1) * self.stride
        self.spare = predictions - batch_size * self.column
        self.batch_size, self.seed = batch_size, seed

    def window(self, epoch: int, index: int) -> Window:
        """Window `index` of an epoch: tokens (B, T), the tokens that follow them (B, T), resets (B,)."""
        shift = int(np.random.default_rng((self.seed, epoch)).integers(self.spare + 1))
        starts = shift + index * self.stride + self.column * torch.arange(self.batch_size)
        positions = starts[:, None] + torch.arange(self.length)  # (B, T)
        resets = torch.full((self.batch_size,), index == 0)
        return Window(self.tokens[positions], self.tokens[positions + 1], resets)
