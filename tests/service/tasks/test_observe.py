"""Observing series: scores, timestamps and gaps, covariates, repeats."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.contract.calendar import calendar_features
from service.errors import InputMismatch, PositionConflict, RequestTooLarge
from service.models.repository import Repository
from service.sessions.transition import Expected
from service.tasks.forecast import Observed, observe
from service.tasks.limits import TaskLimits
from tests.known_models import NEXT_TOKEN, RUNNING_SUM
from tests.service.conftest import CALENDAR_SUM, MONTHLY_SUM
from tests.service.running import Watch, floats, opened, row_of, running

pytestmark = pytest.mark.anyio

FIRST = np.datetime64("2024-07-01T00:00:00", "s")
SMALL = TaskLimits(max_steps=10, max_gap_steps=8)


def hourly(*hours: int) -> list[np.datetime64]:
    return [FIRST + np.timedelta64(hour, "h") for hour in hours]


def medians(seen: Observed) -> NDArray[np.float32]:
    return np.asarray(seen.quantiles[:, 1])


def same_answer(one: Observed, two: Observed) -> bool:
    return (one.start, one.position, one.filled) == (two.start, two.position, two.filled) and all(
        getattr(one, name).tobytes() == getattr(two, name).tobytes() for name in ("quantiles", "pit", "anomaly_score")
    )


async def test_each_value_is_scored_against_what_was_predicted_for_it(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, RUNNING_SUM)
        seen = await observe(session, floats(1, 2, 3.5, 6.5))
        np.testing.assert_array_equal(medians(seen), floats(np.nan, 1, 3, 6.5))
        np.testing.assert_array_equal(seen.quantiles[1], floats(0, 1, 2))
        np.testing.assert_allclose(seen.pit, floats(np.nan, 0.75, 0.625, 0.5))
        np.testing.assert_allclose(seen.anomaly_score, floats(np.nan, 0.5, 0.25, 0))
        assert (seen.start, seen.position, seen.filled, seen.repeated) == (0, 4, 0, False)
        assert session.position == 4


async def test_a_missing_value_is_a_step_without_a_score(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, RUNNING_SUM)
        seen = await observe(session, floats(1, np.nan, 3))
        assert np.isnan(seen.pit[1]) and np.isnan(seen.anomaly_score[1]) and not np.isnan(medians(seen)[1])
        np.testing.assert_array_equal(medians(seen), floats(np.nan, 1, 1))
        assert session.position == 3


async def test_nothing_is_predicted_before_the_first_value(known: Repository) -> None:
    async with running(known) as service:
        seen = await observe(opened(service, RUNNING_SUM), floats(np.nan, np.nan, 5))
        assert np.isnan(seen.quantiles).all() and np.isnan(seen.pit).all()


async def test_gaps_between_timestamps_become_missing_steps(known: Repository) -> None:
    async with running(known) as service:
        stamped, spelled = (opened(service, RUNNING_SUM, first_timestamp=FIRST) for _ in range(2))
        seen = await observe(stamped, floats(1, 2, 3), timestamps=hourly(1, 2, 5))
        await observe(spelled, floats(np.nan, 1, 2, np.nan, np.nan, 3))
        assert (seen.position, seen.filled, len(seen.pit)) == (6, 3, 3)
        np.testing.assert_array_equal(medians(seen), floats(np.nan, 1, 3))
        assert row_of(service, stamped) == row_of(service, spelled)


async def test_the_first_timestamp_is_learned_from_the_first_values(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, RUNNING_SUM)
        await observe(session, floats(1, 2), timestamps=hourly(3, 4))
        assert session.first_timestamp == hourly(3)[0]
        late = opened(service, RUNNING_SUM)
        await observe(late, floats(1, 2))
        assert late.first_timestamp is None
        await observe(late, floats(3), timestamps=hourly(7))
        assert late.first_timestamp == hourly(5)[0] and late.position == 3


@pytest.mark.parametrize(
    "timestamps", [hourly(1), hourly(0), [FIRST + np.timedelta64(5, "m")], hourly(2, 3), hourly(2 + 1001)]
)
async def test_a_refused_timestamp_changes_nothing(known: Repository, timestamps: list[np.datetime64]) -> None:
    async with running(known) as service:
        session = opened(service, RUNNING_SUM, first_timestamp=FIRST)
        await observe(session, floats(1, 2))
        before = row_of(service, session)
        with pytest.raises((InputMismatch, RequestTooLarge), match="timestamp"):
            await observe(session, floats(3), timestamps=timestamps)
        assert session.position == 2 and row_of(service, session) == before and not session.busy


async def test_a_refused_first_timestamp_is_not_learned(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, RUNNING_SUM)
        with pytest.raises(InputMismatch):
            await observe(session, floats(1, 2), timestamps=[FIRST, FIRST + np.timedelta64(5, "m")])
        assert session.first_timestamp is None


async def test_months_are_counted_on_the_calendar(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, MONTHLY_SUM, first_timestamp=np.datetime64("2024-01-31", "s"))
        seen = await observe(session, floats(1, 2), timestamps=list(np.array(["2024-01-31", "2024-03-31"], "M8[s]")))
        assert (seen.position, seen.filled) == (3, 1)
        assert session.describe()["next_timestamp"] == "2024-04-30T00:00:00Z"


async def test_the_calendar_and_the_covariates_reach_the_graph(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, CALENDAR_SUM, first_timestamp=FIRST, static={"offset": 100, "kind": "b"})
        covariates = {"sun": floats(1, 2, 3), "wind": floats(10, np.nan, 30)}
        seen = await observe(session, floats(1, 1, 1), covariates=covariates)
        calendar = calendar_features(np.array(hourly(0, 1, 2)), ["hour_of_day"]).sum(axis=1)
        np.testing.assert_allclose(medians(seen)[1:], 101 + np.arange(1, 3) + calendar[1:] + [2, 33], rtol=1e-6)


async def test_covariates_of_values_with_gaps_stay_with_their_values(known: Repository) -> None:
    async with running(known) as service:
        static = {"offset": 0.0, "kind": "a"}
        gaps, spelled = (opened(service, CALENDAR_SUM, first_timestamp=FIRST, static=static) for _ in range(2))
        covariates = {"sun": floats(1, 2), "wind": floats(3, 4)}
        await observe(gaps, floats(5, 6), timestamps=hourly(0, 2), covariates=covariates)
        filled = {name: floats(column[0], np.nan, column[1]) for name, column in covariates.items()}
        await observe(spelled, floats(5, np.nan, 6), covariates=filled)
        assert row_of(service, gaps) == row_of(service, spelled)


async def test_covariates_of_a_wrong_length_are_refused(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, CALENDAR_SUM, first_timestamp=FIRST)
        with pytest.raises(InputMismatch, match=r"future_covariates.wind: expected 2 values, got 3"):
            await observe(session, floats(1, 2), covariates={"sun": floats(1, 2), "wind": floats(1, 2, 3)})
        assert session.position == 0 and not session.busy


async def test_a_model_of_the_calendar_needs_a_timestamp(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, CALENDAR_SUM)
        covariates = {"sun": floats(1), "wind": floats(1)}
        with pytest.raises(InputMismatch, match="first_timestamp: the model looks at the calendar"):
            await observe(session, floats(1), covariates=covariates)
        await observe(session, floats(1), timestamps=hourly(0), covariates=covariates)
        assert session.position == 1


async def test_too_many_values_are_refused_before_any_work(known: Repository) -> None:
    watch = Watch()
    async with running(known, watch) as service:
        session = opened(service, RUNNING_SUM)
        with pytest.raises(RequestTooLarge, match="values: expected at most 10, got 11"):
            await observe(session, np.zeros(11, np.float32), limits=SMALL)
        with pytest.raises(InputMismatch, match="values: expected at least 1, got 0"):
            await observe(session, np.zeros(0, np.float32), limits=SMALL)
        assert not watch.runs and session.position == 0


async def test_filled_gaps_count_towards_the_steps_of_a_request(known: Repository) -> None:
    """Or a request of a hundred thousand values may ask for a hundred million steps."""
    async with running(known) as service:
        session = opened(service, RUNNING_SUM, first_timestamp=FIRST)
        with pytest.raises(RequestTooLarge):
            await observe(session, floats(1, 2, 3), timestamps=hourly(8, 17, 26), limits=SMALL)
        assert session.position == 0


async def test_text_models_observe_no_values(known: Repository) -> None:
    async with running(known) as service:
        with pytest.raises(InputMismatch, match="use a forecast model"):
            await observe(opened(service, NEXT_TOKEN), floats(1))


# Repeats


@pytest.mark.parametrize("expected", [Expected(position=1), Expected(key="k"), Expected(1, "k")])
async def test_a_repeated_observation_is_applied_once_and_answered_alike(known: Repository, expected: Expected) -> None:
    async with running(known) as service:
        session = opened(service, RUNNING_SUM)
        await observe(session, floats(9), timestamps=hourly(0))
        first, *again = [
            await observe(session, floats(1, 2), timestamps=hourly(1, 4), expected=expected) for _ in range(3)
        ]
        assert not first.repeated and all(one.repeated and same_answer(one, first) for one in again)
        assert session.position == 5


async def test_the_same_step_with_other_values_is_a_conflict_with_both_positions(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, RUNNING_SUM)
        await observe(session, floats(1, 2), expected=Expected(0, "k"))
        other: list[dict[str, Any]] = [
            {"values": floats(1, 3)},
            {"values": floats(1)},
            {"values": floats(1, 2), "timestamps": hourly(0, 1)},
        ]
        for request in other:
            for expected in (Expected(position=0), Expected(key="k")):
                with pytest.raises(PositionConflict) as conflict:
                    await observe(session, expected=expected, **request)
                assert (conflict.value.position, conflict.value.durable_position) == (2, 0)
        assert session.position == 2


async def test_a_repeated_first_observation_is_recognised_after_the_timestamp_was_learned(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, RUNNING_SUM)
        first = await observe(session, floats(1, 2), timestamps=hourly(3, 5), expected=Expected(position=0))
        again = await observe(session, floats(1, 2), timestamps=hourly(3, 5), expected=Expected(position=0))
        assert again.repeated and same_answer(first, again) and first.filled == 1


async def test_the_same_request_twice_at_once_is_applied_once(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, RUNNING_SUM)
        both = await asyncio.gather(*(observe(session, floats(1, 2), expected=Expected(position=0)) for _ in range(2)))
        assert [seen.repeated for seen in both] == [False, True] and same_answer(*both) and session.position == 2


async def test_without_position_or_key_the_same_values_are_new_ones(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, RUNNING_SUM)
        for _ in range(3):
            assert not (await observe(session, floats(1, 2))).repeated
        assert session.position == 6
