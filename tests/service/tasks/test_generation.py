from __future__ import annotations

import asyncio
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest

from service.errors import JournalUnavailable, Overloaded, PositionConflict, SessionNotFound
from service.journal import Entry, Journal
from service.models.repository import Repository
from service.sessions.session import Session
from service.sessions.transition import Expected
from service.tasks.requests import PIECE_TOKENS
from service.tasks.text import GenerateRequest, TextPiece, generate, observe_text, tokens_of
from tests.known_models import NEXT_TOKEN
from tests.service.running import DurableJournal, Watch, gated, opened, opens, row_of, running, until
from tests.service.tasks.cycling import Whole, collect

pytestmark = pytest.mark.anyio

# A seed whose first pieces do not end in what might be the beginning of the stop string, and would be held back.
REQUEST = GenerateRequest(3 * PIECE_TOKENS + 5, temperature=1.5, stop=("qqqq",), seed=1)


async def whole_text(known: Repository, request: GenerateRequest = REQUEST, prompt: str = "") -> Whole:
    """What a session of seed 1 writes if nobody interrupts it."""
    async with running(known) as service:
        session = opened(service, NEXT_TOKEN, seed=1)
        return await collect(generate(session, request, prompt=tokens_of(session.model, prompt, None)))


async def first_pieces(session: Session, count: int, **ask: Any) -> list[TextPiece]:
    """The first pieces of a generation that is then cut short."""
    pieces: list[TextPiece] = []
    async with aclosing(generate(session, REQUEST, **ask)) as generation:  # type: ignore[type-var]
        async for piece in generation:
            pieces.append(piece)
            if len(pieces) == count:
                break
    return pieces


async def test_a_text_comes_in_pieces_each_committed_before_it_is_delivered(known: Repository) -> None:
    async with running(known, journal=DurableJournal()) as service:
        session = await opens(service, NEXT_TOKEN, seed=1)
        sizes = []
        async for piece in generate(session, REQUEST):
            sizes.append(len(piece.tokens))
            entry = service.journal.journal.load(session.id)
            assert entry is not None and entry.position == piece.position == session.position == sum(sizes)
            assert entry.row == row_of(service, session)
            assert (piece.finish_reason is None) == (sum(sizes) < REQUEST.max_tokens)
        assert sizes == [PIECE_TOKENS] * 3 + [5]


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("prompt", ["", "once upon"])
async def test_a_text_cut_short_goes_on_when_asked_again(known: Repository, count: int, prompt: str) -> None:
    prompt = prompt.replace(" ", "")
    uninterrupted = await whole_text(known, prompt=prompt)
    async with running(known) as service:
        session = opened(service, NEXT_TOKEN, seed=1)
        ask = {"prompt": tokens_of(session.model, prompt, None), "expected": Expected(0, "k")}
        pieces = await first_pieces(session, count, **ask)
        assert session.position == len(prompt) + count * PIECE_TOKENS == pieces[-1].position
        assert not session.busy

        rest = [piece async for piece in generate(session, REQUEST, **ask)]  # type: ignore[arg-type]
        assert [piece.repeated for piece in rest] == [True] + [False] * (len(rest) - 1)
        assert "".join(piece.text for piece in pieces) == rest[0].text
        assert "".join(piece.text for piece in rest) == uninterrupted.text
        assert rest[-1].position == uninterrupted.position and rest[-1].finish_reason == uninterrupted.finish_reason

        again = await collect(generate(session, REQUEST, **ask))  # type: ignore[arg-type]
        assert (again.text, again.tokens, again.pieces) == (uninterrupted.text, uninterrupted.tokens, 1)


async def test_held_back_text_is_given_once_when_a_text_goes_on(known: Repository) -> None:
    """A piece ends within what may become a stop string; asked again, it is neither lost nor given twice."""
    stop = "opqrstuvw"
    request = GenerateRequest(40, temperature=0, stop=(stop,))
    async with running(known) as service:
        session = opened(service, NEXT_TOKEN)
        async with aclosing(generate(session, request, expected=Expected(0))) as pieces:  # type: ignore[type-var]
            first = await anext(pieces)
        assert (first.text, len(first.tokens), session.position) == ("abcdefghijklmn", 14, 14)
        rest = await collect(generate(session, request, expected=Expected(0)))
        assert (rest.text, rest.finish_reason, rest.position) == ("abcdefghijklmn", "stop", 14)


async def test_other_content_at_a_text_cut_short_is_a_conflict(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, NEXT_TOKEN, seed=1)
        await first_pieces(session, 1, expected=Expected(0, "k"))
        longer = GenerateRequest(REQUEST.max_tokens + 1, temperature=1.5, stop=("qqqq",))
        for expected in (Expected(0), Expected(key="k")):
            with pytest.raises(PositionConflict) as conflict:
                await collect(generate(session, longer, expected=expected))
            assert conflict.value.position == PIECE_TOKENS
        with pytest.raises(PositionConflict):
            await observe_text(session, text="a", expected=Expected(0))


async def test_something_else_may_follow_a_text_cut_short(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, NEXT_TOKEN, seed=1)
        pieces = await first_pieces(session, 1, expected=Expected(0))
        await observe_text(session, text="abc", expected=Expected(PIECE_TOKENS))
        with pytest.raises(PositionConflict):
            await collect(generate(session, REQUEST, expected=Expected(0)))
        exact = opened(service, NEXT_TOKEN)
        await observe_text(exact, tokens=[*pieces[0].tokens, *tokens_of(session.model, "abc", None).tolist()])
        assert row_of(service, session) == row_of(service, exact)


