"""The score of the Numenta Anomaly Benchmark, to its published definition (Lavin and Ahmad, 2015).

Of every labelled window the best placed detection counts, from 1 at its left edge to 0 at its right one; a window
without any costs what the profile says, and a detection outside of windows a little, less soon after one. The first
15 % of a stream, at most 750 values, are not scored. One threshold holds for all streams: the one that scores best,
chosen for each profile on the very labels, so that every published score is as favourable. The scale runs from 0,
where nothing is detected, to 100, where every window is detected at its first value and nothing else is.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Window = tuple[int, int]
"""First and last step of a labelled window."""

PROBATION = 0.15
MOST_PROBATION = 5000
"""Values of a stream that its probation is a share of, at most."""


@dataclass(frozen=True)
class Profile:
    """What a window found, a false detection and a window missed count for."""

    name: str
    found: float
    false: float
    missed: float


PROFILES = (
    Profile("standard", 1.0, 0.11, 1.0),
    Profile("reward low FP", 1.0, 0.22, 1.0),
    Profile("reward low FN", 1.0, 0.11, 2.0),
)


@dataclass(frozen=True)
class LabelledStream:
    """The values of a stream and its labelled windows."""

    values: Scores
    windows: tuple[Window, ...]


@dataclass(frozen=True)
class Result:
    """A profile's score, the threshold it was reached at, and there of each stream: gain, false ones, windows found."""

    score: float
    threshold: float
    streams: Mapping[str, tuple[float, int, int]]


def read_benchmark(folder: Path) -> dict[str, LabelledStream]:
    """The labelled streams of the benchmark's repository, or of a folder with `windows.json` beside its streams."""
    whole = folder / "labels" / "combined_windows.json"
    labels, data = (whole, folder / "data") if whole.exists() else (folder / "windows.json", folder)
    named = json.loads(labels.read_text(encoding="utf-8"))
    return {name: _read(data / name, windows) for name, windows in named.items()}


def _read(path: Path, windows: Sequence[tuple[str, str]]) -> LabelledStream:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    times = np.array([row[0] for row in rows], "datetime64[s]")
    steps: list[Window] = []
    for begin, end in windows:
        inside = (times >= np.datetime64(begin, "s")) & (times <= np.datetime64(end, "s"))
        steps.append((int(inside.argmax()), len(inside) - 1 - int(inside[::-1].argmax())))
    return LabelledStream(np.array([float(row[1]) for row in rows]), tuple(steps))


def nab_score(scores: Mapping[str, Scores], streams: Mapping[str, LabelledStream], profile: Profile) -> Result:
    """The profile's score of anomaly scores (T,) for every stream, at the best threshold over all of them."""
    parts = [_Scored.of(scores[name], stream) for name, stream in streams.items()]
    count = np.cumsum([0] + [len(stream.windows) for stream in streams.values()])
    score = np.concatenate([part.score for part in parts])
    worth = np.concatenate([part.worth for part in parts])
    window = np.concatenate(
        [np.where(part.window < 0, -1, part.window + first) for part, first in zip(parts, count[:-1], strict=True)]
    )
    source = np.concatenate([np.full(len(part.score), number) for number, part in enumerate(parts)])
    order = np.argsort(-score, kind="stable")
    gain = _gains(worth[order], window[order], profile)
    total = np.cumsum(gain)
    last = np.append(np.diff(score[order]) != 0, True)  # values of equal score are detected together
    best = int(np.flatnonzero(last)[np.argmax(total[last])])
    if total[best] <= 0:  # nothing detected is better
        return Result(0.0, float("inf"), {name: (0.0, 0, 0) for name in streams})
    detected = order[: best + 1]
    by_stream = {
        name: (
            float(gain[: best + 1][source[detected] == number].sum()),
            int(((source[detected] == number) & (window[detected] < 0)).sum()),
            len({*window[detected][(source[detected] == number) & (window[detected] >= 0)].tolist()}),
        )
        for number, name in enumerate(streams)
    }
    perfect = int(count[-1]) * (profile.found + profile.missed)
    return Result(100 * float(total[best]) / perfect, float(score[order[best]]), by_stream)


def _gains(worth: Scores, window: NDArray[np.int64], profile: Profile) -> Scores:
    """What each detection adds, in order: a window's first one finds it, later ones only as far as they lie better."""
    gain = np.where(window < 0, worth * profile.false, 0.0)
    for number in range(int(window.max(initial=-1)) + 1):
        at = np.flatnonzero(window == number)
        if len(at):
            best = np.maximum.accumulate(worth[at] * profile.found)
            gain[at] = np.diff(best, prepend=-profile.missed)
    return gain


@dataclass(frozen=True)
class _Scored:
    """The scored steps of a stream: scores, what a detection there is worth, and the window there, −1 for none."""

    score: Scores
    worth: Scores
    window: NDArray[np.int64]

    @classmethod
    def of(cls, score: Scores, stream: LabelledStream) -> _Scored:
        length = len(stream.values)
        window = np.full(length, -1, np.int64)
        worth = np.full(length, -1.0)
        for number, (begin, end) in enumerate(stream.windows):
            steps, width = np.arange(begin, end + 1), end - begin + 1
            window[begin : end + 1] = number
            worth[begin : end + 1] = _sigmoid(-(end - steps + 1) / width) / _sigmoid(np.array(-1.0))
            after = stream.windows[number + 1][0] if number + 1 < len(stream.windows) else length
            worth[end + 1 : after] = _sigmoid((np.arange(end + 1, after) - end) / max(width - 1, 1))
        first = int(PROBATION * min(length, MOST_PROBATION))
        return cls(np.nan_to_num(score)[first:], worth[first:], window[first:])


def _sigmoid(place: Scores) -> Scores:
    """Worth of a detection by its place: −1 is a window's left edge, 0 its right one."""
    return np.where(place > 3, -1.0, 2 / (1 + np.exp(5 * np.minimum(place, 3))) - 1)
