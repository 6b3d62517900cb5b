"""Stop strings: how much of a text that is being generated is certain, and where it ends.

Strings are matched on characters, so a stop string is found however the tokenizer cuts it. Text is delivered by whole
tokens, and one that may be part of a stop string is held back, so that whoever keeps a state can always let it stand
exactly after what was delivered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from service.models.tokenizer import StreamDecoder, Tokenizer


class Cut(NamedTuple):
    """What is certain of some tokens.

    Args:
        tokens: how many of them are wholly part of the text.
        text: of those.
        pending: the bytes of a character begun by the last of those and not complete.
        stopped_by: the stop string that was found.
        remainder: text after those tokens and before the stop string, which begins inside the next token.
    """

    tokens: int
    text: str
    pending: bytes
    stopped_by: str | None = None
    remainder: str = ""


class _Read(NamedTuple):
    """Tokens as text: after each how many characters are complete, and the bytes of one that is not."""

    text: str
    ends: list[int]
    pending: list[bytes]


def look(tokenizer: Tokenizer, pending: bytes, tokens: Sequence[int], stops: Sequence[str], *, final: bool) -> Cut:
    """How much of the tokens is certain, which follow delivered text that left `pending` bytes of a character.

    Args:
        final: nothing follows, so that nothing is held back.
    """
    if not stops:
        decoder = StreamDecoder(tokenizer, pending)
        text = decoder.feed(tokens)
        return Cut(len(tokens), text, decoder.pending)
    read = _read(tokenizer, pending, tokens)
    found = [(index + len(stop), index, stop) for stop in stops if (index := read.text.find(stop)) >= 0]
    if found:
        # The one that ends first, so that it does not matter how many characters a token brings at once.
        _, start, stop = min(found)
        count = _whole(read, start)
        end = read.ends[count - 1] if count else 0
        left = read.pending[count - 1] if count else pending
        return Cut(count, read.text[:end], left, stop, read.text[end:start])
    last = read.pending[-1] if tokens else pending
    held = None if final else _held(read.text, last, stops)
    if held is None:
        return Cut(len(tokens), read.text, last)
    count = _whole(read, held)
    if not count:
        return Cut(0, "", pending)
    return Cut(count, read.text[: read.ends[count - 1]], read.pending[count - 1])


def _read(tokenizer: Tokenizer, pending: bytes, tokens: Sequence[int]) -> _Read:
    decoder = StreamDecoder(tokenizer, pending)
    text, ends, left = "", [], []
    for token in tokens:
        text += decoder.feed([token])
        ends.append(len(text))
        left.append(decoder.pending)
    return _Read(text, ends, left)


def _whole(read: _Read, start: int) -> int:
    """How many tokens have no part in what begins at a character: not even a byte of it."""
    return max(
        (
            index + 1
            for index, (end, left) in enumerate(zip(read.ends, read.pending, strict=True))
            if end < start or (end == start and not left)
        ),
        default=0,
    )


def _held(text: str, pending: bytes, stops: Sequence[str]) -> int | None:
    """Where the text ends in what may become a stop string, the bytes that follow it included; None if it does not."""
    longest = max(map(len, stops)) - (0 if pending else 1)
    for length in range(min(len(text), longest), -1 if pending else 0, -1):
        tail = text[len(text) - length :]
        for stop in stops:
            if len(stop) > length and stop.startswith(tail) and stop[length].encode().startswith(pending):
                return len(text) - length
    return None
