"""What should not happen below the application and does is told as the application would, and leaves nothing."""

from __future__ import annotations

import json
import struct
from typing import Any, NoReturn

import pytest

from service.protocols.hot.websocket import HotWebSocket
from service.protocols.inference_v2 import hot as hot_infer
from service.protocols.native import bulk
from service.protocols.native import hot as hot_observe
from service.protocols.native.at_once import written
from service.protocols.native.hot import HotObserve, HotStream
from service.sessions.live import LiveSessions
from tests.known_models import RUNNING_SUM
from tests.service.protocols.hot.frames import CLOSE, TEXT, frame, steps, streaming
from tests.service.protocols.hot.noting import Noted
from tests.service.protocols.hot.raw import all_quiet, connected, request
from tests.service.protocols.serving import Served


def broken(*_: Any, **__: Any) -> NoReturn:
    raise ZeroDivisionError("a secret")


def observing(session: str) -> bytes:
    return request(f"/v1/sessions/{session}/observe", {"values": [1]})


def test_an_answer_that_cannot_be_written_is_an_internal_error(
    served: Served, noted: Noted, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = served.open()
    with connected(served.url) as raw:
        monkeypatch.setattr(hot_observe, "observed", broken)
        failed = raw.ask(observing(session))
        assert failed.status == 500 and b"secret" not in failed.body
        monkeypatch.undo()
        assert raw.ask(observing(session)).json["position"] == 2, "the step was taken all the same"
    all_quiet(served)


def test_an_inference_that_cannot_be_written_is_an_internal_error(
    served: Served, noted: Noted, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.open(id=f"{RUNNING_SUM}:unwritable")
    target = {"name": "target", "datatype": "FP32", "shape": [1, 1], "data": [1]}
    body = {"inputs": [target], "parameters": {"sequence_id": "unwritable"}}
    monkeypatch.setattr(hot_infer, "_answer", broken)
    with connected(served.url) as raw:
        failed = raw.ask(request(f"/v2/models/{RUNNING_SUM}/infer", body))
        assert failed.status == 500 and b"secret" not in failed.body
    assert noted.statuses == [500]
    all_quiet(served)


@pytest.mark.parametrize("message", ['{"type":"observe","values":[1],"id":7}', steps((1,), number=7)])
def test_a_frame_that_cannot_be_written_is_told_of_by_the_application(
    served: Served, noted: Noted, monkeypatch: pytest.MonkeyPatch, message: str | bytes
) -> None:
    monkeypatch.setattr(hot_observe, "_told", broken)
    monkeypatch.setattr(hot_observe, "_written", broken)
    with streaming(served, served.open()) as socket:
        socket.send(frame(message))
        (opcode, payload), (last, _) = socket.rest()
    assert (opcode, last) == (TEXT, CLOSE) and b"secret" not in payload
    assert json.loads(payload)["id"] == 7 and json.loads(payload)["error"]["code"] == "internal_error"
    all_quiet(served)


def test_one_session_of_many_whose_answer_cannot_be_written_costs_the_others_nothing(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = [served.open() for _ in range(3)]
    whole, number = written, iter(range(3))

    def second_fails(*given: Any, **named: Any) -> bytes:
        return broken() if next(number) == 1 else whole(*given, **named)

    monkeypatch.setattr(bulk, "written", second_fails)
    body = b"".join(struct.pack("<H", len(name)) + name.encode() + steps((1,)) for name in sessions)
    with connected(served.url) as raw:
        answer = raw.ask(request("/v1/observe", body, "Content-Type: application/octet-stream"))
    assert answer.status == 200 and answer.body.count(b"internal_error") == 1 and answer.body.count(b"UN") == 2
    all_quiet(served)


@pytest.mark.parametrize("where", [(HotObserve, "begin"), (LiveSessions, "slot_of")])
def test_where_the_short_way_breaks_the_application_is_asked(
    served: Served, noted: Noted, monkeypatch: pytest.MonkeyPatch, where: tuple[type, str]
) -> None:
    session = served.open()
    with connected(served.url) as raw:
        monkeypatch.setattr(*where, broken)
        answer = raw.ask(observing(session))
        assert answer.status == (200 if where[0] is HotObserve else 500)
        assert raw.ask(request("/health/live", b"", method="GET")).status == 200
    assert not noted.statuses
    all_quiet(served)


def test_where_the_short_way_of_frames_breaks_the_application_is_asked(
    served: Served, noted: Noted, monkeypatch: pytest.MonkeyPatch
) -> None:
    with streaming(served, served.open()) as socket:
        monkeypatch.setattr(HotStream, "begin", broken)
        assert socket.tell(frame('{"type":"observe","values":[1]}'))["position"] == 1
        assert isinstance(noted.socket_of(socket.raw), HotWebSocket)
    assert not noted.frames
    all_quiet(served)
