"""The WebSocket of a session: text frames, binary frames, order, errors and hanging up."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from service.protocols.native.frames import HEADER
from tests import known_models
from tests.service.protocols.serving import COVARIATE_SUM, Served


def ask(stream: ClientConnection, **frame: Any) -> Any:
    """Send a text frame and return the answer."""
    stream.send(json.dumps(frame))
    return json.loads(stream.recv(10))


def binary(steps: Any, position: int = -1, number: int = 0) -> bytes:
    values = np.asarray(steps, "<f4")
    return HEADER.pack(b"UN", 1, 1, *values.shape, 0, number, position, 0) + values.tobytes()


def closed(stream: ClientConnection) -> tuple[int, str]:
    """The code and reason with which the server closes."""
    with pytest.raises(ConnectionClosed) as caught:
        stream.recv(10)
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, caught.value.rcvd.reason


def test_text_frames_do_all_a_session_can(served: Served) -> None:
    session = served.open()
    with served.stream(session) as stream:
        observed = ask(stream, type="observe", values=[1, 2], position=0, id="first")
        assert observed["type"] == "observe" and observed["id"] == "first" and observed["pit"] == [None, 0.75]
        again = ask(stream, type="observe", values=[1, 2], position=0, id=2)
        assert again["repeated"] is True and again["id"] == 2
        ahead = ask(stream, type="forecast", horizon=2, quantiles=[0.5])
        assert ahead["type"] == "forecast" and "id" not in ahead and len(ahead["mean"]) == 2
        drawn = ask(stream, type="generate", steps=2)
        assert drawn["type"] == "generate" and drawn["position"] == 4
        forked = ask(stream, type="fork", session_id=f"{session}-fork", seed=5, id="f")
        assert forked["type"] == "fork" and forked["id"] == "f" and forked["session"]["seed"] == 5
        assert ask(stream, type="session")["session"]["position"] == 4
    assert served.position(session) == served.position(f"{session}-fork") == 4


def test_text_comes_in_pieces_with_a_reason_at_the_end(served: Served) -> None:
    session = served.open(known_models.NEXT_TOKEN, seed=8)
    with served.stream(session) as stream:
        stream.send(json.dumps({"type": "generate", "max_tokens": 40, "id": 1}))
        pieces = [json.loads(stream.recv(10))]
        while "finish_reason" not in pieces[-1]:
            pieces.append(json.loads(stream.recv(10)))
        assert len(pieces) > 1 and {piece["id"] for piece in pieces} == {1}
        assert sum(len(piece["tokens"]) for piece in pieces) == 40 and pieces[-1]["position"] == 40


def test_binary_frames_give_the_same_as_text_frames(served: Served) -> None:
    values = np.random.default_rng(0).normal(size=50).astype(np.float32)
    values[7] = np.nan
    by_text, by_frames = served.open(), served.open()
    expected = served.observe(by_text, values=[None if np.isnan(value) else float(value) for value in values])
    rows = []
    with served.stream(by_frames) as stream:
        for number, piece in enumerate(np.split(values, [1, 4, 20])):
            stream.send(binary(piece[:, np.newaxis], number=number))
            answer = stream.recv(10)
            assert isinstance(answer, bytes)
            magic, version, operation, count, columns, flags, told, position, durable = HEADER.unpack_from(answer)
            assert (magic, version, operation, flags, told, durable) == (b"UN", 1, 129, 0, number, 0)
            rows.append(np.frombuffer(answer, "<f4", offset=HEADER.size).reshape(count, columns))
            assert position == sum(map(len, rows))
    joined = np.concatenate(rows)
    quantiles = np.array([row or [np.nan] * 3 for row in expected["quantiles"]["values"]], np.float32)
    np.testing.assert_array_equal(joined[:, :3], quantiles)
    np.testing.assert_array_equal(joined[:, 3], np.array(expected["pit"], np.float32))


def test_a_repeated_binary_frame_is_marked(served: Served) -> None:
    with served.stream(served.open()) as stream:
        frame = binary([[1], [2]], position=0)
        stream.send(frame)
        first = stream.recv(10)
        stream.send(frame)
        again = stream.recv(10)
    assert isinstance(first, bytes) and isinstance(again, bytes)
    assert HEADER.unpack_from(again)[5] == 1 and again[HEADER.size :] == first[HEADER.size :]


def test_covariates_are_further_columns(served: Served) -> None:
    with served.stream(served.open(COVARIATE_SUM)) as stream:
        stream.send(binary([[1, 20], [2, 21]]))
        answer = stream.recv(10)
        assert isinstance(answer, bytes) and HEADER.unpack_from(answer)[7] == 2
        stream.send(binary([[1]], number=5))
        error = json.loads(stream.recv(10))
        assert error["id"] == 5 and "2 numbers per step (value, temperature), got 1" in error["error"]["message"]


def test_many_frames_sent_ahead_are_answered_in_order(served: Served) -> None:
    with served.stream(served.open()) as stream:
        for number in range(200):
            stream.send(binary([[1]], number=number) if number % 2 else json.dumps({"type": "observe", "values": [1]}))
        for number in range(200):
            answer = stream.recv(10)
            if isinstance(answer, bytes):
                assert HEADER.unpack_from(answer)[6:8] == (number, number + 1)
            else:
                assert json.loads(answer)["position"] == number + 1


@pytest.mark.parametrize(
    ("frame", "code", "words"),
    [
        ({"type": "observe", "values": [1], "position": 5}, "position_conflict", "expected position 5"),
        ({"type": "observe", "values": ["x"]}, "input_mismatch", 'frame.values.0: expected a number or null, got "x"'),
        ({"type": "observe"}, "input_mismatch", "values: expected a list"),
        ({"type": "observe", "values": [0] * 2001}, "request_too_large", "2000"),
        (
            {"type": "dance"},
            "input_mismatch",
            "frame.type: expected one of observe, forecast, generate, session",
        ),
        ({"values": [1]}, "input_mismatch", "frame.type: expected one of observe, "),
        ({"type": "forecast", "horizon": 2, "colour": 1}, "input_mismatch", "frame.colour: unknown parameter"),
        ({"type": "generate", "max_tokens": 2}, "input_mismatch", "steps"),
    ],
)
def test_an_error_about_one_request_keeps_the_connection(served: Served, frame: Any, code: str, words: str) -> None:
    with served.stream(served.open()) as stream:
        error = ask(stream, **frame, id="mine")
        assert error["type"] == "error" and error["id"] == "mine"
        assert error["error"]["code"] == code and words in error["error"]["message"]
        assert error["error"]["request_id"]
        assert ask(stream, type="observe", values=[1])["position"] == 1


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("", "expected a JSON object, got nothing"),
        ("{", "expected JSON"),
        ('{"type":"observe","values":[NaN]}', "NaN is not JSON"),
        ('{"type":"observe","text":"\\ud800"}', "half of a surrogate pair"),
        (b"", "at least the header's 32 bytes"),
        (b"UN", "at least the header's 32 bytes, got 2"),
        (binary([[1], [2]])[:-2], "expected 40 bytes"),
        (b"XX" + binary([[1]])[2:], "expected to begin with"),
    ],
)
def test_what_cannot_be_read_closes_with_1007(served: Served, message: str | bytes, words: str) -> None:
    session = served.open()
    with served.stream(session) as stream:
        stream.send(message)
        error = json.loads(stream.recv(10))
        assert error["error"]["code"] == "bad_request" and words in error["error"]["message"]
        code, reason = closed(stream)
        assert code == 1007 and words[:10] in reason
    assert served.position(session) == 0


def test_a_text_model_takes_no_binary_frames(served: Served) -> None:
    with served.stream(served.open(known_models.NEXT_TOKEN)) as stream:
        stream.send(binary([[1]], number=3))
        error = json.loads(stream.recv(10))
        assert error["id"] == 3 and "JSON text frames" in error["error"]["message"]
        assert ask(stream, type="observe", text="abc")["tokens"] == 3


def test_infinity_in_a_frame_is_refused_and_nothing_moves(served: Served) -> None:
    with served.stream(served.open()) as stream:
        stream.send(binary([[1], [np.inf]]))
        assert "step 1, column 0" in json.loads(stream.recv(10))["error"]["message"]
        assert ask(stream, type="session")["session"]["position"] == 0


def test_an_unknown_session_closes_with_4404(served: Served) -> None:
    with served.stream("nobody") as stream:
        assert json.loads(stream.recv(10))["error"]["code"] == "session_not_found"
        assert closed(stream)[0] == 4404


def test_a_session_that_ends_meanwhile_closes_the_connection(served: Served) -> None:
    session, short = served.open(), served.open(time_to_live_s=0.2)
    with served.stream(session) as stream, served.stream(short) as brief:
        assert ask(stream, type="observe", values=[1])["position"] == 1
        served.client.delete(f"/v1/sessions/{session}")
        assert ask(stream, type="observe", values=[1])["error"]["code"] == "session_not_found"
        assert closed(stream)[0] == 4404
        time.sleep(0.4)
        assert ask(brief, type="session")["error"]["code"] == "session_expired"
        assert closed(brief)[0] == 4410


def test_a_frame_beyond_the_bound_closes_with_1009(served: Served) -> None:
    with served.stream(served.open()) as stream:
        stream.send("x" * 300_000)
        assert closed(stream)[0] == 1009


@pytest.fixture
def slow_generation(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Generation that takes seconds, so that it cannot end before the client has done anything about it."""
    graph = served.context.service.repository.get(known_models.NEXT_TOKEN).graphs["generate"]
    run = graph.run

    def slow(inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        time.sleep(0.01)
        return run(inputs)

    monkeypatch.setitem(graph.__dict__, "run", slow)


@pytest.mark.usefixtures("slow_generation")
def test_cancel_ends_a_generation_at_what_was_delivered(served: Served) -> None:
    session = served.open(known_models.NEXT_TOKEN)
    with served.stream(session) as stream:
        stream.send(json.dumps({"type": "generate", "max_tokens": 4096, "id": "g"}))
        json.loads(stream.recv(10))
        stream.send(json.dumps({"type": "cancel", "id": "c"}))
        answers = [json.loads(stream.recv(10))]
        while answers[-1]["type"] != "cancel":
            answers.append(json.loads(stream.recv(10)))
        assert answers[-2]["type"] == "generate" and answers[-2]["finish_reason"] == "cancelled"
        assert not any(answer["type"] == "error" for answer in answers)
        assert answers[-2]["id"] == "g" and answers[-1]["id"] == "c"
        stands = answers[-1]["session"]["position"]
        assert 16 <= stands < 4096
        assert ask(stream, type="observe", text="a")["position"] == stands + 1


@pytest.mark.usefixtures("slow_generation")
def test_a_client_that_hangs_up_ends_its_generation(served: Served) -> None:
    session = served.open(known_models.NEXT_TOKEN)
    with served.stream(session) as stream:
        stream.send(json.dumps({"type": "generate", "max_tokens": 4096}))
        stream.recv(10)
        stream.socket.shutdown(socket.SHUT_RDWR)  # no goodbye
    assert 16 < served.observe(session, text="a")["position"] < 4096


def test_many_connections_do_not_disturb_each_other(served: Served) -> None:
    def sum_up(number: int) -> list[float]:
        session = served.open()
        with served.stream(session) as stream:
            for _ in range(10):
                stream.send(binary([[number]]))
                stream.recv(30)
            observed = ask(stream, type="observe", values=[0])
        return list(observed["quantiles"]["values"][0])

    with ThreadPoolExecutor(16) as pool:
        sums = list(pool.map(sum_up, range(16)))
    assert sums == [[10.0 * number - 1, 10.0 * number, 10.0 * number + 1] for number in range(16)]
