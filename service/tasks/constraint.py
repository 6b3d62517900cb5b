"""Constrained output: which tokens may come next so that the text is of a given language, by llguidance.

The language of a request is compiled once; every text that is drawn from it follows its own copy. JSON is written
compactly, unless the schema's `x-guidance` says otherwise: where white space may always come, a model that likes it
writes nothing else until its tokens are used up.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import llguidance
import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper
from numpy.typing import NDArray

from service.errors import InputMismatch
from service.models.tokenizer import Tokenizer
from service.tasks.requests import Constraint, ConstraintKind

_SHOWN = 300
# What one step may cost is bounded, since steps are made where others wait.
_LIMITS = LLParserLimits(
    initial_lexer_fuel=100_000,
    step_lexer_fuel=100_000,
    step_max_items=20_000,
    max_lexer_states=50_000,
    max_grammar_size=100_000,
    verbose_errors=False,
)
# Text that must come is otherwise written out whole at every step, and `(a{3000}){1000}` has three million characters.
_NO_FORCING = '%llguidance {"no_forcing": true}'

_vocabularies: WeakKeyDictionary[Tokenizer, LLTokenizer] = WeakKeyDictionary()


class Follower:
    """Where one text stands in its language."""

    def __init__(self, kind: ConstraintKind, matcher: LLMatcher, vocabulary_size: int) -> None:
        self._kind = kind
        self._matcher = matcher
        self._vocabulary_size = vocabulary_size

    @classmethod
    def compile(cls, constraint: Constraint, tokenizer: Tokenizer) -> Follower:
        """At the beginning of the constraint's language. May take a while: not for the event loop.

        Raises:
            InputMismatch: it is none, or too large, or the model cannot begin a text of it.
        """
        try:
            grammar = _grammar(constraint)
        except ValueError as error:
            raise _mismatch(constraint, str(error)) from None
        matcher = LLMatcher(_vocabulary(tokenizer), grammar, log_level=0, limits=_LIMITS)
        if matcher.is_error():
            raise _mismatch(constraint, matcher.get_error())
        follower = cls(constraint.kind, matcher, tokenizer.vocabulary_size)
        if not follower.ended:
            # The first step costs the most, and a language that cannot be begun is told from a thread.
            follower.copy().allowed()
        return follower

    def copy(self) -> Follower:
        """Another text that stands at the same place and goes its own way."""
        return Follower(self._kind, self._matcher.deep_copy(), self._vocabulary_size)

    @property
    def ended(self) -> bool:
        """Whether the text is whole and nothing may follow."""
        return self._matcher.is_stopped()

    def allowed(self) -> NDArray[np.bool_]:
        """Which tokens (V,) may come next; at least one.

        Raises:
            InputMismatch: none of the model's may, or finding out costs too much.
        """
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        found = np.unpackbits(bits, count=self._vocabulary_size, bitorder="little").astype(bool)
        error = self._matcher.get_error()
        if error and "NoExtension" not in error:
            raise self._stuck(error)
        if not found.any():
            raise self._refusal("the model has no token for anything that may come next: allow more")
        return found

    def take(self, tokens: Sequence[int]) -> None:
        """Go on by tokens that are part of the text."""
        if tokens and not self._matcher.consume_tokens(list(tokens)):
            raise self._stuck(self._matcher.get_error())

    def _stuck(self, error: str) -> InputMismatch:
        return self._refusal(f"cannot be followed further: {' '.join(error.split())[:_SHOWN]}")

    def _refusal(self, why: str) -> InputMismatch:
        return InputMismatch(f"{self._kind}: {why}", parameter=self._kind)


def _grammar(constraint: Constraint) -> str:
    grammar = _given_grammar(constraint)
    if not grammar.lstrip().startswith("{"):
        return f"{grammar}\n{_NO_FORCING}\n"  # the last option of a name holds
    told = json.loads(grammar)
    for part in told["grammars"]:
        schema = part.pop("json_schema", None)
        lark = part.get("lark_grammar") or f"start: %json {json.dumps(schema)}"
        part["lark_grammar"] = f"{lark}\n{_NO_FORCING}\n"
    return json.dumps(told)


def _given_grammar(constraint: Constraint) -> str:
    if constraint.kind != "json_schema":
        return llguidance.grammar_from(constraint.kind, constraint.text)
    # Only a schema that is an object can carry options; `true` allows what an empty one does.
    schema = "{}" if constraint.text.strip() == "true" else constraint.text
    return LLMatcher.grammar_from_json_schema(schema, defaults={"whitespace_flexible": False})


def _vocabulary(tokenizer: Tokenizer) -> LLTokenizer:
    """The tokenizer's vocabulary, with an end of text behind it that no model has."""
    found = _vocabularies.get(tokenizer)
    if found is None:
        found = _vocabularies[tokenizer] = LLTokenizer(TokenizerWrapper(_Vocabulary(tokenizer)))
    return found


class _Vocabulary:
    """What llguidance asks of a tokenizer."""

    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokens = [*tokenizer.drawable_bytes(), b"<end>"]
        self.eos_token_id = len(self.tokens) - 1
        self.special_token_ids = [self.eos_token_id]
        self._tokenizer = tokenizer

    def __call__(self, text: bytes) -> list[int]:
        return self._tokenizer.encode_bytes(text)


def _mismatch(constraint: Constraint, why: str) -> InputMismatch:
    what = constraint.kind
    return InputMismatch(f"{what}: cannot be read: {' '.join(why.split())[:_SHOWN]}", parameter=what)
