"""How many sessions an owner may have, in memory and in the journal."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.errors import RateLimited, SessionExists
from service.journal.memory import MemoryJournal
from service.models.device import Device
from service.models.repository import Repository
from service.sessions import quota
from service.sessions.service import OpenSession, Service, ServiceLimits
from service.sessions.session import Session
from service.sessions.store import StoreLimits
from tests import known_models
from tests.known_models import RUNNING_SUM
from tests.service.running import DurableJournal, Watch

pytestmark = pytest.mark.anyio
MOST = 3


class Allowance:
    refused = 0

    def charge(self, owner: str | None, steps: int) -> None:
        pass

    def most_sessions(self, owner: str | None) -> int | None:
        return None if owner is None else MOST

    def on_refused_session(self) -> None:
        self.refused += 1


async def started(folder: Path, journal: MemoryJournal, allowance: Allowance, most_in_memory: int = 100) -> Service:
    if not (folder / RUNNING_SUM).exists():
        known_models.running_sum(folder)
    limits = ServiceLimits(StoreLimits(most_in_memory, 3600, 7200), 100, 4096)
    service = Service(Repository(folder, Device("cpu")), Watch(), limits, journal, allowance)
    await service.start()
    return service


async def opens(service: Service, owner: str | None, session_id: str | None = None) -> Session:
    return await service.open(OpenSession(RUNNING_SUM, id=session_id, owner=owner))


@pytest.mark.parametrize("journal", [MemoryJournal(), DurableJournal()])
async def test_an_owner_may_have_so_many_and_others_theirs(tmp_path: Path, journal: MemoryJournal) -> None:
    allowance = Allowance()
    service = await started(tmp_path, journal, allowance)
    for owner in ("a", "b"):
        for _ in range(MOST):
            await opens(service, owner)
        with pytest.raises(RateLimited, match="3 sessions, of 3"):
            await opens(service, owner)
    for _ in range(2 * MOST):
        await opens(service, None)
    assert allowance.refused == 2
    await service.stop(1)


async def test_a_session_that_is_closed_makes_room_at_once(tmp_path: Path) -> None:
    service = await started(tmp_path, DurableJournal(), Allowance())
    first = [await opens(service, "a") for _ in range(MOST)][0]
    await service.store.close(first.key)
    await opens(service, "a")
    with pytest.raises(RateLimited):
        await opens(service, "a")
    await service.stop(1)


async def test_what_only_the_journal_has_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "_REFUSED_FOR_S", 0.0)
    journal = DurableJournal()
    service = await started(tmp_path, journal, Allowance())
    kept = [await opens(service, "a") for _ in range(MOST)]
    await service.stop(1)
    again = await started(tmp_path, journal, Allowance())
    with pytest.raises(RateLimited):
        await opens(again, "a")
    await again.store.close(kept[0].key)
    await opens(again, "a")
    await again.stop(1)


async def test_a_session_that_could_not_be_opened_does_not_count(tmp_path: Path) -> None:
    service = await started(tmp_path, MemoryJournal(), Allowance())
    await opens(service, "a", "same")
    for _ in range(2 * MOST):
        with pytest.raises(SessionExists):
            await opens(service, "a", "same")
    for _ in range(MOST - 1):
        await opens(service, "a")
    await service.stop(1)
