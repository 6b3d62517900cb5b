"""Names are made of file names, and those that cannot be published under are refused before training."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from service.contract.manifest import MODEL_NAME
from training.errors import TrainingError
from training.model_name import model_name


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("pjm_in_zone.csv", "pjm-in-zone"),
        ("My load (1).csv", "my-load-1"),
        ("ETTh1.csv", "etth1"),
        ("宋词.txt", "model"),
    ],
)
def test_file_names_become_model_names(file: str, name: str) -> None:
    assert model_name(None, Path("data") / file) == name
    assert MODEL_NAME.fullmatch(name)


def test_name_that_is_given_is_taken_or_refused() -> None:
    assert model_name("load_v2", Path("x.csv")) == "load_v2"
    for wrong in ("Bad Name!", "", "../up", "a" * 65):
        with pytest.raises(TrainingError, match="name: expected lower-case letters"):
            model_name(wrong, Path("x.csv"))
