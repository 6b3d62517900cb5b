"""Sessions of a model that only counts steps, with and without being told the time between them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from service.contract.frequency import Frequency
from service.contract.manifest import Manifest, load_manifest
from service.errors import InputMismatch
from service.journal.codec import Records
from service.journal.sqlite import SqliteJournal
from service.models.repository import Repository
from service.sessions.frequency import frequency_of, require_frequency, told_frequency
from service.sessions.record import Record
from service.tasks.forecast import ForecastRequest, forecast, forecast_series, observe
from tests import known_models
from tests.known_models import NEXT_TOKEN, RUNNING_SUM
from tests.service.conftest import COUNTED_SUM
from tests.service.running import floats, opened, opens, row_of, running

pytestmark = pytest.mark.anyio

FIRST = np.datetime64("2024-07-01T00:00:00", "s")


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return load_manifest(known_models.running_sum(tmp_path_factory.mktemp("models"), frequency=None))


def test_a_model_that_counts_steps_takes_what_it_is_told(counted: Manifest) -> None:
    assert told_frequency(counted, "15T") == "15min" and told_frequency(counted, None) is None
    assert frequency_of(counted, "15min") == Frequency.parse("15min") and frequency_of(counted, None) is None


def test_a_model_of_a_frequency_takes_no_other(known: Repository) -> None:
    hourly = known.get(RUNNING_SUM).manifest
    assert told_frequency(hourly, "H") is None and frequency_of(hourly, None) == Frequency.parse("1h")
    with pytest.raises(InputMismatch, match="forecasts at 1h, got 'D'"):
        told_frequency(hourly, "D")
    with pytest.raises(InputMismatch, match="expected a count and a unit"):
        told_frequency(hourly, "often")
    with pytest.raises(InputMismatch, match="is for text: leave it out"):
        told_frequency(known.get(NEXT_TOKEN).manifest, "1h")


def test_timestamps_need_a_frequency(counted: Manifest) -> None:
    with pytest.raises(InputMismatch, match="first_timestamp: .* counts steps .* give the frequency") as refused:
        require_frequency(counted, None, "first_timestamp")
    assert refused.value.parameter == "first_timestamp"


async def test_without_a_frequency_steps_are_counted_and_timestamps_refused(known: Repository) -> None:
    async with running(known) as service:
        with pytest.raises(InputMismatch, match="counts steps"):
            opened(service, COUNTED_SUM, first_timestamp=FIRST)
        session = opened(service, COUNTED_SUM)
        with pytest.raises(InputMismatch, match="open the session with a frequency"):
            await observe(session, floats(1), timestamps=[FIRST])
        await observe(session, floats(1, 2))
        ahead = await forecast(session, ForecastRequest(2))
        assert ahead.timestamps is None and ahead.median.tolist() == [3, 3]
        told = session.describe()
        assert (told["frequency"], told["first_timestamp"], told["next_timestamp"]) == (None, None, None)


async def test_with_a_frequency_timestamps_are_placed_and_told(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, COUNTED_SUM, frequency="D", static={"season": 0})
        seen = await observe(session, floats(1, 2), timestamps=[FIRST, FIRST + np.timedelta64(2, "D")])
        assert seen.filled == 1 and session.position == 3
        ahead = await forecast(session, ForecastRequest(2))
        assert ahead.timestamps is not None and str(ahead.timestamps[0]) == "2024-07-04T00:00:00"
        told = session.describe()
        assert (told["frequency"], told["next_timestamp"]) == ("1D", "2024-07-04T00:00:00Z")
        alone = await forecast_series(
            *(service, session.model, floats(1, np.nan, 2), ForecastRequest(2)),
            start=FIRST,
            frequency="D",
            static={"season": 0},
        )
        assert alone.timestamps is not None and alone.timestamps.tolist() == ahead.timestamps.tolist()


async def test_the_frequency_gives_the_season_unless_it_is_told(known: Repository) -> None:
    async with running(known) as service:
        rows = [
            np.frombuffer(row_of(service, opened(service, COUNTED_SUM, **asked)), np.float32)[1]
            for asked in ({}, {"frequency": "1h"}, {"frequency": "1h", "static": {"season": 12}})
        ]
    assert rows == [0, 24, 12]


async def test_a_fork_and_a_restored_session_know_the_frequency(known: Repository, tmp_path: Path) -> None:
    def journal() -> SqliteJournal:
        return SqliteJournal(tmp_path / "sessions.db", Records(Record))

    async with running(known, journal=journal()) as service:
        session = await opens(service, COUNTED_SUM, id="counted", frequency="D", first_timestamp=FIRST)
        await observe(session, floats(1))
        fork = await service.store.fork(session.key, "fork", None)
        assert fork.describe()["next_timestamp"] == "2024-07-02T00:00:00Z"
    async with running(known, journal=journal()) as service:
        for key in (session.key, fork.key):
            restored = await service.store.get(key)
            assert restored.describe()["next_timestamp"] == "2024-07-02T00:00:00Z"


async def test_a_snapshot_brings_its_frequency(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, COUNTED_SUM, frequency="D", first_timestamp=FIRST)
        await observe(session, floats(1))
        blob = await service.snapshots.take(session)
        again = await opens(service, COUNTED_SUM, snapshot=blob)
        assert again.describe()["next_timestamp"] == "2024-07-02T00:00:00Z"
        with pytest.raises(InputMismatch, match="frequency: a snapshot has its own"):
            await opens(service, COUNTED_SUM, snapshot=blob, frequency="D")


async def test_sessions_of_a_model_go_on_when_it_gets_a_direct_forecast(tmp_path: Path) -> None:
    """As a republished version does: what tells more of the same rows changes no row."""
    folder = tmp_path / "models"
    known_models.running_sum(folder)
    journal = tmp_path / "sessions.db"
    async with running(folder, journal=SqliteJournal(journal, Records(Record))) as service:
        session = await opens(service, RUNNING_SUM, id="a")
        await observe(session, floats(1, 2))
    direct = tmp_path / "direct"
    known_models.running_sum(direct, path_correlation=0.5)
    async with running(direct, journal=SqliteJournal(journal, Records(Record))) as service:
        restored = await service.store.get(session.key)
        assert (await forecast(restored, ForecastRequest(1))).method == "direct"
