"""Training, validation and test of labelled sequences, and a tokenizer that reads capitals as told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from training.classifier_data import ClassifierDataSettings, prepare, streams_of, tokenizer_for  # noqa: E402
from training.data.labelled import Labelled, LabelledSet  # noqa: E402
from training.fit import FitSettings  # noqa: E402

WORDS = tuple(Labelled(f"{letter}{number}", (letter,)) for letter in "XY" for number in range(50))
SET = LabelledSet("words", "0" * 64, WORDS, False, 0)


def test_three_parts_share_nothing_and_leave_nothing_out(tmp_path: Path) -> None:
    prepared = prepare(SET, ClassifierDataSettings(), 0, tmp_path, resume=False)
    parts = [set(part.texts) for part in (prepared.training, prepared.validation, prepared.test)]
    assert sorted(map(len, parts)) == [8, 10, 82] or [len(part) for part in parts] == [80, 10, 10]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
    assert np.bincount(prepared.test.labels).tolist() == [5, 5]


def test_training_may_score_every_step_but_the_test_is_told_at_the_end(tmp_path: Path) -> None:
    prepared = prepare(SET, ClassifierDataSettings(prefix_share=0.5), 0, tmp_path, resume=False)
    assert not np.isnan(prepared.training.examples[0].targets).any()
    assert all(np.isnan(example.targets[:-1]).all() for example in prepared.test.examples)


def test_small_letters_are_in_the_tokenizer_file() -> None:
    plain = tokenizer_for(WORDS, ClassifierDataSettings())
    small = tokenizer_for(WORDS, ClassifierDataSettings(lowercase=True))
    assert plain.encode("X1").ids != plain.encode("x1").ids
    assert small.encode("X1").ids == small.encode("x1").ids and 0 not in small.encode("X1").ids
    assert small.get_vocab_size() == plain.get_vocab_size()


def test_characters_are_replaced_in_training_where_there_is_an_unknown_token(tmp_path: Path) -> None:
    data = ClassifierDataSettings(unknown_share=0.5)
    prepared = prepare(SET, data, 0, tmp_path, resume=False)
    assert streams_of(prepared, data, FitSettings()).unknown_token == 0
    of_bytes = ClassifierDataSettings(tokenizer="byte")
    prepared = prepare(SET, of_bytes, 0, tmp_path, resume=False)
    assert streams_of(prepared, of_bytes, FitSettings()).unknown_token is None
