from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from service.engine.owner import working_for
from service.models.model import Model
from service.models.repository import Repository
from service.sessions.prefix_cache import FAR, NEAR, PrefixCache
from tests.known_models import NEXT_TOKEN
from tests.service.conftest import NEXT_BYTE
from tests.service.running import Watch


@pytest.fixture
def model(known: Repository) -> Model:
    return known.get(NEXT_TOKEN)


def prompt(length: int, seed: int = 0) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(1, 28, length)


def row(value: float) -> NDArray[np.float32]:
    return np.array([[value, 0]], np.float32)


def test_the_longest_beginning_that_was_kept_is_found(model: Model) -> None:
    cache, tokens = PrefixCache(10**6, Watch()), prompt(300)
    cache.keep(model, tokens, [(64, row(1)), (128, row(2)), (300, row(3))])
    for length, expected in ((300, 300), (299, 128), (130, 128), (128, 128), (127, 64), (63, 0)):
        end, found = cache.longest(model, tokens[:length])
        assert end == expected and (found is None) == (end == 0)
    other = tokens.copy()
    other[100] += 1
    assert cache.longest(model, other)[0] == 64


def test_a_row_that_was_kept_is_not_changed_from_outside(model: Model) -> None:
    cache, tokens, given = PrefixCache(10**6, Watch()), prompt(10), row(1)
    cache.keep(model, tokens, [(10, given)])
    given[0, 0] = 9
    found = cache.longest(model, tokens)[1]
    assert found is not None and found.tolist() == [[1, 0]]


def test_models_do_not_share_what_they_read(known: Repository, model: Model) -> None:
    cache, tokens = PrefixCache(10**6, Watch()), prompt(10)
    cache.keep(model, tokens, [(10, row(1))])
    assert cache.longest(known.get(NEXT_BYTE), tokens) == (0, None)


def test_owners_do_not_learn_what_others_have_asked(model: Model) -> None:
    cache, tokens = PrefixCache(10**6, Watch()), prompt(10)
    found = {}
    for owner in ("one", "other", None):
        mine = working_for.set(owner)
        found[owner] = cache.longest(model, tokens)[0]
        cache.keep(model, tokens, [(10, row(1))])
        assert cache.longest(model, tokens)[0] == 10
        working_for.reset(mine)
    assert found == {"one": 0, "other": 0, None: 0}


def test_the_least_recently_used_rows_go_first(model: Model) -> None:
    cache = PrefixCache(3 * 208, Watch())
    for seed in range(3):
        cache.keep(model, prompt(10, seed), [(10, row(seed))])
    assert cache.longest(model, prompt(10, 0))[0] == 10
    cache.keep(model, prompt(10, 3), [(10, row(3))])
    assert [cache.longest(model, prompt(10, seed))[0] for seed in range(4)] == [10, 0, 10, 10]
    assert len(cache) == 3 and cache.size_bytes <= 3 * 208


def test_rows_are_kept_at_near_places_first_and_at_far_ones_then() -> None:
    cache = PrefixCache(1, Watch())
    assert cache.stops(0) == [] and cache.stops(1) == [1] and cache.stops(NEAR) == [NEAR]
    assert cache.stops(NEAR + 1) == [NEAR, NEAR + 1]
    stops = cache.stops(100_000)
    assert stops == sorted(set(stops)) and stops[-1] == 100_000 and len(stops) < 64 + 100_000 / FAR + 2
    assert PrefixCache(0, Watch()).stops(100_000) == [100_000]


def test_hits_and_misses_are_counted_in_tokens(model: Model) -> None:
    watch = Watch()
    cache, tokens = PrefixCache(10**6, watch), prompt(100)
    cache.longest(model, tokens)
    cache.keep(model, tokens, [(64, row(1)), (100, row(2))])
    cache.longest(model, tokens[:80])
    assert (watch.events["prefix hit"], watch.events["prefix missed"]) == (64, 116)
