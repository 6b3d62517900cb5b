from __future__ import annotations

import asyncio

import pytest

from service.models.repository import Repository
from service.tasks.prefill import Prefill
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
        rows = await Prefill(tokens_of(model, None, [])).rows(engine)
    assert rows.tobytes() == model.initial().tobytes()


async def test_a_prompt_is_given_up_with_the_last_who_waits_for_it(known: Repository) -> None:
    model = known.get(NEXT_TOKEN)
    async with engine_of(model) as engine:
        prefill = Prefill(tokens_of(model, PROMPT * 50, None))
        with gated(model) as gate:
            gate.close()
            first, second = (asyncio.create_task(prefill.rows(engine)) for _ in range(2))
            await gate.entered()
            first.cancel()
            await asyncio.sleep(0)
            answer = prefill._answer
            assert answer is not None and not answer.cancelled()
            second.cancel()
            await asyncio.gather(first, second, return_exceptions=True)
            assert answer.cancelled()
            gate.open()
