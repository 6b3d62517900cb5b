from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.models.repository import Repository
from service.models.tokenizer import StreamDecoder, Tokenizer
from service.tasks.stop import StopMatcher
from tests.service.conftest import NEXT_BYTE


class Pieces:
    """A tokenizer whose tokens are the given byte strings."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = pieces

    def token_bytes(self, token: int) -> bytes:
        return self.pieces[token]


def matcher_of(pieces: Sequence[bytes], stops: Sequence[str]) -> StopMatcher:
    return StopMatcher(StreamDecoder(cast(Tokenizer, Pieces(pieces)), b""), stops)


def followed(pieces: Sequence[bytes], stops: Sequence[str], calls: Iterable[int] = ()) -> tuple[str, int, str | None]:
    """Text, tokens taken and the stop string found, where the tokens come in calls of the given sizes, then at once."""
    matcher = matcher_of(pieces, stops)
    text, taken = "", 0
    for size in itertools.chain(calls, [len(pieces)]):
        batch = range(taken, min(len(pieces), taken + size))
        kept = matcher.feed(batch)
        taken += kept
        text += matcher.take_text()
        if matcher.stopped_by is not None:
            break
        assert kept == len(batch)
    else:
        matcher.finish()
        text += matcher.take_text()
    return text, taken, matcher.stopped_by


def first_stop(text: str, stops: Sequence[str]) -> tuple[int, int] | None:
    """Where the stop string that is complete first begins and ends; of those that end together, the longest."""
    ends = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
    if not ends:
        return None
    end, start = min(ends)
    return start, end


TEXTS = st.text("ab☃", max_size=24)
STOPS = st.lists(st.text("ab☃", min_size=1, max_size=4), max_size=3)
CALLS = st.lists(st.integers(1, 5), max_size=10)


@given(TEXTS, STOPS, CALLS)
def test_a_text_of_single_characters_ends_before_its_first_stop_string(
    text: str, stops: list[str], calls: list[int]
) -> None:
    found, taken, _ = followed([character.encode() for character in text], stops, calls)
    where = first_stop(text, stops)
    assert (found, taken) == ((text, len(text)) if where is None else (text[: where[0]], where[1]))


@given(TEXTS, STOPS, CALLS)
def test_bytes_do_not_hide_a_stop_string(text: str, stops: list[str], calls: list[int]) -> None:
    pieces = [bytes([byte]) for byte in text.encode()]
    found, taken, _ = followed(pieces, stops, calls)
    where = first_stop(text, stops)
    assert found == (text if where is None else text[: where[0]])
    assert taken == len((text if where is None else text[: where[1]]).encode())


@given(TEXTS, STOPS, CALLS, st.lists(st.integers(1, 6), max_size=10))
@example("ab☃a", ["ab☃a", "b"], [], [])
def test_where_a_text_ends_does_not_depend_on_how_it_is_cut_into_tokens(
    text: str, stops: list[str], calls: list[int], sizes: list[int]
) -> None:
    content, pieces = text.encode(), list[bytes]()
    for size in [*sizes, len(content)]:
        pieces.append(content[:size])
        content = content[size:]
    found, _, stopped_by = followed(pieces, stops, calls)
    where = first_stop(text, stops)
    assert found == (text if where is None else text[: where[0]])
    assert stopped_by == (None if where is None else text[slice(*where)])


@given(TEXTS, STOPS)
def test_text_that_was_let_go_is_never_part_of_a_stop_string(text: str, stops: list[str]) -> None:
    matcher, given_out = matcher_of([character.encode() for character in text], stops), ""
    where = first_stop(text, stops)
    for token in range(len(text)):
        matcher.feed([token])
        given_out += matcher.take_text()
        assert text.startswith(given_out) and (where is None or len(given_out) <= where[0])
        if matcher.stopped_by is not None:
            return
    held = text[len(given_out) :]
    assert not held or any(stop.startswith(held) for stop in stops), "text was held back without need"


def test_text_that_may_become_a_stop_string_is_held_back() -> None:
    matcher = matcher_of([b"a", b"E", b"N", b"x", b"E", b"N", b"D", b"z"], ["END"])
    shown = []
    for token in range(7):
        matcher.feed([token])
        shown.append(matcher.take_text())
    assert shown == ["a", "", "", "ENx", "", "", ""] and matcher.stopped_by == "END"


def test_what_was_held_back_is_text_when_nothing_follows() -> None:
    matcher = matcher_of([b"E", b"N"], ["END"])
    matcher.feed([0, 1])
    assert matcher.take_text() == ""
    matcher.finish()
    assert matcher.take_text() == "EN" and matcher.stopped_by is None


def test_the_tokens_after_a_stop_string_are_not_taken() -> None:
    matcher = matcher_of([b"a", b"b", b"c", b"d"], ["bc"])
    assert matcher.feed([0, 1, 2, 3]) == 3
    assert matcher.take_text() == "a"


def test_what_follows_a_stop_string_in_its_token_is_not_shown() -> None:
    assert followed([b"one", b" END two"], ["END"]) == ("one ", 2, "END")


def test_a_cut_character_is_pending_until_nothing_follows_ever() -> None:
    matcher = matcher_of(["☃".encode()[:2]], [])
    matcher.feed([0])
    assert matcher.pending == "☃".encode()[:2]
    matcher.finish()
    assert matcher.take_text() == ""
    matcher.flush()
    assert matcher.take_text() == "\ufffd" and matcher.pending == b""


def test_a_character_begun_before_is_completed() -> None:
    decoder = StreamDecoder(cast(Tokenizer, Pieces(["☃".encode()[2:]])), "☃".encode()[:2])
    matcher = StopMatcher(decoder, ["☃"])
    assert matcher.feed([0]) == 1 and matcher.stopped_by == "☃" and matcher.take_text() == ""


@pytest.mark.parametrize("text", ["plain", "é☃😀", "a\ufffdb"])
def test_a_real_tokenizer_of_bytes_gives_its_text_back(known: Repository, text: str) -> None:
    tokenizer = known.get(NEXT_BYTE).tokenizer
    assert tokenizer is not None
    matcher = StopMatcher(StreamDecoder(tokenizer), [])
    matcher.feed(tokenizer.encode(text).tolist())
    assert matcher.take_text() == text
