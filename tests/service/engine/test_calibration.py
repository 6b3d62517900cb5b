from __future__ import annotations

import pytest

from service.engine.calibration import Calibration, calibrate
from service.models.model import Model
from service.models.repository import Repository
from tests.service.conftest import COUNTED_SUM, PAIRED_SUM


def test_every_graph_has_a_budget_within_bounds(model: Model) -> None:
    calibration = calibrate(model)
    assert calibration.step_budgets.keys() == {"observe", "generate"}
    assert all(16 <= budget <= 4096 for budget in calibration.step_budgets.values())
    assert calibration.brief_rows in (0, 1, 4, 16, 64)


def test_a_model_that_is_exact_from_two_rows_on_is_measured_with_two(known: Repository) -> None:
    assert isinstance(calibrate(known.get(PAIRED_SUM)), Calibration)


def test_a_direct_forecast_is_measured_as_one_step(known: Repository) -> None:
    calibration = calibrate(known.get(COUNTED_SUM))
    assert 1 <= calibration.step_budgets["forecast"] <= 4096 and isinstance(calibration.brief_forecast, bool)


def test_a_graph_that_takes_long_is_never_brief(known: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.engine.calibration._timed", lambda *given: 0.01)
    calibration = calibrate(known.get(COUNTED_SUM))
    assert calibration.brief_rows == 0 and not calibration.brief_forecast
    assert calibration.step_budgets["forecast"] == 4
