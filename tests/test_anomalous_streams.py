"""Streams of every kind through the real service: what comes of any model that tells its own anomaly score.

The models are two with random weights, built as training builds them, and all bundled ones that are of the kind and
need nothing but values.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("torch")

import anyio

from service.contract.manifest import Manifest, load_manifest
from service.models.device import Device
from service.models.repository import Repository
from service.sessions.service import Service
from service.sessions.session import Session
from service.sessions.threshold import threshold_of
from service.tasks.forecast import Observed, generate, observe
from tests.service.running import opened, row_of, running
from tests.training.scoring.scored_models import publish_any_series, publish_scored

pytestmark = pytest.mark.anyio

MODELS = Path(__file__).parent.parent / "models"
NAN = np.nan
FIRST = np.datetime64("2024-01-01", "s")
Floats = NDArray[np.float32]


def tells_a_score(manifest: Manifest) -> bool:
    outputs = {tensor.name for tensor in manifest.graphs["observe"].outputs}
    return "anomaly_score" in outputs and manifest.forecast is not None and not manifest.forecast.future_covariates


BUNDLED = sorted(
    {found.name for path in MODELS.glob("*/*/manifest.json") if tells_a_score(found := load_manifest(path.parent))}
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    folder = tmp_path_factory.mktemp("scored") / "models"
    publish_scored(folder, conformal=0.05)
    publish_any_series(folder)
    return scanned(folder)


@pytest.fixture(scope="module")
def bundled() -> Repository:
    return scanned(MODELS)


def scanned(folder: Path) -> Repository:
    repository = Repository(folder, Device("cpu"))
    assert not repository.scan().rejected
    return repository


@pytest.fixture(params=["tiny", "any", *BUNDLED])
def model(request: pytest.FixtureRequest) -> tuple[Repository, str]:
    """A repository, and the name of a model in it whose newest version tells its own score."""
    return request.getfixturevalue("bundled" if request.param in BUNDLED else "tiny"), request.param


@asynccontextmanager
async def session_of(model: tuple[Repository, str], **more: Any) -> AsyncIterator[tuple[Service, Session]]:
    repository, name = model
    has_frequency = repository.get(name).manifest.forecast.frequency is not None  # type: ignore[union-attr]
    async with running(repository) as service:
        yield service, opened(service, name, **({"first_timestamp": FIRST} if has_frequency else {}), **more)


def seen_of(model: tuple[Repository, str], values: Any, **more: Any) -> Observed:
    """What a new session is told of values."""

    async def ask() -> Observed:
        async with session_of(model, **more) as (_, session):
            return await observe(session, np.asarray(values, np.float32))

    return anyio.run(ask)


def require_usable(seen: Observed, values: Floats, threshold: float) -> None:
    """Whatever came, every answer can be used."""
    there = ~np.isnan(values)
    foretold = np.cumsum(there) - there > 0  # a value was seen before
    np.testing.assert_array_equal(np.isfinite(seen.expected), foretold)
    assert (seen.interval.lower[foretold] <= seen.expected[foretold]).all()
    assert (seen.expected[foretold] <= seen.interval.upper[foretold]).all()
    scored = foretold & there
    np.testing.assert_array_equal(np.isfinite(seen.anomaly_score), scored)
    assert ((seen.anomaly_score[scored] >= 0) & (seen.anomaly_score[scored] <= 1)).all()
    assert seen.anomaly is not None
    np.testing.assert_array_equal(seen.anomaly, np.nan_to_num(seen.anomaly_score) >= threshold)


def awkward() -> Iterator[tuple[str, NDArray[np.floating[Any]]]]:
    random = np.random.default_rng(0)
    noise = random.standard_normal(300)
    yield "constant", np.full(300, 7.25)
    yield "zeros", np.zeros(300)
    yield "one value", np.array([3.0])
    yield "nothing but gaps", np.full(20, NAN)
    yield "a gap, then one value, then gaps", np.array([NAN, NAN, 5, *[NAN] * 50])
    yield "tiny", 1e-12 * (5 + noise)
    yield "huge", 1e12 * (5 + noise)
    yield "the largest there are", np.where(noise > 0, 1e36, -1e36)
    yield "negative", -1000 + noise
    yield "intermittent", np.where(random.random(300) < 0.1, 5 + noise, 0)
    yield "with gaps", np.where(random.random(300) < 0.3, NAN, noise)
    yield "a long gap", np.concatenate([noise[:100], np.full(200, NAN), noise[100:]])
    yield "a level shift", np.concatenate([noise[:150], 1000 + noise[150:]])
    yield "a burst", np.concatenate([noise[:150], 50 * noise[150:160], noise[160:]])
    yield "growing", np.exp(np.arange(300) / 10)
    yield "constant, then alive", np.concatenate([np.full(150, 2.0), 2 + noise[:150]])


AWKWARD = list(awkward())


@pytest.mark.parametrize(("kind", "values"), AWKWARD, ids=[kind for kind, _ in AWKWARD])
def test_whatever_a_stream_is_like_its_answers_can_be_used(
    model: tuple[Repository, str], kind: str, values: NDArray[np.float64]
) -> None:
    task = model[0].get(model[1]).manifest.forecast
    assert task is not None and task.anomaly_threshold is not None
    seen = seen_of(model, values)
    require_usable(seen, values.astype(np.float32), task.anomaly_threshold)
    if kind in ("constant", "zeros"):
        assert seen.anomaly is not None and not seen.anomaly.any()


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(st.floats(-(2.0**40), 2.0**40, width=32) | st.just(NAN), min_size=1, max_size=30))
def test_any_values_are_answered_usably(tiny: Repository, values: list[float]) -> None:
    require_usable(seen_of((tiny, "tiny"), values), np.array(values, np.float32), 0.999)


@pytest.mark.parametrize("threshold", [0.99, 0.999])
def test_nothing_is_flagged_before_there_is_a_usual(model: tuple[Repository, str], threshold: float) -> None:
    random = np.random.default_rng(6)
    beginnings = [
        np.arange(20),
        np.array([0, 1e12, 2e12, 3e12]),
        random.poisson(0.3, 20),
        random.standard_normal(20),
        1000 + random.standard_normal(20),
        np.array([NAN, 0, NAN, 5, 1e6]),
    ]
    for values in beginnings:
        flags = seen_of(model, values, anomaly_threshold=threshold).anomaly
        assert flags is not None and not flags.any()


async def test_scores_are_the_same_bits_however_a_stream_is_cut(model: tuple[Repository, str]) -> None:
    random = np.random.default_rng(1)
    values = random.standard_t(2, 160).astype(np.float32)
    values[random.random(160) < 0.1] = NAN
    async with session_of(model) as (service, session):
        whole = await observe(session, values)
        other = opened(service, model[1], first_timestamp=session.first_timestamp)
        cuts = [0, 1, 2, 5, 40, 41, 100, 160]
        parts = [await observe(other, values[a:b]) for a, b in zip(cuts, cuts[1:], strict=False)]
        assert np.concatenate([part.anomaly_score for part in parts]).tobytes() == whole.anomaly_score.tobytes()
        assert row_of(service, other) == row_of(service, session)


async def test_values_that_were_drawn_leave_the_memory_that_observing_them_leaves(
    model: tuple[Repository, str],
) -> None:
    async with session_of(model, seed=3) as (service, session):
        await observe(session, np.arange(30, dtype=np.float32) % 7)
        fork = await service.store.fork(session.key, None, 3)
        drawn = await generate(session, 20)
        await observe(fork, drawn.values)
        assert row_of(service, fork) == row_of(service, session)


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_the_unit_of_a_stream_changes_no_flag(model: tuple[Repository, str], scale: float) -> None:
    values = 10 + np.random.default_rng(2).standard_normal(400)
    values[300] = 60
    plain, scaled = (seen_of(model, values * unit, anomaly_threshold=0.99) for unit in (1, scale))
    np.testing.assert_allclose(scaled.anomaly_score, plain.anomaly_score, atol=2e-3)
    assert plain.anomaly is not None and plain.anomaly[300] and (plain.anomaly == scaled.anomaly).all()


@pytest.mark.parametrize("level", [0.99, 0.999])
def test_of_a_stream_that_goes_on_as_usual_no_more_is_flagged_than_the_threshold_says(
    model: tuple[Repository, str], level: float
) -> None:
    values = np.random.default_rng(3).standard_normal(4000)
    seen = seen_of(model, values, anomaly_threshold=level)
    assert seen.anomaly is not None and seen.anomaly[100:].mean() <= 1 - level


def test_a_level_shift_is_told_at_once_and_not_for_long(model: tuple[Repository, str]) -> None:
    values = np.random.default_rng(4).standard_normal(900)
    values[500:] += 40
    flags = seen_of(model, values, anomaly_threshold=0.99).anomaly
    assert flags is not None and flags[500] and flags[501:].sum() <= 2 and not flags[:500].any()


def test_a_value_after_a_gap_is_scored_and_the_gap_is_not(model: tuple[Repository, str]) -> None:
    values = np.random.default_rng(5).standard_normal(300)
    values[200:260] = NAN
    seen = seen_of(model, values, anomaly_threshold=0.99)
    assert np.isnan(seen.anomaly_score[200:260]).all() and np.isfinite(seen.anomaly_score[260:]).all()
    assert seen.anomaly is not None and not seen.anomaly.any()


async def test_a_session_has_its_models_published_threshold(model: tuple[Repository, str]) -> None:
    async with session_of(model) as (_, session):
        task = session.model.manifest.forecast
        assert task is not None and threshold_of(session) == task.anomaly_threshold is not None
