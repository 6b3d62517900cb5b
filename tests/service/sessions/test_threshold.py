"""A session's own threshold: asked for when it is opened, and kept wherever the session goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.errors import InputMismatch
from service.journal import Journal
from service.journal.codec import Records
from service.journal.location import open_journal
from service.models.repository import Repository
from service.sessions.ownership import SessionKey
from service.sessions.places import Place
from service.sessions.record import Record
from service.sessions.threshold import threshold_of
from service.tasks.forecast import observe
from tests.known_models import NEXT_TOKEN, RUNNING_SUM
from tests.service.conftest import SCORED_SUM
from tests.service.running import floats, opened, opens, running

pytestmark = pytest.mark.anyio


async def test_a_session_has_its_models_threshold_unless_it_is_given_one(known: Repository) -> None:
    async with running(known) as service:
        thresholds = {
            threshold_of(opened(service, SCORED_SUM)): 0.5,
            threshold_of(opened(service, SCORED_SUM, anomaly_threshold=0.75)): 0.75,
            threshold_of(opened(service, RUNNING_SUM)): None,
            threshold_of(opened(service, NEXT_TOKEN)): None,
        }
        assert list(thresholds) == list(thresholds.values())


async def test_a_session_tells_its_threshold(known: Repository) -> None:
    async with running(known) as service:
        assert opened(service, SCORED_SUM).describe()["anomaly_threshold"] == 0.5
        assert opened(service, RUNNING_SUM, anomaly_threshold=1).describe()["anomaly_threshold"] == 1
        assert opened(service, RUNNING_SUM).describe()["anomaly_threshold"] is None
        assert "anomaly_threshold" not in opened(service, NEXT_TOKEN).describe()


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.0001, float("nan"), float("inf")])
async def test_a_threshold_that_is_no_score_is_refused_and_nothing_opened(known: Repository, threshold: float) -> None:
    async with running(known) as service:
        with pytest.raises(InputMismatch, match="anomaly_threshold: expected a score above 0 and at most 1"):
            opened(service, SCORED_SUM, id="a", anomaly_threshold=threshold)
        assert service.store.find(SessionKey("a")) is None


async def test_a_text_model_takes_no_threshold(known: Repository) -> None:
    async with running(known) as service:
        with pytest.raises(InputMismatch, match="expected with a forecaster, and next-token/1 is none: leave it out"):
            opened(service, NEXT_TOKEN, anomaly_threshold=0.9)


async def test_a_fork_has_its_parents_threshold_unless_it_is_given_one(known: Repository) -> None:
    async with running(known) as service:
        parent = opened(service, SCORED_SUM, anomaly_threshold=0.75)
        assert threshold_of(await service.store.fork(parent.key, None, None)) == 0.75
        assert threshold_of(await service.store.fork(parent.key, None, None, Place(), 0.25)) == 0.25
        unset = opened(service, SCORED_SUM)
        assert (await service.store.fork(unset.key, None, None)).anomaly_threshold is None


async def test_a_snapshot_has_the_threshold_unless_it_is_given_one(known: Repository) -> None:
    async with running(known) as service:
        blob = await service.snapshots.take(opened(service, SCORED_SUM, anomaly_threshold=0.75))
        assert threshold_of(await opens(service, SCORED_SUM, snapshot=blob)) == 0.75
        assert threshold_of(await opens(service, SCORED_SUM, snapshot=blob, anomaly_threshold=0.25)) == 0.25


async def test_a_session_keeps_its_threshold_over_a_restart(known: Repository, tmp_path: Path) -> None:
    def journal() -> Journal:
        return open_journal(f"sqlite://{tmp_path / 'sessions.db'}", Records(Record))

    async with running(known, journal=journal()) as service:
        await observe(await opens(service, SCORED_SUM, id="a", anomaly_threshold=0.25), floats(10, 12))
    async with running(known, journal=journal()) as service:
        session = await service.store.get(SessionKey("a"))
        seen = await observe(session, floats(22, 46))  # .25 from the 44 that are expected
        assert threshold_of(session) == 0.25 and seen.anomaly is not None and seen.anomaly.tolist() == [False, True]


def test_a_record_from_before_there_were_thresholds_is_read() -> None:
    whole = Record("m/1", 3, 7, None, b"", None, 60.0, 1.0, "sync", b"c", b"l", b"r", (), 0.25)
    records: Records[Record] = Records(Record)
    plain: Records[list[object]] = Records(list)
    fields = plain.decode(records.encode(whole))
    older = records.decode(plain.encode(fields[:13]))
    assert older.anomaly_threshold is None and older.recent == b"r" and fields[13] == 0.25