async def test_a_text_without_position_or_key_does_not_go_on_but_begins_anew(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, NEXT_TOKEN, seed=1)
        await first_pieces(session, 1)
        whole = await collect(generate(session, REQUEST))
        assert len(whole.tokens) == REQUEST.max_tokens and whole.position == PIECE_TOKENS + REQUEST.max_tokens


async def test_nobody_comes_between_the_pieces_of_a_text(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, NEXT_TOKEN, seed=1)
        generation = generate(session, REQUEST)
        first = await anext(generation)
        between = asyncio.create_task(observe_text(session, text="abc"))
        await asyncio.sleep(0.01)
        assert not between.done() and session.position == PIECE_TOKENS
        rest = [piece async for piece in generation]
        assert (await between).start == REQUEST.max_tokens
        assert first.text + "".join(piece.text for piece in rest) == (await whole_text(known)).text


async def test_a_slow_reader_holds_up_no_other_session(known: Repository) -> None:
    async with running(known) as service:
        slow, other = (opened(service, NEXT_TOKEN) for _ in range(2))
        async with aclosing(generate(slow, REQUEST)) as generation:  # type: ignore[type-var]
            await anext(generation)
            await collect(generate(other, REQUEST))


async def test_a_reader_that_leaves_lets_the_next_one_in(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, NEXT_TOKEN)
        generation = generate(session, REQUEST)
        await anext(generation)
        waiting = asyncio.create_task(observe_text(session, text="abc"))
        await asyncio.sleep(0)
        await generation.aclose()  # type: ignore[attr-defined]
        async with asyncio.timeout(5):
            assert (await waiting).start == PIECE_TOKENS


async def test_a_session_closed_before_its_text_began_is_not_found(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, NEXT_TOKEN)
        generation = generate(session, REQUEST)
        await service.store.close(session.key)
        with pytest.raises(SessionNotFound):
            await anext(generation)


class Unplugged:
    """A journal whose commits fail from the second piece on."""

    def __init__(self, journal: Journal) -> None:
        self.commits, self.commit = 0, journal.commit
        journal.__dict__["commit"] = self._commit

    def _commit(self, entries: Sequence[Entry]) -> AbstractSet[str]:
        self.commits += 1
        if self.commits == 2:
            raise OSError("unplugged")
        return self.commit(entries)


async def test_a_piece_that_cannot_be_committed_is_not_delivered_and_the_text_goes_on_later(known: Repository) -> None:
    async with running(known, journal=DurableJournal()) as service:
        session = await opens(service, NEXT_TOKEN, seed=1)
        journal = Unplugged(service.journal.journal)
        delivered: list[TextPiece] = []
        with pytest.raises(JournalUnavailable, match="the journal failed: OSError"):
            async for piece in generate(session, REQUEST, expected=Expected(0)):
                delivered.append(piece)
        assert len(delivered) == 1 and session.position == PIECE_TOKENS and journal.commits == 2
        rest = await collect(generate(session, REQUEST, expected=Expected(0)))
        assert rest.text == (await whole_text(known)).text


async def test_a_text_refused_between_two_pieces_goes_on_later(known: Repository) -> None:
    async with running(known, queue_limit=1) as service:
        session, other = (opened(service, NEXT_TOKEN, seed=1) for _ in range(2))
        generation = generate(session, REQUEST, expected=Expected(0))
        await anext(generation)
        with gated(session.model) as gate:
            gate.close()
            blocking = asyncio.create_task(observe_text(other, text="abc"))
            await gate.entered()
            with pytest.raises(Overloaded):
                await anext(generation)
            gate.open()
            await blocking
        assert not session.busy and session.position == PIECE_TOKENS
        rest = await collect(generate(session, REQUEST, expected=Expected(0)))
        assert rest.text == (await whole_text(known)).text


async def test_a_long_prompt_does_not_hold_up_single_steps(known: Repository) -> None:
    watch = Watch()
    async with running(known, watch) as service:
        reading, stepping = (opened(service, NEXT_TOKEN) for _ in range(2))
        with gated(reading.model) as gate:
            gate.close()
            prompt = np.full(5000, 2)
            long = asyncio.create_task(collect(generate(reading, GenerateRequest(1), prompt=prompt)))
            await gate.entered()
            single = asyncio.create_task(observe_text(stepping, text="a"))
            await asyncio.sleep(0)
            gate.open()
            await single
        assert watch.runs[1] == ("observe", 1, 1)
        assert (await long).position == 5001


async def test_a_text_leaves_and_reenters_memory_between_its_requests(known: Repository) -> None:
    watch = Watch()
    async with running(known, watch, resident_sessions=1) as service:
        writing, other = opened(service, NEXT_TOKEN, seed=1), opened(service, NEXT_TOKEN)
        await first_pieces(writing, 2, expected=Expected(0))
        await observe_text(other, text="abc")
        assert writing.slot is None
        rest = await collect(generate(writing, REQUEST, expected=Expected(0)))
        assert rest.text == (await whole_text(known)).text and watch.events["evicted: pressure"] == 2


async def test_work_in_flight_is_decided_before_the_next_turn(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, NEXT_TOKEN, seed=1)
        generation = generate(session, REQUEST, expected=Expected(0))
        with gated(session.model, "generate") as gate:
            await anext(generation)
            gate.close()
            reading = asyncio.ensure_future(anext(generation))
            await gate.entered()
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            assert session.busy
            gate.open()
            await until(lambda: not session.busy)
        assert session.position == PIECE_TOKENS
        rest = await collect(generate(session, REQUEST, expected=Expected(0)))
        assert rest.text == (await whole_text(known)).text
