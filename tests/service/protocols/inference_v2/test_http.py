"""V2 over HTTP as it is spoken: headers, binary bodies, compression, health, refusals; what C++ clients rely on."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import socket
import zlib
from collections.abc import Callable
from itertools import count
from pathlib import Path

import httpx
import numpy as np
import pytest

from service.sessions.ownership import SessionKey
from tests.service.protocols.inference_v2.asking import MODEL, TEXT, ask, output, refused, step, tensor
from tests.service.protocols.serving import COVARIATE_SUM, Served, serve
from tests.service.running import gated, until

PATH = f"/v2/models/{MODEL}/infer"
LENGTH = "Inference-Header-Content-Length"

_numbers = count(9000)


def binary(values: np.ndarray[tuple[int, ...], np.dtype[np.float32]], **parameters: object) -> tuple[bytes, bytes]:
    """The JSON and the raw contents of a request of the running sum."""
    size = {"binary_data_size": values.nbytes}
    described = {"name": "target", "shape": values.shape, "datatype": "FP32", "parameters": size}
    return json.dumps({"inputs": [described], "parameters": parameters}).encode(), values.tobytes()


def test_binary_in_and_binary_out(served: Served) -> None:
    head, raw = binary(np.array([[1, 2, 4]], np.float32), binary_data_output=True)
    answer = served.client.post(PATH, content=head + raw, headers={LENGTH: str(len(head))})
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/octet-stream"
    length = int(answer.headers[LENGTH])
    described = json.loads(answer.content[:length])["outputs"]
    assert [one["parameters"] for one in described] == [{"binary_data_size": 36}, {"binary_data_size": 12}]
    quantiles = np.frombuffer(answer.content[length : length + 36], "<f4").reshape(described[0]["shape"])
    assert quantiles[0, 1:].tolist() == [[0, 1, 2], [2, 3, 4]]


def test_an_answer_in_json_has_no_length_of_its_header(served: Served) -> None:
    head, raw = binary(np.array([[1, 2]], np.float32))
    answer = served.client.post(PATH, content=head + raw, headers={LENGTH: str(len(head))})
    assert answer.headers["content-type"] == "application/json" and LENGTH not in answer.headers
    assert output(answer.json(), "pit").shape == (1, 2)


def test_what_tritons_cpp_client_sends_is_read(served: Served) -> None:
    """An empty id, the length of the JSON though nothing follows, an empty Expect header."""
    body = json.dumps({"id": "", "inputs": [tensor("target", [[1]])]}).encode()
    headers = {LENGTH: str(len(body)), "Expect": "", "Content-Type": "application/octet-stream"}
    answer = served.client.post(PATH, content=body, headers=headers)
    assert answer.status_code == 200 and "id" not in answer.json()


def test_a_bare_body_is_the_only_input(served: Served) -> None:
    answer = served.client.post(PATH, content=np.array([1, 2], np.float32).tobytes(), headers={LENGTH: "0"})
    assert answer.status_code == 200
    length = int(answer.headers[LENGTH])
    assert json.loads(answer.content[:length])["outputs"][1]["shape"] == [1, 2]
    assert len(answer.content) == length + 2 * 3 * 4 + 2 * 4
    bare = {"content": bytes(8), "headers": {LENGTH: "0"}}
    text = served.client.post(f"/v2/models/{TEXT}/infer", content=np.array([1], "<i8").tobytes(), headers={LENGTH: "0"})
    assert text.status_code == 200
    two = served.client.post(f"/v2/models/{COVARIATE_SUM}/infer", **bare)  # type: ignore[arg-type]
    assert "only a model of one input takes its bare contents" in refused(two)
    refused(served.client.post("/v2/models/nobody/infer", **bare), 404)  # type: ignore[arg-type]


@pytest.mark.parametrize("length", ["-1", "many", "1000000", "1" * 30, ""])
def test_a_length_that_cannot_be_is_refused(served: Served, length: str) -> None:
    body = json.dumps({"inputs": [tensor("target", [[1]])]}).encode()
    answer = served.client.post(PATH, content=body, headers={LENGTH: length})
    assert "Inference-Header-Content-Length: expected the bytes of JSON" in refused(answer)


@pytest.mark.parametrize("cut", [1, 50, -1])
def test_a_length_that_cuts_the_json_is_refused(served: Served, cut: int) -> None:
    body = json.dumps({"inputs": [tensor("target", [[1]])]}).encode()
    refused(served.client.post(PATH, content=body, headers={LENGTH: str(cut % len(body))}))


def test_contents_may_begin_anywhere(served: Served) -> None:
    """The JSON's length is any, so that numbers behind it lie across words."""
    for name in ("a", "ab", "abc", "abcd"):
        head, raw = binary(
            np.array([[1, 2, 3]], np.float32), sequence_id=f"{name}-{next(_numbers)}", sequence_start=True
        )
        answer = served.client.post(PATH, content=head + raw, headers={LENGTH: str(len(head))})
        assert output(answer.json(), "quantiles")[0, 2, 1] == 3


