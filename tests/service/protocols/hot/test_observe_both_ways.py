"""`POST /v1/sessions/{id}/observe`: below the application and through it, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.known_graphs import FAILING_VALUE
from tests.known_models import NEXT_TOKEN
from tests.service.protocols.hot.both_ways import BothWays
from tests.service.protocols.hot.noting import Noted
from tests.service.protocols.hot.raw import all_quiet, connected
from tests.service.protocols.serving import CALENDAR_SUM, COVARIATE_SUM, STATIC_SUM, Served


@pytest.fixture
def both(served: Served, noted: Noted) -> Iterator[BothWays]:
    with connected(served.url) as raw:
        yield BothWays(served, noted, raw)
    all_quiet(served)


@pytest.fixture
def with_covariate(served: Served, noted: Noted) -> Iterator[BothWays]:
    with connected(served.url) as raw:
        yield BothWays(served, noted, raw, COVARIATE_SUM)


@pytest.mark.parametrize(
    "values",
    [
        [1],
        [1.5, -2.25, 3e-3],
        [None],
        [None, None, 7, None],
        [1e36, -1e36],
        [1e-46, 1e-40, -0.0, 0.1],
        [16777217, 123456789012345678901234567890],
        list(range(300)),
    ],
)
def test_steps_are_answered_with_the_same_bytes(both: BothWays, values: list[float | None]) -> None:
    both.ask({"values": values})
    assert both.ask({"values": values}).json["start"] == len(values)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[1]", 422),
        (b"nul", 400),
        (b'{"values":[NaN]}', 400),
        (b'{"values":[Infinity]}', 400),
        (b'{"values":[1e400]}', 422),
        (b'{"values":[1.0000001e36]}', 422),
        (b'{"values":[-1e37]}', 422),
        (b'{"values":[]}', 422),
        (b'{"values":null}', 422),
        (b"{}", 422),
        (b'{"values":["1"]}', 422),
        (b'{"values":[true]}', 422),
        (b'{"values":[[1]]}', 422),
        (b'{"values":1}', 422),
        (b'{"value":[1]}', 422),
        (b'{"values":[1],"extra":1}', 422),
        (b'{"values":[1],"text":"a"}', 422),
        (b'{"values":[1],"tokens":[1]}', 422),
        (b'{"values":[1],"timestamps":["no"]}', 422),
        (b'{"values":[1],"position":-1}', 422),
        (b'{"values":[1],"position":9223372036854775808}', 422),
        (b'{"values":[1],"position":7}', 409),
        (b'{"values":[1],"position":"0"}', 422),
        (b'{"values":[1],"future_covariates":{"temperature":[1]}}', 422),
        (b'{"values":[1]}{"values":[2]}', 400),
        (b'\xef\xbb\xbf{"values":[1]}', 400),
        (b'{"values":[1],"\xff":1}', 400),
        (b'{"values":[1],"text":"\\ud800"}', 400),
        (b"[" * 20_000, 400),
        (json.dumps({"values": [0.5] * 2001}).encode(), 413),
    ],
)
def test_what_is_wrong_is_refused_by_the_application_alone(both: BothWays, body: bytes, status: int) -> None:
    assert both.ask(body, short=False).status == status
    assert both.ask({"values": [1]}).json["start"] == 0


@pytest.mark.parametrize(
    "body",
    [
        b' {\n"values" : [ 1 , 2.0 ]\t}\r\n',
        b'{"values":[1],"values":[2]}',
        b'{"v\\u0061lues":[1]}',
        b'{"values":[1],"position":null,"future_covariates":null}',
        b'{"position":0,"values":[1]}',
    ],
)
def test_json_may_be_written_as_json_may(both: BothWays, body: bytes) -> None:
    assert both.ask(body).status == 200


@pytest.mark.parametrize("also", ['"future_covariates":{}', '"timestamps":["2026-01-01T00:00:00Z"]', '"text":null'])
def test_other_fields_mean_the_same_both_ways(both: BothWays, also: str) -> None:
    body = f'{{"values":[4],{also}}}'.encode()
    for key in (None, None, "a", "a", "b", "b"):
        both.ask(body, *(() if key is None else (f"Idempotency-Key: {key}",)), short=None)


def test_a_position_is_kept_to_and_a_repeat_answered_again(both: BothWays) -> None:
    first = both.ask({"values": [1, 2], "position": 0})
    again = both.ask({"values": [1, 2], "position": 0}, short=False)
    assert again.json == first.json | {"repeated": True}
    assert both.ask({"values": [1, 3], "position": 0}, short=False).status == 409
    assert both.ask({"values": [1], "position": 1}, short=False).status == 409
    assert both.ask({"values": [1], "position": 2}).status == 200


def test_an_idempotency_key_is_kept_to(both: BothWays) -> None:
    key = "Idempotency-Key: mine"
    first = both.ask({"values": [1, None]}, key)
    assert both.ask({"values": [1, None]}, key, short=False).json == first.json | {"repeated": True}
    assert both.ask({"values": [1, 0]}, key, short=False).status == 409
    assert both.ask({"values": [1, None]}, "Idempotency-Key: other").json["start"] == 2
    assert both.ask({"values": [1]}, "Idempotency-Key:", short=False).status == 422
    assert both.ask({"values": [1]}, "Idempotency-Key: " + "k" * 255).status == 200
    assert both.ask({"values": [1]}, "Idempotency-Key: " + "k" * 256, short=False).status == 422


@pytest.mark.parametrize("key", ["mine ", " mine", "mine\t", "  mine  "])
def test_a_key_with_blanks_around_it_is_the_same_key_whichever_way_it_comes(
    served: Served, noted: Noted, key: str
) -> None:
    with connected(served.url) as raw:
        both = BothWays(served, noted, raw)
        first = both.ask_one(both.short, {"values": [1]}, f"Idempotency-Key: {key}")
        again = both.ask_one(both.short, {"values": [1]}, "TE: trailers", f"Idempotency-Key: {key}")
        assert first.status == 200 and again.json == first.json | {"repeated": True}


def test_a_step_below_is_the_same_as_one_through_the_application(served: Served, noted: Noted) -> None:
    with connected(served.url) as raw:
        for one, other in (((), ("TE: trailers",)), (("TE: trailers",), ())):
            both = BothWays(served, noted, raw)
            body = {"values": [1, None, 2.5], "position": 0}
            first = both.ask_one(both.short, body, *one)
            assert both.ask_one(both.short, body, *other).json == first.json | {"repeated": True}


def test_covariates_are_the_same_request_in_any_order_and_way(served: Served, noted: Noted) -> None:
    with connected(served.url) as raw:
        both = BothWays(served, noted, raw, COVARIATE_SUM)
        body = {"values": [1, 2], "future_covariates": {"temperature": [5, None]}, "position": 0}
        first = both.ask_one(both.short, body)
        assert noted.statuses == [200]
        assert both.ask_one(both.short, body, "TE: trailers").json == first.json | {"repeated": True}


def test_covariates_are_taken_in(with_covariate: BothWays) -> None:
    both = with_covariate
    answer = both.ask({"values": [1, 2, None], "future_covariates": {"temperature": [10, 20.5, None]}})
    assert answer.json["quantiles"]["values"][1] == [1 + 20.5 - 1, 1 + 20.5, 1 + 20.5 + 1]
    for wrong in (None, {}, {"temperature": [1]}, {"humidity": [1, 2]}, {"temperature": [1, 2], "humidity": [1, 2]}):
        assert both.ask({"values": [1, 2], "future_covariates": wrong}, short=False).status == 422
    assert both.ask({"values": [1], "future_covariates": {"temperature": [2e36]}}, short=False).status == 422


def test_a_calendar_is_looked_at(served: Served, noted: Noted) -> None:
    with connected(served.url) as raw:
        both = BothWays(served, noted, raw, CALENDAR_SUM, first_timestamp="2026-03-01T05:00:00Z")
        for values in ([1], [2, 3], [None]):
            assert both.ask({"values": values}).status == 200
        untold = BothWays(served, noted, raw, CALENDAR_SUM)
        assert untold.ask({"values": [1]}, short=False).status == 422


def test_rows_of_ones_own_are_started_from(served: Served, noted: Noted) -> None:
    with connected(served.url) as raw:
        both = BothWays(served, noted, raw, STATIC_SUM, static_covariates={"level": 100})
        both.ask({"values": [1]})
        assert both.ask({"values": [2]}).json["quantiles"]["values"] == [[100, 101, 102]]


def test_text_models_and_unknown_sessions_are_left_to_the_application(served: Served, noted: Noted) -> None:
    with connected(served.url) as raw:
        both = BothWays(served, noted, raw, NEXT_TOKEN)
        assert both.ask({"values": [1]}, short=False).status == 422
        assert both.ask({"text": "abc"}, short=False).status == 200
        both.short, both.long = "nobody0", "nothing"
        assert both.ask({"values": [1]}, short=False).status == 404


def test_a_step_that_fails_is_told_the_same_both_ways_and_changes_nothing(both: BothWays) -> None:
    both.ask({"values": [1, 2]})
    failed = both.ask({"values": [FAILING_VALUE]})
    assert failed.status == 500 and failed.json["error"]["code"] == "step_failed"
    assert both.ask({"values": [3], "position": 2}).json["start"] == 2


@pytest.mark.parametrize(
    ("headers", "short"),
    [
        (["Content-Type: text/plain"], True),
        (["Content-Type: application/json; charset=utf-16"], True),
        (["Connection: keep-alive"], True),
        (["connection: Keep-Alive"], True),
        (["Accept: text/html", "User-Agent: \"'();,"], True),
        (["X-Strange:"], True),
        (["X-Strange: "], True),
        (["X-Strange:  a  b"], True),
        (["X-Strange: a "], False),
        (["X-Strange: " + "v" * 10_000], True),
        (["X-A: 1", "x-a: 2"], False),
        (["X_Under.Score: 1"], False),
        (["X-Name: caf\u00e9".encode("latin-1")], False),
        (["X-Tab: a\tb"], False),
        (["Expect: 200-ok"], False),
        (["Trailer: x"], False),
        (["Accept-Encoding: gzip"], True),
        (["Connection: keep-alive, x"], False),
        (["Content-Encoding: identity"], False),
    ],
)  # fmt: skip
def test_headers_are_looked_at_or_not_alike(both: BothWays, headers: list[str | bytes], short: bool) -> None:
    both.ask({"values": [2]}, *headers, short=short)
    assert both.ask({"values": [3]}).json["start"] == 1


numbers = st.one_of(
    st.none(),
    st.integers(-(10**40), 10**40),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
)
odd = st.one_of(st.none(), st.booleans(), st.text(max_size=3), st.lists(numbers, max_size=2), st.integers())
bodies = st.one_of(
    st.fixed_dictionaries({"values": st.lists(numbers, max_size=6)}, optional={"position": st.integers(-1, 9)}),
    st.fixed_dictionaries(
        {"values": st.one_of(odd, st.lists(odd, max_size=3))},
        optional={"position": odd, "future_covariates": odd, "text": odd, "extra": odd},
    ),
    odd,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies, key=st.sampled_from([None, "a", "b"]), again=st.booleans())
def test_random_requests_are_answered_alike(both: BothWays, body: object, key: str | None, again: bool) -> None:
    headers = () if key is None else (f"Idempotency-Key: {key}",)
    for _ in range(1 + again):
        both.ask(json.dumps(body).encode(), *headers, short=None)
