"""What the manifest must say of its graphs for the service to know how to call them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from service.contract.manifest import ManifestError, StaticCovariate, load_manifest
from service.models.conventions import check_conventions, conventions, pending_offset
from tests import known_models


def test_inputs_follow_from_the_task(tmp_path: Path) -> None:
    folder = known_models.running_sum(
        tmp_path,
        calendar=["hour_of_day", "day_of_week"],
        future_covariates=["price"],
        static_covariates=[StaticCovariate(name="region", categories=("north", "south"))],
    )
    manifest = load_manifest(folder)
    check_conventions(manifest)
    expected = conventions(manifest)
    assert expected["observe"].inputs["calendar"] == ("float32", ("B", "T", 4))
    assert expected["generate"].inputs["covariates"] == ("float32", ("B", "T", 1))
    assert expected["initial"].inputs == {"static": ("float32", ("B", 1))}
    assert expected["initial"].outputs == {"state": ("float32", ("B", 3))}


def test_a_forecaster_of_the_series_alone_takes_nothing_else(tmp_path: Path) -> None:
    expected = conventions(load_manifest(known_models.running_sum(tmp_path)))
    assert expected["observe"].inputs.keys() == {"state", "target"}
    assert expected["initial"] == ({}, {"state": ("float32", (1, 3))})


def test_a_forecaster_may_tell_its_own_anomaly_score_for_every_step(tmp_path: Path) -> None:
    folder = known_models.running_sum(tmp_path, scored=True)
    check_conventions(load_manifest(folder))
    assert conventions(load_manifest(folder))["observe"].outputs["anomaly_score"] == ("float32", ("B", "T"))
    known_models.change_manifest(folder, "graphs", "observe", "outputs", 2, "shape", to=["B", 1])
    with pytest.raises(ManifestError, match="anomaly_score: expected"):
        check_conventions(load_manifest(folder))


def test_a_direct_forecast_takes_a_row_and_the_calendar_of_its_steps(tmp_path: Path) -> None:
    manifest = load_manifest(known_models.running_sum(tmp_path, path_correlation=0.5, calendar=["hour_of_day"]))
    check_conventions(manifest)
    inputs: dict[str, Any] = {"state": ("float32", ("B", 3)), "calendar": ("float32", ("B", 24, 2))}
    assert conventions(manifest)["forecast"] == (inputs, {"quantiles": ("float32", ("B", 24, 3))})


def test_a_direct_forecast_of_another_length_is_refused(tmp_path: Path) -> None:
    folder = known_models.running_sum(tmp_path, path_correlation=0.5)
    known_models.change_manifest(folder, "forecast", "prediction_length", to=12)
    with pytest.raises(ManifestError, match=r"quantiles: expected \('float32', \('B', 12, 3\)\)"):
        check_conventions(load_manifest(folder))


@pytest.mark.parametrize(
    ("path", "to", "message"),
    [
        (("forecast", "calendar"), ["hour_of_day"], r"inputs: expected \['calendar', 'state', 'target'\]"),
        (("forecast", "quantiles"), [0.1, 0.3, 0.7, 0.9], r"quantiles: expected \('float32', \('B', 'T', 4\)\)"),
        (("graphs", "observe", "inputs", 1, "name"), "values", r"inputs: expected \['state', 'target'\], the manifest"),
        (
            ("graphs", "generate", "inputs", 1, "dtype"),
            "int64",
            "uniforms: expected .*float32.* the manifest says .*int64",
        ),
        (("graphs", "observe", "inputs", 0, "shape"), ["B", "T"], r"state: expected \('float32', \('B', 3\)\)"),
        (("graphs", "observe", "outputs", 1, "name"), "quantiles", "outputs: expected each name once"),
    ],
)
def test_another_signature_is_refused(tmp_path: Path, path: tuple[Any, ...], to: Any, message: str) -> None:
    folder = known_models.running_sum(tmp_path)
    known_models.change_manifest(folder, *path, to=to)
    with pytest.raises(ManifestError, match=message):
        check_conventions(load_manifest(folder))


def test_a_text_model_may_tell_its_predictions(tmp_path: Path) -> None:
    told = conventions(load_manifest(known_models.next_token(tmp_path)))
    assert told["predict"].outputs["logits"] == ("float32", ("B", "T", 28))
    check_conventions(load_manifest(known_models.next_token(tmp_path, version=2, predicts=False)))


def test_a_model_that_tells_its_predictions_says_where_the_pending_token_lies(tmp_path: Path) -> None:
    folder = known_models.next_token(tmp_path)
    assert pending_offset(load_manifest(folder)) == 1
    known_models.change_manifest(folder, "state", "fields", 1, "name", to="other")
    with pytest.raises(ManifestError, match="one of size 1 named 'pending'"):
        check_conventions(load_manifest(folder))


def test_predictions_of_another_shape_are_refused(tmp_path: Path) -> None:
    folder = known_models.next_token(tmp_path)
    known_models.change_manifest(folder, "graphs", "predict", "outputs", 0, "shape", to=["B", "T", 27])
    with pytest.raises(ManifestError, match=r"logits: expected \('float32', \('B', 'T', 28\)\)"):
        check_conventions(load_manifest(folder))
