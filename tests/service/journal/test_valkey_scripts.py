"""The scripts alone, on a real server: what they answer, and what a commit that arrives late meets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from service.journal.valkey_node import Node, Server
from service.journal.valkey_scripts import COMMIT, ENTRY_AT, HEAD, REFUSED, SETTLE, STORED, Script, draw_token
from tests.service.journal.servers import TestServer

Ask = Any


@pytest.fixture
def node(shared_server: TestServer) -> Iterator[Node]:
    node = Node(Server("127.0.0.1", shared_server.port, database=9))
    node.ask(b"FLUSHDB")
    yield node
    node.disconnect()


def place(epoch: int, position: int) -> bytes:
    return HEAD.pack(epoch, position, 0.0)[:16]


def run(node: Node, script: Script, *arguments: bytes) -> int:
    return int(node.ask(b"EVAL", script.text, b"1", b"a", *arguments))


def commit(node: Node, expected: bytes, epoch: int, position: int, token: bytes | None = None) -> int:
    head = HEAD.pack(epoch, position, 1e10)
    return run(node, COMMIT, token or draw_token(), expected, b"60000", head, b"entry")


def settle(node: Node, expected: bytes, token: bytes, epoch: int = 99) -> int:
    return run(node, SETTLE, expected, token, place(epoch, 0)[:8])


def test_a_commit_is_stored_where_it_is_expected_and_nowhere_else(node: Node) -> None:
    assert commit(node, place(7, 4), 7, 5) == REFUSED
    assert commit(node, b"", 7, 0) == STORED
    assert commit(node, b"", 7, 0) == REFUSED
    assert commit(node, place(7, 0), 7, 3) == STORED
    assert commit(node, place(7, 0), 7, 3) == REFUSED
    assert commit(node, place(8, 3), 8, 4) == REFUSED
    assert commit(node, b"*", 8, 4) == STORED
    value: bytes = node.ask(b"GET", b"a")
    assert HEAD.unpack_from(value) == (8, 4, 1e10) and value[ENTRY_AT:] == b"entry"


def test_a_commit_of_several_sessions_stores_each_where_it_is_expected(node: Node) -> None:
    commit(node, b"", 7, 0)
    head = HEAD.pack(7, 1, 1e10)
    given = [part for expected in (place(7, 0), b"", place(7, 0)) for part in (expected, b"", head, b"entry")]
    answers = node.ask(b"EVAL", COMMIT.text, b"3", b"a", b"b", b"c", draw_token(), *given)
    assert list(map(int, answers.decode())) == [STORED, STORED, REFUSED]
    assert node.ask(b"GET", b"a")[:24] == node.ask(b"GET", b"b")[:24] == head and node.ask(b"GET", b"c") is None


def test_a_commit_that_was_carried_out_is_found_to_be(node: Node) -> None:
    opened, stepped = draw_token(), draw_token()
    commit(node, b"", 7, 0, opened)
    assert settle(node, b"", opened) == STORED
    commit(node, place(7, 0), 7, 1, stepped)
    assert settle(node, place(7, 0), stepped) == STORED
    # Also when others have gone on from it.
    commit(node, place(7, 1), 7, 2)
    commit(node, place(7, 2), 7, 3)
    assert settle(node, place(7, 0), stepped) == STORED


def test_a_commit_that_was_not_carried_out_cannot_be_any_more(node: Node) -> None:
    commit(node, b"", 7, 0)
    late = draw_token()
    assert settle(node, place(7, 0), late, epoch=99) == REFUSED
    assert commit(node, place(7, 0), 7, 1, late) == REFUSED
    # Whoever loads the session sees the new epoch, and goes on from there.
    assert HEAD.unpack_from(node.ask(b"GET", b"a"))[:2] == (99, 0)
    assert commit(node, place(99, 0), 99, 1) == STORED


def test_a_commit_on_a_session_that_was_closed_or_moved_was_not_carried_out(node: Node) -> None:
    assert settle(node, place(7, 0), draw_token()) == REFUSED
    commit(node, b"", 7, 0)
    commit(node, place(7, 0), 7, 1)
    assert settle(node, place(7, 0), draw_token()) == REFUSED
    assert HEAD.unpack_from(node.ask(b"GET", b"a"))[:2] == (7, 1), "what has moved keeps its epoch"


def test_where_too_much_has_happened_since_nothing_is_claimed(node: Node) -> None:
    lost = draw_token()
    commit(node, b"", 7, 0)
    for position in range(1, 10):
        commit(node, place(7, position - 1), 7, position, lost if position == 1 else None)
    assert settle(node, place(7, 0), lost) not in (STORED, REFUSED)


def test_an_opening_that_may_still_arrive_is_not_called_refused(node: Node) -> None:
    assert settle(node, b"", draw_token()) not in (STORED, REFUSED)


def test_lineage_begins_anew_with_an_epoch(node: Node) -> None:
    token = draw_token()
    commit(node, b"", 7, 0, token)
    commit(node, b"*", 8, 0)
    assert settle(node, place(7, 0), token) == REFUSED
