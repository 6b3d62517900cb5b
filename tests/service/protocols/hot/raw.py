"""Bytes on a socket: requests as a test spells them, answers as they come, and nothing that mends either."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.service.protocols.serving import Served

HELD = (1.0, 1.0)
"""Steps of a run that a gate may hold: a single one may be taken on the event loop."""
PATIENCE_S = 10.0
"""Seconds after which what should have come counts as never."""


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, as it came."""

    head: bytes
    body: bytes

    @property
    def status(self) -> int:
        return int(self.head.split(b" ", 2)[1])

    @property
    def headers(self) -> dict[bytes, bytes]:
        lines = self.head.split(b"\r\n")[1:]
        return {name: value for name, _, value in (line.partition(b": ") for line in lines)}

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def lasting(self) -> bytes:
        """All of it but the moment it was given."""
        lines = self.head.split(b"\r\n")
        return b"\r\n".join(line for line in lines if not line.startswith(b"date: ")) + b"\r\n\r\n" + self.body


class Raw:
    """One connection."""

    def __init__(self, url: str, receive_buffer: int | None = None) -> None:
        self._url = url
        self._connect(receive_buffer)

    def _connect(self, receive_buffer: int | None = None) -> None:
        parts = urlsplit(self._url)
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect((parts.hostname, parts.port))
        # Each piece that a test sends is to arrive as one.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self) -> Answer:
        """The next answer; all answers here say how long they are."""
        head = self.until(b"\r\n\r\n")[:-4]
        length = Answer(head, b"").headers.get(b"content-length")
        assert length is not None, head
        return Answer(head, self.take(int(length)))

    def ask(self, data: bytes) -> Answer:
        """The answer to a request; where it ends the connection, a new one is made for what is asked next."""
        self.send(data)
        answer = self.answer()
        if answer.headers.get(b"connection") == b"close":
            assert self.is_closed
            self.socket.close()
            self._connect()
        return answer

    def until(self, end: bytes) -> bytes:
        """What comes up to and with `end`."""
        while end not in self._received:
            self._receive()
        return self.take(self._received.index(end) + len(end))

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        while len(self._received) < count:
            self._receive()
        taken, self._received = self._received[:count], self._received[count:]
        return taken

    def rest(self) -> bytes:
        """Everything until the server closes the connection."""
        while data := self.socket.recv(65536):
            self._received += data
        return self.take(len(self._received))

    @property
    def is_closed(self) -> bool:
        """Whether the server closes the connection, and says nothing more before."""
        return self.rest() == b""

    def says_nothing(self, seconds: float) -> bool:
        """Whether the server neither answers nor closes for a while."""
        if self._received:
            return False
        self.socket.settimeout(seconds)
        try:
            self._received += self.socket.recv(65536)
            return False
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(PATIENCE_S)

    def reset(self) -> None:
        """Go away without a word, as a client does whose process is killed."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.socket.close()

    def _receive(self) -> None:
        data = self.socket.recv(65536)
        assert data, f"the server closed the connection after {self._received!r}"
        self._received += data


@contextmanager
def connected(url: str, receive_buffer: int | None = None) -> Iterator[Raw]:
    """A connection, closed at the end."""
    raw = Raw(url, receive_buffer)
    try:
        yield raw
    finally:
        raw.socket.close()


def request(path: str, body: bytes | Any, *headers: bytes | str, method: str = "POST", version: str = "1.1") -> bytes:
    """A request; a body that is no bytes is sent as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/{version}".encode(), b"Host: localhost", b"Content-Length: %d" % len(content)]
    lines += [header.encode() if isinstance(header, str) else header for header in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + content


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until something has become true."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.001)


def all_quiet(served: Served) -> None:
    """Wait until nothing is being answered and nobody is at any session."""
    store = served.context.service.store
    eventually(lambda: not served.context.traffic.active)
    eventually(lambda: not any(session.busy or session.pinned for session in store))
