"""Beam search against all texts there are, and the best of several against each alone."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from service.contract.manifest import sha256_of
from service.models.device import Device
from service.models.model import Model
from service.models.repository import Repository
from service.tasks.drawing import follower_of
from service.tasks.search import Beginning, Found, search
from service.tasks.text import Constraint, GenerateRequest, complete, tokens_of
from tests import known_graphs, known_models
from tests.known_models import NEXT_TOKEN
from tests.service.engine.building import engine_of
from tests.service.running import running
from tests.service.tasks.cycling import collect

pytestmark = pytest.mark.anyio

LETTERS = "\nabcde"


@pytest.fixture
def uneven(tmp_path: Path) -> Model:
    """A generator of six letters with uneven probabilities: the likeliest next letter does not lead the best text."""
    folder = known_models.next_token(tmp_path, alphabet=LETTERS)
    table = np.random.default_rng(3).normal(size=(7, 7)).astype(np.float32) * 1.5
    table[:, 0] = -1e9
    table.tofile(folder / known_graphs.WEIGHTS_FILE)
    known_models.change_manifest(folder, "weights", "sha256", to=sha256_of(folder / known_graphs.WEIGHTS_FILE))
    return Model.load(folder, Device("cpu"))


def logs_of(model: Model) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    table = np.fromfile(model.folder / known_graphs.WEIGHTS_FILE, np.float32).reshape(7, 7).astype(np.float64)
    return np.asarray(table - np.log(np.exp(table).sum(axis=1, keepdims=True)))


def all_texts(model: Model, length: int, stop: str | None, penalty: float) -> list[tuple[float, str, str]]:
    """Every text up to a length that ends at its stop string or there: score, text, reason; the best first."""
    logs, found = logs_of(model), {}
    for tokens in itertools.product(range(1, 7), repeat=length):
        text, total, before, reason, taken = "", 0.0, 1, "length", 0
        for count, token in enumerate(tokens, 1):
            total, before, taken = total + logs[before, token], token, count
            text += LETTERS[token - 1]
            if stop is not None and text.endswith(stop):
                text, reason = text.removesuffix(stop), "stop"
                break
        found[(text, reason)] = total / taken**penalty
    return sorted(((score, *key) for key, score in found.items()), reverse=True)


async def searched(model: Model, request: GenerateRequest) -> list[Found]:
    async with engine_of(model) as engine:
        begin = Beginning(model.initial()[np.newaxis], 0)
        return await search(model, request, engine.submit, begin, 0)


@pytest.mark.parametrize("stop", [None, "b", "ac"])
@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
async def test_a_beam_as_wide_as_all_texts_finds_the_best_of_them(
    uneven: Model, stop: str | None, penalty: float
) -> None:
    """With as many beams as there are texts nothing is ever dropped."""
    length = 3
    request = GenerateRequest(length, beams=6**length, length_penalty=penalty, stop=() if stop is None else (stop,))
    found = await searched(uneven, request)
    expected = all_texts(uneven, length, stop, penalty)
    assert [(one.text, one.finish_reason) for one in found[:5]] == [(text, reason) for _, text, reason in expected[:5]]
    np.testing.assert_allclose([one.score for one in found[:5]], [score for score, _, _ in expected[:5]], rtol=1e-5)


async def test_a_beam_of_one_takes_the_likeliest_token_each_time(uneven: Model) -> None:
    (found,) = await searched(uneven, GenerateRequest(12, beams=1))
    logs, before, text = logs_of(uneven), 1, ""
    for _ in range(12):
        before = int(np.argmax(logs[before, 1:])) + 1
        text += LETTERS[before - 1]
    assert found.text == text


@pytest.mark.parametrize("beams", [2, 3, 5])
async def test_a_beam_search_keeps_the_likeliest_at_every_step(uneven: Model, beams: int) -> None:
    """The textbook's search, on the known table."""
    logs = logs_of(uneven)
    live: list[tuple[float, tuple[int, ...]]] = [(0.0, (1,))]
    for _ in range(8):
        grown = [(total + logs[seen[-1], token], (*seen, token)) for total, seen in live for token in range(1, 7)]
        live = sorted(grown, reverse=True)[:beams]
    found = await searched(uneven, GenerateRequest(8, beams=beams))
    np.testing.assert_allclose([one.score * 8 for one in found], [total for total, _ in live], rtol=1e-5)


async def test_more_beams_find_no_worse_a_text(uneven: Model) -> None:
    scores = [(await searched(uneven, GenerateRequest(10, beams=beams)))[0].score for beams in (1, 4, 16)]
    assert scores == sorted(scores)


async def test_the_best_of_several_is_the_one_with_the_likeliest_tokens(known: Repository) -> None:
    model = known.get(NEXT_TOKEN)
    request = GenerateRequest(20, temperature=2, seed=0, best_of=5, stop=("q",))
    found = await searched(model, request)
    assert len(found) == 5 and [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    async with running(known) as service:
        nothing = tokens_of(model, None, [])
        alone = [
            await collect(complete(service, model, nothing, replace(request, best_of=1), sample_index=index))
            for index in range(5)
        ]
    assert sorted(one.text for one in found) == sorted(one.text for one in alone)


async def test_the_best_of_several_follow_their_language_each_by_itself(known: Repository) -> None:
    model = known.get(NEXT_TOKEN)
    assert model.tokenizer is not None
    request = GenerateRequest(20, temperature=2, best_of=6, constraint=Constraint("regex", "[a-c]{4}(x|yz)"))
    follower = await follower_of(request, model.tokenizer)
    async with engine_of(model) as engine:
        begin = Beginning(model.initial()[np.newaxis], 0, follower=follower)
        found = await search(model, request, engine.submit, begin, 9)
    assert all(one.finish_reason == "stop" and one.text[4:] in ("x", "yz") for one in found)
    assert len({one.text for one in found}) > 3 and math.isfinite(found[-1].score)
