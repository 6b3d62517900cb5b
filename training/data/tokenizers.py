"""Tokenizers by kind, all made with the `tokenizers` library, so that its `Tokenizer.from_file` reads them.

- `char`: one token per character of the training text; token 0, `<unk>`, stands for any other.
- `byte`: one token per byte of UTF-8; nothing is unknown.
- `bpe`: byte-level byte-pair encoding (Sennrich, Haddow and Birch, 2016), which can spell every byte.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from training.errors import TrainingError

TokenizerKind = Literal["char", "byte", "bpe"]
TOKENIZER_FILE = "tokenizer.json"
UNKNOWN = "<unk>"
CHARACTERS_PER_PIECE = 20_000


def build_tokenizer(kind: TokenizerKind, training_text: str, vocabulary_size: int = 4096) -> Tokenizer:
    """A tokenizer of a kind for a text.

    Args:
        vocabulary_size: of `bpe`: 256 bytes and as many merges as fit. The other kinds follow from the text.
    """
    match kind:
        case "char":
            return _characters(training_text)
        case "byte":
            return _bytes()
        case "bpe":
            return _byte_pairs(training_text, vocabulary_size)
        case _:
            raise TrainingError(f"tokenizer: expected one of {', '.join(get_args(TokenizerKind))}, got {kind!r}")


def _characters(training_text: str) -> Tokenizer:
    vocabulary = {UNKNOWN: 0} | {character: i for i, character in enumerate(sorted(set(training_text)), start=1)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def _bytes() -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({symbol: i for i, symbol in enumerate(alphabet)}, []))
    return _byte_level(tokenizer)


def _byte_pairs(training_text: str, vocabulary_size: int) -> Tokenizer:
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if vocabulary_size <= len(alphabet):
        raise TrainingError(f"vocabulary-size: expected more than the {len(alphabet)} bytes, got {vocabulary_size}")
    tokenizer = _byte_level(Tokenizer(models.BPE()))
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size, initial_alphabet=sorted(alphabet), show_progress=False, min_frequency=2
    )
    tokenizer.train_from_iterator([training_text], trainer)
    return tokenizer


def _byte_level(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write tokenizer.json into a folder, whole or not at all."""
    staged = folder / f".{TOKENIZER_FILE}.new"
    tokenizer.save(str(staged))
    os.replace(staged, folder / TOKENIZER_FILE)


def encode(tokenizer: Tokenizer, kind: TokenizerKind, text: str) -> np.ndarray:
    """Tokens (N,) of a text, int64."""
    if kind == "bpe":  # only whole: a cut could fall into a merge
        return np.array(tokenizer.encode(text).ids, dtype=np.int64)
    pieces = [text[i : i + CHARACTERS_PER_PIECE] for i in range(0, len(text), CHARACTERS_PER_PIECE)]
    encoded = tokenizer.encode_batch_fast(pieces)
    return np.concatenate([np.array(piece.ids, dtype=np.int64) for piece in encoded])


def start_token(tokenizer: Tokenizer) -> int:
    """The pending input of a session that has seen nothing: a line end, after which text begins.

    A text of one line has no such token; its first token stands in.
    """
    ids: list[int] = tokenizer.encode("\n").ids
    return ids[-1] if ids else 0


def unknown_token(tokenizer: Tokenizer) -> int | None:
    """The token that stands for what the vocabulary lacks, where there is one."""
    token: int | None = tokenizer.token_to_id(UNKNOWN)
    return token
