from __future__ import annotations

import asyncio

import numpy as np
import pytest

from service.models.repository import Repository
from service.sessions.prefix_cache import PrefixCache
from service.tasks.prefill import Prefill, read_prompt
from service.tasks.text import GenerateRequest, complete, tokens_of
from tests.known_models import NEXT_TOKEN
from tests.service.engine.building import engine_of
from tests.service.running import Watch, gated, running
from tests.service.tasks.cycling import collect

pytestmark = pytest.mark.anyio
PROMPT = "abcdefghij"


async def test_choices_that_share_a_prompt_take_it_in_once_and_give_what_each_gives_alone(known: Repository) -> None:
    watch, request = Watch(), GenerateRequest(8, temperature=1.5, seed=3)
    async with running(known, watch) as service:
        model = service.repository.get(NEXT_TOKEN)
        prompt = tokens_of(model, PROMPT, None)
        alone = [await collect(complete(service, model, prompt, request, sample_index=index)) for index in range(4)]
        watch.runs.clear()
        shared = Prefill(prompt)
        together = await asyncio.gather(
            *(collect(complete(service, model, shared, request, sample_index=index)) for index in range(4))
        )
    assert [told.tokens for told in together] == [told.tokens for told in alone]
    assert sum(steps for graph, _, steps in watch.runs if graph == "observe") == len(PROMPT)


async def test_an_empty_prompt_is_the_initial_row(known: Repository) -> None:
    model = known.get(NEXT_TOKEN)
    async with engine_of(model) as engine:
        rows, cached = await Prefill(tokens_of(model, None, [])).rows(model, engine.submit, PrefixCache(10**6, Watch()))
    assert rows.tobytes() == model.initial().tobytes() and cached == 0


@pytest.mark.parametrize("shared", [0, 63, 64, 65, 700, 999, 1000])
async def test_what_prompts_share_is_read_once(known: Repository, shared: int) -> None:
    model, watch = known.get(NEXT_TOKEN), Watch()
    first = np.random.default_rng(0).integers(1, 28, 1000)
    second = np.concatenate([first[:shared], 28 - first[shared:]])
    async with engine_of(model) as engine:
        prefixes = PrefixCache(10**6, watch)
        await read_prompt(model, engine.submit, first, prefixes)
        rows, cached = await read_prompt(model, engine.submit, second, prefixes)
        exact, _ = await read_prompt(model, engine.submit, second, PrefixCache(0, watch))
    assert cached == (1000 if shared == 1000 else shared // 64 * 64)
    assert rows.tobytes() == exact.tobytes()
    assert (watch.events["prefix hit"], watch.events["prefix missed"]) == (cached, 2000 - cached)


async def test_a_cache_without_room_keeps_nothing(known: Repository) -> None:
    model = known.get(NEXT_TOKEN)
    async with engine_of(model) as engine:
        prefixes = PrefixCache(0, Watch())
        for _ in range(2):
            _, cached = await read_prompt(model, engine.submit, np.full(200, 2), prefixes)
            assert cached == 0 and len(prefixes) == 0


async def test_a_prompt_is_given_up_with_the_last_who_waits_for_it(known: Repository) -> None:
    model = known.get(NEXT_TOKEN)
    async with engine_of(model) as engine:
        prefill, prefixes = Prefill(tokens_of(model, PROMPT * 50, None)), PrefixCache(0, Watch())
        with gated(model) as gate:
            gate.close()
            first, second = (asyncio.create_task(prefill.rows(model, engine.submit, prefixes)) for _ in range(2))
            await gate.entered()
            first.cancel()
            await asyncio.sleep(0)
            answer = prefill._answer
            assert answer is not None and not answer.cancelled()
            second.cancel()
            await asyncio.gather(first, second, return_exceptions=True)
            assert answer.cancelled()
            gate.open()
