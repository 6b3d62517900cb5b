"""Opening, finding, listing, forking and closing sessions over HTTP."""

from __future__ import annotations

import gzip
import time
from pathlib import Path
from uuid import uuid4

import pytest

from tests import known_models
from tests.service.protocols.serving import CALENDAR_SUM, STATIC_SUM, Served, serve


def test_a_session_is_opened_with_what_was_asked(served: Served) -> None:
    wanted = {"model": CALENDAR_SUM, "id": uuid4().hex, "first_timestamp": "2024-07-01T02:00:00+02:00", "seed": 5}
    answer = served.post("/v1/sessions", {**wanted, "version": 1, "time_to_live_s": 60.5})
    assert answer.status_code == 201
    session = answer.json()
    assert session["id"] == wanted["id"] and session["seed"] == 5 and session["time_to_live_s"] == 60.5
    assert session["first_timestamp"] == "2024-07-01T00:00:00Z" and session["position"] == 0
    assert served.client.get(f"/v1/sessions/{wanted['id']}").json()["id"] == wanted["id"]


def test_a_list_opens_all_in_order(served: Served) -> None:
    ids = [uuid4().hex for _ in range(5)]
    answer = served.post("/v1/sessions", [{"model": known_models.RUNNING_SUM, "id": one} for one in ids])
    assert answer.status_code == 201
    assert [session["id"] for session in answer.json()] == ids


def test_a_list_opens_all_or_none(served: Served) -> None:
    first = uuid4().hex
    answer = served.post("/v1/sessions", [{"model": known_models.RUNNING_SUM, "id": first}, {"model": "nobody"}])
    assert answer.status_code == 404
    assert answer.json()["error"]["message"].startswith("body.1: model: expected one of")
    assert served.client.get(f"/v1/sessions/{first}").status_code == 404


def test_static_covariates_set_where_a_session_starts(served: Served) -> None:
    session = served.open(STATIC_SUM, static_covariates={"level": 2.5})
    assert served.position(session) == 0


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"model": "nobody"}, 404, "expected one of"),
        ({"model": "running-sum", "version": 7}, 404, "version: expected one of 1"),
        ({"model": "running-sum", "id": "no spaces"}, 422, "id: expected letters"),
        ({"model": "running-sum", "first_timestamp": "yesterday"}, 422, "first_timestamp: expected ISO 8601"),
        ({"model": "next-token", "first_timestamp": "2024-01-01"}, 422, "first_timestamp"),
        ({"model": "running-sum", "static_covariates": {"level": 1}}, 422, "static_covariates"),
        ({"model": "running-sum", "seed": -1}, 422, "body.seed: expected a whole number at least 0, got -1"),
        ({"model": "running-sum", "seed": 2**63}, 422, "body.seed: expected"),
        ({"model": "running-sum", "time_to_live_s": 0}, 422, "body.time_to_live_s: expected a number above 0"),
        ({"model": "running-sum", "colour": 1}, 422, "body.colour: unknown parameter"),
        ({"id": "a"}, 422, "body.model: expected a text, got nothing"),
        ({"model": 5}, 422, "body.model: expected a text, got 5"),
        ([{"model": "running-sum"}, 5], 422, "body.1: expected an object, got 5"),
        ("running-sum", 422, "expected an object or a list"),
        ([{"model": "running-sum"}] * 257, 413, "UNROLL_MAX_INPUTS"),
    ],
)
def test_what_cannot_be_opened_is_named(served: Served, body: object, status: int, words: str) -> None:
    answer = served.post("/v1/sessions", body)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["error"]["message"]
    assert answer.json()["error"]["request_id"] == answer.headers["x-request-id"]


def test_an_id_is_taken_only_once(served: Served) -> None:
    session = served.open()
    answer = served.post("/v1/sessions", {"model": known_models.RUNNING_SUM, "id": session})
    assert answer.status_code == 409 and answer.json()["error"]["code"] == "session_exists"


def test_sessions_are_listed_page_by_page(tmp_path: Path) -> None:
    known_models.running_sum(tmp_path)
    known_models.next_token(tmp_path)
    with serve(tmp_path) as served:
        ids = sorted(served.open(id=f"s{number:02}") for number in range(7))
        served.open(known_models.NEXT_TOKEN)
        seen: list[str] = []
        after: str | None = None
        while True:
            query = {"limit": "3", "model": known_models.RUNNING_SUM} | ({"after": after} if after else {})
            page = served.client.get("/v1/sessions", params=query).json()
            seen += [session["id"] for session in page["data"]]
            if (after := page["next"]) is None:
                break
        assert seen == ids


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "colour=red"])
def test_a_bad_query_is_named(served: Served, query: str) -> None:
    answer = served.client.get(f"/v1/sessions?{query}")
    assert answer.status_code == 422
    assert answer.json()["error"]["message"].startswith(f"query.{query.split('=')[0]}: ")


