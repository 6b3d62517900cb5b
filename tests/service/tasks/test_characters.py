"""Characters of several bytes, over pieces and transitions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.models.repository import Repository
from service.sessions.transition import Expected
from service.tasks.text import (
    GenerateRequest,
    complete,
    generate,
    observe_text,
    tokens_of,
)
from tests.service.conftest import NEXT_BYTE
from tests.service.running import opened, running
from tests.service.tasks.cycling import CIRCLE, CYCLING, collect, cycling

pytestmark = pytest.mark.anyio


@pytest.fixture
def circle(tmp_path: Path) -> Path:
    cycling(tmp_path)
    return tmp_path


def round_and_round(characters: int) -> str:
    return (CIRCLE * (1 + characters // len(CIRCLE)))[:characters]


async def test_characters_are_never_cut_between_two_pieces(circle: Path) -> None:
    size = len(CIRCLE.encode())
    async with running(circle) as service:
        session = opened(service, CYCLING)
        pieces = [piece async for piece in generate(session, GenerateRequest(10 * size, temperature=0))]
        assert "".join(piece.text for piece in pieces) == CIRCLE * 10
        assert not any("\ufffd" in piece.text for piece in pieces) and len(pieces) > 5


@pytest.mark.parametrize("size", range(1, 12))
async def test_characters_are_not_cut_between_two_transitions(circle: Path, size: int) -> None:
    async with running(circle) as service:
        session = opened(service, CYCLING)
        text = ""
        for _ in range(22):
            text += (await collect(generate(session, GenerateRequest(size, temperature=0)))).text
        whole = (CIRCLE.encode() * 22)[: 22 * size]
        assert text == whole.decode("utf-8", "ignore")
        assert session.text_pending == whole[len(text.encode()) :]


async def test_a_cut_character_does_not_run_into_text_that_comes_between(circle: Path) -> None:
    async with running(circle) as service:
        for prompt in ("observed", "with the request"):
            session = opened(service, CYCLING)
            assert (await collect(generate(session, GenerateRequest(3, temperature=0)))).text == "é"
            tokens = tokens_of(session.model, "é", None)
            if prompt == "observed":
                await observe_text(session, tokens=tokens.tolist())
                whole = await collect(generate(session, GenerateRequest(3, temperature=0)))
            else:
                whole = await collect(generate(session, GenerateRequest(3, temperature=0), prompt=tokens))
            assert whole.text == "☃"


async def test_a_completion_that_ends_inside_a_character_shows_it(circle: Path) -> None:
    async with running(circle) as service:
        model = service.repository.get(CYCLING)
        whole = await collect(complete(service, model, np.empty(0, np.int64), GenerateRequest(4, temperature=0)))
        assert whole.text == "é\ufffd"


async def test_a_fork_completes_the_character_its_parent_began(circle: Path) -> None:
    async with running(circle) as service:
        session = opened(service, CYCLING)
        await collect(generate(session, GenerateRequest(3, temperature=0)))
        fork = await service.store.fork(session.key, None, None)
        for one in (session, fork):
            assert (await collect(generate(one, GenerateRequest(2, temperature=0)))).text == "☃"


async def test_a_repeated_text_that_begins_inside_a_character_is_told_alike(circle: Path) -> None:
    async with running(circle) as service:
        session = opened(service, CYCLING)
        await collect(generate(session, GenerateRequest(3, temperature=0)))
        first, again = [
            await collect(generate(session, GenerateRequest(20, temperature=0), expected=Expected(3))) for _ in range(2)
        ]
        assert first.text == again.text and first.text.startswith("☃🌍 .é") and session.position == 23


@pytest.mark.parametrize("stop", ["☃", "☃🌍", ".é☃", " "])
async def test_a_stop_string_of_several_bytes_is_found(circle: Path, stop: str) -> None:
    async with running(circle) as service:
        session = opened(service, CYCLING)
        whole = await collect(generate(session, GenerateRequest(99, temperature=0, stop=(stop,))))
        text = round_and_round(50)
        before = text[: text.index(stop)]
        assert whole.text == before and whole.finish_reason == "stop"
        assert session.position == len(before.encode()) and session.text_pending == b""


async def test_random_bytes_are_told_as_their_decoder_would(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, NEXT_BYTE, seed=3)
        tokenizer: Any = session.model.tokenizer
        text, tokens = "", list[int]()
        for size in (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144):
            whole = await collect(generate(session, GenerateRequest(size, temperature=2)))
            text, tokens = text + whole.text, tokens + whole.tokens
        assert len(tokens) == session.position
        assert text + session.text_pending.decode("utf-8", "replace") == tokenizer.decode(tokens)
