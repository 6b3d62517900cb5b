"""Times are taken in turn, and a connection that is kept tells answers and refusals apart."""

from __future__ import annotations

import socket
import threading

import pytest

pytest.importorskip("torch")

from benchmarks.forecast_peers import measured
from benchmarks.kept_connection import KeptConnection


def answering(*answers: bytes) -> tuple[str, threading.Thread]:
    """The address of a server that gives these answers, in pieces, to one connection."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listening, listening.accept()[0] as connection:
            for answer in answers:
                connection.recv(1 << 16)
                for piece in (answer[:20], answer[20:]):
                    connection.sendall(piece)

    thread = threading.Thread(target=serve)
    thread.start()
    return f"127.0.0.1:{listening.getsockname()[1]}", thread


def test_several_answers_come_over_one_connection() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
    address, thread = answering(head % 7 + b'{"a":1}', head % 2 + b"[]")
    with KeptConnection(address) as connection:
        assert connection.call("/one", {}) == {"a": 1}
        assert connection.call("/two", {}) == []
    thread.join()


def test_a_refusal_is_an_error_with_its_reason() -> None:
    address, thread = answering(b"HTTP/1.1 404 Not Found\r\ncontent-length: 7\r\n\r\nno such")
    with KeptConnection(address) as connection, pytest.raises(RuntimeError, match="POST /gone: .*no such"):
        connection.call("/gone", {})
    thread.join()


def test_calls_are_measured_in_turn() -> None:
    order: list[tuple[str, int]] = []

    def call(name: str, count: int) -> list[float]:
        order.append((name, count))
        return [1.0] * count

    found = measured({"a": lambda count: call("a", count), "b": lambda count: call("b", count)}, rounds=2, count=3)
    assert found == {"a": [1.0] * 6, "b": [1.0] * 6}
    assert order == [("a", 10), ("b", 10), ("a", 3), ("b", 3), ("a", 3), ("b", 3)]
