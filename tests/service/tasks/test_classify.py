"""Classifying streams: probabilities after every token, however the stream is cut; what is unknown; what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from service.errors import InputMismatch, PositionConflict, RequestTooLarge
from service.models.device import Device
from service.models.repository import Repository
from service.sessions.transition import Expected
from service.tasks import forecast, text
from service.tasks.classify import observe
from service.tasks.limits import TaskLimits
from tests.known_models import TOKEN_COUNTS, next_token, token_counts
from tests.service.running import opened, row_of, running

pytestmark = pytest.mark.anyio

PAIRED = "paired-counts"


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    folder: Path = tmp_path_factory.mktemp("classifiers")
    token_counts(folder)
    token_counts(folder, name=PAIRED, minimum_batch=2)
    next_token(folder)
    repository = Repository(folder, Device("cpu"))
    assert not repository.scan().rejected
    yield repository


async def test_every_token_is_answered_by_how_likely_each_class_is_by_then(classifiers: Repository) -> None:
    async with running(classifiers) as service:
        seen = await observe(opened(service, TOKEN_COUNTS), text="abb")  # of tokens 2, 3, 3; modulo 3 classes 2, 0, 0
        np.testing.assert_allclose(seen.probabilities, np.array([[1, 1, 2], [2, 1, 2], [3, 1, 2]]) / [[4], [5], [6]])
        assert (seen.start, seen.position, seen.unknown, seen.repeated) == (0, 3, 0, False)


@pytest.mark.parametrize("name", [TOKEN_COUNTS, PAIRED])
async def test_a_stream_in_pieces_is_the_whole_bit_for_bit(classifiers: Repository, name: str) -> None:
    async with running(classifiers) as service:
        whole, streamed = opened(service, name), opened(service, name)
        expected = await observe(whole, text="classifiedasitarrives")
        pieces = [
            await observe(streamed, text=piece) for piece in ("c", "lass", "if", "ied", "a", "sitarriv", "e", "s")
        ]
        assert np.concatenate([piece.probabilities for piece in pieces]).tobytes() == expected.probabilities.tobytes()
        assert row_of(service, streamed) == row_of(service, whole)
        assert streamed.position == whole.position == 21


async def test_streams_side_by_side_do_not_touch(classifiers: Repository) -> None:
    async with running(classifiers) as service:
        words = ["first", "second", "third", "fourth"]
        alone = [await observe(opened(service, TOKEN_COUNTS), text=word) for word in words]
        together = await asyncio.gather(*(observe(opened(service, TOKEN_COUNTS), text=word) for word in words))
        for one, other in zip(alone, together, strict=True):
            assert one.probabilities.tobytes() == other.probabilities.tobytes()


async def test_characters_never_seen_are_taken_in_and_counted(classifiers: Repository) -> None:
    async with running(classifiers) as service:
        session = opened(service, TOKEN_COUNTS)
        seen = await observe(session, text="aéaß")
        assert (seen.unknown, session.position) == (2, 4)
        by_id = await observe(opened(service, TOKEN_COUNTS), tokens=[2, 0, 2, 0])
        assert by_id.probabilities.tobytes() == seen.probabilities.tobytes() and by_id.unknown == 2


async def test_the_same_request_again_is_answered_from_the_record(classifiers: Repository) -> None:
    async with running(classifiers) as service:
        session = opened(service, TOKEN_COUNTS)
        first = await observe(session, text="abc", expected=Expected(0))
        again = await observe(session, text="abc", expected=Expected(0))
        assert again.repeated and session.position == 3
        assert again.probabilities.tobytes() == first.probabilities.tobytes()
        with pytest.raises(PositionConflict):
            await observe(session, text="abd", expected=Expected(0))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "expected either text or tokens, got neither"),
        ({"text": "a", "tokens": [2]}, "expected either text or tokens, got both"),
        ({"text": ""}, "text: expected at least 1 token, got 0"),
        ({"tokens": []}, "tokens: expected at least 1, got 0"),
        ({"text": "\ud800"}, "lone surrogate"),
        ({"tokens": [2, 28]}, "token ids from 0 to 27, got 28"),
        ({"tokens": [2**63]}, "token ids from 0 to 27"),
    ],
)
async def test_what_cannot_be_read_moves_nothing(classifiers: Repository, given: dict[str, object], says: str) -> None:
    async with running(classifiers) as service:
        session = opened(service, TOKEN_COUNTS)
        with pytest.raises(InputMismatch, match=says):
            await observe(session, **given)  # type: ignore[arg-type]
        assert session.position == 0


async def test_more_than_one_request_may_take_in_is_refused(classifiers: Repository) -> None:
    async with running(classifiers) as service:
        session = opened(service, TOKEN_COUNTS)
        with pytest.raises(RequestTooLarge, match="text: expected at most 10 tokens, got 11"):
            await observe(session, text="a" * 11, limits=TaskLimits(max_steps=10))
        seen = await observe(session, text="ab" * 600)
        assert len(seen.probabilities) == 1200


async def test_models_for_something_else_are_told_apart(classifiers: Repository) -> None:
    async with running(classifiers) as service:
        classifier, generator = opened(service, TOKEN_COUNTS), opened(service, "next-token")
        with pytest.raises(InputMismatch, match="next-token is for task 'text': use a classifier"):
            await observe(generator, text="a")
        with pytest.raises(InputMismatch, match="token-counts classifies sequences: use a text model"):
            await text.observe_text(classifier, text="a")
        with pytest.raises(InputMismatch, match="token-counts classifies sequences: use a forecast model"):
            await forecast.forecast(classifier, forecast.ForecastRequest(1))
