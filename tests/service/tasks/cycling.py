"""A byte-level model that writes one text round and round, so that pieces end in the middle of characters."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from service.contract.manifest import sha256_of
from service.models.device import Device
from service.models.model import Model
from service.tasks.text import TextPiece
from tests import known_graphs, known_models
from tests.known_models import change_manifest

CYCLING = "cycling"
CIRCLE = "é☃🌍 ."
"""Its bytes differ from one another, so that each has one successor; 11 of them, so that 16 end inside a character."""


def cycling(models_folder: Path) -> Path:
    """Write a text generator that, at temperature 0, goes round CIRCLE; returns the version's folder."""
    folder = known_models.next_token(models_folder, name=CYCLING, kind="byte")
    tokenizer = Model.load(folder, Device("cpu")).tokenizer
    assert tokenizer is not None
    tokens = tokenizer.encode(CIRCLE)
    assert len(set(tokens.tolist())) == len(tokens) == len(CIRCLE.encode())
    table = np.zeros((256, 256), np.float32)
    table[:, tokens[0]] = 1  # whatever came before, the circle begins
    table[tokens, np.roll(tokens, -1)] = 100
    table.tofile(folder / known_graphs.WEIGHTS_FILE)
    change_manifest(folder, "weights", "sha256", to=sha256_of(folder / known_graphs.WEIGHTS_FILE))
    return folder


def cycling_tokens(models_folder: Path, merges: Sequence[tuple[str, str]], circle: Sequence[str]) -> list[int]:
    """Write a generator of byte pairs that, at temperature 0, goes round these tokens; returns them."""
    folder = known_models.next_token(models_folder, name=CYCLING, kind="byte", merges=merges)
    tokenizer = Model.load(folder, Device("cpu")).tokenizer
    assert tokenizer is not None
    tokens = [token for part in circle for token in tokenizer.encode(part).tolist()]
    assert len(tokens) == len(circle) == len(set(tokens))
    table = np.zeros((tokenizer.vocabulary_size,) * 2, np.float32)
    table[:, tokens[0]] = 1  # whatever came before, the circle begins
    table[tokens, np.roll(tokens, -1)] = 100
    table.tofile(folder / known_graphs.WEIGHTS_FILE)
    change_manifest(folder, "weights", "sha256", to=sha256_of(folder / known_graphs.WEIGHTS_FILE))
    return tokens


@dataclass(frozen=True)
class Whole:
    """A generation put together."""

    text: str
    tokens: list[int]
    finish_reason: str | None
    position: int | None
    pieces: int


async def collect(pieces: AsyncIterator[TextPiece]) -> Whole:
    """All pieces put together; only the last may say why it ended."""
    found = [piece async for piece in pieces]
    assert all(piece.finish_reason is None for piece in found[:-1])
    last = found[-1]
    tokens = [token for piece in found for token in piece.tokens]
    return Whole("".join(piece.text for piece in found), tokens, last.finish_reason, last.position, len(found))
