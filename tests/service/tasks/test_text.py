from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest

from service.errors import InputMismatch, PositionConflict, RequestTooLarge
from service.models.model import Model
from service.models.repository import Repository
from service.sessions.transition import Expected
from service.tasks.limits import TaskLimits
from service.tasks.text import (
    MAX_STOP_LENGTH,
    MAX_STOPS,
    GenerateRequest,
    Tokens,
    complete,
    generate,
    observe_text,
    read_tokens,
    text_task,
    tokens_of,
)
from tests.known_models import ALPHABET, NEXT_PROBABILITY, NEXT_TOKEN, RUNNING_SUM
from tests.service.conftest import NEXT_BYTE
from tests.service.running import Watch, gated, opened, row_of, running
from tests.service.tasks.cycling import collect

pytestmark = pytest.mark.anyio

LIKELIEST = GenerateRequest(max_tokens=26, temperature=0)
SMALL = TaskLimits(max_steps=10, max_tokens=20)


@pytest.fixture
def model(known: Repository) -> Model:
    return known.get(NEXT_TOKEN)


def following(start: str, count: int) -> str:
    """What the known generator most likely writes after a character."""
    at = ALPHABET.index(start) + 1
    return (ALPHABET * (2 + count // len(ALPHABET)))[at : at + count]


# Tokens


def test_text_becomes_tokens_and_tokens_are_taken_as_they_are(model: Model) -> None:
    assert tokens_of(model, "abc", None).tolist() == [2, 3, 4] == tokens_of(model, None, [2, 3, 4]).tolist()


@pytest.mark.parametrize(("text", "tokens"), [(None, None), ("", None), (None, [])])
def test_nothing_gives_no_tokens(model: Model, text: str | None, tokens: list[int] | None) -> None:
    found = tokens_of(model, text, tokens)
    assert found.dtype == np.int64 and found.shape == (0,)


def test_text_and_tokens_at_once_are_refused(model: Model) -> None:
    with pytest.raises(InputMismatch, match="expected one of them, got both"):
        tokens_of(model, "a", [2])


@pytest.mark.parametrize("token", [-1, 0, 28, 2**63])
def test_a_token_that_is_none_is_refused_by_place(model: Model, token: int) -> None:
    with pytest.raises(InputMismatch, match=rf"tokens.1: expected a token id from 0 to 27, other than 0, got {token}"):
        tokens_of(model, None, [1, token])


def test_a_model_without_an_unknown_token_takes_every_token(known: Repository) -> None:
    assert tokens_of(known.get(NEXT_BYTE), None, range(256)).tolist() == list(range(256))
    with pytest.raises(InputMismatch, match=r"from 0 to 255, got 256"):
        tokens_of(known.get(NEXT_BYTE), None, [256])


def test_a_character_outside_the_vocabulary_is_named(model: Model) -> None:
    with pytest.raises(InputMismatch, match=r"'X' \(U\+0058\)"):
        tokens_of(model, "abX", None)


def test_a_forecaster_writes_no_text(known: Repository) -> None:
    with pytest.raises(InputMismatch, match="running-sum forecasts series: use a text model"):
        text_task(known.get(RUNNING_SUM))


# Observing


async def test_each_token_is_told_how_likely_it_was(known: Repository) -> None:
    async with running(known) as service:
        seen = await observe_text(opened(service, NEXT_TOKEN), text="abd")
        other = np.log((1 - NEXT_PROBABILITY) / (len(ALPHABET) - 1))
        likely = np.log(NEXT_PROBABILITY)
        np.testing.assert_allclose(seen.log_probabilities, [likely, likely, other], rtol=1e-5)
        assert (seen.start, seen.position, seen.tokens, seen.repeated) == (0, 3, 3, False)


async def test_text_in_parts_is_text_at_once(known: Repository) -> None:
    async with running(known) as service:
        whole, parts = (opened(service, NEXT_TOKEN) for _ in range(2))
        once = await observe_text(whole, text="hello\nworld")
        twice = [await observe_text(parts, text="hello"), await observe_text(parts, tokens=[1, 24, 16, 19, 13, 5])]
        joined = np.concatenate([part.log_probabilities for part in twice])
        assert joined.tobytes() == once.log_probabilities.tobytes()
        assert row_of(service, whole) == row_of(service, parts) and parts.position == 11


async def test_text_past_its_bounds_is_refused_before_any_work(known: Repository) -> None:
    watch = Watch()
    async with running(known, watch) as service:
        session = opened(service, NEXT_TOKEN)
        with pytest.raises(RequestTooLarge, match="text: expected at most 10 tokens, got 11"):
            await observe_text(session, text="a" * 11, limits=SMALL)
        with pytest.raises(RequestTooLarge, match="tokens: expected at most 10, got 11"):
            await observe_text(session, tokens=[2] * 11, limits=SMALL)
        with pytest.raises(InputMismatch, match="text: expected at least 1 token, got 0"):
            await observe_text(session, text="")
        assert session.position == 0 and not watch.runs


async def test_a_text_far_past_its_bounds_is_refused_before_it_is_cut_into_tokens(known: Repository) -> None:
    """A body may hold megabytes of text, whose tokens take gigabytes, and the event loop waits for them."""
    async with running(known) as service:
        for model in (NEXT_TOKEN, NEXT_BYTE):
            session = opened(service, model)
            started = time.process_time()
            with pytest.raises(RequestTooLarge):
                await observe_text(session, text="a" * 2_000_000)
            assert time.process_time() - started < 0.1, model


async def test_repeated_text_is_applied_once_and_answered_alike(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, NEXT_TOKEN)
        first, again = [await observe_text(session, text="abc", expected=Expected(0, "k")) for _ in range(2)]
        assert again.repeated and again.log_probabilities.tobytes() == first.log_probabilities.tobytes()
        assert (again.start, again.position, again.tokens, session.position) == (0, 3, 3, 3)
        # The same tokens are the same request, however they are spelled.
        assert (await observe_text(session, tokens=[2, 3, 4], expected=Expected(key="k"))).repeated
        with pytest.raises(PositionConflict):
            await observe_text(session, text="abd", expected=Expected(position=0))


# Generating in a session


async def test_the_likeliest_text_is_known(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, NEXT_TOKEN)
        await observe_text(session, text="x")
        whole = await collect(generate(session, LIKELIEST))
        assert whole.text == following("x", 26) and whole.finish_reason == "length"
        assert (whole.position, session.position, len(whole.tokens)) == (27, 27, 26)


async def test_generated_text_is_taken_for_observed(known: Repository) -> None:
    async with running(known) as service:
        writing, reading = (opened(service, NEXT_TOKEN, seed=5) for _ in range(2))
        for session in (writing, reading):
            await observe_text(session, text="once")
        whole = await collect(generate(writing, GenerateRequest(100, temperature=2)))
        await observe_text(reading, tokens=whole.tokens)
        assert row_of(service, writing) == row_of(service, reading) and writing.position == reading.position == 104


async def test_a_text_in_two_requests_is_the_text_in_one(known: Repository) -> None:
    async with running(known) as service:
        whole, parts = (opened(service, NEXT_TOKEN, seed=5) for _ in range(2))
        once = await collect(generate(whole, GenerateRequest(50, temperature=2)))
        texts = [(await collect(generate(parts, GenerateRequest(size, temperature=2)))).text for size in (7, 33, 10)]
        assert "".join(texts) == once.text and row_of(service, whole) == row_of(service, parts)


async def test_a_prompt_and_its_continuation_are_one_transition(known: Repository) -> None:
    async with running(known) as service:
        together, apart = (opened(service, NEXT_TOKEN, seed=5) for _ in range(2))
        await observe_text(apart, text="once upon"[:4])
        prompt = tokens_of(together.model, "once", None)
        first = await collect(generate(together, GenerateRequest(40), prompt=prompt, expected=Expected(0)))
        second = await collect(generate(apart, GenerateRequest(40)))
        assert first.text == second.text and row_of(service, together) == row_of(service, apart)
        assert together.last is not None and (together.last.start, together.last.taken) == (0, 44)
        again = await collect(generate(together, GenerateRequest(40), prompt=prompt, expected=Expected(0)))
        assert (again.text, again.position, again.pieces) == (first.text, 44, 1)


async def test_a_prompt_alone_is_taken_in(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, NEXT_TOKEN)
        prompt = tokens_of(session.model, "once", None)
        for _ in range(2):
            whole = await collect(generate(session, GenerateRequest(0), prompt=prompt, expected=Expected(0)))
            assert (whole.text, whole.tokens, whole.finish_reason, whole.position) == ("", [], "length", 4)


async def test_a_prompt_whose_continuation_fails_is_not_taken_in(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, NEXT_TOKEN)
        prompt = tokens_of(session.model, "once", None)
        with gated(session.model, "generate") as gate:
            gate.close()
            asking = asyncio.create_task(collect(generate(session, LIKELIEST, prompt=prompt)))
            await gate.entered()
            assert session.position == 0
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            gate.open()
        async with session.turn():
            assert session.position == 0 and session.last is None
        assert row_of(service, session) == session.model.initial().tobytes()


@pytest.mark.parametrize("stop", ["d", "cde", "z\na", "xyz\nabcdefghijklmnopqr"])
async def test_a_session_stands_exactly_before_the_stop_string(known: Repository, stop: str) -> None:
    async with running(known) as service:
        session, exact = (opened(service, NEXT_TOKEN) for _ in range(2))
        text = following("\n", 100)
        end = text.index(stop)
        whole = await collect(generate(session, GenerateRequest(100, temperature=0, stop=("never", stop))))
        assert whole.text == text[:end] and whole.finish_reason == "stop"
        assert session.position == len(whole.tokens) == end
        await observe_text(exact, tokens=whole.tokens)
        assert row_of(service, session) == row_of(service, exact)


@pytest.mark.parametrize("length", [5, 7, 21, 26])
async def test_a_stop_string_ends_the_text_wherever_it_ends(known: Repository, length: int) -> None:
    """Pieces are cut into runs of several lengths; none of their ends may hide a stop string."""
    async with running(known) as service:
        text = following("\n", length)
        for index, character in enumerate(text):
            session = opened(service, NEXT_TOKEN)
            request = GenerateRequest(length, temperature=0, stop=(character,))
            for ask in (generate(session, request), complete(service, session.model, np.empty(0, np.int64), request)):
                whole = await collect(ask)
                assert (whole.text, whole.finish_reason, len(whole.tokens)) == (text[:index], "stop", index)
            assert session.position == index


async def test_a_stop_string_at_the_very_end_is_a_stop(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, NEXT_TOKEN)
        whole = await collect(generate(session, GenerateRequest(4, temperature=0, stop=("cd",))))
        assert (whole.text, whole.finish_reason, whole.position) == ("ab", "stop", 2)


async def test_the_beginning_of_a_stop_string_is_text_when_the_length_ends_it(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, NEXT_TOKEN)
        whole = await collect(generate(session, GenerateRequest(18, temperature=0, stop=("qrstu",))))
        assert (whole.text, whole.finish_reason) == (following("\n", 18), "length")


async def test_the_seed_of_a_request_stands_in_for_the_sessions(known: Repository) -> None:
    async with running(known) as service:
        one, two, three = (opened(service, NEXT_TOKEN, seed=seed) for seed in (1, 2, 3))
        own = await collect(generate(one, GenerateRequest(60, temperature=2)))
        given = await collect(generate(two, GenerateRequest(60, temperature=2, seed=1)))
        other = await collect(generate(three, GenerateRequest(60, temperature=2)))
        assert own.tokens == given.tokens != other.tokens


async def test_a_narrow_nucleus_leaves_the_likeliest_alone(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, NEXT_TOKEN)
        whole = await collect(generate(session, GenerateRequest(50, top_p=0.5)))
        assert whole.text == following("\n", 50)


async def test_the_same_seed_gives_the_same_text_alone_and_in_a_crowd(known: Repository) -> None:
    request = GenerateRequest(70, temperature=1.5)
    async with running(known) as service:
        alone = await collect(generate(opened(service, NEXT_TOKEN, seed=9), request))
        sessions = [opened(service, NEXT_TOKEN, seed=9 + number // 2) for number in range(12)]
        crowd, _ = await asyncio.gather(
            asyncio.gather(*(collect(generate(session, request)) for session in sessions)),
            asyncio.gather(*(observe_text(opened(service, NEXT_TOKEN), text="abc" * 50) for _ in range(5))),
        )
        texts = [whole.text for whole in crowd]
        assert texts[0] == texts[1] == alone.text and len(set(texts)) == 6


@pytest.mark.parametrize(
    "request_",
    [
        GenerateRequest(-1),
        GenerateRequest(5, temperature=-0.1),
        GenerateRequest(5, temperature=2.1),
        GenerateRequest(5, temperature=float("nan")),
        GenerateRequest(5, top_p=-0.1),
        GenerateRequest(5, top_p=1.1),
        GenerateRequest(5, top_p=float("nan")),
        GenerateRequest(5, stop=("",)),
        GenerateRequest(5, stop=("x" * (MAX_STOP_LENGTH + 1),)),
        GenerateRequest(5, stop=("x",) * (MAX_STOPS + 1)),
    ],
)
async def test_a_request_that_cannot_be_is_refused(known: Repository, request_: GenerateRequest) -> None:
    async with running(known) as service:
        session = opened(service, NEXT_TOKEN)
        with pytest.raises(InputMismatch, match="expected"):
            await collect(generate(session, request_))
        with pytest.raises(InputMismatch, match="expected"):
            await collect(complete(service, session.model, np.array([2]), request_))
        assert session.position == 0 and not session.busy


async def test_too_much_text_is_refused_before_any_work(known: Repository) -> None:
    watch = Watch()
    async with running(known, watch) as service:
        session = opened(service, NEXT_TOKEN)
        long = np.full(11, 2)
        for ask in (
            generate(session, GenerateRequest(21), limits=SMALL),
            generate(session, GenerateRequest(1), prompt=long, limits=SMALL),
            complete(service, session.model, long[:1], GenerateRequest(21), limits=SMALL),
            complete(service, session.model, long, GenerateRequest(1), limits=SMALL),
        ):
            with pytest.raises(RequestTooLarge, match="expected at most"):
                await collect(ask)
        assert not watch.runs


async def test_no_tokens_at_all_are_nothing_to_do(known: Repository) -> None:
    watch = Watch()
    async with running(known, watch) as service:
        session = opened(service, NEXT_TOKEN)
        whole = await collect(generate(session, GenerateRequest(0)))
        assert (whole.text, whole.tokens, session.position) == ("", [], 0)
        with pytest.raises(PositionConflict):
            await collect(generate(session, GenerateRequest(0), expected=Expected(3)))
        assert not watch.runs


async def test_a_nucleus_of_nothing_is_the_likeliest_token(known: Repository) -> None:
    async with running(known) as service:
        least, greedy = [opened(service, NEXT_TOKEN) for _ in range(2)]
        first = await collect(generate(least, GenerateRequest(20, temperature=2, top_p=0)))
        second = await collect(generate(greedy, GenerateRequest(20, temperature=0)))
        assert first.tokens == second.tokens


async def test_too_many_tokens_are_refused_before_any_is_looked_at(model: Model) -> None:
    with pytest.raises(RequestTooLarge, match="tokens: expected at most 10, got 11"):
        tokens_of(model, None, [-1] * 11, SMALL)


async def test_a_long_text_is_cut_into_tokens_off_the_event_loop(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    assert model.tokenizer is not None
    encode, threads = model.tokenizer.encode, list[threading.Thread]()

    def watched(text: str) -> Tokens:
        threads.append(threading.current_thread())
        return encode(text)

    monkeypatch.setattr(model.tokenizer, "encode", watched)
    short, long = [await read_tokens(model, "a" * count, None) for count in (5, 5000)]
    assert short.tolist() == [2] * 5 and long.tolist() == [2] * 5000
    assert [thread is threading.main_thread() for thread in threads] == [True, False]