def test_a_closed_session_is_gone(served: Served) -> None:
    session = served.open()
    assert served.client.delete(f"/v1/sessions/{session}").json() == {"closed": 1}
    for answer in (
        served.client.get(f"/v1/sessions/{session}"),
        served.client.delete(f"/v1/sessions/{session}"),
        served.post(f"/v1/sessions/{session}/observe", {"values": [1]}),
        served.post(f"/v1/sessions/{session}/forecast", {"horizon": 1}),
        served.post(f"/v1/sessions/{session}/fork", {}),
    ):
        assert answer.status_code == 404 and answer.json()["error"]["code"] == "session_not_found"


def test_closing_many_needs_a_filter(tmp_path: Path) -> None:
    known_models.running_sum(tmp_path)
    known_models.next_token(tmp_path)
    with serve(tmp_path) as served:
        for _ in range(3):
            served.open()
        text = served.open(known_models.NEXT_TOKEN)
        refused = served.client.delete("/v1/sessions")
        assert refused.status_code == 422 and "model or idle_for_s" in refused.json()["error"]["message"]
        assert served.client.delete("/v1/sessions", params={"idle_for_s": 3600}).json() == {"closed": 0}
        answer = served.client.delete("/v1/sessions", params={"model": known_models.RUNNING_SUM, "idle_for_s": 0})
        assert answer.json() == {"closed": 3}
        assert [session["id"] for session in served.client.get("/v1/sessions").json()["data"]] == [text]


def test_an_expired_session_says_so(served: Served) -> None:
    session = served.open(time_to_live_s=0.05)
    time.sleep(0.1)
    answer = served.post(f"/v1/sessions/{session}/observe", {"values": [1]})
    assert answer.status_code == 410 and answer.json()["error"]["code"] == "session_expired"


def test_a_fork_goes_its_own_way(served: Served) -> None:
    session = served.open(seed=3)
    served.observe(session, values=[1, 2])
    named = uuid4().hex
    fork = served.post(f"/v1/sessions/{session}/fork", {"id": named, "seed": 9}).json()
    assert fork["id"] == named and fork["position"] == 2 and fork["seed"] == 9
    served.observe(named, values=[100])
    assert served.position(session) == 2
    assert served.observe(session, values=[0])["quantiles"]["values"] == [[2.0, 3.0, 4.0]]
    assert served.client.post(f"/v1/sessions/{session}/fork").status_code == 201


def test_full_is_full(tmp_path: Path) -> None:
    known_models.running_sum(tmp_path)
    with serve(tmp_path, max_sessions=2) as served:
        first = served.open()
        served.open()
        refused = served.post("/v1/sessions", {"model": known_models.RUNNING_SUM})
        assert refused.status_code == 429 and refused.json()["error"]["code"] == "overloaded"
        assert int(refused.headers["retry-after"]) >= 1
        served.client.delete(f"/v1/sessions/{first}")
        served.open()


def test_a_version_may_be_named_with_the_model(served: Served) -> None:
    answer = served.post("/v1/sessions", {"model": f"{known_models.RUNNING_SUM}/1"})
    assert answer.status_code == 201 and answer.json()["version"] == 1
    assert served.post("/v1/sessions", {"model": f"{known_models.RUNNING_SUM}/1", "version": 1}).status_code == 201
    two = served.post("/v1/sessions", {"model": f"{known_models.RUNNING_SUM}/1", "version": 2})
    assert two.status_code == 422 and "expected 1 as in model" in two.json()["error"]["message"]
    assert served.post("/v1/sessions", {"model": f"{known_models.RUNNING_SUM}/9"}).status_code == 404
    assert served.post("/v1/sessions", {"model": f"{known_models.RUNNING_SUM}/new"}).status_code == 404


def test_a_compressed_body_is_refused_and_a_websocket_is_no_plain_path(served: Served) -> None:
    body, headers = gzip.compress(b'{"model":"running-sum"}'), {"content-encoding": "gzip"}
    for path in ("/v1/sessions", "/v1/completions", "/v1/timeseries/forecast", "/invocations"):
        answer = served.client.post(path, content=body, headers=headers)
        assert answer.status_code == 415 and "content-encoding" in answer.text
    plain = served.client.get("/v1/sessions/any/stream")
    assert plain.status_code == 426 and plain.headers["upgrade"] == "websocket"
    assert plain.json()["error"]["code"] == "upgrade_required"
