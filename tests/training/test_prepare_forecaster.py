"""A model is trained again as it was: same decoder, lags, window, calendar and levels, whatever new data suggest."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from service.contract.frequency import Frequency
from training.ancestral_decoder import PreparedAncestral
from training.data.alignment import Split
from training.data.series import SeriesSet
from training.direct_decoder import PreparedDirect
from training.direct_settings import DirectSettings
from training.forecaster_settings import DecoderSettings, NetworkSettings
from training.prepare_forecaster import chosen_alone, decoders_of, prepare, prepare_again, settings_of_decoders


def hourly(length: int, covariates: bool = False) -> SeriesSet:
    random = np.random.default_rng(0)
    return SeriesSet(
        name="file.csv",
        sha256="0" * 64,
        ids=("a", "b"),
        frequency=Frequency.parse("1h"),
        first=np.datetime64("2024-01-01T00:00:00"),
        target=random.normal(50, 1, (2, length)).astype(np.float32),
        covariate_names=("price",) if covariates else (),
        covariates=random.normal(size=(2, length, 1)).astype(np.float32) if covariates else None,
    )


def recorded(decoder: str) -> dict[str, Any]:
    """Settings as a manifest holds them, of a model trained on long series."""
    series, split = hourly(2000), Split(1800, 1900, 2000)
    network = NetworkSettings(hidden_size=4, conformal=0.02, log_scale=True)
    both = [prepare(one, series, split, 24, network, DirectSettings()) for one in ("ancestral", "direct")]
    settings = {"evaluation": {"horizon": 24}, "decoder": asdict(DecoderSettings("auto", 2))}
    settings |= settings_of_decoders(both)
    values: dict[str, Any] = json.loads(json.dumps(chosen_alone(settings, decoder)))  # type: ignore[arg-type]
    return values


def test_direct_model_is_prepared_as_it_was_on_shorter_data() -> None:
    settings = recorded("direct")
    assert "network" not in settings and settings["decoder"] == {"decoder": "auto", "members": 2, "chosen": "direct"}
    again = prepare_again(hourly(800), Split(600, 700, 800), settings)
    assert isinstance(again, PreparedDirect)
    made = again.settings
    assert (made.context_length, made.prediction_length, made.season, made.conformal) == (336, 24, 24, 0.02)
    assert made.calendar == tuple(settings["segments"]["calendar"])


def test_ancestral_model_is_prepared_as_it_was_with_scales_of_the_new_data() -> None:
    settings = recorded("ancestral")
    assert "segments" not in settings
    again = prepare_again(hourly(800), Split(600, 700, 800), settings)
    assert isinstance(again, PreparedAncestral)
    assert again.settings.lags == tuple(settings["network"]["lags"])
    assert (again.settings.conformal, again.settings.log_scale is not None) == (0.02, True)


def test_model_from_before_there_were_decoders_is_prepared_again() -> None:
    settings = recorded("ancestral")
    del settings["decoder"]
    for name in ("anomaly", "conformal", "log_scale", "residual", "learned_state"):
        del settings["network"][name]
    again = prepare_again(hourly(800), Split(600, 700, 800), settings)
    assert isinstance(again, PreparedAncestral) and again.settings.hidden_size == 4


def test_series_with_covariates_are_left_to_the_ancestral_decoder(capsys: pytest.CaptureFixture[str]) -> None:
    auto = DecoderSettings("auto")
    assert decoders_of(auto, hourly(100)) == ("ancestral", "direct")
    assert decoders_of(auto, hourly(100, covariates=True)) == ("ancestral",)
    assert "takes no covariates" in " ".join(capsys.readouterr().err.split())
    assert decoders_of(DecoderSettings("direct"), hourly(100, covariates=True)) == ("direct",)
