from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray

from service.engine.run import Run


def run(**outputs: NDArray[np.float32]) -> Run:
    return Run(dict(outputs), None, 2)


def test_json_is_written_for_every_row_with_null_where_there_is_no_number() -> None:
    pit = np.array([[0.5, np.nan], [0.1, -0.0]], np.float32)
    assert [json.loads(text) for text in run(pit=pit).json("pit")] == [[0.5, None], [float(np.float32(0.1)), -0.0]]


def test_json_has_each_number_whole() -> None:
    rows = np.random.default_rng(0).standard_normal((3, 2, 4)).astype(np.float32)
    texts = run(quantiles=rows).json("quantiles")
    assert np.array_equal(np.array([json.loads(text) for text in texts], np.float32), rows)


def test_json_and_derived_arrays_are_made_once_for_the_whole_run() -> None:
    made: list[str] = []

    def doubled(outputs: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        made.append("doubled")
        return outputs["pit"] * 2

    shared = run(pit=np.array([[1], [2]], np.float32))
    first = shared.derived("doubled", doubled)
    assert shared.derived("doubled", doubled) is first and made == ["doubled"]
    assert shared.json("doubled") == [b"[2.0]", b"[4.0]"]
    assert shared.json("doubled") is shared.json("doubled")


def test_derived_arrays_are_no_outputs() -> None:
    shared = run(pit=np.zeros((1, 1), np.float32))
    shared.derived("more", lambda outputs: outputs["pit"] + 1)
    assert list(shared.outputs) == ["pit"]
