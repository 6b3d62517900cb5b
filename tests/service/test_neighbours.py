"""One session of one API key beside a crowd of another's: real processes, real clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from statistics import median

import pytest

from benchmarks.neighbour import CROWD, NEIGHBOUR, Single, crowding, keyed_server, observing, opened
from tests import known_models
from tests.known_models import RUNNING_SUM

CROWD_SIZE = 100


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    folder = tmp_path_factory.mktemp("neighbours")
    known_models.running_sum(folder / "models")
    with keyed_server(folder, folder / "models") as served:
        yield served


@pytest.mark.parametrize("steps", [1, 500])
def test_one_session_goes_on_beside_a_crowd_of_another_key(server: tuple[str, dict[str, str]], steps: int) -> None:
    address, keys = server
    (own,) = opened(address, keys[NEIGHBOUR], f"single{steps}-", 1, RUNNING_SUM)
    many = opened(address, keys[CROWD], f"crowd{steps}-", CROWD_SIZE, RUNNING_SUM)
    with (
        closing(Single(address, observing(keys[NEIGHBOUR], [own], 1, ())[0])) as single,
        crowding(address, observing(keys[CROWD], many, steps, ()), 2.0) as seen,
    ):
        neighbour = single.step(2.0)
    assert set(neighbour.by_status) == {200}, "what others ask for is refused to them alone"
    assert seen[0].accepted and not seen[0].others
    # Mostly it waits far less than each of the crowd (`benchmarks neighbour`); never much longer.
    assert median(neighbour.accepted) < 2 * median(seen[0].accepted)
