"""What the direct decoder is made of follows from the horizon, the frequency and the data, where no flag says it."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from service.contract.frequency import Frequency
from training.direct_settings import DirectSettings, segments_of
from training.errors import TrainingError
from training.fit_settings import FitSettings
from training.networks.segment_forecaster import SegmentSettings

LEVELS = (0.1, 0.5, 0.9)


def made(frequency: str, horizon: int, typical: int, settings: DirectSettings | None = None) -> SegmentSettings:
    return segments_of(settings or DirectSettings(), Frequency.parse(frequency), horizon, typical, LEVELS, ())


@pytest.mark.parametrize(
    ("frequency", "horizon", "typical", "expected"),
    [
        ("1h", 48, 5000, (336, 48, 24, 24)),  # two weeks, a day per segment
        ("1h", 47, 5000, (336, 48, 24, 24)),  # the horizon in whole segments
        ("1h", 12, 5000, (336, 12, 12, 24)),
        ("D", 14, 800, (98, 14, 7, 7)),
        ("M", 18, 120, (45, 18, 9, 12)),  # half of what a short series has
        ("Y", 6, 40, (12, 6, 6, 0)),  # no season to mix
        ("1h", 24, 60, (0, 24, 24, 0)),
    ],
)
def test_window_segments_and_season_follow_from_the_data(
    frequency: str, horizon: int, typical: int, expected: tuple[int, int, int, int]
) -> None:
    if not expected[0]:
        expected = (24, *expected[1:3], 24)  # at least one segment
    found = made(frequency, horizon, typical)
    assert (found.context_length, found.prediction_length, found.segment_length, found.season) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (DirectSettings(context=100, segment=24), "context: expected whole segments of 24 steps, got 100"),
        (DirectSettings(context=480), "context: expected less than the 400 steps"),
        (DirectSettings(context=48, season=72), "season: expected at most the 48 steps of context, got 72"),
    ],
)
def test_what_the_data_cannot_fill_is_refused(settings: DirectSettings, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        made("1h", 24, 400, settings)


@pytest.mark.parametrize("wrong", [{"cold_start": 1.2}, {"gaps": -0.1}, {"direct_dropout": 1.0}, {"size_share": -1.0}])
def test_shares_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(TrainingError, match=next(iter(wrong)).replace("_", "-")):
        DirectSettings(**wrong)  # type: ignore[arg-type]


def test_what_holds_for_every_fit_comes_from_the_general_settings() -> None:
    fit = DirectSettings(direct_steps=7).fit(FitSettings(seed=3, threads=1, patience=4, max_seconds=9.0))
    assert (fit.steps, fit.seed, fit.threads, fit.patience, fit.max_seconds) == (7, 3, 1, 4, 9.0)
