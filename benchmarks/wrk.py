"""`wrk` as the load generator, with a thread for each connection.

A thread with several connections has no way to know for which of them it writes, and would send a session's step
before the last one is answered whenever answers overtake each other.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import Usage, watched

MISSING = "left out: wrk is not installed (on Debian and Ubuntu: apt install wrk)"
_SCRIPTS = Path(__file__).parent / "lua"
_MARK = "SEEN "


@dataclass(frozen=True)
class Load:
    """What one stretch of load saw, and how many cores it kept busy: the server's, and `wrk`'s own."""

    requests_per_second: float
    median_ms: float
    p99_ms: float
    server: Usage
    generator_cores: float


def is_installed() -> bool:
    return shutil.which("wrk") is not None


def replay(address: str, requests: Sequence[bytes], seconds: int, server: int) -> Load:
    """Send each request over and over on a connection of its own, the next as soon as the last is answered.

    Args:
        requests: whole HTTP requests, one for each session.
        server: the process whose usage (its descendants' included) is told.

    Raises:
        RuntimeError: a request failed; a rate of failures means nothing.
    """
    content = b"".join(b"%d\n%b" % (len(request), request) for request in requests)
    return _drive("replay.lua", address, len(requests), seconds, server, content)


def visit(address: str, request: bytes, sessions: int, connections: int, seconds: int, server: int) -> Load:
    """Send the request to each session once, in random order over some connections, and so on.

    Args:
        request: a whole HTTP request with `%d` in place of the session's number, 0 to sessions − 1.

    Raises:
        RuntimeError: a request failed.
    """
    return _drive("random_sessions.lua", address, connections, seconds, server, request, str(sessions))


def _drive(
    script: str, address: str, connections: int, seconds: int, server: int, content: bytes, *arguments: str
) -> Load:
    with tempfile.TemporaryDirectory() as folder:
        lua, file = Path(folder) / "script.lua", Path(folder) / "content"
        lua.write_text((_SCRIPTS / "common.lua").read_text() + (_SCRIPTS / script).read_text())
        file.write_bytes(content)
        count = str(connections)
        command = ["wrk", "-t", count, "-c", count, "-d", f"{seconds}s", "--timeout", "30s", "-s", str(lua)]
        command += [f"http://{address}/", count, *arguments, str(file)]
        before = _seconds_of_ended_children()
        with watched(server) as usage:
            text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return _read(text, usage, _seconds_of_ended_children() - before)


def _read(text: str, server: Usage, generator_seconds: float) -> Load:
    seen = json.loads(text.partition(_MARK)[2].splitlines()[0])
    if seen["failed"] or seen["broken"] or not seen["requests"]:
        raise RuntimeError(f"expected every request to succeed, wrk tells {seen}")
    elapsed = seen["microseconds"] / 1e6
    return Load(
        requests_per_second=seen["requests"] / elapsed,
        median_ms=seen["median_us"] / 1e3,
        p99_ms=seen["p99_us"] / 1e3,
        server=server,
        generator_cores=generator_seconds / elapsed,
    )


def _seconds_of_ended_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
