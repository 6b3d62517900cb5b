from __future__ import annotations

import logging
import resource
from collections.abc import Iterator

import pytest

from service.open_files import room_for


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, tuple[int, int]]]:
    """The limits of the process as it takes them to be."""
    held = {"now": (1024, 4096)}
    monkeypatch.setattr(resource, "getrlimit", lambda _: held["now"])
    monkeypatch.setattr(resource, "setrlimit", lambda _, to: held.update(now=to))
    yield held


def test_as_many_files_as_connections_need_are_asked_for(limits: dict[str, tuple[int, int]]) -> None:
    assert room_for(2000) == 2000
    assert limits["now"] == (2256, 4096)


def test_fewer_connections_fit_where_the_system_gives_no_more(
    limits: dict[str, tuple[int, int]], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert room_for(10_000) == 4096 - 256
    assert "3840 connections may be open rather than 10000" in caplog.text and "ulimit -n" in caplog.text


def test_nothing_is_changed_where_there_is_room(limits: dict[str, tuple[int, int]]) -> None:
    for now in ((1024, 4096), (resource.RLIM_INFINITY, resource.RLIM_INFINITY)):
        limits["now"] = now
        assert room_for(500) == 500
        assert limits["now"] == now


def test_one_connection_fits_at_any_rate(limits: dict[str, tuple[int, int]]) -> None:
    limits["now"] = (64, 64)
    assert room_for(100) == 1
