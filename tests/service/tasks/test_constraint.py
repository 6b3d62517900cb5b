from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.errors import InputMismatch
from service.models.device import Device
from service.models.model import Model
from service.models.repository import Repository
from service.models.tokenizer import Tokenizer
from service.tasks.constraint import Follower
from service.tasks.requests import Constraint, GenerateRequest
from service.tasks.text import generate
from tests.known_models import NEXT_TOKEN
from tests.service.conftest import NEXT_BYTE
from tests.service.running import opens, running
from tests.service.tasks.cycling import CYCLING, collect, cycling_tokens

ROOT = Path(__file__).parents[3]


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
    }
    tokenizer = tokenizer_of(known)
    text = written(Follower.compile(Constraint("json_schema", json.dumps(schema)), tokenizer), tokenizer, seed)
    found = json.loads(text)
    assert found.keys() == {"name", "count"} and found["name"] in ("a", "bc") and 0 <= found["count"] <= 9
    assert not re.search(r"\s", text)


@pytest.mark.parametrize(
    ("schema", "spaced"),
    [
        ("true", False),
        ('{"type": "array"}', False),
        ('{"x-guidance": {"item_separator": ", "}}', False),
        ('{"x-guidance": {"whitespace_flexible": true}}', True),
    ],
)
def test_json_is_compact_unless_its_schema_lets_white_space_come(known: Repository, schema: str, spaced: bool) -> None:
    tokenizer = tokenizer_of(known)
    follower = Follower.compile(Constraint("json_schema", schema), tokenizer)
    follower.take(tokenizer.encode("[").tolist())
    assert [bool(follower.allowed()[tokenizer.encode(space)[0]]) for space in " \n"] == [spaced, spaced]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "object", "properties": {"词": {"type": "string", "maxLength": 8}}, "required": ["词"]}, dict),
        ({"type": "array", "items": {"enum": ["春", "秋"]}, "minItems": 2, "maxItems": 3}, list),
    ],
    ids=["object", "array"],
)
async def test_songci_writes_json_to_its_end(schema: dict[str, Any], kind: type) -> None:
    schema |= {"additionalProperties": False} if kind is dict else {}
    async with running(ROOT / "models") as service:
        session = await opens(service, "songci", seed=1)
        request = GenerateRequest(80, constraint=Constraint("json_schema", json.dumps(schema)))
        told = await collect(generate(session, request))
    assert told.finish_reason == "stop" and isinstance(json.loads(told.text), kind)


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


@pytest.mark.parametrize("pattern", ["Xa", "[X-Z]"])
def test_a_language_that_the_vocabulary_cannot_begin_is_told(known: Repository, pattern: str) -> None:
    with pytest.raises(InputMismatch, match="regex: the model has no token for anything") as refused:
        Follower.compile(Constraint("regex", pattern), tokenizer_of(known, NEXT_TOKEN))
    assert refused.value.parameter == "regex"


def test_a_language_that_the_vocabulary_cannot_go_on_with_is_told(known: Repository) -> None:
    tokenizer = tokenizer_of(known, NEXT_TOKEN)
    follower = Follower.compile(Constraint("regex", "aX"), tokenizer)
    follower.take(tokenizer.encode("a").tolist())
    with pytest.raises(InputMismatch, match="regex: the model has no token for anything"):
        follower.allowed()


@pytest.mark.parametrize(
    "constraint",
    [
        Constraint("regex", "(a{3000}){1000}"),
        Constraint("regex", "[ab](a{3000}){1000}"),
        Constraint("grammar", "start: A{30000}\nA: /(ab){10000}/\n"),
        Constraint("grammar", 'start: A{30000}\nA: /(ab){10000}/\n%llguidance {"no_forcing": false}\n'),
        Constraint(
            "grammar", 'start: %lark {\n%llguidance {"no_forcing": false}\nstart: A{30000}\nA: /(ab){400}/\n}\n'
        ),
        Constraint("json_schema", '{"type": "array", "minItems": 100000, "items": {"const": "abcdefghijklmnop"}}'),
    ],
    ids=["repeated", "later", "grammar", "option", "nested", "schema"],
)
def test_text_that_must_come_costs_nothing_ahead_of_its_step(known: Repository, constraint: Constraint) -> None:
    tokenizer = tokenizer_of(known)
    begun = time.process_time()
    written(Follower.compile(constraint, tokenizer), tokenizer, 0, most=20)
    assert time.process_time() - begun < 0.5


@pytest.mark.parametrize(
    "constraint",
    [
        Constraint("regex", r"[a-z ]{1,500}\."),
        Constraint("regex", r"(\p{L}|\p{N}){1,3000}"),
        Constraint("json_schema", '{"type": "string", "format": "email"}'),
        Constraint("json_schema", '{"type": "array", "items": {"type": "string", "format": "date-time"}}'),
    ],
    ids=["long", "letters", "email", "dates"],
)
def test_large_languages_that_are_in_use_are_followed(known: Repository, constraint: Constraint) -> None:
    tokenizer = tokenizer_of(known)
    assert written(Follower.compile(constraint, tokenizer), tokenizer, 0, most=40)