@pytest.mark.parametrize(("coding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_bodies_are_compressed_both_ways(served: Served, coding: str, compress: Callable[[bytes], bytes]) -> None:
    values = np.arange(300, dtype=np.float32)[np.newaxis]
    plain = ask(served, tensor("target", values.tolist()), headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    body = compress(json.dumps({"inputs": [tensor("target", values.tolist())]}).encode())
    headers = {"Content-Encoding": coding, "Accept-Encoding": coding}
    answer = served.client.post(PATH, content=body, headers=headers)
    assert answer.headers["content-encoding"] == coding
    assert int(answer.headers["content-length"]) < len(plain.content)
    assert answer.json() == plain.json()


def test_a_compressed_binary_body_is_measured_as_it_was_before(served: Served) -> None:
    head, raw = binary(np.array([[1] * 200], np.float32), binary_data_output=True)
    headers = {LENGTH: str(len(head)), "Content-Encoding": "gzip", "Accept-Encoding": "deflate"}
    answer = served.client.post(PATH, content=gzip.compress(head + raw), headers=headers)
    length = int(answer.headers[LENGTH])
    assert json.loads(answer.content[:length])["outputs"][1]["shape"] == [1, 200]
    assert len(answer.content) == length + 200 * 3 * 4 + 200 * 4


def test_a_decompression_bomb_is_refused(served: Served) -> None:
    bomb = gzip.compress(b" " * 20_000_000)
    assert len(bomb) < 200_000
    answer = served.client.post(PATH, content=bomb, headers={"Content-Encoding": "gzip"})
    assert "at most 200000 bytes when decompressed" in refused(answer, 413)
    odd = served.client.post(PATH, content=b"{}", headers={"Content-Encoding": "br"})
    assert "expected gzip, deflate or identity, got 'br'" in refused(odd)


@pytest.mark.parametrize("shape", [[0, 2**63], [1, 0], [0, 2**62]])
def test_nothing_in_whatever_shape_is_refused(served: Served, shape: list[int]) -> None:
    for described, length in (({"data": []}, None), ({"parameters": {"binary_data_size": 0}}, LENGTH)):
        body = json.dumps({"inputs": [{"name": "target", "datatype": "FP32", "shape": shape, **described}]}).encode()
        answer = served.client.post(PATH, content=body, headers={length: str(len(body))} if length else {})
        assert answer.status_code == 400 and "target" in answer.json()["error"]


def test_a_body_in_pieces_is_one_body(served: Served) -> None:
    head, raw = binary(np.array([[1, 2]], np.float32))
    address = httpx.URL(served.url)
    with socket.create_connection((address.host, address.port or 80), timeout=10) as connection:
        lengths = f"{LENGTH}: {len(head)}\r\nContent-Length: {len(head + raw)}"
        request = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\n{lengths}\r\n\r\n"
        for piece in (request.encode(), head[:10], head[10:] + raw[:3], raw[3:]):
            connection.sendall(piece)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status == 200 and json.loads(answer.read())["model_name"] == MODEL


def test_the_id_is_echoed(served: Served) -> None:
    body = {"id": "request 1", "inputs": [tensor("target", [[1]])]}
    assert served.post(PATH, body).json()["id"] == "request 1"


def test_refusals_have_the_protocols_shape(served: Served) -> None:
    assert "got 'nobody'" in refused(ask(served, tensor("target", [[1]]), model="nobody"), 404)
    assert "nothing is served here" in refused(served.client.get("/v2/nothing"), 404)
    assert "expected POST, got GET" in refused(served.client.get(PATH), 405)
    refused(served.client.post(PATH, content=b"{"))
    for version in ("2", "one", "1.0"):
        refused(served.post(f"/v2/models/{MODEL}/versions/{version}/infer", {}), 400)
        refused(served.client.get(f"/v2/models/{MODEL}/versions/{version}"), 404)


def test_no_room_is_told_with_when_to_come_back(running_sum_models: Path) -> None:
    with serve(running_sum_models, max_sessions=1) as full:
        step(full, 1, 5, sequence_start=True)
        answer = ask(full, tensor("target", [[1]]), sequence_id=2, sequence_start=True)
        assert "no more may be" in refused(answer, 429) and int(answer.headers["retry-after"]) > 0
        assert ask(full, tensor("target", [[1]])).status_code == 200
        assert step(full, 1, 1, sequence_start=True)["parameters"]["position"] == 1


def test_a_client_that_goes_away_while_its_sequence_begins_leaves_nothing_behind(served: Served) -> None:
    number = next(_numbers)
    parameters = {"sequence_id": number, "sequence_start": True}
    body = json.dumps({"inputs": [tensor("target", [[1] * 100])], "parameters": parameters}).encode()
    with gated(served.context.service.repository.get(MODEL)) as gate:
        gate.close()
        address = httpx.URL(served.url)
        with socket.create_connection((address.host, address.port or 80), timeout=10) as connection:
            head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            asyncio.run(gate.entered())
        # The server is to notice before the run that it waits for is over.
        session = served.context.service.store.live[SessionKey(f"{MODEL}:{number}")]
        asyncio.run(until(lambda: bool(session._waiting)))
    asyncio.run(until(lambda: served.client.get(f"/v1/sessions/{MODEL}:{number}").status_code == 404))
    assert step(served, number, 1, sequence_start=True)["parameters"]["position"] == 1


def test_health(served: Served) -> None:
    assert served.client.get("/v2/health/live").json() == {"live": True}
    assert served.client.get("/v2/health/ready").json() == {"live": True, "ready": True}
    assert served.client.get(f"/v2/models/{MODEL}/ready").json() == {"name": MODEL, "ready": True}
    assert served.client.get(f"/v2/models/{MODEL}/versions/1/ready").status_code == 200
    refused(served.client.get("/v2/models/nobody/ready"), 404)


def test_a_server_without_models_is_alive_and_not_ready(tmp_path: Path) -> None:
    with serve(tmp_path) as empty:
        assert empty.client.get("/v2/health/live").status_code == 200
        answer = empty.client.get("/v2/health/ready")
        assert answer.status_code == 400 and answer.json() == {"live": True, "ready": False}


def test_a_server_that_stops_says_so(running_sum_models: Path) -> None:
    with serve(running_sum_models) as stopping:
        stopping.context.traffic.draining = True
        try:
            assert stopping.client.get("/v2/health/live").status_code == 200
            assert stopping.client.get("/v2/health/ready").status_code == 400
            assert "shutting down" in refused(ask(stopping, tensor("target", [[1]])), 503)
        finally:
            stopping.context.traffic.draining = False
