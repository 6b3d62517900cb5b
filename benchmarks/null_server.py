"""A server that does nothing: answers every request with the same bytes. What `wrk` reaches with it is its ceiling."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

from benchmarks.free_port import free_port
from benchmarks.plain_http import prepared, send
from benchmarks.workplace import ROOT

_BODY = b'{"nothing":"%b"}' % (b"x" * 400)  # about as long as a step's answer
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(_BODY), _BODY)


@dataclass(frozen=True)
class NullServer:
    address: str
    process_id: int


@contextmanager
def running_null_server() -> Iterator[NullServer]:
    """The server in a process of its own."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", __name__, str(port)], cwd=ROOT)
    try:
        server = NullServer(f"127.0.0.1:{port}", process.pid)
        _wait_for(server.address, process)
        yield server
    finally:
        process.kill()
        process.wait()


def _wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            send(address, prepared("/", b""))
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"the server ended with status {process.returncode} before it took requests")


class _Nothing(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        # A prepared request fits into one packet, and the next one is not sent before this one is answered.
        self._transport.write(_ANSWER)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Nothing, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(_serve(int(sys.argv[1])))
