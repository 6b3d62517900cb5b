"""The controls of text generation that several protocols take, and what is told of tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any

from msgspec import Meta

from service.errors import InputMismatch
from service.models.tokenizer import StreamDecoder, Tokenizer
from service.protocols.answering import to_json
from service.protocols.reading import Message
from service.tasks.requests import (
    MAX_BIAS,
    Alternatives,
    Constraint,
    ConstraintKind,
    GenerateRequest,
    check_bias_count,
)

_MAX_ID_DIGITS = 18
"""Of a token id; those of any model have far fewer."""
_KINDS: tuple[ConstraintKind, ...] = ("regex", "json_schema", "grammar")

_BIAS = {"minimum": -MAX_BIAS, "maximum": MAX_BIAS}


class TextControls(Message):
    """How text is drawn, beyond temperature and nucleus; see the README's table.

    What is left out changes nothing. `regex`, `json_schema` and `grammar` (Lark or GBNF) name a language that the text
    is to be of; at most one of them.
    """

    top_k: Annotated[int, Meta(ge=0)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    typical_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=10)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    penalty_window: Annotated[int, Meta(ge=1, le=64)] | None = None
    # The bound is kept by `check_request`, which can name the token; here it is only described.
    logit_bias: dict[str, Annotated[float, Meta(extra_json_schema=_BIAS)]] | None = None
    regex: str | None = None
    json_schema: dict[str, Any] | str | None = None
    grammar: str | None = None
    best_of: Annotated[int, Meta(ge=1, le=20)] | None = None
    beams: Annotated[int, Meta(ge=0, le=16)] | None = None
    length_penalty: Annotated[float, Meta(ge=0, le=2)] | None = None
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None


def with_controls(request: GenerateRequest, body: TextControls) -> GenerateRequest:
    """The request with what a message says of the controls.

    Raises:
        InputMismatch: a key of `logit_bias` is no token id, they are too many, or several constraints are given.
    """
    chosen: dict[str, Any] = {name: value for name, value in given_controls(body) if name not in _KINDS}
    if body.logit_bias is not None:
        check_bias_count(len(body.logit_bias))  # before any is read, which takes long for very many
        chosen["logit_bias"] = tuple((_token(key), bias) for key, bias in sorted(body.logit_bias.items()))
    return replace(request, **chosen, constraint=_constraint(body))


def given_controls(body: TextControls) -> Iterator[tuple[str, Any]]:
    """The controls that a message names."""
    for name in TextControls.__struct_fields__:
        value = getattr(body, name)
        if value is not None:
            yield name, value


def _token(key: str) -> int:
    if not key.isascii() or not key.isdecimal():
        raise InputMismatch(f"logit_bias: expected token ids for names, got {key[:40]!r}", parameter="logit_bias")
    if len(key) > _MAX_ID_DIGITS:
        raise InputMismatch(
            f"logit_bias: unknown token id {key[:_MAX_ID_DIGITS]}… of {len(key)} digits", parameter="logit_bias"
        )
    return int(key)


def _constraint(body: TextControls) -> Constraint | None:
    given = [(kind, value) for kind in _KINDS if (value := getattr(body, kind)) is not None]
    if len(given) > 1:
        names = ", ".join(kind for kind, _ in given)
        raise InputMismatch(f"{names}: expected at most one of them, got {len(given)}", parameter=given[1][0])
    for kind, value in given:
        return Constraint(kind, value if isinstance(value, str) else to_json(value).decode())
    return None


def token_text(tokenizer: Tokenizer, token: int) -> str:
    """A token as text; where its bytes are part of a character, as OpenAI's service has it: `bytes:\\xe2\\x98`."""
    content = tokenizer.token_bytes(token)
    try:
        return content.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in content)


class TokenOffsets:
    """Where tokens lie in a text of which they are the next, in characters.

    Args:
        start: characters before the first token.
    """

    def __init__(self, tokenizer: Tokenizer, start: int = 0) -> None:
        self._tokenizer = tokenizer
        self._decoder = StreamDecoder(tokenizer)
        self._at = start

    def copy(self) -> TokenOffsets:
        """Another that stands at the same place and goes its own way."""
        other = TokenOffsets(self._tokenizer, self._at)
        other._decoder = StreamDecoder(self._tokenizer, self._decoder.pending)
        return other

    def of(self, tokens: list[int]) -> list[int]:
        """The first character that each of the following tokens has a part in."""
        found = []
        for token in tokens:
            found.append(self._at)
            self._at += len(self._decoder.feed([token]))
        return found


def rows_of(alternatives: Alternatives) -> Iterator[tuple[int, float, list[tuple[int, float]]]]:
    """Each token with its log-probability, and the likeliest in its place with theirs."""
    for tokens, values in zip(alternatives.tokens.tolist(), alternatives.log_probabilities.tolist(), strict=True):
        yield tokens[0], values[0], list(zip(tokens[1:], values[1:], strict=True))
