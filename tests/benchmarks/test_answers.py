"""What benchmarks send is answered with the numbers that the graph gives: they measure work that is done."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("torch", reason="the exporter makes the models that benchmarks serve")

from benchmarks import floor, models, native, wrk
from benchmarks.bare_stream import BareStream
from benchmarks.contenders import OURS, check_answers, contenders
from benchmarks.crowd import drive
from benchmarks.plain_http import send
from benchmarks.routes import Route
from benchmarks.server import ServerProcess, running_server

NOTHING, SERVICE = contenders([])


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with running_server(models.repository()) as server:
        yield server


def test_peers_are_measured_beside_the_service() -> None:
    assert [contender.name for contender in contenders(["triton"])] == [NOTHING.name, OURS, "Triton"]


@pytest.mark.parametrize("route", SERVICE.routes, ids=lambda route: route.name)
def test_every_route_is_answered_as_the_graph_answers(server: ServerProcess, route: Route) -> None:
    check_answers(server, route)


def test_a_wrong_answer_is_told(server: ServerProcess) -> None:
    wrong = Route("wrong", native.ROUTE.prepare, lambda body: [0.0] * models.QUANTILES)
    with pytest.raises(RuntimeError, match="wrong: expected"):
        check_answers(server, wrong)


def test_a_bare_stream_is_answered_as_the_graph_answers(server: ServerProcess) -> None:
    (session,) = native.open_sessions(server.address, 1)
    with BareStream(server.address, session, steps=3) as stream:
        stream.step()
        assert stream.quantiles() == pytest.approx(floor.quantiles(0, 1)[0], abs=1e-5)


def test_a_bare_stream_tells_an_error(server: ServerProcess) -> None:
    (session,) = native.open_sessions(server.address, 1)
    with BareStream(server.address, session, steps=1) as stream:
        native.close_sessions(server.address, [session])
        with pytest.raises(RuntimeError, match="session_not_found"):
            stream.step()


def test_a_crowd_of_streams_is_answered_to_the_last_message(server: ServerProcess) -> None:
    sessions = native.open_sessions(server.address, 4)
    streams = [BareStream(server.address, session, steps=2) for session in sessions]
    answers, elapsed = drive(streams, 0.2)
    for stream in streams:
        stream.socket.close()
    assert answers >= 4
    assert elapsed >= 0.2
    assert sum(native.position(server.address, session) for session in sessions) == 2 * answers


def test_a_bulk_request_steps_all_its_sessions(server: ServerProcess) -> None:
    sessions = native.open_sessions(server.address, 3)
    send(server.address, native.bulk_request(sessions, steps=5))
    assert [native.position(server.address, session) for session in sessions] == [5, 5, 5]


@pytest.mark.skipif(not wrk.is_installed(), reason="wrk is not installed")
def test_wrk_sends_steps_one_connection_for_each_session(server: ServerProcess) -> None:
    sessions = native.open_sessions(server.address, 3)
    load = wrk.replay(server.address, native.step_requests(sessions), 1, server.process_id)
    taken = sum(native.position(server.address, session) for session in sessions)
    assert load.requests_per_second > 0
    assert taken >= load.requests_per_second * 0.9
    assert 0 < load.server.cores <= load.server.machine + 0.2


@pytest.mark.skipif(not wrk.is_installed(), reason="wrk is not installed")
def test_wrk_visits_every_session(server: ServerProcess) -> None:
    native.open_numbered(server.address, 5)
    wrk.visit(server.address, native.numbered_request(), 5, 2, 1, server.process_id)
    assert all(native.position(server.address, f"s{number}") > 1 for number in range(5))


@pytest.mark.skipif(not wrk.is_installed(), reason="wrk is not installed")
def test_the_ceiling_is_measured_with_the_same_requests() -> None:
    (route,) = NOTHING.routes
    with NOTHING.running() as server:
        load = wrk.replay(server.address, route.prepare(server.address, 2), 1, server.process_id)
    assert load.requests_per_second > 0


@pytest.mark.skipif(not wrk.is_installed(), reason="wrk is not installed")
def test_a_load_with_failures_is_no_load(server: ServerProcess) -> None:
    with pytest.raises(RuntimeError, match="every request to succeed"):
        wrk.replay(server.address, native.step_requests(["nobody"]), 1, server.process_id)
