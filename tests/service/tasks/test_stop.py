from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.models.repository import Repository
from service.models.tokenizer import Tokenizer
from service.tasks.stop import Cut, look
from tests.service.conftest import NEXT_BYTE


class Pieces:
    """A tokenizer whose tokens are the given byte strings."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = pieces

    def token_bytes(self, token: int) -> bytes:
        return self.pieces[token]


def seen(
    pieces: Sequence[bytes],
    stops: Sequence[str],
    *,
    count: int | None = None,
    final: bool = False,
    pending: bytes = b"",
) -> Cut:
    """What is certain of the first `count` pieces, each of which is a token."""
    tokenizer = cast(Tokenizer, Pieces(pieces))
    return look(tokenizer, pending, range(len(pieces) if count is None else count), stops, final=final)


def followed(pieces: Sequence[bytes], stops: Sequence[str], calls: Iterable[int]) -> tuple[list[str], Cut]:
    """The texts that are let go, where tokens come in calls of the given sizes, then at once; and the last cut."""
    tokenizer, texts = cast(Tokenizer, Pieces(pieces)), list[str]()
    delivered, drawn, pending = 0, 0, b""
    for size in [*calls, len(pieces)]:
        drawn = min(len(pieces), drawn + size)
        cut = look(tokenizer, pending, range(delivered, drawn), stops, final=drawn == len(pieces))
        texts.append(cut.text + cut.remainder)
        delivered, pending = delivered + cut.tokens, cut.pending
        if cut.stopped_by is not None or drawn == len(pieces):
            return texts, cut._replace(tokens=delivered)
    raise AssertionError("all pieces are drawn in the end")


def first_stop(text: str, stops: Sequence[str]) -> tuple[int, int] | None:
    """Where the stop string that is complete first begins and ends; of those that end together, the longest."""
    ends = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
    if not ends:
        return None
    end, start = min(ends)
    return start, end


def pieces_of(text: str, sizes: Iterable[int]) -> list[bytes]:
    """The text's bytes cut into tokens of these sizes, the rest in one."""
    content, pieces = text.encode(), list[bytes]()
    for size in [*sizes, len(content)]:
        if content:
            pieces.append(content[:size])
            content = content[size:]
    return pieces


TEXTS = st.text("ab☃", max_size=24)
STOPS = st.lists(st.text("ab☃", min_size=1, max_size=4), max_size=3)
SIZES = st.lists(st.integers(1, 6), max_size=12)


@given(TEXTS, STOPS, SIZES, SIZES)
@example("ab☃a", ["ab☃a", "b"], [], [])
@example("a☃", ["☃"], [2, 1], [1, 1])
def test_a_text_ends_before_its_first_stop_string_however_it_is_cut(
    text: str, stops: list[str], sizes: list[int], calls: list[int]
) -> None:
    pieces = pieces_of(text, sizes)
    texts, cut = followed(pieces, stops, calls)
    where = first_stop(text, stops)
    assert "".join(texts) == (text if where is None else text[: where[0]])
    assert cut.stopped_by == (None if where is None else text[slice(*where)])


@given(TEXTS, STOPS, SIZES, SIZES)
def test_the_tokens_delivered_are_the_text_delivered_but_for_what_lies_in_the_next(
    text: str, stops: list[str], sizes: list[int], calls: list[int]
) -> None:
    pieces = pieces_of(text, sizes)
    texts, cut = followed(pieces, stops, calls)
    whole = b"".join(pieces[: cut.tokens])
    assert whole + cut.remainder.encode().removeprefix(cut.pending) == "".join(texts).encode()
    if cut.remainder:
        following = pieces[cut.tokens]
        rest = cut.remainder.encode().removeprefix(cut.pending)
        assert following.startswith(rest) and len(following) > len(rest)


@given(TEXTS, STOPS, SIZES)
def test_nothing_let_go_is_part_of_a_stop_string_and_nothing_is_kept_without_need(
    text: str, stops: list[str], sizes: list[int]
) -> None:
    pieces, where = pieces_of(text, sizes), first_stop(text, stops)
    for count in range(len(pieces) + 1):
        cut = seen(pieces, stops, count=count)
        if cut.stopped_by is not None:
            return
        assert where is None or len(cut.text) <= where[0]
        drawn = b"".join(pieces[:count]).decode("utf-8", "ignore")
        if cut.tokens < count:
            # The last token kept back or one before it has a part in what may become a stop string.
            held = b"".join(pieces[: cut.tokens + 1]).decode("utf-8", "ignore")
            rest = b"".join(pieces[:count])[len(drawn.encode()) :]
            begins = [drawn[start:] for start in range(len(drawn) + 1) if start <= len(held)]
            may = [tail for tail in begins for stop in stops if stop.startswith(tail) and (tail or rest)]
            assert may, "text was held back without need"


def test_tokens_that_may_be_part_of_a_stop_string_are_held_back() -> None:
    pieces = [b"a", b"E", b"N", b"x", b"E", b"N", b"D", b"z"]
    assert [seen(pieces, ["END"], count=count)[:2] for count in range(1, 7)] == [
        (1, "a"),
        (1, "a"),
        (1, "a"),
        (4, "aENx"),
        (4, "aENx"),
        (4, "aENx"),
    ]
    assert seen(pieces, ["END"]) == Cut(4, "aENx", b"", "END", "")


def test_what_was_held_back_is_text_when_nothing_follows() -> None:
    assert seen([b"E", b"N"], ["END"]) == Cut(0, "", b"")
    assert seen([b"E", b"N"], ["END"], final=True) == Cut(2, "EN", b"")


def test_text_before_a_stop_string_inside_a_token_is_told_apart() -> None:
    assert seen([b"one", b" END two"], ["END"]) == Cut(1, "one", b"", "END", " ")


def test_a_character_begun_and_ended_by_two_tokens_is_cut_between_them() -> None:
    snowman = "☃".encode()
    assert seen([b"a" + snowman[:1], snowman[1:] + b"bEND"], ["END"]) == Cut(1, "a", snowman[:1], "END", "☃b")
    assert seen([b"a" + snowman[:1], snowman[1:] + b"b"], ["☃"]) == Cut(0, "", b"", "☃", "a")


def test_bytes_that_cannot_begin_a_stop_string_are_not_held_back() -> None:
    begun = "☃".encode()[:2]
    assert seen([b"a", begun], ["END", "é"]) == Cut(2, "a", begun)
    assert seen([b"a", begun], ["☃"]) == Cut(1, "a", b"")
    assert seen([b"E", begun], ["E☃"]) == Cut(0, "", b"")


def test_without_stop_strings_every_token_is_certain_and_a_cut_character_pending() -> None:
    assert seen(["☃".encode()[:2]], []) == Cut(1, "", "☃".encode()[:2])


def test_a_character_begun_before_is_completed() -> None:
    assert seen(["☃".encode()[2:]], ["☃"], pending="☃".encode()[:2]) == Cut(0, "", "☃".encode()[:2], "☃", "")


@pytest.mark.parametrize("text", ["plain", "é☃😀", "a\ufffdb"])
def test_a_real_tokenizer_of_bytes_gives_its_text_back(known: Repository, text: str) -> None:
    tokenizer = known.get(NEXT_BYTE).tokenizer
    assert tokenizer is not None
    assert look(tokenizer, b"", tokenizer.encode(text).tolist(), ["never"], final=True).text == text
