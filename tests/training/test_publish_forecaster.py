"""The notes of a card say what was found, and no more."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

from training.forecast_task import settled_after
from training.networks.forecaster import ForecasterSettings
from training.publish_forecaster import _notes
from training.run_record import RunRecord


def notes(ids: list[str], result: dict[str, Any]) -> list[str]:
    settings = {"data": {"ids": ids}, "evaluation": {"cover": 0.8}}
    record = RunRecord("forecast", "command", "commit", "load.csv", "0" * 64, 0, settings)
    return _notes(record, {"spread": 1.0, "validation": {}} | result)


def test_series_are_named_while_they_are_few() -> None:
    assert notes(["a", "b"], {}) == ["Series: a, b."]
    assert notes([str(n) for n in range(21)], {}) == []


def test_validation_is_told_as_far_as_it_is_defined() -> None:
    validation = {"mase": 0.51234, "mean_weighted_quantile_loss": 0.03}
    [whole] = notes([""] * 21, {"validation": validation})
    [part] = notes([""] * 21, {"validation": {"mean_weighted_quantile_loss": 0.03}})
    assert "MASE 0.5123, mean weighted quantile loss 0.03;" in whole
    assert "MASE" not in part and "mean weighted quantile loss 0.03;" in part


@pytest.mark.parametrize("covered", [None, 0.803])
def test_spread_that_covers_as_wanted_is_told(covered: float | None) -> None:
    [note] = notes([""] * 21, {"spread": 0.9, "spread_covered": covered})
    assert "multiplied by 0.900" in note and "covered 80 % of" in note and "nearest" not in note


def test_spread_that_could_not_reach_what_was_wanted_says_so() -> None:
    [note] = notes([""] * 21, {"spread": 0.403, "spread_covered": 0.95})
    assert "covered 95 % of the validation stretch, the nearest within reach to the 80 % that were wanted" in note


def test_both_decoders_are_told_with_the_one_that_validation_chose() -> None:
    decoders = {
        "ancestral": {"mase": 0.9, "mean_weighted_quantile_loss": 0.04},
        "direct": {"mean_weighted_quantile_loss": 0.03},
    }
    [note] = notes([""] * 21, {"decoder": "direct", "decoders": decoders})
    assert "chose the direct one" in note
    assert "ancestral: MASE 0.9, mean weighted quantile loss 0.04; direct: mean weighted quantile loss 0.03." in note
    assert notes([""] * 21, {"decoder": "direct", "decoders": {"direct": {}}}) == []


def test_direct_forecasts_are_told_as_such() -> None:
    spread, paths = notes(
        [""] * 21, {"decoder": "direct", "spread": 0.9, "spread_covered": 0.8, "path_correlation": 0.876}
    )
    assert "over the whole horizon, covered 80 %" in spread
    assert "neighbouring steps go together by 0.88" in paths


def test_context_reaches_over_the_lags_and_until_the_scale_has_settled() -> None:
    def settings(decay: float) -> ForecasterSettings:
        return ForecasterSettings("GRU", 4, 1, 0.0, (0.1, 0.5, 0.9), (1, 24), decay)

    assert [settled_after(settings(decay)) for decay in (0.5, 0.98, 1.0)] == [24, 149, 24]
