"""The card of a classifier shows its classes, what it takes for what, and how soon it knows."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from training.class_section import ClassSection
from training.evaluation.classification import ClassScore

SCORES = [ClassScore("rare", 2, 0.5, 1.0, 2 / 3), ClassScore("common", 9, 1.0, 8 / 9, 16 / 17)]
CONFUSION = [[2, 0], [1, 8]]


def test_classes_are_listed_commonest_first(tmp_path: Path) -> None:
    text, files = ClassSection("", SCORES, CONFUSION, [(1, 0.5, 11), (2, 0.8, 11), (3, 0.9, 7)]).render(tmp_path)
    assert text.index("| common | 9 | 1.00 | 0.89 | 0.94 |") < text.index("| rare | 2 | 0.50 | 1.00 | 0.67 |")
    assert "50.0% are right after the first, and from token 3 on 95 %" in text
    assert [file.name for file in files] == ["confusion.png", "arrival.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)


def test_where_every_token_has_a_label_nothing_arrives(tmp_path: Path) -> None:
    text, files = ClassSection("", SCORES, CONFUSION, []).render(tmp_path)
    assert "As it arrives" not in text and [file.name for file in files] == ["confusion.png"]
