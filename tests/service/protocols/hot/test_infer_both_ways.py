"""`POST /v2/models/{model}/infer`, in JSON and binary: below the application and through it, byte for byte."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.known_graphs import FAILING_VALUE
from tests.known_models import NEXT_TOKEN, RUNNING_SUM
from tests.service.protocols.hot.both_ways import THROUGH, BothSequences
from tests.service.protocols.hot.noting import Noted
from tests.service.protocols.hot.raw import all_quiet, connected
from tests.service.protocols.serving import CALENDAR_SUM, COVARIATE_SUM, Served

LENGTH = "Inference-Header-Content-Length"


@pytest.fixture
def both(served: Served, noted: Noted) -> Iterator[BothSequences]:
    with connected(served.url) as raw:
        yield BothSequences(served, noted, raw)
    all_quiet(served)


@pytest.fixture
def with_covariate(served: Served, noted: Noted) -> Iterator[BothSequences]:
    with connected(served.url) as raw:
        yield BothSequences(served, noted, raw, COVARIATE_SUM)


def target(*values: float | None, **more: Any) -> dict[str, Any]:
    return {"name": "target", "datatype": "FP32", "shape": [1, len(values)], "data": list(values)} | more


def asking(*inputs: Any, **more: Any) -> dict[str, Any]:
    return {"inputs": list(inputs)} | more


def binary(head: dict[str, Any], raw: bytes) -> tuple[bytes, str]:
    """A body with raw contents, for a sequence that is put in later, and its header."""
    text = json.dumps({"parameters": {"sequence_id": "SEQUENCE"}} | head).encode()
    # Both names are two bytes longer than what stands for them here.
    return text + raw, f"{LENGTH}: {len(text) + len('short00000') - len('SEQUENCE')}"


def raw_target(*values: float, **more: Any) -> tuple[bytes, str]:
    tensor: dict[str, Any] = {"name": "target", "datatype": "FP32", "shape": [1, len(values)]}
    tensor["parameters"] = {"binary_data_size": 4 * len(values)}
    return binary({"inputs": [tensor]} | more, struct.pack(f"<{len(values)}f", *values))


@pytest.mark.parametrize(
    "body",
    [
        asking(target(1)),
        asking(target(1, None, 2.5, -1e36)),
        asking(target(*range(200))),
        asking(target(1), id="mine"),
        asking(target(1), id='\u00e9"\\\n\u2028'),
        asking(target(1), outputs=[]),
        asking(target(1), outputs=None),
        asking(target(1), outputs=[{"name": "pit"}]),
        asking(target(1, 2), outputs=[{"name": "pit"}, {"name": "quantiles"}]),
        asking(target(1, 2), outputs=[{"name": "pit", "parameters": {"binary_data": True}}, {"name": "quantiles"}]),
        asking(target(1, 2), outputs=[{"name": "quantiles", "parameters": {"binary_data": False}}]),
        asking(target(1, 2), parameters={"binary_data_output": True}),
        asking(
            target(1, 2),
            parameters={"binary_data_output": True},
            outputs=[{"name": "quantiles", "parameters": {"binary_data": False}}, {"name": "pit"}],
        ),
        asking(target(1), parameters={"sequence_start": False, "sequence_end": False}),
    ],
)
def test_steps_in_json_are_answered_with_the_same_bytes(both: BothSequences, body: Any) -> None:
    for _ in range(3):
        assert both.ask(body).status == 200


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"id": "7"},
        {"parameters": {"sequence_id": "SEQUENCE", "binary_data_output": True}},
        {"outputs": [{"name": "pit", "parameters": {"binary_data": True}}]},
        {"outputs": [{"name": "quantiles", "parameters": {"binary_data": True}}, {"name": "pit"}]},
    ],
)
def test_steps_in_binary_are_answered_with_the_same_bytes(both: BothSequences, more: Any) -> None:
    for values in ((1.0,), (2.0, float("nan"), -0.0), (float("nan"),)):
        assert both.ask(*raw_target(*values, **more)).status == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (asking(), 400),
        (asking(target()), 400),
        (asking(target(1), target(1)), 400),
        (asking(target(1, name="value")), 400),
        (asking(target(1, datatype="FP64")), 400),
        (asking(target(1, datatype="FP32", shape=[1])), 400),
        (asking(target(1, shape=[1, 2])), 400),
        (asking(target(1, 2, shape=[2, 1])), 400),
        (asking(target(1, shape=[1, -1])), 400),
        (asking(target(1, shape=[1, 1, 1])), 400),
        (asking(target(1e37)), 400),
        (asking(target("1")), 400),  # type: ignore[arg-type]
        (asking(target(1, data=[[1]])), 200),
        (asking(target(1, data=None)), 400),
        (asking(target(1, extra=1)), 400),
        (asking(target(1, parameters={"binary_data_size": 4})), 400),
        (asking(target(1), outputs=[{"name": "pit"}, {"name": "pit"}]), 400),
        (asking(target(1), outputs=[{"name": "nothing"}]), 400),
        (asking(target(1), outputs=[{"name": "pit", "parameters": {"classification": 1}}]), 400),
        (asking(target(1), outputs=[{"name": "forecast_mean"}]), 200),
        (asking(target(1), parameters={"horizon": 2}), 200),
        (asking(target(1), parameters={"position": 5}), 409),
        (asking(target(1), parameters={"position": -1}), 400),
        (asking(target(1), parameters={"position": None}), 400),
        (asking(target(1), parameters={"idempotency_key": None}), 400),
        (asking(target(1), parameters={"idempotency_key": ""}), 400),
        (asking(target(1), parameters={"first_timestamp": "2026-01-01T00:00:00Z"}), 400),
        (asking(target(1), parameters={"unknown": 1}), 400),
        (asking(target(1), parameters={"sequence_id": 0}), 200),
        (asking(target(1), parameters={"sequence_id": ""}), 200),
        (asking(target(1), parameters={"sequence_id": True}), 400),
        (asking(target(1), parameters={"sequence_id": 4711}), 400),
        (asking(target(1), parameters={"sequence_id": 2**80}), 400),
        (asking(target(1), model_name=RUNNING_SUM), 200),
        (asking(target(1), model_name="other"), 400),
        (asking(target(1), id=None), 200),
        (asking(target(1), id=7), 400),
        (asking(target(*[0.5] * 2001)), 413),
        (b"", 400),
        (b"{", 400),
        (b'{"inputs":[{"name":"target","datatype":"FP32","shape":[1,1],"data":[NaN]}],'
         b'"parameters":{"sequence_id":"SEQUENCE"}}', 200),
        (b'{"id":"\\ud800"}', 400),
    ],
)  # fmt: skip
def test_whatever_is_not_plain_is_the_applications(both: BothSequences, body: Any, status: int) -> None:
    assert both.ask(body, short=False).status == status
    assert both.ask(asking(target(1))).status == 200


@pytest.mark.parametrize("length", ["", "-1", "x", "1.0", "99999", "0", "5", "1" * 19, "1" * 5000])
def test_a_length_of_the_json_that_makes_no_sense_is_refused_alike(both: BothSequences, length: str) -> None:
    body, _ = raw_target(1.0)
    both.ask(body, f"{LENGTH}: {length}", short=False)
    assert both.ask(asking(target(1))).status == 200


def test_raw_contents_that_do_not_fit_are_refused_alike(both: BothSequences) -> None:
    body, header = raw_target(1.0, 2.0)
    assert both.ask(body + b"\0", header, short=False).status == 400
    assert both.ask(body[:-1], header, short=False).status == 400
    assert both.ask(body, short=False).status == 400
    assert both.ask(*raw_target(float("inf")), short=False).status == 400
    assert both.ask(*raw_target(1.1e36), short=False).status == 400
    assert both.ask(*raw_target(), short=False).status == 400
    odd = {"name": "target", "datatype": "FP32", "shape": [1, 1], "parameters": {"binary_data_size": 3}}
    assert both.ask(*binary({"inputs": [odd]}, b"\0\0\0"), short=False).status == 400
    assert both.ask(*raw_target(1.0)).status == 200


def test_covariates_are_taken_in(with_covariate: BothSequences) -> None:
    both = with_covariate
    covariates = {"name": "covariates", "datatype": "FP32", "shape": [1, 2, 1], "data": [10, None]}
    for _ in range(2):
        assert both.ask(asking(target(1, 2), covariates)).status == 200
    raw = struct.pack("<4f", 1, 2, 10, float("nan"))
    inputs = [dict(tensor, parameters={"binary_data_size": 8}) for tensor in (target(1, 2), covariates)]
    for tensor in inputs:
        del tensor["data"]
    assert both.ask(*binary({"inputs": inputs}, raw)).status == 200
    swapped = binary({"inputs": inputs[::-1]}, raw[8:] + raw[:8])
    assert both.ask(*swapped, short=False).status == 200
    assert both.ask(asking(target(1, 2)), short=False).status == 400
    assert both.ask(asking(target(1, 2), covariates | {"shape": [1, 1, 2]}), short=False).status == 400
    assert both.ask(asking(target(1, 2), covariates | {"data": [1]}), short=False).status == 400


def test_one_input_in_json_and_one_in_binary_are_the_applications(with_covariate: BothSequences) -> None:
    covariates = {"name": "covariates", "datatype": "FP32", "shape": [1, 1, 1], "parameters": {"binary_data_size": 4}}
    mixed = binary({"inputs": [target(1), covariates]}, struct.pack("<f", 3))
    assert with_covariate.ask(*mixed, short=False).status == 200


def test_positions_and_keys_are_kept_to(both: BothSequences) -> None:
    for more, header in (({"position": 0}, ()), ({"idempotency_key": "a"}, ()), ({}, ("Idempotency-Key: b",))):
        body = asking(target(1, 2), parameters=more)
        first = both.ask(body, *header)
        again = both.ask(body, *header, short=False)
        assert again.json["outputs"] == first.json["outputs"] and again.json["parameters"]["repeated"] is True
        assert both.ask(asking(target(1, 3), parameters=more), *header, short=False).status == 409
    same = asking(target(4), parameters={"idempotency_key": "c"})
    assert both.ask(same, "Idempotency-Key: c").status == 200
    assert both.ask(same, "Idempotency-Key: d", short=False).status == 400
    assert both.ask(asking(target(5)), "Idempotency-Key: " + "k" * 256, short=False).status == 400


def test_a_sequence_is_begun_and_ended_by_the_application(both: BothSequences) -> None:
    assert both.ask(asking(target(1), parameters={"sequence_start": True}), short=False).status == 200
    assert both.ask(asking(target(1))).json["parameters"]["position"] == 2
    assert both.ask(asking(target(1), parameters={"sequence_end": True}), short=False).status == 200
    assert both.ask(asking(target(1)), short=False).status == 400


def test_the_version_in_the_path_is_the_sequences(both: BothSequences, monkeypatch: pytest.MonkeyPatch) -> None:
    for version, status in (("1", 200), ("01", 400), ("2", 400), ("x", 404), ("", 404)):
        path = f"/v2/models/{RUNNING_SUM}/versions/{version}/infer"
        monkeypatch.setattr(both, "path", lambda name, path=path: path)
        answer = both.ask(asking(target(1)), short=status == 200)
        assert answer.status == status or status == 404 and answer.status in (400, 404)


@pytest.mark.parametrize("accepted", ["gzip", "deflate, gzip;q=0.5", "identity", "*", "gzip;q=0", "br"])
def test_answers_are_compressed_alike(both: BothSequences, accepted: str) -> None:
    compressed = accepted.startswith(("gzip", "deflate")) and not accepted.endswith("q=0")
    both.ask(asking(target(1)), f"Accept-Encoding: {accepted}", short=not compressed)
    if compressed:  # what names the one and the other sequence takes other bits
        answer = both.ask_one(both.short, asking(target(*range(300))), f"Accept-Encoding: {accepted}")
        assert answer.headers[b"content-encoding"] == accepted.split(",")[0].encode()
    else:
        both.ask(asking(target(*range(300))), f"Accept-Encoding: {accepted}")


def test_other_models_are_told_alike(served: Served, noted: Noted) -> None:
    with connected(served.url) as raw:
        text = BothSequences(served, noted, raw, NEXT_TOKEN)
        assert text.ask(asking(target(1)), short=False).status == 400
        calendar = BothSequences(served, noted, raw, CALENDAR_SUM, first_timestamp="2026-03-01T05:00:00Z")
        assert calendar.ask(asking(target(1))).status == 200
        both = BothSequences(served, noted, raw)
        both._model = "nothing"
        assert both.ask(asking(target(1)), short=False).status == 404


@pytest.mark.parametrize("number", [1, 2**53 + 1, 2**63, 2**64 - 1, 2**64, 2**80])
def test_sequences_may_have_any_number_both_ways(served: Served, noted: Noted, number: int) -> None:
    with connected(served.url) as raw:
        both = BothSequences(served, noted, raw)
        starts = {"sequence_id": number, "sequence_start": True}
        begun = both.ask_one(both.short, asking(target(1), parameters=starts), THROUGH)
        below = both.ask_one(both.short, asking(target(2), parameters={"sequence_id": number}))
        through = both.ask_one(both.short, asking(target(3), parameters={"sequence_id": number}), THROUGH)
        assert begun.status == below.status == through.status


def test_a_step_that_fails_is_told_the_same_both_ways_and_changes_nothing(both: BothSequences) -> None:
    both.ask(asking(target(1, 2)))
    assert both.ask(asking(target(FAILING_VALUE))).status == 500
    assert both.ask(asking(target(3), parameters={"position": 2})).json["parameters"]["position"] == 3


numbers = st.one_of(st.none(), st.integers(-(10**40), 10**40), st.floats(allow_nan=False, allow_infinity=False))
odd = st.one_of(st.none(), st.booleans(), st.text(max_size=3), st.integers(-1, 2**70), st.lists(numbers, max_size=2))
tensors = st.one_of(
    st.lists(numbers, min_size=1, max_size=4).map(lambda values: target(*values)),
    st.fixed_dictionaries(
        {"name": st.sampled_from(["target", "other"]), "datatype": st.sampled_from(["FP32", "INT64"])},
        optional={"shape": st.lists(st.integers(0, 3), max_size=3), "data": odd, "parameters": odd},
    ),
)
outputs = st.fixed_dictionaries(
    {"name": st.sampled_from(["quantiles", "pit", "pit", "other"])},
    optional={"parameters": st.one_of(odd, st.fixed_dictionaries({"binary_data": st.booleans()}))},
)
parameters = st.fixed_dictionaries(
    {},
    optional={
        "sequence_start": st.booleans(),
        "position": st.one_of(st.integers(-1, 6), odd),
        "idempotency_key": st.one_of(st.sampled_from("ab"), odd),
        "binary_data_output": st.one_of(st.booleans(), odd),
    },
)
bodies = st.fixed_dictionaries(
    {"inputs": st.lists(tensors, min_size=1, max_size=2), "parameters": parameters},
    optional={"outputs": st.lists(outputs, max_size=2), "id": st.one_of(st.text(max_size=3), odd)},
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies, again=st.booleans())
def test_random_requests_are_answered_alike(both: BothSequences, body: Any, again: bool) -> None:
    for _ in range(1 + again):
        both.ask(body, short=None)
