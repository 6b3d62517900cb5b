from __future__ import annotations

import pytest

from training.scoring.figure import file_names


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        (["a b", "a/b", "a-b"], ["a-b", "a-b-1", "a-b-2"]),
        (["x-2", "x", "x?", "x-1", "x!"], ["x-2", "x", "x-1", "x-1-1", "x-3"]),
        (["../../etc", "", "//"], ["etc", "series", "series-1"]),
        (["y" * 90, "y" * 91], ["y" * 80, "y" * 80 + "-1"]),
    ],
)
def test_every_series_has_a_plain_file_name_of_its_own(ids: list[str], names: list[str]) -> None:
    assert file_names(ids) == names
