"""Bit for bit, on every bundled model: streamed = whole, batched = alone, generated = observed, seeded = repeatable.

Everything goes through the real repository, engine and sessions on the CPU provider; results are compared by bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from service.contract.manifest import Manifest
from service.sessions.service import OpenSession, Service
from service.sessions.session import Session
from service.tasks import classify, forecast, text
from tests.service.running import at_once, running

pytestmark = pytest.mark.anyio

MODELS = Path(__file__).parent.parent / "models"
BUNDLED = sorted(path.parent.parent.name for path in MODELS.glob("*/1/manifest.json"))
LENGTH = 150


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=BUNDLED)
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async with running(MODELS) as service:
        yield Bench(service, request.param)


@pytest.fixture
def generator(bench: Bench) -> Bench:
    """A bundled model that generates."""
    if bench.manifest.classify is not None:
        pytest.skip("a classifier generates nothing")
    return bench


def test_all_five_models_are_bundled() -> None:
    assert {"pjm-load", "melbourne-temperature", "shakespeare", "songci", "surnames"} <= set(BUNDLED)


@dataclass
class Bench:
    """One bundled model in a running service, and inputs that suit it."""

    service: Service
    name: str

    @property
    def manifest(self) -> Manifest:
        return self.service.repository.get(self.name).manifest

    def open(self, seed: int = 1) -> Session:
        task = self.manifest.forecast
        first = np.datetime64("2024-02-28T21:00:00") if task is not None and task.frequency else None
        return at_once(self.service.open(OpenSession(self.name, first_timestamp=first, seed=seed, owner=None)))

    def inputs(self, seed: int, length: int = LENGTH) -> NDArray[np.generic]:
        """Values with gaps, or tokens, (length,)."""
        random = np.random.default_rng(seed)
        if self.manifest.tokens is not None:
            return random.integers(1, self.manifest.tokens.vocabulary_size, length)
        values = 1000 * (1.5 + np.sin(np.arange(length) * 2 * np.pi / 24)) + 50 * random.standard_normal(length)
        values[random.random(length) < 0.1] = np.nan
        return values.astype(np.float32)

    async def observe(self, session: Session, inputs: NDArray[np.generic]) -> dict[str, NDArray[np.generic]]:
        if self.manifest.text is not None:
            observed = await text.observe_text(session, tokens=[int(token) for token in inputs])
            return {"log_probabilities": observed.log_probabilities}
        if self.manifest.classify is not None:
            classified = await classify.observe(session, tokens=[int(token) for token in inputs])
            return {"probabilities": classified.probabilities}
        seen = await forecast.observe(session, inputs.astype(np.float32))
        return {"quantiles": seen.quantiles, "pit": seen.pit, "anomaly_score": seen.anomaly_score}

    async def generate(self, session: Session, steps: int) -> NDArray[np.generic]:
        if self.manifest.text is None:
            return (await forecast.generate(session, steps)).values
        request = text.GenerateRequest(steps, temperature=0.9, top_p=0.95)
        return np.array([token async for piece in text.generate(session, request) for token in piece.tokens])

    async def row(self, session: Session) -> bytes:
        async with session.turn() as turn:
            return (await turn.row()).tobytes()

    async def observe_in_pieces(
        self, session: Session, inputs: NDArray[np.generic], seed: int
    ) -> dict[str, NDArray[np.generic]]:
        random = np.random.default_rng(seed)
        pieces, start = [], 0
        while start < len(inputs):
            size = int(random.choice([1, 1, 2, 3, 7, 30]))
            pieces.append(await self.observe(session, inputs[start : start + size]))
            start += size
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def assert_same_bits(these: dict[str, NDArray[np.generic]], those: dict[str, NDArray[np.generic]]) -> None:
    for name, array in these.items():
        assert array.tobytes() == those[name].tobytes(), name


async def test_streamed_in_random_pieces_equals_whole(bench: Bench) -> None:
    inputs = bench.inputs(0)
    whole, streamed = bench.open(), bench.open()
    expected = await bench.observe(whole, inputs)
    assert_same_bits(await bench.observe_in_pieces(streamed, inputs, seed=1), expected)
    assert await bench.row(streamed) == await bench.row(whole)
    assert streamed.position == whole.position == LENGTH


async def test_any_interleaving_and_batching_equals_alone(bench: Bench) -> None:
    alone = []
    for seed in range(9):
        session = bench.open()
        alone.append((await bench.observe(session, bench.inputs(seed)), await bench.row(session)))
    crowd = [bench.open() for _ in range(9)]
    together = await asyncio.gather(
        *(bench.observe_in_pieces(session, bench.inputs(seed), seed) for seed, session in enumerate(crowd))
    )
    for session, streamed, (expected, row) in zip(crowd, together, alone, strict=True):
        assert_same_bits(streamed, expected)
        assert await bench.row(session) == row


async def test_generated_then_continued_equals_observed(generator: Bench) -> None:
    inputs = generator.inputs(3)
    generating, observing = generator.open(), generator.open()
    await generator.observe(generating, inputs[:100])
    drawn = await generator.generate(generating, 20)
    after = await generator.observe(generating, inputs[100:])
    expected = await generator.observe(observing, np.concatenate([inputs[:100], drawn, inputs[100:]]))
    assert_same_bits(after, {name: array[120:] for name, array in expected.items()})
    assert await generator.row(generating) == await generator.row(observing)


async def test_generating_in_two_requests_equals_one(generator: Bench) -> None:
    once, twice = generator.open(seed=5), generator.open(seed=5)
    for session in (once, twice):
        await generator.observe(session, generator.inputs(4, 60))
    whole = await generator.generate(once, 30)
    parts = [await generator.generate(twice, 11), await generator.generate(twice, 19)]
    assert np.concatenate(parts).tobytes() == whole.tobytes()
    assert await generator.row(once) == await generator.row(twice)


async def test_the_same_seed_draws_the_same_alone_and_in_a_crowd(generator: Bench) -> None:
    async def draw(seed: int) -> NDArray[np.generic]:
        session = generator.open(seed=seed)
        await generator.observe(session, generator.inputs(2, 40))
        return await generator.generate(session, 25)

    alone = [await draw(seed) for seed in range(8)]
    together = await asyncio.gather(*(draw(seed) for seed in range(8)))
    assert [drawn.tobytes() for drawn in together] == [drawn.tobytes() for drawn in alone]
    assert len({drawn.tobytes() for drawn in alone}) == 8


async def test_a_forecast_neither_moves_the_session_nor_depends_on_the_crowd(generator: Bench) -> None:
    if generator.manifest.forecast is None:
        continuation = text.GenerateRequest(30, seed=9)
        model = generator.service.repository.get(generator.name)
        prompt = generator.inputs(1, 50).astype(np.int64)

        async def answer() -> bytes:
            pieces = [piece async for piece in text.complete(generator.service, model, prompt, continuation)]
            return repr([piece.tokens for piece in pieces]).encode()

    else:
        session = generator.open()
        await generator.observe(session, generator.inputs(1))
        row = await generator.row(session)

        async def answer() -> bytes:
            result = await forecast.forecast(session, forecast.ForecastRequest(24, samples=20))
            assert result.samples is not None
            return result.samples.tobytes()

    alone = await answer()
    assert set(await asyncio.gather(*(answer() for _ in range(6)))) == {alone}
    if generator.manifest.forecast is not None:
        assert session.position == LENGTH
        assert await generator.row(session) == row
