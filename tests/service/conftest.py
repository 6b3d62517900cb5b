"""Asynchronous tests of the service run on asyncio, as the service does; models of known answers, loaded once."""

from __future__ import annotations

import pytest
from hypothesis import settings

from service.contract.manifest import StaticCovariate
from service.models.device import Device
from service.models.repository import Repository
from tests import known_models

# How long an example takes says nothing on a machine that others use as well.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

CALENDAR_SUM = "calendar-sum"
MONTHLY_SUM = "monthly-sum"
PAIRED_SUM = "paired-sum"
SCORED_SUM = "scored-sum"
DIRECT_SUM = "direct-sum"
COUNTED_SUM = "counted-sum"
PREFILLED_SUM = "prefilled-sum"
NEXT_BYTE = "next-byte"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def known(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A scanned repository of known models; its services are many, and none may change it.

    running-sum, next-token; next-byte of 256 bytes; paired-sum, exact from two rows on; monthly-sum; calendar-sum,
    hourly with the hour of the day, the covariates wind and sun, and the static covariates offset and kind (a or b);
    scored-sum, which tells its own anomaly score and flags it from ½ on; direct-sum, which forecasts a day directly,
    with the hour of the day, and prefilled-sum, which takes in a history without predicting it as well; counted-sum,
    which only counts steps, forecasts so many of them directly, and may be told the season.
    """
    folder = tmp_path_factory.mktemp("known models")
    known_models.running_sum(folder)
    known_models.next_token(folder)
    known_models.next_token(folder, name=NEXT_BYTE, kind="byte")
    known_models.running_sum(folder, name=PAIRED_SUM, minimum_batch=2)
    known_models.running_sum(folder, name=MONTHLY_SUM, frequency="M")
    known_models.running_sum(folder, name=SCORED_SUM, scored=True, anomaly_threshold=0.5)
    known_models.running_sum(folder, name=DIRECT_SUM, path_correlation=0.5, calendar=("hour_of_day",), minimum_batch=2)
    known_models.running_sum(folder, name=PREFILLED_SUM, path_correlation=0.5, calendar=("hour_of_day",), prefills=True)
    season = StaticCovariate(name="season")
    known_models.running_sum(
        *(folder,), name=COUNTED_SUM, frequency=None, static_covariates=(season,), path_correlation=0.5
    )
    known_models.running_sum(
        folder,
        name=CALENDAR_SUM,
        calendar=("hour_of_day",),
        future_covariates=("wind", "sun"),
        static_covariates=(StaticCovariate(name="offset"), StaticCovariate(name="kind", categories=("a", "b"))),
    )
    repository = Repository(folder, Device("cpu"))
    report = repository.scan()
    assert not report.rejected
    return repository
