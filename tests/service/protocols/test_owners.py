"""Two owners side by side: their sessions by every name a protocol has for one, their lists, and their WebSockets."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.known_models import RUNNING_SUM
from tests.service.protocols.keyed import KEYS, WRONG, bearing, keyed, of
from tests.service.protocols.serving import Served

TENSOR = {"name": "target", "shape": [1, 1], "datatype": "FP32", "data": [1.0]}


@pytest.fixture(scope="module")
def served(protocol_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with keyed(protocol_models, tmp_path_factory.mktemp("keys")) as running:
        running.client.post("/v1/sessions", json={"model": RUNNING_SUM, "id": "own"}, headers=of("alice"))
        yield running


def test_two_owners_use_one_id_for_two_sessions(served: Served) -> None:
    for name, value in (("alice", 1.0), ("bob", 10.0)):
        opened = served.client.post("/v1/sessions", json={"model": RUNNING_SUM, "id": "both"}, headers=of(name))
        assert opened.status_code == 201 and opened.json()["id"] == "both" and opened.json()["owner"] == name
        served.client.post("/v1/sessions/both/observe", json={"values": [value, value]}, headers=of(name))
    again = served.client.post("/v1/sessions", json={"model": RUNNING_SUM, "id": "both"}, headers=of("bob"))
    assert again.status_code == 409
    for name, total in (("alice", 2.0), ("bob", 20.0)):
        seen = served.client.post("/v1/sessions/both/observe", json={"values": [0.0]}, headers=of(name)).json()
        assert seen["quantiles"]["values"][0][1] == total and seen["position"] == 3
    served.client.delete("/v1/sessions/both", headers=of("bob"))
    assert served.client.get("/v1/sessions/both", headers=of("bob")).status_code == 404
    assert served.client.get("/v1/sessions/both", headers=of("alice")).status_code == 200


def test_a_list_holds_the_callers_own_sessions_unless_an_admin_asks_for_others(served: Served) -> None:
    for name in ("alice", "bob"):
        served.client.post("/v1/sessions", json={"model": RUNNING_SUM, "id": f"of-{name}"}, headers=of(name))

    def listed(name: str, **query: str) -> set[tuple[str | None, str]]:
        answer = served.client.get("/v1/sessions", params={"limit": 1000, **query}, headers=of(name))
        assert answer.status_code == 200, answer.text
        return {(one["owner"], one["id"]) for one in answer.json()["data"]}

    assert {owner for owner, _ in listed("alice")} == {"alice"}
    assert ("bob", "of-bob") in listed("bob") and ("alice", "of-alice") not in listed("bob")
    assert listed("bob", after="alice/") == listed("bob")
    assert {("alice", "of-alice"), ("bob", "of-bob")} <= listed("operator", owner="*")
    assert {owner for owner, _ in listed("operator", owner="bob")} == {"bob"}
    assert listed("operator", owner="") == set()
    for query in ({"owner": "*"}, {"owner": "alice"}, {"owner": ""}, {"owner": "bob"}):
        assert served.client.get("/v1/sessions", params=query, headers=of("bob")).status_code == 403
    assert served.client.get("/v1/sessions", headers=of("operator")).status_code == 403


def test_who_clears_clears_his_own_unless_an_admin_names_others(served: Served) -> None:
    for name in ("alice", "bob"):
        for number in range(3):
            body = {"model": RUNNING_SUM, "id": f"clear-{number}"}
            assert served.client.post("/v1/sessions", json=body, headers=of(name)).status_code == 201
    everything = {"idle_for_s": "0"}
    assert (
        served.client.delete("/v1/sessions", params=everything | {"owner": "alice"}, headers=of("bob")).status_code
        == 403
    )
    assert served.client.delete("/v1/sessions", params=everything, headers=of("bob")).json()["closed"] >= 3
    assert served.client.get("/v1/sessions/clear-0", headers=of("alice")).status_code == 200
    one = served.client.delete("/v1/sessions/clear-0", params={"owner": "alice"}, headers=of("operator"))
    assert one.status_code == 200
    assert served.client.get("/v1/sessions/clear-0", headers=of("alice")).status_code == 404
    assert served.client.delete("/v1/sessions/clear-1", params={"owner": "alice"}, headers=of("bob")).status_code == 403
    assert served.client.delete("/v1/sessions/clear-1", headers=of("operator")).status_code == 403
    cleared = served.client.delete("/v1/sessions", params=everything | {"owner": "alice"}, headers=of("operator"))
    assert cleared.json()["closed"] >= 2
    assert served.client.get("/v1/sessions/clear-1", headers=of("alice")).status_code == 404
    served.client.post("/v1/sessions", json={"model": RUNNING_SUM, "id": "own"}, headers=of("alice"))


def test_a_bulk_request_reaches_the_callers_own_sessions_alone(served: Served) -> None:
    served.client.post("/v1/sessions", json={"model": RUNNING_SUM, "id": "bulk"}, headers=of("alice"))
    names = ["bulk", "alice/bulk", "alice/bulk\0", "/bulk", "bob/bulk"]
    body = {"sessions": [{"session_id": name, "values": [1.0]} for name in names]}
    answer = served.client.post("/v1/observe", json=body, headers=of("bob")).json()
    assert [one["error"]["code"] for one in answer["data"]] == ["session_not_found"] * len(names)
    assert served.client.get("/v1/sessions/bulk", headers=of("alice")).json()["position"] == 0


def test_sequences_are_their_owners(served: Served) -> None:
    path = f"/v2/models/{RUNNING_SUM}/infer"

    def step(name: str, **parameters: Any) -> httpx.Response:
        body = {"inputs": [TENSOR], "parameters": {"sequence_id": 99, **parameters}}
        return served.client.post(path, json=body, headers=of(name))

    assert step("alice", sequence_start=True).json()["parameters"]["position"] == 1
    assert step("bob").status_code == 400
    assert step("bob", sequence_end=True).status_code == 400
    assert step("bob", sequence_start=True).json()["parameters"]["position"] == 1
    assert step("alice").json()["parameters"]["position"] == 2
    assert step("bob", sequence_end=True).json()["parameters"]["position"] == 2
    assert step("alice").json()["parameters"]["position"] == 3


def test_sagemakers_sessions_are_their_owners(served: Served) -> None:
    opened = served.client.post(
        "/invocations", json={"requestType": "NEW_SESSION", "model": RUNNING_SUM}, headers=of("alice")
    )
    session = opened.json()["id"]
    meaning = {"X-Amzn-SageMaker-Session-Id": session}
    close = {"requestType": "CLOSE"}
    assert served.client.post("/invocations", json=close, headers=of("bob") | meaning).status_code == 404
    body = {"instances": [{"target": [1.0]}]}
    assert served.client.post("/invocations", json=body, headers=of("bob") | meaning).status_code == 404
    assert served.client.post("/invocations", json=close, headers=of("alice") | meaning).status_code == 200


def test_a_snapshot_opens_a_session_of_whoever_brings_it(served: Served) -> None:
    served.client.post("/v1/sessions", json={"model": RUNNING_SUM, "id": "taken"}, headers=of("alice"))
    served.client.post("/v1/sessions/taken/observe", json={"values": [3.0]}, headers=of("alice"))
    blob = served.client.get("/v1/sessions/taken/snapshot", headers=of("alice")).content
    assert b"alice" not in blob
    body = {"model": RUNNING_SUM, "id": "taken", "snapshot": base64.b64encode(blob).decode()}
    opened = served.client.post("/v1/sessions", json=body, headers=of("bob")).json()
    assert (opened["owner"], opened["position"]) == ("bob", 1)


# WebSockets


def stream(served: Served, session: str, **named: Any) -> ClientConnection:
    url = f"{served.url.replace('http', 'ws')}/v1/sessions/{session}/stream"
    connection: ClientConnection = connect(url, compression=None, **named)
    return connection


@pytest.mark.parametrize("headers", [{}, bearing(WRONG)], ids=["none", "wrong"])
def test_a_websocket_without_a_known_key_is_refused_before_it_is_one(served: Served, headers: dict[str, str]) -> None:
    with pytest.raises(InvalidStatus) as refused, stream(served, "own", additional_headers=headers):
        pass
    answer = refused.value.response
    assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert json.loads(answer.body)["error"]["code"] == "invalid_api_key"


def test_a_websocket_of_a_key_without_the_right_is_refused(served: Served) -> None:
    with pytest.raises(InvalidStatus) as refused, stream(served, "own", additional_headers=of("reader")):
        pass
    assert refused.value.response.status_code == 403


def test_a_websocket_to_anothers_session_finds_none_and_a_fork_stays_the_callers(served: Served) -> None:
    with stream(served, "own", additional_headers=of("bob")) as connection:
        assert json.loads(connection.recv())["error"]["code"] == "session_not_found"
    served.client.post("/v1/sessions", json={"model": RUNNING_SUM, "id": "forked"}, headers=of("alice"))
    served.client.post("/v1/sessions", json={"model": RUNNING_SUM, "id": "mine"}, headers=of("bob"))
    with stream(served, "mine", additional_headers=of("bob")) as connection:
        connection.send(json.dumps({"type": "fork", "session_id": "forked"}))
        assert json.loads(connection.recv())["session"]["owner"] == "bob"
        connection.send(json.dumps({"type": "fork", "session_id": "alice/forked"}))
        assert json.loads(connection.recv())["error"]["code"] == "input_mismatch"
    assert served.client.get("/v1/sessions/forked", headers=of("alice")).json()["position"] == 0


def test_a_browser_shows_its_key_as_a_subprotocol_and_does_not_get_it_back(served: Served) -> None:
    served.client.post("/v1/sessions", json={"model": RUNNING_SUM, "id": "browsed"}, headers=of("alice"))
    offered: Any = ["unroll", f"unroll.api-key.{KEYS['alice']}"]
    with stream(served, "browsed", subprotocols=offered) as connection:
        assert connection.subprotocol == "unroll"
        connection.send(json.dumps({"type": "observe", "values": [1.0]}))
        assert json.loads(connection.recv())["position"] == 1
    with pytest.raises(InvalidStatus), stream(served, "browsed", subprotocols=["unroll", f"unroll.api-key.{WRONG}"]):
        pass
