"""Static covariates of a file as the model that is to take them knows them."""

from __future__ import annotations

import numpy as np
import pytest

from service.contract.frequency import Frequency
from service.contract.manifest import StaticCovariate
from training.data.series import SeriesSet
from training.data.static import static_as_trained
from training.errors import TrainingError

KIND = StaticCovariate(name="kind", categories=("south", "north"))
SIZE = StaticCovariate(name="size")


def series(kinds: tuple[StaticCovariate, ...], columns: list[list[float]]) -> SeriesSet:
    static = np.array(columns, np.float32).T
    ids = tuple(str(n) for n in range(len(static)))
    target = np.ones((len(ids), 4), np.float32)
    frequency = Frequency.parse("1h")
    return SeriesSet("f.csv", "0" * 64, ids, frequency, None, target, static_covariates=kinds, static=static)


def test_categories_are_numbered_and_ordered_as_the_model_has_them() -> None:
    here = StaticCovariate(name="kind", categories=("moon", "north", "south"))
    found = static_as_trained(series((SIZE, here), [[2.5, np.nan, 1], [2, 0, 1]]), (KIND, SIZE))
    np.testing.assert_array_equal(found, [[0, 2.5], [-1, np.nan], [1, 1]])


def test_what_the_file_does_not_tell_is_unknown() -> None:
    found = static_as_trained(series((SIZE,), [[2.5]]), (KIND, SIZE, StaticCovariate(name="season")))
    np.testing.assert_array_equal(found, [[-1, 2.5, np.nan]])


def test_a_model_that_takes_none_is_given_none() -> None:
    assert static_as_trained(series((SIZE,), [[2.5]]), ()) is None


def test_numbers_are_not_taken_for_categories() -> None:
    with pytest.raises(TrainingError, match="static size: expected categories as in training, got numbers"):
        static_as_trained(series((SIZE,), [[2.5]]), (StaticCovariate(name="size", categories=("big",)),))
