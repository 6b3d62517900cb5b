"""Completions without a session."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from service.models.repository import Repository
from service.tasks.text import GenerateRequest, complete, generate, observe_text, tokens_of
from tests.known_models import ALPHABET, NEXT_TOKEN
from tests.service.running import Watch, gated, opened, running
from tests.service.tasks.cycling import collect

pytestmark = pytest.mark.anyio

LIKELIEST = GenerateRequest(max_tokens=26, temperature=0)


def following(start: str, count: int) -> str:
    """What the known generator most likely writes after a character."""
    at = ALPHABET.index(start) + 1
    return (ALPHABET * (2 + count // len(ALPHABET)))[at : at + count]


async def test_a_completion_is_what_a_session_of_that_seed_would_write(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, NEXT_TOKEN, seed=6)
        prompt = tokens_of(session.model, "hello", None)
        request = GenerateRequest(50, temperature=1.5, seed=6, stop=("zq",))
        held = await collect(generate(session, request, prompt=prompt))
        free = await collect(complete(service, session.model, prompt, request))
        assert (held.text, held.tokens, held.finish_reason) == (free.text, free.tokens, free.finish_reason)
        assert free.position is None and len(service.store) == 1


async def test_completions_differ_by_prompt_and_by_sample(known: Repository) -> None:
    async with running(known) as service:
        model, request = known.get(NEXT_TOKEN), GenerateRequest(60, temperature=2, seed=1)
        prompt = tokens_of(model, "a", None)
        numbers = [(prompt_index, sample_index) for prompt_index in range(2) for sample_index in range(3)]

        async def one(numbers: tuple[int, int]) -> str:
            asked = complete(service, model, prompt, request, prompt_index=numbers[0], sample_index=numbers[1])
            return (await collect(asked)).text

        together = await asyncio.gather(*map(one, numbers))
        assert len(set(together)) == 6
        assert [await one(pair) for pair in numbers] == together


async def test_a_completion_may_begin_with_nothing(known: Repository) -> None:
    async with running(known) as service:
        whole = await collect(complete(service, known.get(NEXT_TOKEN), np.empty(0, np.int64), LIKELIEST))
        assert whole.text == following("\n", 26)


async def test_a_completion_of_no_tokens_is_empty(known: Repository) -> None:
    async with running(known) as service:
        whole = await collect(complete(service, known.get(NEXT_TOKEN), np.array([2]), GenerateRequest(0)))
        assert (whole.text, whole.tokens, whole.finish_reason) == ("", [], "length")


async def test_a_completion_that_nobody_reads_any_more_leaves_no_work_behind(known: Repository) -> None:
    watch = Watch()
    async with running(known, watch) as service:
        model = known.get(NEXT_TOKEN)
        pieces = complete(service, model, np.array([2]), GenerateRequest(4000))
        await anext(pieces)
        await pieces.aclose()  # type: ignore[attr-defined]
        runs = len(watch.runs)
        await observe_text(opened(service, NEXT_TOKEN), text="a")
        assert len(watch.runs) == runs + 1


async def test_a_cancelled_completion_leaves_no_work_behind(known: Repository) -> None:
    watch = Watch()
    async with running(known, watch) as service:
        session = opened(service, NEXT_TOKEN)
        with gated(session.model) as gate:
            gate.close()
            request = complete(service, session.model, np.full(5000, 2), GenerateRequest(5))
            asking = asyncio.create_task(collect(request))
            await gate.entered()
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            gate.open()
            await observe_text(session, text="a")
        assert len(watch.runs) <= 2
