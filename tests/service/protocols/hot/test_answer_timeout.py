"""Requests that are not answered in time are given up, whichever way they went; what was begun is carried out once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.sessions.ownership import SessionKey
from tests.service.protocols.hot.frames import TEXT, close_code, frame, observing, streaming
from tests.service.protocols.hot.noting import Noted
from tests.service.protocols.hot.raw import HELD, all_quiet, connected, request
from tests.service.protocols.serving import Served, serve
from tests.service.running import Gate, gated

PATIENCE_S = 0.5


@pytest.fixture(scope="module")
def impatient(one_model: Path) -> Iterator[Served]:
    with serve(one_model, answer_timeout_s=PATIENCE_S) as running:
        yield running


@pytest.fixture
def session(impatient: Served) -> Iterator[str]:
    yield impatient.open()
    all_quiet(impatient)


@pytest.fixture
def gate(impatient: Served, session: str) -> Iterator[Gate]:
    found = impatient.context.service.store.find(SessionKey(session))
    assert found is not None
    with gated(found.model) as gate:
        yield gate


@pytest.mark.parametrize("below", [True, False])
def test_a_request_that_is_not_answered_in_time_is_given_up(
    impatient: Served, session: str, gate: Gate, noted: Noted, below: bool
) -> None:
    gate.close()
    asked = request(f"/v1/sessions/{session}/observe", {"values": HELD, "position": 0})
    with connected(impatient.url) as raw:
        if below:
            raw.send(asked)
        else:
            with noted.through_the_application():
                raw.send(asked)
                asyncio.run(gate.entered())
        answer = raw.answer()
        assert answer.status == 503 and answer.json["error"]["code"] == "answer_timeout"
        assert answer.headers[b"retry-after"] == b"1" and raw.is_closed
    gate.open()
    all_quiet(impatient)
    # The step was on its way, and is taken once: whoever asks again is told of it.
    with connected(impatient.url) as raw:
        assert raw.ask(asked).json["position"] == 2
    assert impatient.position(session) == 2


def test_a_frame_that_is_not_answered_in_time_ends_the_connection(
    impatient: Served, session: str, gate: Gate, noted: Noted
) -> None:
    with streaming(impatient, session) as stream:
        gate.close()
        with noted.through_the_application():
            stream.send(frame(observing(*HELD)))
            came = stream.rest()
        assert came[0][0] == TEXT and b"answer_timeout" in came[0][1] and close_code(came) == 1013
        gate.open()
    all_quiet(impatient)


def test_who_waits_less_is_answered(impatient: Served, session: str, gate: Gate) -> None:
    gate.close()
    with connected(impatient.url) as raw:
        for position in (2, 4):
            gate.close()
            raw.send(request(f"/v1/sessions/{session}/observe", {"values": HELD}))
            assert raw.says_nothing(0.6 * PATIENCE_S)
            gate.open()
            assert raw.answer().json["position"] == position
