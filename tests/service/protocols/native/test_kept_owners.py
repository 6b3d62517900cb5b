"""Whose sessions are, as the journal keeps it: after a restart, and where keys are introduced or turned off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.known_models import RUNNING_SUM
from tests.service.protocols.keyed import of, write
from tests.service.protocols.serving import Served, serve

Start = Callable[..., AbstractContextManager[Served]]
ALL = {"owner": "*"}


@pytest.fixture
def start(protocol_models: Path, tmp_path: Path) -> Start:
    """Serves on one file again and again, with keys or without."""
    keys = str(write(tmp_path / "keys.toml"))

    @contextmanager
    def started(*, with_keys: bool) -> Iterator[Served]:
        with serve(
            protocol_models, journal=f"sqlite://{tmp_path}/sessions.db", api_keys=keys if with_keys else ""
        ) as served:
            yield served

    return started


def open_for(served: Served, name: str | None, session: str, *values: float) -> None:
    headers = {} if name is None else of(name)
    opened = served.client.post("/v1/sessions", json={"model": RUNNING_SUM, "id": session}, headers=headers)
    assert opened.status_code == 201, opened.text
    body = {"values": list(values)}
    assert served.client.post(f"/v1/sessions/{session}/observe", json=body, headers=headers).status_code == 200


def listed(served: Served, name: str | None, **query: Any) -> set[tuple[str | None, str]]:
    """Whose sessions and which a list holds, two at a time."""
    found: set[tuple[str | None, str]] = set()
    after: str | None = None
    while True:
        asked = query | {"limit": "2"} | ({"after": after} if after else {})
        page = served.client.get("/v1/sessions", params=asked, headers={} if name is None else of(name)).json()
        found |= {(one["owner"], one["id"]) for one in page["data"]}
        if (after := page["next"]) is None:
            return found


def total(served: Served, name: str | None, session: str) -> float:
    headers = {} if name is None else of(name)
    seen = served.client.post(f"/v1/sessions/{session}/observe", json={"values": [0.0]}, headers=headers)
    return float(seen.json()["quantiles"]["values"][0][1])


def test_each_owner_finds_its_own_after_a_restart(start: Start) -> None:
    with start(with_keys=True) as served:
        open_for(served, "alice", "same", 1.0)
        open_for(served, "bob", "same", 10.0)
        open_for(served, "bob", "other", 100.0)
    with start(with_keys=True) as served:
        assert listed(served, "alice") == {("alice", "same")}
        assert listed(served, "bob") == {("bob", "same"), ("bob", "other")}
        assert total(served, "alice", "same") == 1.0 and total(served, "bob", "same") == 10.0
        assert served.client.get("/v1/sessions/other", headers=of("alice")).status_code == 404
        assert listed(served, "bob") == {("bob", "same"), ("bob", "other")}
        assert served.client.delete("/v1/sessions", params={"idle_for_s": 0}, headers=of("alice")).json() == {
            "closed": 1
        }
        assert total(served, "bob", "same") == 10.0


def test_what_was_opened_before_there_were_keys_is_nobodys_and_only_an_admin_sees_and_closes_it(start: Start) -> None:
    with start(with_keys=False) as served:
        open_for(served, None, "old", 5.0)
        open_for(served, None, "older", 6.0)
        assert listed(served, None) == {(None, "old"), (None, "older")}
    with start(with_keys=True) as served:
        open_for(served, "alice", "old", 1.0)
        assert served.client.get("/v1/sessions/older", headers=of("alice")).status_code == 404
        assert listed(served, "alice") == {("alice", "old")}
        assert listed(served, "operator", **ALL) == {(None, "old"), (None, "older"), ("alice", "old")}
        assert listed(served, "operator", owner="") == {(None, "old"), (None, "older")}
        assert served.client.delete("/v1/sessions/older", params={"owner": ""}, headers=of("alice")).status_code == 403
        assert (
            served.client.delete("/v1/sessions/older", params={"owner": ""}, headers=of("operator")).status_code == 200
        )
        assert listed(served, "operator", **ALL) == {(None, "old"), ("alice", "old")}
    with start(with_keys=False) as served:
        assert total(served, None, "old") == 5.0
        assert listed(served, None) == {(None, "old")}
        assert listed(served, None, **ALL) == {(None, "old"), ("alice", "old")}
        for reaching in ("alice/old", "alice%2Fold"):
            assert served.client.get(f"/v1/sessions/{reaching}").status_code == 404
        bulk = {"sessions": [{"session_id": "alice/old", "values": [1.0]}]}
        assert served.post("/v1/observe", bulk).json()["data"][0]["error"]["code"] == "session_not_found"
        opened = served.post("/v1/sessions", {"model": RUNNING_SUM, "id": "alice/new"})
        assert opened.status_code == 422
    with start(with_keys=True) as served:
        assert total(served, "alice", "old") == 1.0


def test_an_admin_clears_one_owners_sessions_in_the_journal_and_no_others(start: Start) -> None:
    with start(with_keys=True) as served:
        for name in ("alice", "bob"):
            for number in range(3):
                open_for(served, name, f"s{number}", 1.0)
    with start(with_keys=True) as served:
        cleared = served.client.delete(
            "/v1/sessions", params={"model": RUNNING_SUM, "owner": "alice"}, headers=of("operator")
        )
        assert cleared.json() == {"closed": 3}
        assert listed(served, "alice") == set() and len(listed(served, "bob")) == 3
        cleared = served.client.delete("/v1/sessions", params={"idle_for_s": "0"} | ALL, headers=of("operator"))
        assert cleared.json() == {"closed": 3}
