from __future__ import annotations

import pytest

from service.models.repository import Repository
from service.sessions.listing import Listing
from tests.known_models import NEXT_TOKEN, RUNNING_SUM
from tests.service.running import opened, running

pytestmark = pytest.mark.anyio


async def test_ids_stand_in_order_over_all_engines_or_for_one_model(known: Repository) -> None:
    async with running(known) as service:
        listing = Listing()
        for number in (3, 1, 4, 0, 2):
            listing.add(opened(service, RUNNING_SUM if number % 2 else NEXT_TOKEN, id=f"s{number}"))
        assert list(listing.after(None, None)) == ["s0", "s1", "s2", "s3", "s4"]
        assert list(listing.after(None, RUNNING_SUM)) == ["s1", "s3"]
        assert list(listing.after(None, "never")) == []


async def test_a_list_goes_on_after_an_id_whether_it_is_there_or_not(known: Repository) -> None:
    async with running(known) as service:
        listing = Listing()
        for id_ in "ace":
            listing.add(opened(service, RUNNING_SUM, id=id_))
        assert [list(listing.after(id_, None)) for id_ in ("a", "b", "e", "")] == [
            ["c", "e"],
            ["c", "e"],
            [],
            ["a", "c", "e"],
        ]


async def test_an_engine_is_needed_as_long_as_a_session_is_on_it(known: Repository) -> None:
    async with running(known) as service:
        listing = Listing()
        series, other, text = (opened(service, model) for model in (RUNNING_SUM, RUNNING_SUM, NEXT_TOKEN))
        for session in (series, other, text):
            listing.add(session)
        listing.remove(series)
        assert listing.engines() == {other.engine, text.engine}
        listing.remove(other)
        assert listing.engines() == {text.engine} and list(listing.after(None, None)) == [text.id]
