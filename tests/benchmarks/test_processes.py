"""What is told of busy processes is what they did."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from benchmarks.processes import resident_bytes, tree, watched

BUSY_CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])"
pytestmark = pytest.mark.skipif(not os.path.exists("/proc/stat"), reason="there is no /proc")


@pytest.fixture
def busy() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", BUSY_CHILD])
    while len(tree(process.pid)) < 2:
        time.sleep(0.01)
    members = tree(process.pid)
    yield process.pid
    for member in members:
        os.kill(member, 9)
    process.wait()


def test_a_tree_holds_the_process_first_and_its_descendants(busy: int) -> None:
    members = tree(busy)
    assert members[0] == busy
    assert len(members) == 2
    assert busy in tree(os.getpid())


def test_usage_counts_descendants_and_their_busiest_thread(busy: int) -> None:
    with watched(busy) as usage:
        time.sleep(0.5)
    assert 0.1 < usage.busiest_thread <= usage.cores < 1.2
    assert usage.machine >= 0.9 * usage.cores


def test_an_idle_process_uses_nothing() -> None:
    with subprocess.Popen(["sleep", "10"]) as process, watched(process.pid) as usage:
        time.sleep(0.2)
        process.kill()
    assert usage.cores < 0.1


def test_resident_memory_grows_with_what_is_held() -> None:
    before = resident_bytes(os.getpid())
    held = bytearray(64 * 2**20)
    assert resident_bytes(os.getpid()) - before > 0.9 * len(held)


def test_a_process_that_has_ended_uses_nothing() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert resident_bytes(process.pid) == 0
