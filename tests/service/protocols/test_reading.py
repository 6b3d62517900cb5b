"""JSON into typed messages: what does not fit is named with its place, what was expected and what came."""

from __future__ import annotations

import json
from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import BadRequest, InputMismatch, UnrollError
from service.protocols.reading import Message, convert, decode

_FIRST = "values.0"


class Inner(Message):
    name: str


class Body(Message):
    count: Annotated[int, msgspec.Meta(ge=1, le=5)]
    values: list[float | None] | None = None
    flag: bool = False
    inner: Inner | None = None
    columns: dict[str, list[float]] | None = None


@pytest.mark.parametrize(
    ("text", "message", "parameter"),
    [
        ('{"count":1,"values":[1,null,"x"]}', 'body.values.2: expected a number or null, got "x"', "values.2"),
        ('{"count":9}', "body.count: expected a whole number at most 5, got 9", "count"),
        ('{"count":1.5}', "body.count: expected a whole number, got 1.5", "count"),
        ('{"count":true}', "body.count: expected a whole number, got true", "count"),
        ("{}", "body.count: expected a whole number, got nothing", "count"),
        ('{"count":1,"flag":1}', "body.flag: expected true or false, got 1", "flag"),
        (
            '{"count":1,"colour":2}',
            "body.colour: unknown parameter; known are count, values, flag, inner, columns",
            "colour",
        ),
        ('{"count":1,"inner":{}}', "body.inner.name: expected a text, got nothing", "inner.name"),
        ('{"count":1,"inner":{"name":"a","x":0}}', "body.inner.x: unknown parameter; known are name", "inner.x"),
        ('{"count":1,"values":{"a":1}}', "body.values: expected a list or null, got an object", "values"),
        ('{"count":1,"columns":{"a":[1],"b":[1,"x"]}}', 'body.columns.b.1: expected a number, got "x"', "columns.b.1"),
        (
            '{"count":1,"values":[1e400]}',
            "body.values.0: expected a number that 64 bits can hold, got Infinity",
            "values.0",
        ),
        (
            '{"count":1,"a\\nb":2}',
            "body.a\\nb: unknown parameter; known are count, values, flag, inner, columns",
            "a\\nb",
        ),
        ("[1,2]", "body: expected an object, got a list of 2", None),
        ("null", "body: expected an object, got null", None),
    ],
)
def test_what_does_not_fit_is_named(text: str, message: str, parameter: str | None) -> None:
    with pytest.raises(InputMismatch) as caught:
        decode(Body, text.encode())
    assert caught.value.message == message
    assert caught.value.parameter == parameter


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "body: expected a JSON object, got nothing"),
        (b" \n", "body: expected a JSON object, got nothing"),
        (b'{"count":NaN}', "body: NaN is not JSON; a missing value is null"),
        (b'{"count":1,"values":[-Infinity]}', "body: -Infinity is not JSON; a missing value is null"),
        (b'{"count":1,"inner":{"name":"\xff"}}', "body: expected JSON in UTF-8, got byte 0xff"),
        (b"[" * 100_000, "body: expected JSON, got lists or objects nested too deeply"),
        (
            b'{"count":1,"inner":{"name":"\\ud800"}}',
            "body: expected Unicode text, got half of a surrogate pair, which is no character",
        ),
    ],
)
def test_what_cannot_be_read_says_why(body: bytes, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        decode(Body, body)
    assert caught.value.message == message


@pytest.mark.parametrize("body", [b'{"count":1', b'{"count":1}}', b"{'count':1}", b'{"count":01}', b"<xml/>"])
def test_broken_json_says_where(body: bytes) -> None:
    with pytest.raises(BadRequest, match="body: expected JSON: .*line 1 column"):
        decode(Body, body)


def test_unreadable_wins_over_unfit() -> None:
    with pytest.raises(BadRequest):
        decode(Body, b'{"count":"x","values":[')


def test_a_long_value_is_cut_short_in_the_message() -> None:
    with pytest.raises(InputMismatch) as caught:
        decode(Body, json.dumps({"count": "x" * 10_000}).encode())
    assert len(caught.value.message) < 200


def test_query_texts_become_numbers() -> None:
    assert convert(Body, {"count": "3"}, "query").count == 3
    with pytest.raises(InputMismatch, match='query.count: expected a whole number, got "x"'):
        convert(Body, {"count": "x"}, "query")


@given(st.binary(max_size=60) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_whatever_comes_is_read_or_refused(body: bytes) -> None:
    try:
        decode(Body, body)
    except UnrollError as error:
        assert error.status in (400, 422)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["count", "values", "flag", "inner", "columns", "x"]), json_values))
def test_whatever_json_comes_is_taken_or_named(value: dict[str, object]) -> None:
    try:
        decode(Body, json.dumps(value).encode())
    except UnrollError as error:
        assert error.status in (400, 422) and error.message.startswith("body")
