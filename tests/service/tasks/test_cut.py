"""Where a session stands when a text ends: exactly after what its client was given."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service.engine import engine as engine_module
from service.engine.device_table import DeviceTable
from service.models.repository import Repository
from service.sessions.transition import Expected
from service.tasks.text import Constraint, GenerateRequest, complete, generate, observe_text, tokens_of
from tests.known_models import NEXT_TOKEN
from tests.service.conftest import NEXT_BYTE
from tests.service.running import opened, row_of, running
from tests.service.tasks.cycling import CYCLING, collect, cycling_tokens

pytestmark = pytest.mark.anyio

MERGES = [("y", "E"), ("N", "D"), ("ND", "z"), ("a", "b"), ("ab", "c")]
CIRCLE = ["x", "yE", "NDz", "abc"]
LIKELIEST = GenerateRequest(40, temperature=0)
CONTROLS = {
    "in the graph": {},
    "beside it": {"min_p": 0.01},
    "with log-probabilities": {"logprobs": 1},
    "with both": {"min_p": 0.01, "logprobs": 0},
    "from several": {"best_of": 2},
    "by beams": {"beams": 2},
}


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    cycling_tokens(tmp_path, MERGES, CIRCLE)
    return tmp_path


@pytest.mark.parametrize("controls", CONTROLS.values(), ids=list(CONTROLS))
@pytest.mark.parametrize(
    ("stop", "text"), [("END", "xy"), ("yE", "x"), ("x", ""), ("Dzab", "xyEN"), ("c", "xyENDzab"), ("NDza", "xyE")]
)
async def test_a_stop_string_inside_a_token_leaves_the_session_before_it(
    pairs: Path, stop: str, text: str, controls: dict[str, Any]
) -> None:
    async with running(pairs) as service:
        session, exact = (opened(service, CYCLING) for _ in range(2))
        request = replace(LIKELIEST, stop=("never", stop), **controls)
        whole = await collect(generate(session, request, expected=Expected(0)))
        assert (whole.text, whole.finish_reason) == (text, "stop")
        assert session.position == len(whole.tokens) == whole.position
        assert session.model.tokenizer is not None and session.model.tokenizer.decode(whole.tokens) == text
        if whole.tokens:
            await observe_text(exact, tokens=whole.tokens)
            assert row_of(service, session) == row_of(service, exact)
        again = await collect(generate(session, request, expected=Expected(0)))
        assert (again.text, again.tokens, again.finish_reason) == (whole.text, whole.tokens, "stop")


@pytest.mark.parametrize("controls", CONTROLS.values(), ids=list(CONTROLS))
async def test_a_session_and_a_completion_give_the_same_text(pairs: Path, controls: dict[str, Any]) -> None:
    if "best_of" in controls or "beams" in controls:
        pytest.skip("those are answered whole")
    async with running(pairs) as service:
        session = opened(service, CYCLING, seed=0)
        for stop in ("END", "cxyE"):
            request = replace(LIKELIEST, stop=(stop,), seed=0, **controls)
            prompt = tokens_of(session.model, "abcx", None)
            fresh = opened(service, CYCLING, seed=0)
            kept = await collect(generate(fresh, request, prompt=prompt))
            free = await collect(complete(service, session.model, prompt, request))
            assert (kept.text, kept.tokens, kept.finish_reason) == (free.text, free.tokens, free.finish_reason)


@pytest.mark.parametrize("controls", [{}, {"min_p": 0.01}, {"logprobs": 1}])
async def test_text_held_back_at_the_end_of_a_piece_comes_with_the_next(
    known: Repository, controls: dict[str, Any]
) -> None:
    """The text goes through the alphabet; most of what may be a stop string turns out not to be."""
    stop = "mnopqrstuvwxyz\nabcdefghijk!"[:-1] + "ll"
    async with running(known) as service:
        session, plain = (opened(service, NEXT_TOKEN) for _ in range(2))
        expected = await collect(generate(plain, GenerateRequest(90, temperature=0)))
        request = GenerateRequest(90, temperature=0, stop=(stop,), **controls)
        pieces = [piece async for piece in generate(session, request)]
        assert "".join(piece.text for piece in pieces) == expected.text
        positions = [piece.position for piece in pieces]
        given = [sum(len(piece.tokens) for piece in pieces[: index + 1]) for index in range(len(pieces))]
        assert positions == given and row_of(service, session) == row_of(service, plain)


@pytest.mark.parametrize("controls", [{}, {"top_k": 20}, {"frequency_penalty": 0.7}, {"logprobs": 2}])
@pytest.mark.parametrize("count", [1, 2, 4])
async def test_a_text_that_a_client_left_goes_on_as_if_it_had_not(
    known: Repository, controls: dict[str, Any], count: int
) -> None:
    request = GenerateRequest(90, temperature=1.3, stop=("qrs", "zz"), **controls)
    async with running(known) as service:
        uninterrupted = await collect(generate(opened(service, NEXT_TOKEN, seed=4), request))
        session = opened(service, NEXT_TOKEN, seed=4)
        begun, given = "", 0
        async with aclosing(generate(session, request, expected=Expected(0))) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                begun, given = begun + piece.text, given + 1
                if given == count:
                    break
        exact = opened(service, NEXT_TOKEN)
        await observe_text(exact, text=begun)
        assert row_of(service, session) == row_of(service, exact) and session.position == len(begun)
        rest = await collect(generate(session, request, expected=Expected(0)))
        assert (rest.text, rest.finish_reason) == (uninterrupted.text, uninterrupted.finish_reason)


async def test_a_constrained_text_that_a_client_left_goes_on_in_its_language(known: Repository) -> None:
    constraint = Constraint("regex", "([a-m]{7}\n){6}z")
    request = GenerateRequest(90, temperature=2, constraint=constraint)
    async with running(known) as service:
        uninterrupted = await collect(generate(opened(service, NEXT_TOKEN, seed=4), request))
        session = opened(service, NEXT_TOKEN, seed=4)
        async with aclosing(generate(session, request, expected=Expected(0))) as pieces:  # type: ignore[type-var]
            await anext(pieces)
        rest = await collect(generate(session, request, expected=Expected(0)))
        assert rest.text == uninterrupted.text and rest.finish_reason == "stop" and rest.text.endswith("\nz")


async def test_a_length_limit_leaves_a_character_begun_for_the_next_request(known: Repository) -> None:
    async with running(known) as service:
        for controls in ({}, {"top_k": 200}, {"logprobs": 0}):
            session = opened(service, NEXT_BYTE, seed=3)
            tokenizer: Any = session.model.tokenizer
            text, tokens = "", list[int]()
            for size in (1, 2, 3, 5, 8, 13, 21, 34, 55):
                whole = await collect(generate(session, GenerateRequest(size, temperature=2, **controls)))  # type: ignore[arg-type]
                text, tokens = text + whole.text, tokens + whole.tokens
            assert len(tokens) == session.position
            assert text + session.text_pending.decode("utf-8", "replace") == tokenizer.decode(tokens)


async def test_penalties_count_what_the_session_has_taken_in_before(known: Repository) -> None:
    """A window that ends with a request would let the text repeat itself in the next."""
    async with running(known) as service:
        request = GenerateRequest(8, temperature=0, presence_penalty=2, logit_bias=((5, 6.5),))
        apart, together = opened(service, NEXT_TOKEN), opened(service, NEXT_TOKEN)
        prompt = tokens_of(apart.model, "abcd", None)
        once = await collect(generate(together, request, prompt=prompt))
        await observe_text(apart, text="abcd")
        halves = [await collect(generate(apart, replace(request, max_tokens=4))) for _ in range(2)]
        assert "".join(half.text for half in halves) == once.text
        assert row_of(service, apart) == row_of(service, together)
        fork = await service.store.fork(apart.key, None, None)
        assert fork.recent == apart.recent


async def test_drawing_beside_the_graph_gives_the_texts_of_the_graph(known: Repository) -> None:
    async with running(known) as service:
        for seed, temperature, top_p in ((1, 1.0, 1.0), (2, 1.6, 1.0), (3, 1.6, 0.95), (4, 0.0, 1.0)):
            request = GenerateRequest(200, temperature=temperature, top_p=top_p, seed=seed)
            inside, beside = opened(service, NEXT_TOKEN), opened(service, NEXT_TOKEN)
            one = await collect(generate(inside, request))
            other = await collect(generate(beside, replace(request, min_p=1e-12)))
            assert one.text == other.text and row_of(service, inside) == row_of(service, beside)


@pytest.mark.parametrize("controls", CONTROLS.values(), ids=list(CONTROLS))
async def test_rows_in_a_devices_memory_are_cut_alike(
    known: Repository, controls: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    temperature = 1.0 if "beams" in controls else 1.2
    request = GenerateRequest(70, temperature=temperature, stop=("pq", "zz"), **controls)

    async def told() -> tuple[str, list[int], bytes]:
        async with running(known) as service:
            session = opened(service, NEXT_TOKEN, seed=2)
            await observe_text(session, text="abc")
            whole = await collect(generate(session, request))
            return whole.text, whole.tokens, row_of(service, session)

    on_host = await told()
    monkeypatch.setattr(
        engine_module,
        "table_of",
        lambda model, capacity: DeviceTable(model.manifest.state.width, capacity, model.graphs["observe"].device),
    )
    assert await told() == on_host
