"""One Valkey or Redis server: a connection, commands sent together, and bounded waits."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from valkey.connection import Connection, SSLConnection
from valkey.exceptions import ReadOnlyError, ResponseError, TimeoutError, ValkeyError

from service.errors import JournalUnavailable

_TRUSTED_SECONDS = 1.0
"""After an answer, how long the connection is taken to be open without a look at it."""

Reply = Any
"""What a command answers: a number, bytes, a list, None; or the ResponseError it was refused with."""


@dataclass(frozen=True)
class Server:
    """Where a server is, and how it wants to be spoken to.

    Args:
        master: what Sentinels call the server; host and port are then those of a Sentinel, which tells where it is.
        sentinels: other Sentinels.
    """

    host: str
    port: int
    username: str | None = None
    password: str | None = None
    database: int = 0
    tls: bool = False
    timeout_s: float = 1.0
    master: str = ""
    sentinels: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class OutcomeUnknown(Exception):
    """Commands were sent, and no answer came: they may have been carried out, or may be yet."""

    def __init__(self, server: Server, cause: Exception) -> None:
        super().__init__(f"the journal at {server} did not answer: {cause}")
        self.hung_up = not isinstance(cause, TimeoutError)
        """Whether the connection ended, as it does when a server was started again since it was last used."""


class Refused(Exception):
    """A server answered, and would not do what it was asked: says why."""


class Node:
    """One connection to one server, made when it is needed and again after a failure. For one thread at a time."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._answered = -math.inf
        kind = SSLConnection if server.tls else Connection
        # Its methods have no types.
        self._connection: Any = kind(
            host=server.host,
            port=server.port,
            username=server.username,
            password=server.password,
            db=server.database,
            socket_timeout=server.timeout_s,
            socket_connect_timeout=server.timeout_s,
            socket_keepalive=True,
            client_name="unroll",
            lib_name=None,
            lib_version=None,
        )

    def ask(self, *arguments: bytes) -> Reply:
        """The answer to one command.

        Raises:
            JournalUnavailable: no answer came.
            Refused: the command was refused.
        """
        try:
            reply = self.ask_all([command(*arguments)])[0]
        except OutcomeUnknown as error:
            raise JournalUnavailable(str(error)) from error
        if isinstance(reply, ResponseError):
            raise Refused(f"the journal's server {self.server} refuses: {reply}") from reply
        return reply

    def ask_all(self, commands: Sequence[bytes]) -> list[Reply]:
        """The answers to commands, sent in one go; refusals among them.

        Raises:
            JournalUnavailable: nothing was sent.
            OutcomeUnknown: something was sent, and not all answers came.
        """
        self.send(commands)
        return self.receive(len(commands))

    def send(self, commands: Sequence[bytes]) -> None:
        """Send commands without waiting for their answers; `receive` must follow. Raises as `ask_all` does."""
        try:
            if not self._is_open():
                self._connect()
        except (ValkeyError, OSError) as error:
            self.disconnect()
            raise JournalUnavailable(f"the journal at {self.server} cannot be reached: {error}") from error
        try:
            # One piece, which needs no copy.
            whole = commands[0] if len(commands) == 1 else b"".join(commands)
            self._connection.send_packed_command([whole], check_health=False)
        except (ValkeyError, OSError) as error:
            self.disconnect()
            raise OutcomeUnknown(self.server, error) from error

    def _connect(self) -> None:
        if self.server.master:
            self._connection.host, self._connection.port = _master(self.server)
        self._connection.connect()

    def receive(self, count: int) -> list[Reply]:
        """The answers to `count` commands that were sent."""
        try:
            replies = [self._next() for _ in range(count)]
        except (ValkeyError, OSError) as error:
            self.disconnect()
            raise OutcomeUnknown(self.server, error) from error
        self._answered = time.monotonic()
        if self.server.master and any(isinstance(reply, ReadOnlyError) for reply in replies):
            self.disconnect()  # another server is the master now: it is asked for anew
        return replies

    def disconnect(self) -> None:
        """Let go of the connection; answers still to come on it are never read."""
        with suppress(ValkeyError, OSError):
            self._connection.disconnect()

    def _next(self) -> Reply:
        try:
            return self._connection.read_response(disable_decoding=True)
        except ResponseError as refusal:
            return refusal

    def _is_open(self) -> bool:
        """Whether the connection can be used as it stands: nothing unread on it, and not closed by the server."""
        if self._connection._sock is None:
            return False
        if time.monotonic() - self._answered < _TRUSTED_SECONDS:
            return True
        try:
            stale = bool(self._connection.can_read(timeout=0))
        except (ValkeyError, OSError):
            stale = True
        if stale:
            self.disconnect()
        return not stale


def _master(server: Server) -> tuple[str, int]:
    """Where the Sentinels say that the master is."""
    from valkey.sentinel import Sentinel

    sentinels: Any = Sentinel  # its methods have no types either
    options = {"socket_timeout": server.timeout_s, "socket_connect_timeout": server.timeout_s, "ssl": server.tls}
    asked = sentinels([(server.host, server.port), *server.sentinels], sentinel_kwargs=options)
    try:
        host, port = asked.discover_master(server.master)
    finally:
        for one in asked.sentinels:
            one.close()
    return host, int(port)


def command(*arguments: bytes) -> bytes:
    """A command as the Redis protocol writes it."""
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        parts += (b"$%d\r\n" % len(argument), argument, b"\r\n")
    return b"".join(parts)
