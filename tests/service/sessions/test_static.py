from __future__ import annotations

import math

import numpy as np
import pytest

from service.errors import InputMismatch
from service.models.model import Model
from service.models.repository import Repository
from service.sessions.static import StaticValues, initial_row
from tests.known_models import RUNNING_SUM
from tests.service.conftest import CALENDAR_SUM, COUNTED_SUM


@pytest.fixture
def model(known: Repository) -> Model:
    """Its row's second value is the sum of the static covariates `offset` and `kind`, as the graph takes them."""
    return known.get(CALENDAR_SUM)


@pytest.mark.parametrize(
    ("static", "offset"),
    [
        ({"offset": 10, "kind": "a"}, 10),
        ({"kind": "b", "offset": 10.5}, 11.5),
        ({"offset": -3.25, "kind": "never seen"}, -4.25),
        ({"offset": 3}, 2),
    ],
)
def test_a_session_starts_from_what_is_known_of_its_series(model: Model, static: StaticValues, offset: float) -> None:
    row = initial_row(model, static)
    assert row.dtype == np.float32 and row.shape == (3,)
    assert row[1] == offset


@pytest.mark.parametrize("static", [None, {}, {"kind": "a"}])
def test_a_number_that_is_not_told_is_missing(model: Model, static: StaticValues | None) -> None:
    assert math.isnan(initial_row(model, static)[1])


@pytest.mark.parametrize(("frequency", "season"), [(None, 0), ("1h", 24), ("15min", 96), ("1D", 7), ("1Y", 1)])
def test_a_frequency_that_is_told_gives_the_usual_season(known: Repository, frequency: str | None, season: int) -> None:
    counted = known.get(COUNTED_SUM)
    assert initial_row(counted, None, frequency)[1] == season
    assert initial_row(counted, {"season": 5}, frequency)[1] == 5
    assert math.isnan(initial_row(known.get(CALENDAR_SUM), None, frequency)[1])


def test_a_category_may_be_written_as_the_number_it_looks_like(model: Model) -> None:
    with_text, with_number = ({"offset": 0.0, "kind": kind} for kind in ("7", 7))
    assert initial_row(model, with_text).tobytes() == initial_row(model, with_number).tobytes()


def test_unknown_names_are_refused_with_those_that_are_known(model: Model) -> None:
    with pytest.raises(InputMismatch, match="takes offset, kind, got colour, weight") as refused:
        initial_row(model, {"offset": 1, "weight": 2, "colour": "red"})
    assert refused.value.parameter == "static_covariates"


def test_a_text_where_a_number_belongs_is_refused(model: Model) -> None:
    with pytest.raises(InputMismatch, match=r"static_covariates.offset: expected a number, got the text 'high'"):
        initial_row(model, {"offset": "high"})


@pytest.mark.parametrize("value", [math.inf, -math.inf, 1e39])
def test_a_number_beyond_float32_is_refused(model: Model, value: float) -> None:
    with pytest.raises(InputMismatch, match=r"static_covariates.offset"):
        initial_row(model, {"offset": value, "kind": "a"})


def test_a_model_without_static_covariates_takes_none(known: Repository) -> None:
    model = known.get(RUNNING_SUM)
    assert initial_row(model, None).tobytes() == initial_row(model, {}).tobytes()
    with pytest.raises(InputMismatch, match="running-sum takes none, got offset"):
        initial_row(model, {"offset": 1})
