"""Many sequences in one request: each row is what it would be alone, whatever its neighbours."""

from __future__ import annotations

import numpy as np
import pytest

from service.contract.frequency import parse_timestamp
from service.errors import InputMismatch, Overloaded, RequestTooLarge
from service.models.repository import Repository
from service.tasks.forecast import ForecastRequest, forecast_series
from service.tasks.limits import TaskLimits
from service.tasks.rows import Future, check_tokens, observe_series, score_tokens
from tests.known_models import NEXT_TOKEN, RUNNING_SUM
from tests.service.conftest import CALENDAR_SUM, PAIRED_SUM
from tests.service.running import running
from tests.service.tasks.forecasts_alike import alike

pytestmark = pytest.mark.anyio

WHEN = parse_timestamp("2024-07-01T06:00:00Z")


@pytest.mark.parametrize("rows", [1, 2, 64, 65, 200])
@pytest.mark.parametrize("name", [RUNNING_SUM, PAIRED_SUM])
async def test_each_row_is_a_series_of_its_own(known: Repository, name: str, rows: int) -> None:
    values = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
    async with running(known) as service:
        outputs, ahead = await observe_series(service, known.get(name), {"target": values})
    assert not ahead and outputs["quantiles"].shape == (rows, 3, 3)
    assert np.array_equal(outputs["quantiles"][:, 1:, 1], np.cumsum(values, axis=1)[:, :-1])


async def test_rows_share_calendar_and_static_covariates_and_have_covariates_of_their_own(known: Repository) -> None:
    covariates = np.zeros((2, 2, 2), np.float32)
    covariates[1, 1] = 10, 20
    inputs = {"target": np.ones((2, 2), np.float32), "covariates": covariates}
    async with running(known) as service:
        outputs, _ = await observe_series(
            service, known.get(CALENDAR_SUM), inputs, start=WHEN, static={"offset": 100, "kind": "b"}
        )
        with pytest.raises(InputMismatch, match="first_timestamp"):
            await observe_series(service, known.get(CALENDAR_SUM), inputs)
    first, second = outputs["quantiles"][:, 1, 1].tolist()
    assert second - first == 30 and first > 101


async def test_what_comes_after_a_row_is_what_comes_after_it_alone(known: Repository) -> None:
    values = np.array([[1, 2, 3], [10, 20, 30]], np.float32)
    model = known.get(RUNNING_SUM)
    async with running(known) as service:
        asked = ForecastRequest(4, samples=9, seed=7)
        _, ahead = await observe_series(service, model, {"target": values}, future=Future(asked))
        alone = [await forecast_series(service, model, row, asked) for row in values]
    for found, one in zip(ahead, alone, strict=True):
        assert found is not None and alike(found, one)


async def test_rows_look_ahead_with_covariates_of_their_own(known: Repository) -> None:
    inputs = {"target": np.ones((2, 2), np.float32), "covariates": np.zeros((2, 2, 2), np.float32)}
    covariates = np.zeros((2, 1, 2), np.float32)
    covariates[1] = 1000
    async with running(known) as service:
        _, ahead = await observe_series(
            *(service, known.get(CALENDAR_SUM), inputs),
            start=WHEN,
            static={"offset": 0, "kind": "a"},
            future=Future(ForecastRequest(1), covariates),
        )
    first, second = ahead
    assert first is not None and second is not None and second.mean[0] - first.mean[0] == 2000


async def test_tokens_are_scored_row_by_row(known: Repository) -> None:
    async with running(known) as service:
        outputs = await score_tokens(service, known.get(NEXT_TOKEN), np.array([[1, 2, 3], [1, 2, 7]]))
    scores = outputs["log_probabilities"]
    assert scores.shape == (2, 3)
    assert np.allclose(scores[0, 1:], np.log(0.9)) and scores[1, 2] < scores[0, 2]


async def test_bounds_are_checked_before_any_work(known: Repository) -> None:
    limits = TaskLimits(max_steps=5, max_horizon=3)
    six = {"target": np.ones((2, 3), np.float32)}
    model = known.get(RUNNING_SUM)
    async with running(known) as service:
        with pytest.raises(RequestTooLarge, match="steps: expected at most 5, got 6"):
            await observe_series(service, model, six, limits=limits)
        with pytest.raises(RequestTooLarge, match="steps: expected at most 5, got 6"):
            await score_tokens(service, known.get(NEXT_TOKEN), np.ones((2, 3), np.int64), limits)
        with pytest.raises(RequestTooLarge, match="horizon: expected at most 3 steps, got 4"):
            await observe_series(
                *(service, model, {"target": np.ones((1, 1), np.float32)}),
                future=Future(ForecastRequest(4)),
                limits=limits,
            )


async def test_a_full_queue_refuses_all_rows_together(known: Repository) -> None:
    async with running(known, queue_limit=0) as service:
        with pytest.raises(Overloaded):
            await observe_series(service, known.get(RUNNING_SUM), {"target": np.ones((2, 3), np.float32)})


def test_tokens_outside_the_vocabulary_are_refused(known: Repository) -> None:
    model = known.get(NEXT_TOKEN)
    check_tokens(model, np.array([[1, 27]]))
    for wrong in (-1, 0, 28):
        with pytest.raises(InputMismatch, match=f"from 0 to 27, other than 0, got {wrong}"):
            check_tokens(model, np.array([[1, wrong]]))
    with pytest.raises(InputMismatch, match="use a text model"):
        check_tokens(known.get(RUNNING_SUM), np.array([[1]]))
