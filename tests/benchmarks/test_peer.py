"""A peer is waited for, told why it did not start, and ended with all its processes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from benchmarks import native
from benchmarks.contenders import Contender, running
from benchmarks.peers import peer as peers
from benchmarks.peers.environment import PeerUnavailable
from benchmarks.peers.peer import Launch, Peer
from benchmarks.processes import tree
from benchmarks.workplace import ROOT

WITH_A_CHILD = "import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-m', *sys.argv[1:]]))"


@pytest.fixture(autouse=True)
def nothing_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(peers, "environment", lambda *_: tmp_path)


def peer_of(command: Callable[[int], Sequence[str]]) -> Peer:
    """A peer started by this command, given its port."""
    return Peer(
        key="test",
        name="Test",
        packages=(),
        launch=lambda packages, folder, port: Launch(
            [sys.executable, "-c", *command(port)], {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"}
        ),
        routes=(native.UNOPENED,),
    )


def test_a_running_peer_takes_requests_and_ends_with_its_descendants() -> None:
    with peer_of(lambda port: [WITH_A_CHILD, "benchmarks.null_server", str(port)]).running() as server:
        members = tree(server.process_id)
        assert len(members) == 2
    assert not any(is_running(member) for member in members)


def test_a_peer_that_does_not_start_tells_its_last_words() -> None:
    with (
        pytest.raises(PeerUnavailable, match="no such model"),
        peer_of(lambda port: ["import sys; sys.exit('no such model')"]).running(),
    ):
        pytest.fail("it runs")


def test_a_contender_that_cannot_run_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    peer = peer_of(lambda port: ["import sys; sys.exit('no such model')"])
    with running(Contender(peer.name, peer.running, peer.routes)) as server:
        assert server is None
    assert "Test is left out" in capsys.readouterr().err


def is_running(process: int) -> bool:
    """Whether it has not ended; one whose parent has not taken note has."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
