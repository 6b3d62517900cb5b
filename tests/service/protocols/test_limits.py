"""What one API key may ask for, in every protocol: refused in its own shape, and nobody else is."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import grpc
import openai
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from service.access.keys import write_keys
from service.protocols.inference_v2 import inference_pb2 as messages
from tests.known_models import NEXT_TOKEN, RUNNING_SUM
from tests.service.protocols.hot.noting import Noted
from tests.service.protocols.inference_v2.grpc_clients import SERVICE
from tests.service.protocols.keyed import KEYS, entry, keyed, of
from tests.service.protocols.serving import Served, serve

SERIES = {"type": "univariate_time_series", "name": "x", "series": [1.0, 2.0], "frequency": "1h"}
TENSOR = {"name": "target", "shape": [1, 1], "datatype": "FP32", "data": [1.0]}


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> Noted:
    return Noted(monkeypatch)


@pytest.fixture
def served(protocol_models: Path, tmp_path: Path) -> Iterator[Served]:
    """A server where `alice` may ask for nothing more than her first six requests, and `bob` for what he likes."""
    keys = tmp_path / "keys.toml"
    write_keys(keys, [entry("alice", requests_per_s=1e-6, request_burst=6), entry("bob"), entry("operator")])
    with serve(protocol_models, api_keys=str(keys), grpc_port=0) as running:
        yield running


def spend(served: Served, name: str = "alice") -> None:
    """Ask until the key may ask no more."""
    for _ in range(100):
        if served.client.get("/v1/models", headers=of(name)).status_code == 429:
            return
    raise AssertionError("it may ask on and on")


def post(served: Served, name: str, path: str, body: Any) -> Any:
    return served.client.post(path, json=body, headers=of(name))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/sessions", {"model": RUNNING_SUM}),
        ("/v1/completions", {"model": NEXT_TOKEN, "prompt": "a"}),
        ("/v1/timeseries/forecast", {"model": RUNNING_SUM, "inputs": [SERIES], "options": {"horizon": 1}}),
        (f"/v2/models/{RUNNING_SUM}/infer", {"inputs": [TENSOR]}),
        ("/invocations", {"model": RUNNING_SUM, "requestType": "NEW_SESSION"}),
    ],
)
def test_each_protocol_refuses_in_its_own_shape_and_says_when_to_come_again(
    served: Served, path: str, body: Any
) -> None:
    spend(served)
    refused = post(served, "alice", path, body)
    assert refused.status_code == 429 and int(refused.headers["retry-after"]) > 1
    assert "may take 1e-06 requests a second" in refused.text
    assert KEYS["alice"] not in refused.text
    assert post(served, "bob", path, body).status_code != 429


def test_the_official_openai_client_sees_a_rate_limit(served: Served) -> None:
    spend(served)
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key=KEYS["alice"], max_retries=0) as client:
        with pytest.raises(openai.RateLimitError) as refused:
            client.completions.create(model=NEXT_TOKEN, prompt="a")
    assert refused.value.code == "rate_limited"


def test_steps_below_the_application_are_counted_and_refused_alike(served: Served, noted: Noted) -> None:
    session = post(served, "alice", "/v1/sessions", {"model": RUNNING_SUM}).json()["id"]
    answers = [post(served, "alice", f"/v1/sessions/{session}/observe", {"values": [1]}) for _ in range(8)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 3
    assert noted.statuses == [200] * 5
    assert answers[-1].json()["error"]["code"] == "rate_limited"


def stream(served: Served, name: str, session: str) -> ClientConnection:
    url = f"{served.url.replace('http', 'ws')}/v1/sessions/{session}/stream"
    return connect(url, additional_headers=of(name), compression=None)


def test_frames_are_counted_and_refused_without_ending_the_connection(served: Served, noted: Noted) -> None:
    session = post(served, "alice", "/v1/sessions", {"model": RUNNING_SUM}).json()["id"]
    with stream(served, "alice", session) as socket:
        told = []
        for _ in range(6):
            socket.send(json.dumps({"type": "observe", "values": [1]}))
            told.append(json.loads(socket.recv(timeout=10)))
    assert [one["type"] for one in told] == ["observe"] * 4 + ["error"] * 2
    assert told[-1]["error"]["code"] == "rate_limited"
    with pytest.raises(InvalidStatus) as refused, stream(served, "alice", session):
        pass
    assert refused.value.response.status_code == 429


def test_grpc_calls_are_counted_and_refused(served: Served) -> None:
    spend(served)
    with grpc.insecure_channel(served.grpc_address) as channel:
        ask: Any = channel.unary_unary(SERVICE + "ServerMetadata")
        with pytest.raises(grpc.RpcError) as refused:
            ask(b"", metadata=(("authorization", f"Bearer {KEYS['alice']}"),))
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
        told: Any = dict(cast(Any, refused.value.trailing_metadata()))
        assert told["unroll-code"] == "rate_limited" and int(told["grpc-retry-pushback-ms"]) > 1000
        answer = ask(b"", metadata=(("x-api-key", KEYS["bob"]),))
        assert messages.ServerMetadataResponse.FromString(answer).name


def test_health_is_told_to_whoever_has_no_requests_left(served: Served) -> None:
    spend(served)
    assert served.client.get("/health/live", headers=of("alice")).status_code == 200
    assert served.client.get("/v2/health/ready", headers=of("alice")).status_code == 200


def test_steps_are_paid_for_whatever_asked_for_them(protocol_models: Path, tmp_path: Path) -> None:
    with keyed(protocol_models, tmp_path, key_steps_per_s=100) as served:
        session = post(served, "alice", "/v1/sessions", {"model": RUNNING_SUM}).json()["id"]
        path = f"/v1/sessions/{session}/observe"
        assert post(served, "alice", path, {"values": [0.5] * 150}).status_code == 200
        refused = post(served, "alice", path, {"values": [0.5]})
        assert refused.status_code == 429 and "100 steps a second" in refused.text
        assert post(served, "bob", "/v1/sessions", {"model": RUNNING_SUM}).status_code == 201
        time.sleep(refused.json()["error"].get("retry_after_s", 0.5))
        assert post(served, "alice", path, {"values": [0.5]}).status_code == 200


def test_a_key_may_have_so_many_sessions(protocol_models: Path, tmp_path: Path) -> None:
    with keyed(protocol_models, tmp_path, key_sessions=3) as served:
        ids = [post(served, "alice", "/v1/sessions", {"model": RUNNING_SUM}).json()["id"] for _ in range(3)]
        refused = post(served, "alice", "/v1/sessions", {"model": RUNNING_SUM})
        assert refused.status_code == 429 and "3 sessions, of 3" in refused.text
        assert post(served, "alice", f"/v1/sessions/{ids[0]}/fork", {}).status_code == 429
        assert post(served, "bob", "/v1/sessions", {"model": RUNNING_SUM}).status_code == 201
        assert served.client.delete(f"/v1/sessions/{ids[0]}", headers=of("alice")).status_code == 200
        assert post(served, "alice", f"/v1/sessions/{ids[1]}/fork", {}).status_code == 201
        assert post(served, "alice", "/v1/sessions", {"model": RUNNING_SUM}).status_code == 429


def test_a_key_may_have_so_many_streams(protocol_models: Path, tmp_path: Path) -> None:
    with keyed(protocol_models, tmp_path, key_streams=2) as served:
        session = post(served, "alice", "/v1/sessions", {"model": RUNNING_SUM}).json()["id"]
        with stream(served, "alice", session), stream(served, "alice", session):
            with pytest.raises(InvalidStatus) as refused, stream(served, "alice", session):
                pass
            assert refused.value.response.status_code == 429
            other = post(served, "bob", "/v1/sessions", {"model": RUNNING_SUM}).json()["id"]
            with stream(served, "bob", other):
                pass
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                with stream(served, "alice", session):
                    return
            except InvalidStatus:
                time.sleep(0.01)
        raise AssertionError("streams that were closed still count")


def test_a_limit_in_the_file_is_taken_up_while_serving(protocol_models: Path, tmp_path: Path) -> None:
    with keyed(protocol_models, tmp_path) as served:
        for _ in range(20):
            assert served.client.get("/v1/models", headers=of("alice")).status_code == 200
        keys = tmp_path / "keys.toml"
        write_keys(keys, [entry("alice", requests_per_s=1e-6, request_burst=2), entry("bob")])
        os.utime(keys, ns=(0, keys.stat().st_mtime_ns + 10**9))
        served.context.access.look()
        statuses = [served.client.get("/v1/models", headers=of("alice")).status_code for _ in range(4)]
        assert statuses == [200, 200, 429, 429]


def test_without_keys_everybody_shares_one_rate(protocol_models: Path) -> None:
    with serve(protocol_models, key_requests_per_s=1e-6, key_request_burst=5) as served:
        statuses = [served.client.get("/v1/models").status_code for _ in range(7)]
        assert statuses == [200] * 5 + [429] * 2
