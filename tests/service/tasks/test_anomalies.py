"""What sessions are told of surprising values: expected values, intervals, scores, and flags that are counted once."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from service.engine.job import Outcome
from service.models.repository import Repository
from service.sessions.session import Session
from service.sessions.step import Step
from service.sessions.transition import Expected
from service.tasks.forecast import Observed, observe, observe_at_once
from tests.known_models import RUNNING_SUM
from tests.service.conftest import SCORED_SUM
from tests.service.running import Watch, floats, opened, running

pytestmark = pytest.mark.anyio
NAN = np.nan


async def step(session: Session, *values: float) -> Outcome:
    """What becomes of values that take the short way."""
    told: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def tell(step: Step, outcome: Outcome) -> None:
        told.set_result(outcome)

    assert observe_at_once(session, floats(*values)[:, np.newaxis], tell)
    return await told


def told(seen: Observed) -> list[bool]:
    assert seen.anomaly is not None
    return list(seen.anomaly.tolist())


async def test_a_value_is_told_what_was_expected_and_the_interval_around_it(known: Repository) -> None:
    async with running(known) as service:
        seen = await observe(opened(service, SCORED_SUM), floats(1, 2, NAN, 3))
        np.testing.assert_array_equal(seen.expected, floats(NAN, 1, 3, 3))
        np.testing.assert_array_equal(seen.interval.lower, floats(NAN, 0, 2, 2))
        np.testing.assert_array_equal(seen.interval.upper, floats(NAN, 2, 4, 4))
        assert seen.interval.level == 0.5


async def test_the_score_is_the_graphs_own_and_flagged_from_the_models_threshold_on(known: Repository) -> None:
    async with running(known) as service:
        seen = await observe(opened(service, SCORED_SUM), floats(10, 12, NAN, 26, -1000))
        np.testing.assert_array_equal(seen.anomaly_score, floats(NAN, 0.25, NAN, 0.5, 1))
        assert told(seen) == [False, False, False, True, True]


async def test_a_model_without_a_score_or_a_threshold_is_scored_by_its_pit_and_flags_nothing(known: Repository) -> None:
    async with running(known) as service:
        seen = await observe(opened(service, RUNNING_SUM), floats(1, 100))
        np.testing.assert_array_equal(seen.anomaly_score, np.abs(2 * seen.pit - 1))
        assert seen.anomaly is None


async def test_a_session_may_have_a_threshold_of_its_own(known: Repository) -> None:
    async with running(known) as service:
        strict = opened(service, SCORED_SUM, anomaly_threshold=0.25)
        assert told(await observe(strict, floats(10, 12, 22.5))) == [False, True, False]
        by_pit = opened(service, RUNNING_SUM, anomaly_threshold=0.999)
        assert told(await observe(by_pit, floats(10, 10, 200))) == [False, False, True]


async def test_values_that_were_not_sent_are_no_anomalies(known: Repository) -> None:
    async with running(known) as service:
        first = np.datetime64("2024-01-01", "s")
        session = opened(service, SCORED_SUM, first_timestamp=first)
        seen = await observe(session, floats(10, 100), timestamps=[first, first + np.timedelta64(5, "h")])
        assert told(seen) == [False, True] and seen.filled == 4


async def test_anomalies_are_counted_once_whichever_way_they_come(known: Repository) -> None:
    watch = Watch()
    async with running(known, watch) as service:
        session = opened(service, SCORED_SUM)
        await observe(session, floats(10, 100, 10))  # of 10 after 110, the score is 1 as well
        assert watch.events["anomalies"] == 2
        await step(session, 1000, 120, 1240)
        assert watch.events["anomalies"] == 4
        await step(session, 2480)
        assert watch.events["anomalies"] == 4
        for _ in range(3):
            await observe(session, floats(0), expected=Expected(position=7))
        assert watch.events["anomalies"] == 5


async def test_a_repeated_answer_is_flagged_as_the_first_was(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, SCORED_SUM)
        first, again = [await observe(session, floats(10, 100), expected=Expected(position=0)) for _ in range(2)]
        assert again.repeated and told(again) == told(first) == [False, True]
        np.testing.assert_array_equal(again.anomaly_score, first.anomaly_score)


async def test_each_session_of_one_run_has_its_own_flags(known: Repository) -> None:
    """Answers of one run share what they can; thresholds are not to be shared."""
    watch = Watch()
    async with running(known, watch) as service:
        sessions = [opened(service, SCORED_SUM, anomaly_threshold=t) for t in (None, 0.1, 1.0)]
        seen = await asyncio.gather(*(observe(session, floats(10, 11)) for session in sessions))
        assert [told(one)[1] for one in seen] == [False, True, False]
        assert watch.events["anomalies"] == 1
