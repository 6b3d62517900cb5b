from __future__ import annotations

import numpy as np
import pytest

from service.models.repository import Repository
from service.tasks.alternatives import alternatives, alternatives_to
from service.tasks.delivered import Delivered
from service.tasks.requests import TextPiece
from tests.known_models import NEXT_TOKEN
from tests.service.engine.building import engine_of

pytestmark = pytest.mark.anyio


def test_a_token_comes_first_and_then_the_likeliest_in_its_place() -> None:
    logits = np.log(np.array([[0.1, 0.6, 0.3], [0.5, 0.2, 0.3]], np.float32))
    told = alternatives(logits, [0, 0], 2)
    assert told.tokens.tolist() == [[0, 1, 2], [0, 0, 2]]
    np.testing.assert_allclose(np.exp(told.log_probabilities), [[0.1, 0.6, 0.3], [0.5, 0.5, 0.3]], rtol=1e-6)


def test_none_but_the_token_itself_may_be_asked_for() -> None:
    told = alternatives(np.zeros((2, 4), np.float32), [3, 1], 0)
    assert told.tokens.tolist() == [[3], [1]] and told.log_probabilities.shape == (2, 1)


@pytest.mark.parametrize("length", [0, 1, 64, 65, 300])
async def test_a_long_text_is_told_in_parts_as_it_would_be_at_once(known: Repository, length: int) -> None:
    model = known.get(NEXT_TOKEN)
    tokens = np.random.default_rng(0).integers(1, 28, length)
    start = model.initial()[np.newaxis]
    async with engine_of(model) as engine:
        told, row = await alternatives_to(engine.submit, start, tokens, 3, 28)
        assert told.tokens.shape == told.log_probabilities.shape == (length, 4)
        if length:
            whole = model.graphs["predict"].run({"state": start, "tokens": tokens[np.newaxis]})
            exact = alternatives(whole["logits"][0], tokens.tolist(), 3)
            assert told.log_probabilities.tobytes() == exact.log_probabilities.tobytes()
            assert row.tobytes() == whole["next_state"].tobytes()


def test_what_a_client_has_already_is_not_told_again() -> None:
    told = alternatives(np.zeros((5, 4), np.float32), [3, 1, 2, 0, 1], 1)
    delivered = Delivered()
    delivered.begin()
    delivered.rest_of(TextPiece("abc", [3, 1, 2], None))
    delivered.begin()
    rest = delivered.rest_of(TextPiece("abcde", [3, 1, 2, 0, 1], "length", alternatives=told, cached_tokens=7))
    assert rest is not None and (rest.text, rest.tokens, rest.cached_tokens) == ("de", [0, 1], 0)
    assert rest.alternatives is not None and rest.alternatives.tokens[:, 0].tolist() == [0, 1]
