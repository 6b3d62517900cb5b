"""The training data of the general model: pieces of real series and made streams, side by side and ending together.

    real   ··········├────────── piece ──────────┤ held out      some turned upside down
    made   ├──────── shape, with events ─────────┤               some values missing, some seasons told

Shapes: N series, T steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from training.any_series.events import put_event
from training.any_series.shapes import Stream, Values, any_shape
from training.errors import TrainingError

Array = NDArray[np.float32]

FIRST_EVENT, LAST_EVENT = 300, 100
"""Steps before the first event of a made stream, and after the last one."""


def _setting(default: Any, says: str) -> Any:
    return field(default=default, metadata={"help": says})


@dataclass(frozen=True)
class CorpusSettings:
    """How much of what the model learns from."""

    length: int = _setting(3072, "steps of the longest series; longer real ones come in pieces")
    real: int = _setting(370, "pieces of real series, at most")
    made: int = _setting(500, "made streams")
    eventful: float = _setting(0.5, "share of made streams in which something happens")
    gaps: float = _setting(0.2, "share of made streams with missing values")
    turned: float = _setting(0.25, "share of series turned upside down")
    told: float = _setting(0.33, "share of made streams with a season that are told it")

    def __post_init__(self) -> None:
        if self.length < 2 * (FIRST_EVENT + LAST_EVENT):
            raise TrainingError(f"length: expected at least {2 * (FIRST_EVENT + LAST_EVENT)}, got {self.length}")


@dataclass(frozen=True)
class Corpus:
    """N series that end together."""

    target: Array
    """(N, T), NaN before a series begins and where missing."""
    begins: NDArray[np.int64]
    """(N,) first observed step."""
    season: Array
    """(N,) steps per season where it is told, NaN elsewhere."""


def make_corpus(real: list[Array], settings: CorpusSettings, seed: int) -> Corpus:
    """Draw a corpus; `real` are series without what is held out of them."""
    random = np.random.default_rng((seed, 5))
    streams = [*_pieces(real, settings, random), *_made(settings, random)]
    target = np.full((len(streams), settings.length), np.nan, np.float32)
    season = np.full(len(streams), np.nan, np.float32)
    for row, stream in enumerate(streams):
        sign = -1 if random.random() < settings.turned else 1
        target[row, settings.length - len(stream.values) :] = sign * stream.values
        if stream.season is not None and random.random() < settings.told:
            season[row] = stream.season
    return Corpus(target, np.asarray((~np.isnan(target)).argmax(1), np.int64), season)


def _pieces(real: list[Array], settings: CorpusSettings, random: Generator) -> Iterator[Stream]:
    """Pieces of at most the longest length, drawn so that long series do not crowd out short ones."""
    pieces: list[Array] = []
    for values in real:
        starts = range(0, max(len(values) - settings.length // 2, 1), settings.length)
        pieces += [values[start : start + settings.length] for start in starts]
    for index in random.permutation(len(pieces))[: settings.real]:
        yield Stream(pieces[index].astype(np.float64))


def _made(settings: CorpusSettings, random: Generator) -> Iterator[Stream]:
    for _ in range(settings.made):
        length = settings.length if random.random() < 0.67 else settings.length // 2
        stream = any_shape(random, length)
        if random.random() < settings.eventful:
            for _ in range(random.integers(1, 4)):
                begin = int(random.integers(FIRST_EVENT, length - LAST_EVENT))
                put_event(random, stream.values, begin, int(random.integers(50, 400)), stream.season)
        if random.random() < settings.gaps:
            _lose(stream.values, random)
        yield stream


def _lose(values: Values, random: Generator) -> None:
    """Values go missing: here and there, or for a while."""
    if random.random() < 0.5:
        values[random.random(len(values)) < 0.1 * random.random()] = np.nan
    else:
        begin = int(random.integers(1, len(values) - LAST_EVENT))
        values[begin : begin + int(random.integers(5, 300))] = np.nan
