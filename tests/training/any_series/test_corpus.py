"""What the general model learns from: repeatable, of the asked size, finite where it is there at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.any_series.corpus import CorpusSettings, make_corpus
from training.any_series.events import EVENTS, put_event
from training.any_series.files import fingerprint, read_files, series_of_file
from training.any_series.shapes import SHAPES, Shape, any_shape
from training.errors import TrainingError

SMALL = CorpusSettings(length=900, real=3, made=12)


@pytest.mark.parametrize("shape", [*dict.fromkeys(SHAPES)])
def test_every_shape_has_the_asked_length_and_finite_values(shape: Shape) -> None:
    for seed in range(3):
        stream = shape(np.random.default_rng(seed), 700)
        assert stream.values.shape == (700,) and np.isfinite(stream.values).all()


def test_every_event_changes_values_after_its_begin_alone() -> None:
    for seed in range(3 * len(EVENTS)):
        random = np.random.default_rng(seed)
        stream = any_shape(random, 1200)
        before = stream.values.copy()
        put_event(random, stream.values, 600, 200, stream.season)
        assert np.array_equal(before[:600], stream.values[:600])
        assert np.isfinite(stream.values).all()


def test_corpus_is_the_same_for_the_same_seed() -> None:
    real = [np.arange(n, dtype=np.float32) for n in (150, 400, 2000)]
    once, again, other = (make_corpus(real, SMALL, seed) for seed in (1, 1, 2))
    assert np.array_equal(once.target, again.target, equal_nan=True)
    assert not np.array_equal(once.target, other.target, equal_nan=True)


def test_corpus_ends_together_and_begins_where_it_says() -> None:
    corpus = make_corpus([np.arange(1, 400, dtype=np.float32)], replace(SMALL, gaps=0.0), 0)
    assert corpus.target.shape == (13, 900)
    assert not np.isnan(corpus.target[:, -1]).any()
    for row, begin in zip(corpus.target, corpus.begins, strict=True):
        assert np.isnan(row[:begin]).all() and not np.isnan(row[begin])


def test_seasons_are_told_of_some_made_streams() -> None:
    corpus = make_corpus([np.ones(300, np.float32)], replace(SMALL, made=60, told=0.5), 0)
    told = ~np.isnan(corpus.season)
    assert 0 < told.sum() < 60 and not told[0]


def test_series_too_short_to_hold_events_are_refused() -> None:
    with pytest.raises(TrainingError, match="length"):
        CorpusSettings(length=300)


def test_files_are_read_long_wide_and_as_rows(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).normal(size=120).round(3)
    long, wide, rows = (tmp_path / f"{name}.csv" for name in ("long", "wide", "rows"))
    long.write_text("unique_id,ds,y\n" + "".join(f"a,{n},{value}\n" for n, value in enumerate(numbers)))
    wide.write_text("No,month,x\n" + "".join(f"{n},{n % 12},{value}\n" for n, value in enumerate(numbers)))
    rows.write_text("id," + ",".join(f"v{n}" for n in range(121)) + "\ns1," + ",".join(map(str, numbers)) + ",\n")
    for path, name in ((long, "a"), (wide, "x"), (rows, "s1")):
        found = series_of_file(path)
        assert list(found) == [name]
        assert np.allclose(found[name], numbers, atol=1e-6)
    assert len(read_files([long, wide])) == 2
    assert fingerprint([long, wide])[0] == "long.csv, wide.csv"


def test_missing_numbers_inside_a_series_stay_missing(tmp_path: Path) -> None:
    path = tmp_path / "gaps.csv"
    path.write_text("ds,y\n0,NA\n" + "".join(f"{n},{'' if n == 50 else n * 1.5}\n" for n in range(1, 150)))
    (values,) = series_of_file(path).values()
    assert len(values) == 149 and np.isnan(values[49]) and np.isfinite(values).sum() == 148


def test_file_without_series_is_refused_in_plain_words(tmp_path: Path) -> None:
    path = tmp_path / "short.csv"
    path.write_text("ds,y\n0,1\n1,2\n")
    with pytest.raises(TrainingError, match=r"short\.csv: expected series of at least 100 numbers, found none"):
        read_files([path])
