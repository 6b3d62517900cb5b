"""A service that stops, is full or is being watched: the same below the application as through it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.sessions.ownership import SessionKey
from tests.known_graphs import FAILING_VALUE
from tests.known_models import RUNNING_SUM
from tests.service.protocols.hot.both_ways import THROUGH
from tests.service.protocols.hot.frames import CLOSE, TEXT, frame, streaming
from tests.service.protocols.hot.noting import Noted
from tests.service.protocols.hot.raw import HELD, Raw, all_quiet, connected, eventually, request
from tests.service.protocols.serving import Served, serve
from tests.service.running import Gate, gated


def observing(session: str, *values: float, also: str = "X: 1") -> bytes:
    return request(f"/v1/sessions/{session}/observe", {"values": list(values)}, also)


def inferring(sequence: str, *values: float, also: str = "X: 1", version: str = "") -> bytes:
    target = {"name": "target", "datatype": "FP32", "shape": [1, len(values)], "data": values}
    body = {"inputs": [target], "parameters": {"sequence_id": sequence}}
    return request(f"/v2/models/{RUNNING_SUM}{version}/infer", body, also)


@pytest.fixture
def fresh(one_model: Path) -> Iterator[Served]:
    with serve(one_model, shutdown_grace_s=10.0) as running:
        yield running


@pytest.fixture
def gate(fresh: Served) -> Iterator[Gate]:
    found = fresh.context.service.store.find(SessionKey(fresh.open()))
    assert found is not None
    with gated(found.model) as gate:
        yield gate


def stopping(served: Served) -> None:
    """Ask the server to stop, and wait until it takes nothing new."""
    served.stop()
    eventually(lambda: served.context.traffic.draining)


@pytest.mark.parametrize("ask", [observing, inferring])
def test_an_answer_on_its_way_is_delivered_before_the_service_stops(
    fresh: Served, gate: Gate, noted: Noted, ask: Callable[..., bytes]
) -> None:
    session = fresh.open(id=f"{RUNNING_SUM}:s") if ask is inferring else fresh.open(id="s")
    assert session
    gate.close()
    with connected(fresh.url) as raw, connected(fresh.url) as resting:
        resting.ask(request("/health/live", b"", method="GET"))
        raw.send(ask("s", *HELD))
        asyncio.run(gate.entered())
        stopping(fresh)
        refused = resting.ask(ask("s", 2))
        assert refused.status == 503 and refused.headers[b"connection"] == b"close"
        gate.open()
        assert raw.answer().status == 200
        assert raw.is_closed
    assert noted.statuses == [200]


def test_what_was_asked_after_it_is_refused(fresh: Served, gate: Gate, noted: Noted) -> None:
    session = fresh.open()
    gate.close()
    with connected(fresh.url) as raw:
        raw.send(observing(session, *HELD) + observing(session, 2))
        asyncio.run(gate.entered())
        stopping(fresh)
        gate.open()
        assert [raw.answer().status, raw.answer().status] == [200, 503]
        assert raw.is_closed
    assert noted.statuses == [200]


def test_connections_that_wait_for_the_rest_of_a_body_do_not_keep_the_service(fresh: Served, noted: Noted) -> None:
    session = fresh.open()
    with connected(fresh.url) as raw:
        raw.ask(observing(session, 1))
        raw.send(observing(session, 1)[:-1])
        stopping(fresh)
        assert raw.is_closed


def test_a_frames_answer_on_its_way_is_delivered_before_the_connection_is_closed(
    fresh: Served, gate: Gate, noted: Noted
) -> None:
    session = fresh.open()
    gate.close()
    with streaming(fresh, session) as socket, streaming(fresh, session) as resting:
        socket.send(frame('{"type":"observe","values":[1,1],"id":"last"}'))
        asyncio.run(gate.entered())
        stopping(fresh)
        assert [opcode for opcode, _ in resting.rest()] == [CLOSE]
        assert socket.raw.says_nothing(0.05)
        gate.open()
        answer, close = socket.rest()
        assert answer[0] == TEXT and json.loads(answer[1])["id"] == "last"
        assert close[0] == CLOSE and int.from_bytes(close[1][:2], "big") == 1013
    assert noted.frames == 1


def test_a_frame_that_fails_at_shutdown_is_told_of(fresh: Served, gate: Gate, noted: Noted) -> None:
    session = fresh.open()
    gate.close()
    with streaming(fresh, session) as socket:
        socket.send(frame(json.dumps({"type": "observe", "values": [1, FAILING_VALUE]})))
        asyncio.run(gate.entered())
        stopping(fresh)
        gate.open()
        (_, error), close = socket.rest()
        assert json.loads(error)["error"]["code"] in ("step_failed", "shutting_down")
        assert close[0] == CLOSE
    assert noted.errors == 1


def test_frames_after_one_that_is_on_its_way_at_shutdown_are_not_carried_out(
    fresh: Served, gate: Gate, noted: Noted
) -> None:
    session = fresh.open()
    gate.close()
    with streaming(fresh, session) as socket:
        socket.send(frame('{"type":"observe","values":[1,1]}') * 3)
        asyncio.run(gate.entered())
        stopping(fresh)
        gate.open()
        came = socket.rest()
    told = [json.loads(payload)["type"] for opcode, payload in came if opcode == TEXT]
    assert told[0] == "observe" and "observe" not in told[1:]
    assert noted.frames == 1


def counted(served: Served, beginning: str) -> dict[str, float]:
    lines = served.client.get("/metrics").text.splitlines()
    found = (line.rsplit(" ", 1) for line in lines if line.startswith(beginning))
    return {name: float(value) for name, value in found}


def grown(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}


def test_a_full_queue_is_told_of_and_counted_the_same_both_ways(one_model: Path, noted: Noted) -> None:
    with serve(one_model, max_queue=1) as full:
        sessions = [full.open(id=name) for name in ("first0", "second", "thirdd")]
        full.open(id=f"{RUNNING_SUM}:fourth")
        found = full.context.service.store.find(SessionKey(sessions[0]))
        assert found is not None
        with gated(found.model) as gate, connected(full.url) as first, connected(full.url) as raw:
            gate.close()
            first.send(observing("first0", *HELD))
            asyncio.run(gate.entered())
            rejected = counted(full, "unroll_rejected_total")
            for ask in (observing, inferring):
                name = "second" if ask is observing else "fourth"
                answers = [raw.ask(ask(name, 2, also=also)) for also in ("X-Request-Id: same", THROUGH)]
                assert [answer.status for answer in answers] == [429, 429]
                assert all(answer.headers[b"retry-after"] == b"1" for answer in answers)
                more = grown(rejected, counted(full, "unroll_rejected_total"))
                assert list(more.values()) == [2], "each is refused once, and counted once"
                rejected = counted(full, "unroll_rejected_total")
            with streaming(full, "thirdd") as socket:
                error = socket.tell(frame('{"type":"observe","values":[1],"id":5}'))
                assert error["error"]["code"] == "overloaded" and error["id"] == 5
            assert list(grown(rejected, counted(full, "unroll_rejected_total")).values()) == [1]
            gate.open()
            assert first.answer().status == 200
            assert raw.ask(observing("second", 2)).json["position"] == 1
        all_quiet(full)


def test_requests_are_counted_under_the_same_labels_both_ways(fresh: Served, noted: Noted) -> None:
    fresh.open(id="s")
    fresh.open(id=f"{RUNNING_SUM}:s")
    labels: list[dict[str, float]] = []
    for also in ("X: 1", THROUGH):
        before = counted(fresh, "unroll_request")
        with connected(fresh.url) as raw:
            for data in (
                observing("s", 1, also=also),
                observing("s", FAILING_VALUE, also=also),
                inferring("s", 1, also=also),
                inferring("s", 1, also=also, version="/versions/1"),
                inferring("s", FAILING_VALUE, also=also),
            ):
                raw.ask(data)
        more = grown(before, counted(fresh, "unroll_request"))
        labels.append({name: value for name, value in more.items() if "_total" in name or "_count" in name})
    assert len(noted.statuses) == 5
    assert _without_metrics(labels[0]) == _without_metrics(labels[1])


def _without_metrics(labels: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in labels.items() if "/metrics" not in name}


def test_failures_are_logged_the_same_both_ways(fresh: Served, noted: Noted, caplog: pytest.LogCaptureFixture) -> None:
    fresh.open(id="s")
    lines: list[list[Any]] = []
    for also in ("X: 1", THROUGH):
        caplog.clear()
        with connected(fresh.url) as raw, caplog.at_level(logging.INFO):
            raw.ask(observing("s", FAILING_VALUE, also=also))
            raw.ask(observing("s", 1, also=also))
        lines.append([_facts(record) for record in caplog.records if record.name.startswith("service")])
    assert noted.statuses == [500, 200]
    assert lines[0] == lines[1] and len(lines[0]) == 2


def _facts(record: logging.LogRecord) -> tuple[Any, ...]:
    return (
        record.name,
        record.levelname,
        record.getMessage(),
        *(getattr(record, name, None) for name in ("method", "path", "status")),
    )


def test_every_request_is_logged_where_that_is_asked_for(
    fresh: Served, noted: Noted, caplog: pytest.LogCaptureFixture
) -> None:
    session = fresh.open()
    with connected(fresh.url) as raw, caplog.at_level(logging.DEBUG, "service.requests"):
        raw.ask(observing(session, 1))
        raw.ask(observing(session, 1))
        eventually(lambda: sum(record.getMessage() == "request" for record in caplog.records) == 2)
    assert noted.all == 0


def test_connections_on_one_session_take_turns(fresh: Served, noted: Noted) -> None:
    session = fresh.open()
    raws = [Raw(fresh.url) for _ in range(4)]
    try:
        for _ in range(50):
            for raw in raws:
                raw.send(observing(session, 1))
        seen = [[raw.answer().json["position"] for _ in range(50)] for raw in raws]
    finally:
        for raw in raws:
            raw.socket.close()
    assert all(positions == sorted(positions) for positions in seen)
    assert sorted(position for positions in seen for position in positions) == list(range(1, 201))
    assert noted.statuses, "whoever comes alone takes the short way"
