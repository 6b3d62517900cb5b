from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from service.errors import InputMismatch
from service.models.device import Device
from service.models.model import Model
from service.models.repository import Repository
from service.models.tokenizer import Tokenizer
from service.tasks.constraint import Follower
from service.tasks.requests import Constraint
from tests.known_models import NEXT_TOKEN
from tests.service.conftest import NEXT_BYTE
from tests.service.tasks.cycling import CYCLING, cycling_tokens


def tokenizer_of(known: Repository, name: str = NEXT_BYTE) -> Tokenizer:
    tokenizer = known.get(name).tokenizer
    assert tokenizer is not None
    return tokenizer


def written(follower: Follower, tokenizer: Tokenizer, seed: int, most: int = 300) -> str:
    """A text of the language, every token drawn evenly from those allowed."""
    rng, tokens = np.random.default_rng(seed), list[int]()
    while not follower.ended and len(tokens) < most:
        token = int(rng.choice(np.flatnonzero(follower.allowed())))
        follower.take([token])
        tokens.append(token)
    return tokenizer.decode(tokens)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("pattern", ["[a-c]{3,5}z", "(yes|no)( maybe)?!", "é☃{2}", r"\d{4}-\d{2}"])
def test_a_text_is_one_of_its_regular_expression(known: Repository, pattern: str, seed: int) -> None:
    tokenizer = tokenizer_of(known)
    text = written(Follower.compile(Constraint("regex", pattern), tokenizer), tokenizer, seed)
    assert re.fullmatch(pattern, text)


@pytest.mark.parametrize("seed", range(5))
def test_a_text_is_one_of_its_json_schema(known: Repository, seed: int) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"enum": ["a", "bc"]}, "count": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["name", "count"],
        "additionalProperties": False,
        "x-guidance": {"whitespace_flexible": False},
    }
    tokenizer = tokenizer_of(known)
    text = written(Follower.compile(Constraint("json_schema", json.dumps(schema)), tokenizer), tokenizer, seed)
    found = json.loads(text)
    assert found.keys() == {"name", "count"} and found["name"] in ("a", "bc") and 0 <= found["count"] <= 9


@pytest.mark.parametrize("grammar", ['start: ("a" | "b" start)\n', 'root ::= "a" | "b" root\n'], ids=["Lark", "GBNF"])
def test_a_text_is_one_of_its_grammar(known: Repository, grammar: str) -> None:
    tokenizer = tokenizer_of(known, NEXT_TOKEN)
    follower = Follower.compile(Constraint("grammar", grammar), tokenizer)
    assert re.fullmatch("b*a", written(follower, tokenizer, 0))


def test_tokens_of_several_characters_may_cross_the_parts_of_a_language(tmp_path: Path) -> None:
    cycling_tokens(tmp_path, [("a", "b"), ("ab", "c")], ["ab", "abc"])
    tokenizer = Model.load(tmp_path / CYCLING / "1", Device("cpu")).tokenizer
    assert tokenizer is not None
    follower = Follower.compile(Constraint("regex", "x(ab|abcd)"), tokenizer)
    follower.take([tokenizer.encode("x")[0]])
    allowed = {tokenizer.decode([token]) for token in np.flatnonzero(follower.allowed()).tolist()}
    assert allowed == {"a", "ab", "abc"}


def test_a_copy_goes_its_own_way(known: Repository) -> None:
    tokenizer = tokenizer_of(known, NEXT_TOKEN)
    follower = Follower.compile(Constraint("regex", "ab|cd"), tokenizer)
    copy = follower.copy()
    follower.take(tokenizer.encode("ab").tolist())
    assert follower.ended and not copy.ended and copy.allowed().sum() == 2


def test_the_unknown_token_is_never_allowed(known: Repository) -> None:
    tokenizer = tokenizer_of(known, NEXT_TOKEN)
    allowed = Follower.compile(Constraint("regex", r"(?s:.)+"), tokenizer).allowed()
    assert not allowed[0] and allowed[1:].all()


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        (Constraint("regex", "[a"), "regex: cannot be read"),
        (Constraint("json_schema", "{"), "json_schema: cannot be read"),
        (Constraint("json_schema", '{"type": "nothing"}'), "json_schema: cannot be read"),
        (Constraint("grammar", "start: nobody"), "grammar: cannot be read"),
    ],
)
def test_what_is_no_language_is_refused(known: Repository, constraint: Constraint, message: str) -> None:
    with pytest.raises(InputMismatch, match=message):
        Follower.compile(constraint, tokenizer_of(known))


@pytest.mark.parametrize(("pattern", "message"), [("Xa", "no token for 'Xa'"), ("[X-Z]", "no token for anything")])
def test_a_language_that_the_vocabulary_cannot_write_is_told(known: Repository, pattern: str, message: str) -> None:
    follower = Follower.compile(Constraint("regex", pattern), tokenizer_of(known, NEXT_TOKEN))
    with pytest.raises(InputMismatch, match=message):
        follower.allowed()
