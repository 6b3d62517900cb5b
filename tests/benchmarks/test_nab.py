"""The scorer of the Numenta benchmark against values worked out by hand from its definition."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.nab_detectors import at_random, windowed_gaussian
from benchmarks.nab_score import PROFILES, LabelledStream, Profile, nab_score, read_benchmark

STANDARD, LOW_FP, LOW_FN = PROFILES


def a_stream(length: int = 1000, windows: tuple[tuple[int, int], ...] = ((500, 599),)) -> LabelledStream:
    return LabelledStream(np.zeros(length), windows)


def detecting(*steps: int, length: int = 1000) -> dict[str, np.ndarray]:
    scores = np.zeros(length)
    scores[list(steps)] = 1.0
    return {"one": scores}


@pytest.mark.parametrize("profile", PROFILES)
def test_first_value_of_the_window_alone_scores_100(profile: Profile) -> None:
    assert nab_score(detecting(500), {"one": a_stream()}, profile).score == pytest.approx(100)


def test_nothing_detected_scores_0() -> None:
    assert nab_score({"one": np.zeros(1000)}, {"one": a_stream()}, STANDARD).score == 0


def test_later_detection_in_the_window_scores_by_the_sigmoid() -> None:
    def sigmoid(place: float) -> float:
        return float(2 / (1 + np.exp(5 * place)) - 1)

    found = nab_score(detecting(560, 570), {"one": a_stream()}, STANDARD).score
    worth = sigmoid(-40 / 100) / sigmoid(-1)  # of step 560: 40 of 100 steps are left of the window
    assert found == pytest.approx(100 * (worth + 1) / 2)


def test_false_detection_far_from_windows_costs_its_weight() -> None:
    for profile, weight in ((STANDARD, 0.11), (LOW_FP, 0.22)):
        assert nab_score(detecting(400, 500), {"one": a_stream()}, profile).score == pytest.approx(100 - 50 * weight)


def test_false_detection_soon_after_a_window_costs_less() -> None:
    soon = nab_score(detecting(500, 605), {"one": a_stream()}, STANDARD).score
    late = nab_score(detecting(500, 900), {"one": a_stream()}, STANDARD).score
    assert late < soon < 100


def test_missed_window_costs_more_in_the_low_fn_profile() -> None:
    streams = {"one": a_stream(windows=((500, 599), (800, 899)))}
    assert nab_score(detecting(500), streams, STANDARD).score == pytest.approx(50)
    assert nab_score(detecting(500), streams, LOW_FN).score == pytest.approx(50)


def test_probation_is_not_scored() -> None:
    assert nab_score(detecting(149, 500), {"one": a_stream()}, STANDARD).score == pytest.approx(100)
    assert nab_score(detecting(150, 500), {"one": a_stream()}, STANDARD).score < 100


def test_probation_is_at_most_750_values() -> None:
    stream = {"one": a_stream(20_000, ((15_000, 15_099),))}
    assert nab_score(detecting(749, 15_000, length=20_000), stream, STANDARD).score == pytest.approx(100)
    assert nab_score(detecting(750, 15_000, length=20_000), stream, STANDARD).score < 100


def test_one_threshold_holds_for_all_streams() -> None:
    loud, quiet = detecting(500)["one"], detecting(500)["one"] / 2
    noisy = np.where(np.arange(1000) % 10 == 0, 0.6, 0.0)
    streams = {"loud": a_stream(), "quiet": a_stream(), "none": a_stream(windows=())}
    alone = nab_score({"loud": loud, "quiet": quiet, "none": np.zeros(1000)}, streams, STANDARD)
    beside = nab_score({"loud": loud, "quiet": quiet, "none": noisy}, streams, STANDARD)
    assert alone.score == pytest.approx(100) and alone.threshold == 0.5
    assert beside.score == pytest.approx(50) and beside.threshold == 1.0
    assert beside.streams["quiet"] == (0.0, 0, 0) and beside.streams["loud"][2] == 1


def test_missing_scores_count_as_nothing() -> None:
    scores = detecting(500)["one"]
    scores[700:] = np.nan
    assert nab_score({"one": scores}, {"one": a_stream()}, STANDARD).score == pytest.approx(100)


@pytest.mark.parametrize("whole", [True, False])
def test_benchmark_is_read_from_its_repository_or_a_plain_folder(tmp_path: Path, whole: bool) -> None:
    data, labels = (tmp_path / "data", tmp_path / "labels") if whole else (tmp_path, tmp_path)
    (data / "kind").mkdir(parents=True)
    labels.mkdir(exist_ok=True)
    rows = "".join(f"2014-04-01 00:{minute:02}:00,{minute}\n" for minute in range(10))
    (data / "kind" / "a.csv").write_text("timestamp,value\n" + rows)
    windows = {"kind/a.csv": [["2014-04-01 00:03:00.000000", "2014-04-01 00:05:00.000000"]]}
    (labels / ("combined_windows.json" if whole else "windows.json")).write_text(json.dumps(windows))
    (stream,) = read_benchmark(tmp_path).values()
    assert stream.windows == ((3, 5),)
    assert stream.values.tolist() == list(range(10))


def test_windowed_gaussian_finds_a_value_far_from_all_before() -> None:
    values = np.sin(np.arange(400.0))
    values[300] = 10.0
    scores = windowed_gaussian(values)
    assert 10 + scores[10:].argmax() == 300 and scores[300] > 0.999999


def test_random_scores_are_repeatable() -> None:
    assert np.array_equal(at_random(np.zeros(5), 3), at_random(np.zeros(5), 3))
