"""The runner fills up small batches, refuses other inputs, and gives plain arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from tests.training.export.tiny import tiny_forecaster, tiny_text_generator
from training.export.forecaster import export_forecaster
from training.export.runner import ExportedForecaster, ExportedTextGenerator
from training.export.text_generator import export_text_generator


def test_plain_recurrence_alone_has_the_bits_it_has_in_company(tmp_path: Path) -> None:
    export_forecaster(tiny_forecaster("RNN"), tmp_path)
    graphs = ExportedForecaster(tmp_path)
    assert graphs.minimum_batch == 2
    target = np.random.default_rng(0).normal(5, 1, (6, 40)).astype(np.float32)
    together = graphs.observe(graphs.initial(batch=6), target)
    for index in range(6):
        alone = graphs.observe(graphs.initial(), target[index : index + 1])
        assert [array.shape[0] for array in alone] == [1, 1, 1]
        for one, other in zip(alone, together, strict=True):
            assert one.tobytes() == other[index : index + 1].tobytes()


def test_wrong_inputs_are_refused_by_name(tmp_path: Path) -> None:
    export_forecaster(tiny_forecaster(rich=True), tmp_path)
    graphs = ExportedForecaster(tmp_path)
    rows = graphs.initial(np.zeros((1, 2), np.float32))
    with pytest.raises(ValueError, match="observe: expected the inputs .'calendar', 'covariates', 'state'"):
        graphs.observe(rows, np.zeros((1, 1), np.float32))


def test_controls_may_be_one_for_all_or_one_per_row(tmp_path: Path) -> None:
    export_text_generator(tiny_text_generator(), tmp_path, start_token=0, unknown_token=None)
    graphs = ExportedTextGenerator(tmp_path)
    uniforms = np.random.default_rng(0).uniform(0, 1, (3, 10)).astype(np.float32)
    one = graphs.generate(graphs.initial(3), uniforms, temperature=0.5)[0]
    each = graphs.generate(graphs.initial(3), uniforms, temperature=np.full(3, 0.5, np.float32))[0]
    np.testing.assert_array_equal(one, each)
    assert one.dtype == np.int64
